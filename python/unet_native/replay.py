"""A step of training on a device, recorded once and launched as a whole from then on.

A step of the U-Net is some 150 launches, each of which takes the host some microseconds. A CUDA
graph is one launch. What changes from step to step lies in the device's memory, and is brought
there before: the inputs, the iteration (for dropout) and the rate.

Not every step can be recorded. Those are not that copy arrays, because somebody has looked at them
(unet_native.observed), whose layers work on the host, or are timed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping

from unet_native._core import Context, DeviceGraph
from unet_native.layers import Layer
from unet_native.net import Net
from unet_native.ops.arrays import Array
from unet_native.parameters import Parameter
from unet_native.plan import Plan


def _adds_on_host(layer: Layer) -> bool:
    """Whether the net adds the diffs of its bottoms to others, which no kernel does."""
    return any(layer.accumulate) and not layer.can_accumulate


class Replay:
    """Steps of a lean `net`: forward and back, with `update` for each parameter on the way."""

    def __init__(self, net: Net, update: Callable[[Parameter], None]):
        self._net = net
        self._update = update
        self._graph: DeviceGraph | None = None
        self._ready_for: Plan | None = None
        self._recorded: Plan | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the next step would be nothing but launches."""
        net = self._net
        return (
            net.on_step is None
            and not net.memory()["observed arrays"]
            and not any(layer.works_on_host or _adds_on_host(layer) for layer in net.layers)
        )

    def step(self, inputs: Mapping[str, Array]) -> None:
        """One step, launched and not waited for; `net.loss` waits.

        The first step of each plan runs as it is, and makes the device ready for it; the second is
        recorded. Raises ValueError for inputs that do not fit.
        """
        net = self._net
        net.take(inputs)
        if net.plan is self._ready_for:
            if net.plan is not self._recorded:
                self._record()
            self._graph.launch()
            net.passed()
        else:
            self._ready_for = net.plan
            self._launch()
        net.iteration += 1

    def _launch(self) -> None:
        self._net.run_forward(0, len(self._net.layers) - 1)
        self._net.run_backward(self._net.layers, self._update)

    def _record(self) -> None:
        self._graph, self._recorded = record(self._launch, self._net.context), self._net.plan


def record(launch: Callable[[], object], context: Context) -> DeviceGraph:
    """What `launch` launches, as a graph; it runs with the first launch of that.

    Meanwhile no garbage is collected: a device that had to give back the memory of an abandoned net
    would spoil the recording.
    """
    graph, collects = DeviceGraph(context), gc.isenabled()
    gc.disable()
    try:
        graph.begin()
        try:
            launch()
        finally:
            graph.end()  # after an error too: the stream must not go on recording
    finally:
        if collects:
            gc.enable()
    return graph

"""Passes of a net, recorded once and launched as a whole from then on.

A step of the U-Net is some 150 calls of ops. On a device each is a launch that takes the host some
microseconds, and a CUDA graph is one launch. On the CPU Python takes up to 100 microseconds from
op to op, for the ops drive its own objects out of the caches: 2.5 ms of the 95 that a forward pass
of 316 pixels takes, 0.1 ms as a HostGraph. What changes from pass to pass lies in memory that the
ops read, and is brought there before: the inputs, the iteration (for dropout) and the rate.

Not every pass can be recorded. Those are not that copy arrays, because somebody has looked at them
(unet_native.observed), whose layers compute without the ops, or are timed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from unet_native._core import Context, DeviceGraph, HostGraph
from unet_native.ops.arrays import Array

if TYPE_CHECKING:
    from unet_native.net import Net
    from unet_native.parameters import Parameter
    from unet_native.plan import Plan

Graph = DeviceGraph | HostGraph


class Recording:
    """Passes of a net that run as they are, then are recorded, then are launched.

    Attribute: `graph`, None until they have been recorded.
    """

    def __init__(self) -> None:
        self._of: tuple[Plan, int] | None = None
        self.graph: Graph | None = None

    def run(self, net: Net, passes: Callable[[], object]) -> None:
        """What `passes` does, a forward pass of all layers first; always the same.

        The first time for a plan and a seed it runs as it is, and makes a device ready for it; the
        second time it is recorded. A device is not waited for. Raises UserError for a label that is
        none.
        """
        of = (net.plan, net.seed)
        if of != self._of:
            self.graph, self._of = None, None
            passes()
            self._of = of
            return
        if self.graph is None:
            self.graph = record(passes, net.context)
        try:
            self.graph.launch()
        except ValueError:  # of an op, which does not know its layer
            for layer in net.layers:
                layer.check_labels()
            raise
        net.passed()


def is_recordable(net: Net) -> bool:
    """Whether a forward pass is nothing but calls of ops, and nobody is told of each."""
    return net.on_step is None and not any(layer.works_on_host for layer in net.layers)


class Replay:
    """Steps of a lean `net`: forward and back, with `update` for each parameter on the way."""

    def __init__(self, net: Net, update: Callable[[Parameter], None]):
        self._net = net
        self._update = update
        self._recording = Recording()

    @property
    def is_possible(self) -> bool:
        """Whether the next step, too, would be nothing but calls of ops."""
        net = self._net
        return (
            is_recordable(net)
            and not net.memory()["observed arrays"]
            and all(layer.can_accumulate or not any(layer.accumulate) for layer in net.layers)
        )

    def step(self, inputs: Mapping[str, Array]) -> None:
        """One step; a device is not waited for, `net.loss` waits.

        Raises ValueError for inputs that do not fit.
        """
        net = self._net
        net.take(inputs)
        self._recording.run(net, self._launch)
        net.iteration += 1

    def _launch(self) -> None:
        self._net.run_forward(0, len(self._net.layers) - 1)
        self._net.run_backward(self._net.layers, self._update)


def record(calls: Callable[[], object], context: Context) -> Graph:
    """What `calls` calls, as a graph; it runs with the first launch of that.

    Meanwhile no garbage is collected: a device that had to give back the memory of an abandoned net
    would spoil the recording.
    """
    graph = HostGraph() if context.device == "cpu" else DeviceGraph(context)
    collects = gc.isenabled()
    gc.disable()
    try:
        graph.begin()
        try:
            calls()
        finally:
            graph.end()  # after an error too: nothing must go on recording
    finally:
        if collects:
            gc.enable()
    return graph

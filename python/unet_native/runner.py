"""Runs layers in the memory of a plan: nothing but their passes, in the plan's order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter

import numpy as np

from unet_native._core import device_wait
from unet_native.blob import Blob
from unet_native.layers import Layer
from unet_native.memory import Memory
from unet_native.ops import Context
from unet_native.parameters import Parameter
from unet_native.plan import Plan

#: Called after each pass of a layer with its name, the pass and the seconds it took.
OnStep = Callable[[str, str, float], None]


class Runner:
    """The layers of a net, laid into new memory on the device of `context`.

    blobs   all of the net, by name; those in `inputs` have memory of their own

    Attribute: `on_step`, who wants to know of each pass, or None.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        plan: Plan,
        blobs: Mapping[str, Blob],
        inputs: Collection[str],
        context: Context | None,
    ):
        self._layers = list(layers)
        self._plan = plan
        self._blobs = blobs
        self._context = context
        self.on_step: OnStep | None = None
        memory = Memory(plan, context)
        memory.bind(self._layers, {k: blob for k, blob in blobs.items() if k not in inputs})
        self._kept = {name: blobs[name].data for name in plan.placement.repeated}
        self._again = {name: memory.again(name) for name in plan.placement.repeated}
        self._workspaces = {
            (layer, step): memory.workspace(layer, step)
            for layer in self._layers
            for step in ("forward", "backward_weights", "backward_data", "recompute")
        }

    def forward(self, first: int, last: int) -> None:
        """The layers from position `first` to `last`, both included."""
        for name, data in self._kept.items():
            self._blobs[name].bind(data=data)
        for position in range(first, last + 1):
            if position in self._plan.fused and position > first:
                continue  # the layer before has applied it
            self._forward(position, fuse=position < last)

    def backward(
        self,
        running: Collection[Layer],
        parameters: Sequence[Parameter],
        on_param_diff: Callable[[Parameter], None] | None,
        *,
        accumulate: bool,
    ) -> None:
        """The backward passes of the layers `running`.

        accumulate: whether diffs of parameters are added to. on_param_diff: called for each of
        `parameters` as soon as its diff is complete and its value no longer needed.
        """
        for layer, step in self._plan.backward:
            if layer not in running:
                continue
            layer.workspace = self._workspaces.get((layer, step))
            if step == "recompute":
                name = layer.spec.top[0]
                self._blobs[name].bind(data=self._again[name])
                self._forward(self._layers.index(layer), fuse=True, step=step)
            elif step == "backward_weights":
                self._run(layer, step, layer.backward_weights, accumulate=accumulate)
            elif step == "backward_data":
                also = self._plan.absorbed.get(layer)
                how = {k: v for k, v in also._asdict().items() if v is not None} if also else {}
                self._run(layer, step, layer.backward_data, **how)
                for i, blob in enumerate(layer.bottom):
                    if layer.accumulate[i] and not layer.can_accumulate:
                        np.add(blob.diff, layer.bottom_diffs[i], out=blob.diff)
            elif on_param_diff is not None:
                for param in parameters:
                    if param.layer is layer:
                        param.inner.push("diff")
                        on_param_diff(param)
                        param.inner.pull("data", "diff")

    def _forward(self, position: int, *, fuse: bool, step: str = "forward") -> None:
        """The forward pass of one layer and, if it may `fuse`, of the ReLU that it applies."""
        layer = self._layers[position]
        layer.workspace = self._workspaces[layer, step]
        slope = self._plan.fused.get(position + 1) if fuse else None
        how = {} if slope is None else {"negative_slope": slope}
        self._run(layer, step, layer.forward, **how)

    def _run(self, layer: Layer, step: str, function: Callable[..., None], **how) -> None:
        """One pass of a layer, timed, on a device to its end, if somebody wants to know."""
        if self.on_step is None:
            function(**how)
            return
        start = perf_counter()
        function(**how)
        if self._context is not None and self._context.device != "cpu":
            device_wait(self._context)
        self.on_step(layer.name, step, perf_counter() - start)

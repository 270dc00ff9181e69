"""What a net decides before it runs: fused layers, the order of the backward passes, and memory.

Every buffer of a pass lives from the first step that touches it to the last; the arena is placed
by these lifetimes. Two plans differ only in what they pin for the whole time:

observable  every blob keeps data and diff of its own, as in Caffe: they may be read and written
            between passes, also those of some layers only (in C order: unet_native.observed).
lean        only inputs and outputs can be seen, and only what parameters need is computed in the
            backward pass. A blob's data live until their last reader is done, and its diff may
            take their place. Beyond that,
            - the bottoms of a Concat lie in the top's memory, or nobody writes the top at all
              (unet_native.placement);
            - a Crop's backward pass waits until the skip connection's diff is needed, which is
              larger than the window it comes from;
            - a ReLU's backward pass is left to the layer that wrote its diff, and where a skip
              connection leaves, so that this is a Pooling, Crop's too;
            - the diffs of parameters live only until they are handed over, if so wished;
            - what costs next to nothing (pooled maps, the first layer) is not kept for the backward
              pass but computed again, into other memory.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from unet_native import arena
from unet_native.arena import Buffer
from unet_native.graph import Graph
from unet_native.layers import Layer
from unet_native.layers.crop import Crop
from unet_native.layers.pooling import Pooling
from unet_native.layers.relu import ReLU
from unet_native.placement import Placement
from unet_native.spec import Shape

PLANS = ("observable", "lean")

Key = tuple[str, str, str]  # "blob" or "layer", its name, what of it


class Step(NamedTuple):
    """One step of the backward pass.

    "backward_weights", "backward_data": these passes of the layer. "hand_over": the diffs of its
    parameters are complete and its weights no longer needed, so the solver may apply them.
    "recompute": its forward pass once more, for data that were not kept.
    """

    layer: Layer
    name: str


class Absorbed(NamedTuple):
    """Other layers' backward passes that a layer does along with its own backward_data."""

    crop: Crop | None = None
    negative_slope: float | None = None  # of the ReLU in place


class Plan:
    """The plan of one net for given shapes.

    shapes    of all blobs
    fused     position of a ReLU -> its negative_slope, where the layer before applies it
    absorbed  layer -> what its backward_data does besides
    backward  the steps of the backward pass, in order
    placement which blobs lie in others' memory or in none, and which are computed again
    buffers   by (kind, name, what): ("blob", "d0b", "data"), ("layer", "conv_d0a-b", "forward")
    bytes     size of the arena; least_bytes: what the liveliest step alone needs
    """

    def __init__(
        self,
        kind: str,
        graph: Graph,
        shapes: dict[str, Shape],
        *,
        backward: bool,
        transient_param_diffs: bool,
    ):
        if kind not in PLANS:
            raise ValueError(f"plan: expected {' or '.join(PLANS)}, got {kind!r}")
        self.kind = kind
        self.lean = kind == "lean"
        self._graph = graph
        self.shapes = shapes
        self._transient = transient_param_diffs
        self.fused = graph.fused
        self.placement = Placement(graph, shapes, lean=self.lean, backward=backward)
        self.absorbed: dict[Layer, Absorbed] = {}
        self.backward = self._with_repeats(self._backward_steps()) if backward else []
        self.buffers: dict[Key, Buffer] = {}
        self._end = len(graph.layers) + len(self.backward)
        self._find_lifetimes()
        self.bytes = arena.place(self.buffers.values())
        self.least_bytes = arena.least_bytes(self.buffers.values())

    def summary(self, largest: int = 8) -> str:
        """A few lines for people: the arena and its largest buffers."""
        lines = [
            f"{self.kind} plan: {self.bytes / 1e6:.1f} MB for {len(self.buffers)} buffers of "
            f"{sum(b.nbytes for b in self.buffers.values()) / 1e6:.1f} MB in all"
        ]
        by_size = sorted(self.buffers.values(), key=lambda b: -b.nbytes)
        for buffer in by_size[:largest]:
            lines.append(
                f"  {buffer.name:28} {buffer.nbytes / 1e6:8.1f} MB at {buffer.offset / 1e6:8.1f}"
                f"  steps {buffer.first} to {buffer.last}"
            )
        return "\n".join(lines)

    # --- what happens when ---

    def _with_repeats(self, steps: list[Step]) -> list[Step]:
        """The steps, each preceded by those that compute again what it is the first to read."""
        result, made = [], set()
        for step in steps:
            for name in self._data_read(step):
                if name in self.placement.repeated and name not in made:
                    made.add(name)
                    result.append(Step(self.placement.repeated[name], "recompute"))
            result.append(step)
        return result

    def _data_read(self, step: Step) -> list[str]:
        """The blobs whose data a step of the backward pass reads."""
        layer = step.layer
        if step.name == "hand_over":
            return []
        if step.name == "recompute":
            return list(layer.spec.bottom)
        weights = step.name == "backward_weights"
        reads = layer.backward_weights_reads if weights else layer.backward_data_reads
        relu = not weights and self.absorbed.get(layer, Absorbed()).negative_slope is not None
        found = list(layer.spec.bottom) if "bottom" in reads or relu else []
        return found + (list(layer.spec.top) if "top" in reads else [])

    def _backward_steps(self) -> list[Step]:
        steps: list[Step] = []
        waiting: dict[str, Step] = {}  # by the bottom whose diff it will write
        last: dict[str, Layer] = {}  # by blob, the last layer so far whose backward_data touched it
        for layer in reversed(self._graph.layers):
            if not layer.needs_backward:
                continue
            if self.lean and isinstance(layer, Pooling):
                self._absorb_crop(layer, waiting)
            absorbed = self.lean and self._absorb_relu(layer, last)
            for name in (*layer.spec.bottom, *layer.spec.top):
                if name in waiting:
                    steps.append(waiting.pop(name))
                last[name] = layer
            if layer.learns:
                steps.append(Step(layer, "backward_weights"))
            if any(layer.propagate) and not absorbed:
                step = Step(layer, "backward_data")
                if self.lean and layer.backward_may_wait:
                    waiting[layer.spec.bottom[0]] = step
                else:
                    steps.append(step)
            if layer.learns:
                steps.append(Step(layer, "hand_over"))
        return steps + list(waiting.values())

    def _absorb_crop(self, pool: Layer, waiting: dict[str, Step]) -> None:
        """Leaves to `pool` the waiting backward pass of a Crop of its bottom, if it is the only one
        that wrote that diff so far."""
        name = pool.spec.bottom[0]
        crop = waiting[name].layer if name in waiting else None
        if (
            isinstance(crop, Crop)
            and pool.propagate[0]
            and crop.offsets[:2] == (0, 0)
            and self.shapes[crop.spec.top[0]][:2] == self.shapes[name][:2]
            and not crop.accumulate[0]
        ):
            del waiting[name]
            self.absorbed[pool] = Absorbed(crop=crop)

    def _absorb_relu(self, layer: Layer, last: dict[str, Layer]) -> bool:
        """Leaves a ReLU in place to the layer that was the last one to touch the diff."""
        reader = last.get(layer.spec.top[0]) if layer.spec.top else None
        if not (isinstance(layer, ReLU) and layer.in_place and reader):
            return False
        if not reader.absorbs_relu([self.shapes[name] for name in reader.spec.bottom]):
            return False
        if layer.spec.top[0] != reader.spec.bottom[0] or not reader.propagate[0]:
            return False
        if reader.accumulate[0] and not reader.can_accumulate:
            return False  # the net adds afterwards
        crop = self.absorbed.get(reader, Absorbed()).crop
        self.absorbed[reader] = Absorbed(crop, layer.negative_slope)
        return True

    def _find_lifetimes(self) -> None:
        for time, layer in enumerate(self._graph.layers):
            self._touch_forward(time, layer)
        for time, step in enumerate(self.backward, start=len(self._graph.layers)):
            self._touch_backward(time, step)
        outputs = self._graph.outputs
        for layer in self._graph.layers:
            for i, name in enumerate(layer.spec.top):
                if name in self._graph.inputs:
                    continue
                if self.lean:
                    if name in outputs:
                        self._touch_blob(self._end, name, "data")
                    if layer.loss_weight(i):  # its diff, the weight, is there from the start
                        self._touch_blob(0, name, "diff")
                        self._touch_blob(self._end, name, "diff")
                else:
                    for what in ("data", "diff"):
                        self._touch_blob(0, name, what)
                        self._touch_blob(self._end, name, what)

    def _touch(self, time: int, key: Key, nbytes: int) -> None:
        if nbytes == 0:
            return
        _, name, what = key
        buffer = self.buffers.setdefault(key, Buffer(f"{name}.{what}", nbytes, time, time))
        buffer.first = min(buffer.first, time)
        buffer.last = max(buffer.last, time)

    def _touch_blob(self, time: int, blob: str, what: str) -> None:
        for root in self.placement.roots(blob, what):
            if root not in self._graph.inputs:  # these own their memory
                self._touch(time, ("blob", root, what), 4 * prod(self.shapes[root]))

    def _touch_kept(self, time: int, layer: Layer) -> None:
        bottoms = [self.shapes[name] for name in layer.spec.bottom]
        for name, (shape, dtype) in layer.kept_buffers(bottoms).items():
            nbytes = prod(shape) * dtype().itemsize
            for moment in [time] if self.lean else [0, self._end]:
                self._touch(moment, ("layer", layer.name, name), nbytes)

    def _touch_workspace(self, time: int, layer: Layer, step: str) -> None:
        bottoms = [self.shapes[name] for name in layer.spec.bottom]
        nbytes = layer.workspace_bytes("forward" if step == "recompute" else step, bottoms)
        self._touch(time, ("layer", layer.name, step), nbytes)

    def _touch_forward(self, time: int, layer: Layer) -> None:
        for i, name in enumerate(layer.spec.bottom):
            if not layer.reads_only_shape(i):
                self._touch_blob(time, name, "data")
        for name in layer.spec.top:
            self._touch_blob(time, name, "data")
        self._touch_kept(time, layer)
        self._touch_workspace(time, layer, "forward")

    def _touch_backward(self, time: int, step: Step) -> None:
        layer = step.layer
        if self._transient and layer.learns and step.name != "recompute":
            bottoms = [self.shapes[name] for name in layer.spec.bottom]
            for i, shape in enumerate(layer.param_shapes(bottoms)):
                self._touch(time, ("layer", layer.name, f"{i}.diff"), 4 * prod(shape))
        if step.name == "hand_over":
            return
        for name in self._data_read(step):
            self._touch_blob(time, name, "again" if name in self.placement.repeated else "data")
        self._touch_workspace(time, layer, step.name)
        if step.name == "recompute":
            self._touch_blob(time, layer.spec.top[0], "again")
            return
        for name in layer.spec.top:
            self._touch_blob(time, name, "diff")
        if step.name == "backward_weights":
            return
        self._touch_kept(time, layer)
        if layer in self.absorbed and (crop := self.absorbed[layer].crop):
            self._touch_blob(time, crop.spec.top[0], "diff")
        for i, name in enumerate(layer.spec.bottom):
            if layer.propagate[i]:
                self._touch_blob(time, name, "diff")
                if layer.accumulate[i] and not layer.can_accumulate:
                    nbytes = 4 * prod(self.shapes[name])
                    self._touch(time, ("layer", layer.name, f"addend{i}"), nbytes)

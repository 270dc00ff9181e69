"""Where the blobs of a lean plan lie: inside one another, or nowhere at all.

    d0c  -- Crop ------------> d0cc --+
                                      +-- Concat --> d0cc_u0a-b -- Convolution -->
    u1d  -- Deconvolution ---> u0a  --+

Diffs of both bottoms of a Concat lie in its top's diff, so that its backward pass has nothing to
do. Data too, unless the readers of the top can as well read its two parts: then nobody writes the
top, and what Crop makes is a window of the blob that it crops. A copy less to make and to keep.
"""

from __future__ import annotations

from unet_native.graph import Graph
from unet_native.layers import Layer
from unet_native.layers.concat import Concat
from unet_native.layers.crop import Crop
from unet_native.spec import Shape


class Placement:
    """Who lies where in the net of `graph`, for blobs of these `shapes`.

    homes     blob -> (blob in whose memory it lies, first channel there)
    joined    top of a Concat that has no data -> the two blobs to read in its place
    windows   top of a Crop that has no data of its own -> the Crop
    repeated  blob that is computed again for the backward pass -> the layer that does it

    It tells every Concat and Crop what they need not do.
    """

    def __init__(self, graph: Graph, shapes: dict[str, Shape], *, lean: bool, backward: bool):
        self._graph = graph
        self._shapes = shapes
        self.homes: dict[str, tuple[str, int]] = {}
        self.joined: dict[str, tuple[str, str]] = {}
        self.windows: dict[str, Crop] = {}
        self.repeated: dict[str, Layer] = {}
        if lean:
            self._find_homes()
            self._join()
        if lean and backward:
            self._find_repeated()
        for layer in graph.layers:
            if isinstance(layer, Concat):
                layer.is_joined = layer.spec.top[0] in self.joined
            if isinstance(layer, Crop):
                layer.is_window = layer.spec.top[0] in self.windows

    def home(self, blob: str, what: str) -> tuple[str, int]:
        """The blob in whose memory "data" or "diff" of `blob` lie, and the first channel there."""
        root, channel = self.homes.get(blob, (blob, 0))
        return (blob, 0) if what == "data" and root in self.joined else (root, channel)

    def roots(self, blob: str, what: str) -> list[str]:
        """The blobs whose memory somebody uses who uses that of `blob`."""
        if what == "data" and blob in self.joined:
            return [root for part in self.joined[blob] for root in self.roots(part, what)]
        if what == "data" and blob in self.windows:
            return self.roots(self.windows[blob].spec.bottom[0], what)
        return [self.home(blob, what)[0]]

    def _find_homes(self) -> None:
        """Places the bottoms of every Concat inside its top, where that changes nothing else."""
        for layer in reversed(self._graph.layers):  # tops before bottoms: homes can be nested
            if not isinstance(layer, Concat):
                continue
            layer.inside = set()
            if layer.spec.concat_param.axis != 1 or self._changes_in_place(layer.spec.top[0]):
                continue
            top, channel = self.homes.get(layer.spec.top[0], (layer.spec.top[0], 0))
            for i, name in enumerate(layer.spec.bottom):
                if self._fits_inside(layer, i):
                    self.homes[name] = (top, channel)
                    layer.inside.add(i)
                channel += self._shapes[name][1]

    def _changes_in_place(self, blob: str) -> bool:
        return any(layer.in_place and blob in layer.spec.top for layer in self._graph.layers)

    def _fits_inside(self, concat: Concat, i: int) -> bool:
        name = concat.spec.bottom[i]
        others = [x for x in self._graph.readers(name) if x is not concat]
        return (
            len(self._shapes[name]) == 4
            and not concat.excess(i, [self._shapes[bottom] for bottom in concat.spec.bottom])
            and concat.spec.bottom.count(name) == 1
            and name not in self._graph.inputs
            and all(
                other.reads_only_shape(j)
                for other in others
                for j, bottom in enumerate(other.spec.bottom)
                if bottom == name
            )
        )

    def _join(self) -> None:
        concats = [layer for layer in self._graph.layers if isinstance(layer, Concat)]
        tops = {layer.spec.top[0] for layer in concats}
        for layer in concats:
            top, parts = layer.spec.top[0], layer.spec.bottom
            shapes = [self._shapes[name] for name in parts]
            if (
                layer.inside == {0, 1} == set(range(len(parts)))
                and top not in self._graph.outputs
                and not tops.intersection(parts)
                and all(reader.takes_parts(shapes) for reader in self._graph.readers(top))
            ):
                self.joined[top] = (parts[0], parts[1])
        for layer in self._graph.layers:
            if (
                isinstance(layer, Crop)
                and any(layer.spec.top[0] in parts for parts in self.joined.values())
                and not self._changes_in_place(layer.spec.top[0])
                and layer.spec.bottom[0] not in self._graph.inputs
            ):
                self.windows[layer.spec.top[0]] = layer

    def _find_repeated(self) -> None:
        """The blobs that are not worth their memory between the passes."""
        needed = {root for root, _ in self.homes.values()}
        needed.update(crop.spec.bottom[0] for crop in self.windows.values())
        for position, layer in enumerate(self._graph.layers):
            if not layer.is_cheap([self._shapes[bottom] for bottom in layer.spec.bottom]):
                continue
            top = layer.spec.top[0]
            changes = [
                i
                for i, other in enumerate(self._graph.layers)
                if other.in_place and top in other.spec.top
            ]
            fused = [position + 1] if position + 1 in self._graph.fused else []
            alone = top not in self.homes and top not in needed and top not in self._graph.outputs
            kept = not any(bottom in self.repeated for bottom in layer.spec.bottom)
            if changes == fused and alone and kept:
                self.repeated[top] = layer

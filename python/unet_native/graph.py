"""How the layers of a net hang together: names, shapes, and who needs which gradient.

Source: Caffe net.cpp (Init, AppendBottom, AppendTop) and insert_splits.cpp. Where Caffe inserts a
Split layer for a blob with several readers, the readers here write the blob's diff one after the
other, the first with =, the others with +=.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from unet_native import arena
from unet_native.layers import CoordinateMap, Layer
from unet_native.layers.relu import ReLU
from unet_native.spec import Shape

LONGEST = (1 << 31) - 1  # axis, as in Caffe


class Graph:
    """The layers of one phase, checked and connected.

    inputs, outputs: names of the blobs that nothing computes and that nothing reads; outputs in
    alphabetical order, as in Caffe. fused: position of a ReLU -> its negative_slope, where the
    layer before applies it. Raises ValueError for a net that does not hang together.
    """

    def __init__(self, layers: list[Layer], *, force_backward: bool):
        self.layers = layers
        self.inputs = [top for layer in layers if layer.type == "Input" for top in layer.spec.top]
        self.outputs = self._connect()
        self.fused = _fused(layers)
        self._decide_backward(force_backward)
        self._decide_accumulation()

    def readers(self, blob: str) -> list[Layer]:
        """The layers that read a blob, without those that work on it in place."""
        return [x for x in self.layers if blob in x.spec.bottom and blob not in x.spec.top]

    def shapes(self, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
        """The shape of every blob; `inputs` overrides shapes of the net's inputs.

        Raises ValueError for shapes that a layer cannot take, or no memory could hold.
        """
        shapes: dict[str, Shape] = {}
        of_params = 0
        coordinates: dict[str, CoordinateMap] = {}
        for layer in self.layers:
            names = layer.spec.bottom
            where = layer.coordinates([coordinates[name] for name in names])
            bottoms = [shapes[name] for name in names]
            tops = layer.top_shapes(bottoms)
            for top, shape in zip(layer.spec.top, tops, strict=True):
                shapes[top] = tuple(inputs.get(top, shape)) if layer.type == "Input" else shape
                coordinates[top] = where
                _check_size(layer, f"top {top!r}", shapes[top])
            for shape in layer.param_shapes(bottoms):
                of_params += prod(shape)
                _check_size(layer, "a parameter", shape, of_params)
        return shapes

    def _connect(self) -> list[str]:
        """Checks the names of bottoms and tops; returns those that nothing reads."""
        read: dict[str, bool] = {}  # whether the blob has been read since it was written
        names = set()
        for layer in self.layers:
            if layer.name in names:
                raise layer.refuse("the net has an earlier layer of that name")
            names.add(layer.name)
            for bottom in layer.spec.bottom:
                if bottom not in read:
                    raise layer.refuse(f"no earlier layer has a top named {bottom!r}")
            if layer.in_place and not layer.works_in_place:
                raise layer.refuse("this type does not work in place; name another top")
            _check_counts(layer)
            for top in layer.spec.top:
                if layer.in_place and read[top]:
                    raise layer.refuse(
                        f"works in place on {top!r}, which an earlier layer has read; "
                        "name another top"
                    )
                if not layer.in_place and top in read:
                    raise layer.refuse(f"an earlier layer has a top named {top!r} too")
            read.update(dict.fromkeys(layer.spec.bottom, True))
            read.update(dict.fromkeys(layer.spec.top, False))
        return sorted(name for name, was_read in read.items() if not was_read)

    def _decide_backward(self, force: bool) -> None:
        """Which layers run backward, and to which bottoms.

        From the front: what depends on a parameter that learns. From the back: what the loss
        depends on. Both, unless the net forces it: then everything.
        """
        depends: set[str] = set()  # blobs that depend on a parameter that learns
        for layer in self.layers:
            specs, count = layer.spec.param, len(layer.fillers())
            layer.param_propagate = [
                force or i >= len(specs) or specs[i].lr_mult != 0 for i in range(count)
            ]
            layer.learns = any(layer.param_propagate)
            wanted = [force or name in depends for name in layer.spec.bottom]
            for i, override in enumerate(layer.spec.propagate_down[: len(wanted)]):
                wanted[i] = override or force
            layer.propagate = [w and layer.backpropagates_to(i) for i, w in enumerate(wanted)]
            layer.needs_backward = layer.learns or any(layer.propagate)
            if layer.needs_backward:
                depends.update(layer.spec.top)
        if force:
            return
        under_loss: set[str] = set()
        for layer in reversed(self.layers):
            contributes = any(
                name in under_loss or layer.loss_weight(i) for i, name in enumerate(layer.spec.top)
            )
            if not contributes:
                layer.needs_backward = layer.learns = False
                layer.propagate = [False] * len(layer.propagate)
                layer.param_propagate = [False] * len(layer.param_propagate)
            else:
                under_loss.update(
                    name for i, name in enumerate(layer.spec.bottom) if layer.backpropagates_to(i)
                )

    def _decide_accumulation(self) -> None:
        """For each diff of a bottom: does an earlier step of the backward pass write it?"""
        written: set[str] = set()
        for layer in reversed(self.layers):
            layer.accumulate = [False] * len(layer.propagate)
            for i, name in enumerate(layer.spec.bottom):
                if layer.propagate[i] and not layer.in_place:
                    layer.accumulate[i] = name in written
                    written.add(name)


def _fused(layers: list[Layer]) -> dict[int, float]:
    """ReLUs in place right behind a layer that can apply them itself."""
    return {
        position: layer.negative_slope
        for position, layer in enumerate(layers)
        if isinstance(layer, ReLU)
        and layer.in_place
        and position > 0
        and layers[position - 1].can_fuse_relu
        and layers[position - 1].spec.top == layer.spec.top
    }


def _check_counts(layer: Layer) -> None:
    """What is said for each of several must be said once for each, as Caffe demands."""
    spec = layer.spec
    for top in spec.top:
        if spec.top.count(top) > 1:
            raise layer.refuse(f"has two tops named {top!r}")
    for what, values, of, count in (
        ("loss_weight", spec.loss_weight, "tops", len(spec.top)),
        ("propagate_down", spec.propagate_down, "bottoms", len(spec.bottom)),
    ):
        if len(values) not in (0, count):
            raise layer.refuse(f"{len(values)} values of {what} for {count} {of}")
    if len(spec.param) > len(layer.fillers()):
        raise layer.refuse(f"{len(spec.param)} param for {len(layer.fillers())} parameters")


def _check_size(layer: Layer, what: str, shape: Shape, total: int = 0) -> None:
    """Refuses, before anything is allocated, what a slip of the pen makes of a size."""
    if max(shape, default=0) > LONGEST:
        raise layer.refuse(f"{what} of shape {shape} has an axis longer than {LONGEST}")
    if why := arena.excess(4 * max(prod(shape), total)):
        raise layer.refuse(f"{what} of shape {shape} {why}")

"""Concat, also of bottoms that are larger than the first and get cropped."""

from __future__ import annotations

from unet_native import ops
from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer
from unet_native.ops.arrays import Array
from unet_native.spec import Shape


class Concat(Layer):
    """The bottoms one after the other along `axis`.

    On the other axes, later bottoms may be larger than the first by an even number of pixels: then
    their centre is taken. Once the net has placed its blobs, `inside` names the bottoms whose diffs
    lie in the top's diff, and whose data in its data: for those there is nothing to do. Or the top
    `is_joined`: it has no data, its readers take the bottoms instead.
    Source: Caffe concat_layer.cpp; cropping from the 2019 Freiburg fork.
    """

    num_bottoms = (1, 1 << 30)
    can_accumulate = True

    def __init__(self, *args):
        super().__init__(*args)
        self.inside: set[int] = set()
        self.is_joined = False

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        first, axis = bottoms[0], self.spec.concat_param.axis
        if not 0 <= axis < len(first):
            raise self.refuse(f"axis {axis} does not exist in a bottom of shape {first}")
        for i, shape in enumerate(bottoms):
            excess = self.excess(i, bottoms)
            if len(shape) != len(first) or any(
                on < 2 or pixels < 0 or pixels % 2 for on, pixels in excess.items()
            ):
                raise self.refuse(
                    f"a bottom of shape {shape} can neither be joined to {first} along axis {axis} "
                    "nor cropped evenly to it"
                )
        length = sum(shape[axis] for shape in bottoms)
        return [(*first[:axis], length, *first[axis + 1 :])]

    def excess(self, bottom: int, bottoms: list[Shape]) -> dict[int, int]:
        """By how much that bottom is larger than the first, on each axis where it is."""
        pairs = enumerate(zip(bottoms[0], bottoms[bottom], strict=False))
        axis = self.spec.concat_param.axis
        return {on: size - first for on, (first, size) in pairs if on != axis and size != first}

    def _slices(self, top: Array) -> list[Array]:
        """The part of `top` that belongs to each bottom."""
        axis, start, slices = self.spec.concat_param.axis, 0, []
        for bottom in self.bottom:
            length = bottom.shape[axis]
            part = top[(slice(None),) * axis + (slice(start, start + length),)]
            slices.append(with_four_axes(part))
            start += length
        return slices

    def forward(self) -> None:
        if self.is_joined:
            return
        for i, part in enumerate(self._slices(self.top[0].data)):
            if i not in self.inside:
                ops.crop_forward(
                    with_four_axes(self.bottom[i].data),
                    part.shape[2:],
                    out=part,
                    context=self.execution.context,
                )

    def backward_data(self) -> None:
        for i, part in enumerate(self._slices(self.top[0].diff)):
            if self.propagate[i] and i not in self.inside:
                diff = with_four_axes(self.bottom_diffs[i])
                ops.crop_backward(
                    part,
                    diff.shape,
                    accumulate=self.accumulate[i],
                    out=diff,
                    context=self.execution.context,
                )

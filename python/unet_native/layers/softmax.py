"""Softmax over the channels."""

from __future__ import annotations

from unet_native import ops
from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer
from unet_native.spec import Shape


class Softmax(Layer):
    """exp(x) / sum over channels of exp(x). Source: Caffe softmax_layer.cpp."""

    backward_data_reads = ("top",)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        if self.spec.softmax_param.axis != 1 or len(bottoms[0]) < 2:
            raise self.refuse("only the axis 1 of a bottom of 2 to 4 axes is supported")
        return [bottoms[0]]

    def forward(self) -> None:
        ops.softmax_forward(
            with_four_axes(self.bottom[0].data),
            out=with_four_axes(self.top[0].data),
            context=self.execution.context,
        )

    def backward_data(self) -> None:
        ops.softmax_backward(
            with_four_axes(self.top[0].data),
            with_four_axes(self.top[0].diff),
            out=with_four_axes(self.bottom_diffs[0]),
            context=self.execution.context,
        )

"""ReLU with Caffe's negative_slope."""

from __future__ import annotations

from unet_native import ops
from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer


class ReLU(Layer):
    """max(x, 0) + negative_slope * min(x, 0). Source: Caffe relu_layer.cpp.

    In place, the backward pass sees the top: its sign is the bottom's as long as the slope is not
    negative, so a negative slope is refused there.
    """

    works_in_place = True
    backward_data_reads = ("bottom",)

    def __init__(self, *args):
        super().__init__(*args)
        self.negative_slope = self.spec.relu_param.negative_slope
        if self.in_place and self.negative_slope < 0:
            raise self.refuse("a negative_slope below 0 does not work in place; name another top")

    def forward(self) -> None:
        ops.relu_forward(
            with_four_axes(self.bottom[0].data),
            negative_slope=self.negative_slope,
            out=with_four_axes(self.top[0].data),
            context=self.execution.context,
        )

    def backward_data(self) -> None:
        ops.relu_backward(
            with_four_axes(self.bottom[0].data),
            with_four_axes(self.top[0].diff),
            negative_slope=self.negative_slope,
            out=with_four_axes(self.bottom_diffs[0]),
            context=self.execution.context,
        )

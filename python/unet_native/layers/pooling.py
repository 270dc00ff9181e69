"""2x2 max pooling, stride 2."""

from __future__ import annotations

from unet_native import ops
from unet_native.layers.base import CoordinateMap, Layer
from unet_native.layers.crop import Crop
from unet_native.spec import Shape


class Pooling(Layer):
    """MAX, kernel 2, stride 2, sizes rounded up. Source: Caffe pooling_layer.cpp."""

    backward_data_reads = ("bottom",)
    can_accumulate = True

    def __init__(self, *args):
        super().__init__(*args)
        p = self.spec.pooling_param
        if (p.pool, p.kernel_size, p.stride, p.pad, p.round_mode) != ("MAX", 2, 2, 0, "CEIL"):
            raise self.refuse(
                "only pool MAX with kernel_size 2, stride 2, pad 0 and round_mode CEIL is supported"
            )

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise self.refuse(f"a bottom of 4 axes is wanted, got shape {bottoms[0]}")
        n, c, h, w = bottoms[0]
        return [(n, c, -(-h // 2), -(-w // 2))]

    def is_cheap(self, bottoms: list[Shape]) -> bool:
        return True

    def absorbs_relu(self, bottoms: list[Shape]) -> bool:
        return True

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        return bottoms[0].window(2, 0.5, 0.5)

    def forward(self) -> None:
        ops.max_pool2x2_forward(
            self.bottom[0].data, out=self.top[0].data, context=self.execution.context
        )

    def backward_data(self, crop: Crop | None = None, negative_slope: float | None = None) -> None:
        """Also does, if they are given, the backward passes of the `crop` of the same bottom and of
        the ReLU in place that made it."""
        ops.max_pool2x2_backward(
            self.bottom[0].data,
            self.top[0].diff,
            skip_diff=None if crop is None else crop.top[0].diff,
            skip_offset=(0, 0) if crop is None else crop.offsets[2:],
            negative_slope=negative_slope,
            accumulate=self.accumulate[0] and crop is None,
            out=self.bottom_diffs[0],
            context=self.execution.context,
        )

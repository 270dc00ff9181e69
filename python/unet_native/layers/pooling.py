"""2x2 max pooling, stride 2."""

from __future__ import annotations

from unet_native import ops
from unet_native.layers.base import CoordinateMap, Layer
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

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        return bottoms[0].window(2, 0.5, 0.5)

    def forward(self) -> None:
        ops.max_pool2x2_forward(
            self.bottom[0].data, out=self.top[0].data, context=self.execution.context
        )

    def backward_data(self) -> None:
        ops.max_pool2x2_backward(
            self.bottom[0].data,
            self.top[0].diff,
            accumulate=self.accumulate[0],
            out=self.bottom_diffs[0],
            context=self.execution.context,
        )

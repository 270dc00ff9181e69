"""Rectified linear unit with Caffe's negative_slope."""

from __future__ import annotations

from unet_native import _core
from unet_native.ops.arrays import Array, channels_last, context_or_default, empty


def relu_forward(
    bottom: Array,
    *,
    negative_slope: float = 0.0,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """top = bottom where bottom > 0, else negative_slope * bottom.

    bottom, top: (N, C, H, W) float32; `out` may be `bottom` (in place).
    Source: Caffe relu_layer.cpp.
    """
    bottom = channels_last(bottom, "bottom")
    top = empty(bottom.shape) if out is None else out
    _core.relu_forward(context_or_default(context), bottom, negative_slope, top)
    return top


def relu_backward(
    data: Array,
    top_diff: Array,
    *,
    negative_slope: float = 0.0,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """bottom_diff = top_diff where data > 0, else negative_slope * top_diff.

    data: the bottom or, for negative_slope >= 0, the top, (N, C, H, W) float32; `out` may be
    `top_diff` (in place). Source: Caffe relu_layer.cpp.
    """
    data = channels_last(data, "data")
    top_diff = channels_last(top_diff, "top_diff")
    bottom_diff = empty(data.shape) if out is None else out
    _core.relu_backward(context_or_default(context), data, top_diff, negative_slope, bottom_diff)
    return bottom_diff

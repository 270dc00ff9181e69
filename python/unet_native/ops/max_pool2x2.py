"""2x2 max pooling with stride 2 and Caffe's rounding."""

from __future__ import annotations

from unet_native import _core
from unet_native.ops.arrays import Array, channels_last, context_or_default, empty


def max_pool2x2_forward(
    bottom: Array, *, out: Array | None = None, context: _core.Context | None = None
) -> Array:
    """top[oh, ow] = the maximum of bottom over rows 2*oh, 2*oh+1 and columns 2*ow, 2*ow+1.

    bottom: (N, C, H, W) float32; top: (N, C, ceil(H/2), ceil(W/2)): windows at an odd border are
    clipped. A NaN in a window is its maximum. Source: Caffe pooling_layer.cpp.
    """
    bottom = channels_last(bottom, "bottom")
    n, c, h, w = bottom.shape
    top = empty((n, c, (h + 1) // 2, (w + 1) // 2)) if out is None else out
    _core.max_pool2x2_forward(context_or_default(context), bottom, top)
    return top


def max_pool2x2_backward(
    bottom: Array,
    top_diff: Array,
    *,
    skip_diff: Array | None = None,
    skip_offset: tuple[int, int] = (0, 0),
    negative_slope: float | None = None,
    accumulate: bool = False,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """bottom_diff = top_diff at the maximum of each window, 0 elsewhere.

    Of equal maxima the first in row-major order takes the whole of top_diff. bottom: (N, C, H, W)
    float32; top_diff: (N, C, ceil(H/2), ceil(W/2)). With `accumulate`, adds to `out`; without,
    `out` may be `bottom` (in place). Source: Caffe pooling_layer.cpp.

    skip_diff: (N, C, SH, SW), what a skip connection brings back to the window of the bottom that
    begins at the pixel `skip_offset`; it is added. negative_slope: of the ReLU in place that made
    the bottom, through which the sum goes last; None: no ReLU. Both save the time of passes of
    their own over bottom_diff. Raises ValueError for shapes that do not fit.
    """
    bottom = channels_last(bottom, "bottom")
    top_diff = channels_last(top_diff, "top_diff")
    if skip_diff is not None:
        skip_diff = channels_last(skip_diff, "skip_diff")
    if accumulate and out is None:
        raise ValueError("max_pool2x2_backward: accumulate needs an array to add to: pass out")
    bottom_diff = empty(bottom.shape) if out is None else out
    _core.max_pool2x2_backward(
        context_or_default(context),
        bottom,
        top_diff,
        accumulate,
        skip_diff,
        skip_offset,
        negative_slope,
        bottom_diff,
    )
    return bottom_diff

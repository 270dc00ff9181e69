"""The ops of the core, one documented function each: numpy in, numpy out.

Arrays are float32 and indexed ``(N, C, H, W)`` as in Caffe. The core keeps the channels of a pixel
together in memory ("channels last"); every function here takes arrays of any layout, copies those
that lie otherwise, and returns arrays of Caffe's shape over channels-last memory, so that calls
chain without copies. Filters likewise: Caffe's shapes over ``[KH][KW][IC][OC]`` memory.

Where a function has an ``out`` argument (or ``*_diff`` to add to), that array is written in place
and must already lie that way: make it with :func:`empty`, :func:`empty_filter` or their kin.

``context`` says where a call runs (:class:`Context`: device, threads, instruction set); None is the
CPU with all cores this process may use. Results do not depend on the number of threads.

A wrong dtype, shape or layout raises ``ValueError`` with the op's name and both shapes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native._core import Context

__all__ = ["Context", "channels_last", "empty", "relu_backward", "relu_forward"]

Array = NDArray[np.float32]

_default_context = Context()


def empty(shape: tuple[int, int, int, int]) -> Array:
    """An uninitialised float32 array of Caffe's shape (N, C, H, W) over channels-last memory."""
    n, c, h, w = shape
    return np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def channels_last(array: Array, name: str = "array") -> Array:
    """`array` (N, C, H, W) float32 itself if its channels are contiguous, else a copy that is.

    Raises ValueError for another dtype or number of axes.
    """
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name}: expected a float32 array, got {got}")
    if array.ndim != 4:
        raise ValueError(f"{name}: expected 4 axes (N, C, H, W), got shape {array.shape}")
    if array.shape[1] == 1 or array.strides[1] == array.itemsize:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def relu_forward(
    bottom: Array,
    *,
    negative_slope: float = 0.0,
    out: Array | None = None,
    context: Context | None = None,
) -> Array:
    """top = bottom where bottom > 0, else negative_slope * bottom.

    bottom, top: (N, C, H, W) float32; `out` may be `bottom` (in place).
    Source: Caffe relu_layer.cpp.
    """
    bottom = channels_last(bottom, "bottom")
    top = empty(bottom.shape) if out is None else out
    _core.relu_forward(context or _default_context, bottom, negative_slope, top)
    return top


def relu_backward(
    data: Array,
    top_diff: Array,
    *,
    negative_slope: float = 0.0,
    out: Array | None = None,
    context: Context | None = None,
) -> Array:
    """bottom_diff = top_diff where data > 0, else negative_slope * top_diff.

    data: the bottom or, for negative_slope >= 0, the top, (N, C, H, W) float32; `out` may be
    `top_diff` (in place). Source: Caffe relu_layer.cpp.
    """
    data = channels_last(data, "data")
    top_diff = channels_last(top_diff, "top_diff")
    bottom_diff = empty(data.shape) if out is None else out
    _core.relu_backward(context or _default_context, data, top_diff, negative_slope, bottom_diff)
    return bottom_diff

"""Arrays as the core wants them: Caffe's shapes over channels-last memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_native._core import Context
from unet_native.arena import ALIGNMENT

Array = NDArray[np.float32]
Mask = NDArray[np.uint8]

_default_context = Context()


def context_or_default(context: Context | None) -> Context:
    """`context` itself; for None the CPU with all cores that this process may use."""
    return _default_context if context is None else context


def _aligned(shape: Sequence[int], dtype: type = np.float32) -> NDArray:
    """An uninitialised array that begins at a cache line, for whole lines are written faster."""
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def empty(shape: tuple[int, int, int, int], dtype: type = np.float32) -> NDArray:
    """An uninitialised array of Caffe's shape (N, C, H, W) over channels-last memory."""
    n, c, h, w = shape
    return _aligned((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def zeros(shape: tuple[int, int, int, int]) -> Array:
    """A float32 array of zeros of Caffe's shape (N, C, H, W) over channels-last memory."""
    n, c, h, w = shape
    return np.zeros((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def channels_last(array: Array, name: str = "array", dtype: type = np.float32) -> NDArray:
    """`array` (N, C, H, W) itself if its channels are contiguous, else a copy that is.

    Raises ValueError for a dtype other than `dtype` (float32) and for another number of axes.
    """
    check_dtype(array, name, dtype)
    if array.ndim != 4:
        raise ValueError(f"{name}: expected 4 axes (N, C, H, W), got shape {array.shape}")
    if array.shape[1] == 1 or array.strides[1] == array.itemsize:
        return array
    copy = empty(array.shape, dtype)
    copy[...] = array
    return copy


def check_dtype(array: NDArray, name: str, dtype: type = np.float32) -> None:
    """Raises ValueError unless `array` is a numpy array of `dtype`."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"{name}: expected a {np.dtype(dtype)} array, got {got}")


# Axes of a filter's [KH][KW][IC][OC] memory that make Caffe's shape, and back.
_FROM_MEMORY = {False: (3, 2, 0, 1), True: (2, 3, 0, 1)}
_TO_MEMORY = {False: (2, 3, 1, 0), True: (2, 3, 0, 1)}


def empty_filter(shape: tuple[int, int, int, int], *, transposed: bool = False) -> Array:
    """An uninitialised float32 filter of Caffe's shape over dense [KH][KW][IC][OC] memory.

    shape: (OC, IC, KH, KW) of a convolution or, with `transposed`, (IC, OC, KH, KW) of an
    up-convolution (Caffe's Deconvolution).
    """
    memory = [shape[axis] for axis in _TO_MEMORY[transposed]]
    return _aligned(memory).transpose(_FROM_MEMORY[transposed])


def zeros_filter(shape: tuple[int, int, int, int], *, transposed: bool = False) -> Array:
    """Like :func:`empty_filter`, filled with zeros."""
    weight = empty_filter(shape, transposed=transposed)
    weight[...] = 0
    return weight


def filter_memory(
    weight: Array, *, transposed: bool = False, name: str = "weight", in_place: bool = False
) -> Array:
    """The dense [KH][KW][IC][OC] array behind a filter of Caffe's shape.

    weight: (OC, IC, KH, KW), or (IC, OC, KH, KW) with `transposed`. One that lies otherwise is
    copied, or refused with ValueError if it is to be written (`in_place`).
    """
    check_dtype(weight, name)
    if weight.ndim != 4:
        axes = "(IC, OC, KH, KW)" if transposed else "(OC, IC, KH, KW)"
        raise ValueError(f"{name}: expected 4 axes {axes}, got shape {weight.shape}")
    memory = weight.transpose(_TO_MEMORY[transposed])
    if memory.flags.c_contiguous:
        return memory
    if in_place:
        raise ValueError(
            f"{name}: written in place, so its memory must be dense [KH][KW][IC][OC]: "
            "make it with empty_filter()"
        )
    return np.ascontiguousarray(memory)


def flat_memory(array: NDArray, name: str) -> NDArray:
    """A dense array of any axis order as the 1-D view of its memory; ValueError if not dense."""
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    memory = array.transpose(order)
    if not memory.flags.c_contiguous:
        raise ValueError(f"{name}: expected a dense array, got strides {array.strides}")
    return memory.reshape(-1)


def flat_alike(op: str, arrays: dict[str, Array]) -> list[Array]:
    """The flat memory of dense float32 arrays that lie like the first one, `weight`.

    Raises ValueError, naming `op` and the array, for another shape, memory order or dtype.
    """
    weight = next(iter(arrays.values()))
    for name, array in arrays.items():
        check_dtype(array, name)
        if array.shape != weight.shape or _order(array) != _order(weight):
            raise ValueError(
                f"{op}: {name} must have the shape and memory order of weight "
                f"({name} {array.shape} strides {array.strides}, "
                f"weight {weight.shape} strides {weight.strides})"
            )
    return [flat_memory(array, name) for name, array in arrays.items()]


def _order(array: Array) -> tuple[int, ...]:
    """The strides of the axes that have more than one element."""
    return tuple(s for s, size in zip(array.strides, array.shape, strict=True) if size > 1)


def empty_workspace(nbytes: int) -> Array:
    """`nbytes` of scratch memory for a pass, as ``<op>_workspace_bytes`` counts them; float32.

    It starts at a cache line: numpy's own arrays do not, and vectors that straddle two lines cost
    the matrix kernels up to a third of their speed.
    """
    return _aligned((-(-nbytes // 4),))

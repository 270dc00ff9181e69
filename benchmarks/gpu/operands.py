"""Operands that every competitor can make for itself, and arrays of any place.

Element i of an array of its seed, counted in the order of its memory, is the hash of i and the
seed, brought to [-1, 1): cudnn.cpp computes the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unet_native import ops
from unet_native.arena import allocate
from unet_native.ops.arrays import Array, empty_filter

#: By role.
SEEDS = {"bottom": 1, "weight": 2, "top_diff": 3}


def hashed(count: int, seed: int) -> Array:
    """`count` numbers in [-1, 1), exact in float32; the finish of MurmurHash3 (Appleby) of i."""
    x = np.arange(count, dtype=np.uint32)
    x += np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def blob(shape: Sequence[int], seed: int) -> Array:
    """(N, C, H, W) over channels-last memory."""
    n, c, h, w = shape
    return hashed(n * c * h * w, seed).reshape(n, h, w, c).transpose(0, 3, 1, 2)


def filters(shape: tuple[int, int, int, int], seed: int, *, transposed: bool = False) -> Array:
    """Caffe's shape over [KH][KW][IC][OC] memory."""
    weight = empty_filter(shape, transposed=transposed)
    memory(weight).reshape(-1)[:] = hashed(weight.size, seed)
    return weight


def memory(array: NDArray) -> NDArray:
    """A dense array with its axes in the order of its memory."""
    return array.transpose(_memory_order(array))


def placed(array: NDArray, context: ops.Context) -> NDArray:
    """A copy that lies as `array` does, in the memory of `context`."""
    source = memory(array)
    there = allocate(source.nbytes, context)[: source.nbytes].view(array.dtype)
    there = there.reshape(source.shape)
    there[...] = source
    return there.transpose(np.argsort(_memory_order(array)))


def workspace(nbytes: int, context: ops.Context) -> Array:
    """`nbytes` of it, or None for none."""
    return (
        allocate(nbytes, context)[:nbytes].view(np.float32) if nbytes else np.empty(0, np.float32)
    )


def _memory_order(array: NDArray) -> list[int]:
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])

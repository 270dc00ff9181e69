"""Dropout with Caffe's scaling and masks that can be drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.ops.arrays import Array, Mask, channels_last, context_or_default, empty


def dropout_mask(
    shape: tuple[int, int, int, int],
    ratio: float,
    *,
    seed: int,
    iteration: int = 0,
    further: NDArray[np.uint64] | None = None,
    layer: int = 0,
    out: Mask | None = None,
    context: _core.Context | None = None,
) -> Mask:
    """A uint8 mask for a blob of `shape` (N, C, H, W): 1 with probability 1 - ratio, else 0.

    A pure function of the arguments: the same on every machine, for any number of threads.
    ratio: 0 <= ratio < 1. seed, iteration: 64-bit unsigned; layer: 32-bit unsigned. further: one
    number that is added to iteration, and that a replayed graph reads anew. `out` must be
    dense channels-last. Random numbers: Philox4x32-10 (Salmon et al., SC 2011); element i in
    channels-last order takes word i % 4 of block i // 4.
    """
    mask = empty(shape, np.uint8) if out is None else out
    _core.dropout_mask(
        context_or_default(context),
        ratio,
        seed,
        iteration,
        further,
        layer,
        mask.transpose(0, 2, 3, 1),
    )
    return mask


def dropout_forward(
    bottom: Array,
    mask: Mask,
    ratio: float,
    *,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """top = bottom * mask / (1 - ratio).

    bottom, top: (N, C, H, W) float32; mask: the same shape, uint8, of zeros and ones; `out` may be
    `bottom` (in place). Phase TEST does not call this: there dropout is the identity.
    Source: Caffe dropout_layer.cpp.
    """
    bottom = channels_last(bottom, "bottom")
    mask = channels_last(mask, "mask", np.uint8)
    top = empty(bottom.shape) if out is None else out
    _core.dropout_forward(context_or_default(context), bottom, mask, ratio, top)
    return top


def dropout_backward(
    top_diff: Array,
    mask: Mask,
    ratio: float,
    *,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """bottom_diff = top_diff * mask / (1 - ratio).

    top_diff, bottom_diff: (N, C, H, W) float32; mask and ratio: those of the forward pass; `out`
    may be `top_diff` (in place). Source: Caffe dropout_layer.cpp.
    """
    top_diff = channels_last(top_diff, "top_diff")
    mask = channels_last(mask, "mask", np.uint8)
    bottom_diff = empty(top_diff.shape) if out is None else out
    _core.dropout_backward(context_or_default(context), top_diff, mask, ratio, bottom_diff)
    return bottom_diff

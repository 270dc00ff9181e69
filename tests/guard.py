"""Outputs between guard words: what an op leaves unwritten or writes too much shows up.

The output itself starts as NaN. Around it, before and behind every pixel, lies a NaN with a payload
that no arithmetic produces; :meth:`Guarded.checked` finds out whether any of those words changed.
"""

from __future__ import annotations

import numpy as np

from unet_native import ops

SENTINEL = np.uint32(0x7FC0BEEF)
MARGIN = 3  # channels and pixels on either side; odd, so that no vector starts aligned


class Guarded:
    """An array inside a larger buffer of guard words."""

    def __init__(self, buffer: np.ndarray, array: np.ndarray, inside: np.ndarray) -> None:
        self.array = array
        self._buffer = buffer
        self._inside = inside

    def checked(self) -> np.ndarray:
        """A copy of the array; AssertionError if a guard word changed."""
        words = self._buffer.view(np.uint32)
        touched = (words != SENTINEL) & ~self._inside
        assert not touched.any(), f"{touched.sum()} guard words overwritten"
        return self.array.copy()


def guarded_blob(
    shape: tuple[int, int, int, int], fill: np.ndarray | float = np.nan, margin: int = MARGIN
) -> Guarded:
    """A float32 blob (N, C, H, W), channels contiguous, with gaps around pixels, rows and images.

    `fill` is what it holds at first: NaN, or an array to accumulate into. `margin`: a multiple of 4
    leaves quads of channels aligned as they are.
    """
    n, c, h, w = shape
    padded = (n, h + 2 * margin, w + 2 * margin, c + 2 * margin)
    buffer = np.full(padded, SENTINEL, np.uint32).view(np.float32)
    window = np.s_[:, margin : margin + h, margin : margin + w, margin : margin + c]
    inside = np.zeros(padded, bool)
    inside[window] = True
    array = buffer[window].transpose(0, 3, 1, 2)
    array[...] = fill
    return Guarded(buffer, array, inside)


def guarded_dense(array: np.ndarray) -> Guarded:
    """A copy of a dense float32 array, in its memory order, with guard words before and behind."""
    order = np.argsort([-stride for stride in array.strides], kind="stable")
    memory = array.transpose(order)
    assert memory.flags.c_contiguous, "guarded_dense: the array must be dense"
    buffer = np.full(array.size + 2 * MARGIN, SENTINEL, np.uint32).view(np.float32)
    inside = np.zeros(buffer.shape, bool)
    inside[MARGIN:-MARGIN] = True
    copy = buffer[MARGIN:-MARGIN].reshape(memory.shape).transpose(np.argsort(order))
    copy[...] = array
    return Guarded(buffer, copy, inside)


def aligned_nan(shape: tuple[int, int, int, int]) -> np.ndarray:
    """A blob of NaN that begins at a cache line: a GPU's kernels then take channels by fours."""
    blob = ops.empty(shape)
    blob[...] = np.nan
    return blob

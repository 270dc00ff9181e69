"""Mirrored borders: reflection without repeating the edge pixel.

Position -1 of a line holds pixel 1, position ``size`` holds pixel ``size - 2``, and so on, repeated
as often as needed; a line of one pixel is constant. The released MATLAB code of the paper mirrors
in this way (others call it reflect-101).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mirror_index", "mirror_pad"]


def mirror_index(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """The pixels of a line of `size` pixels found at positions `start` .. `stop` - 1.

    Returns an (stop - start,) array of indices in 0 .. size - 1. Raises ValueError for size < 1.
    """
    if size < 1:
        raise ValueError(f"mirror_index: size must be at least 1, got {size}")
    position = np.arange(start, stop, dtype=np.intp)
    if size == 1:
        return np.zeros_like(position)
    position %= 2 * (size - 1)
    return np.where(position < size, position, 2 * (size - 1) - position)


def mirror_pad(
    image: np.ndarray, rows: tuple[int, int], columns: tuple[int, int] | None = None
) -> np.ndarray:
    """`image` (..., H, W) with mirrored margins, each (before, after); `columns` default to `rows`.

    Returns a new array (..., before + H + after, before + W + after). A negative margin crops.
    """
    columns = rows if columns is None else columns
    height, width = image.shape[-2:]
    row_index = mirror_index(-rows[0], height + rows[1], height)
    column_index = mirror_index(-columns[0], width + columns[1], width)
    return image[..., row_index[:, None], column_index]

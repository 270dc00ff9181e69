"""Averages over transforms of the image: raw scores of each, turned back, and their mean.

    none       the image alone
    mirror4    it and its mirror images left-right, up-down and both: the release of 2015 averages
               these (raw scores, before the softmax)
    dihedral8  these four and their quarter turns
    rotate7    seven rotations. The paper (section 4) averages over seven for the EM challenge and
               does not say by which angles; here they are the multiples of 360/7 degrees, 0
               included, for which nothing is interpolated

A transform makes another plane of the image, its frame, in which tiles lie as in any image. So the
result does not depend on how it was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, cos, radians, sin
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.data.mirror import mirror_index
from unet_native.errors import UserError

__all__ = ["AVERAGES", "Part", "Rotation", "View", "check_average", "transforms"]

Array = NDArray[np.float32]
Normalise = Callable[[NDArray], Array]
Pair = tuple[int, int]

#: The names, in the order of the time they take.
AVERAGES = ("none", "mirror4", "rotate7", "dihedral8")

_GRID = 1024  # positions are multiples of 1/1024 px: exact in float32 wherever a window begins
_BAND = 64  # rows interpolated at a time, to need little memory


@dataclass(frozen=True)
class Part:
    """What one tile contributes: pixels from `origin` on, `extent` of them, (rows, columns), in
    the frame of a transform. Parts of neighbouring tiles adjoin."""

    origin: Pair
    extent: Pair


@dataclass(frozen=True)
class View:
    """The image with its rows or columns reversed, then perhaps its axes exchanged: no pixel is
    computed."""

    up_down: bool = False
    left_right: bool = False
    transposed: bool = False

    overlap: ClassVar[int] = 0  # pixels of a tile beyond its part

    def frame(self, size: Pair) -> Pair:
        """(H, W) of the transformed image."""
        return size[::-1] if self.transposed else size

    def scratch(self, tile: Pair, channels: int) -> int:
        """Bytes taken beside the tile itself."""
        return 0

    def is_used(self, part: Part, size: Pair) -> bool:
        """Whether the part of a tile holds any pixel of the image."""
        return True

    def read(
        self, image: NDArray, origin: Pair, tile: Pair, normalise: Normalise, context: _core.Context
    ) -> Array:
        """The input tile (C, h, w) whose upper left pixel is `origin` of the frame; mirrored
        borders."""
        plane = self(image)
        rows, columns = (
            mirror_index(start, start + side, extent)
            for start, side, extent in zip(origin, tile, plane.shape[1:], strict=True)
        )
        return normalise(plane[:, rows[:, None], columns])

    def add(
        self, score: Array, part: Part, out: Array, accumulate: bool, context: _core.Context
    ) -> None:
        """Adds the part of a tile's scores (classes, h, w) to those of the image, or writes them.

        score: begins at part.origin. out: (classes, H, W) of the whole image.
        """
        (y, x), (height, width) = part.origin, part.extent
        inside = self(out)[:, y : y + height, x : x + width]
        if accumulate:
            inside += score[:, :height, :width]
        else:
            inside[...] = score[:, :height, :width]

    def __call__(self, array: NDArray) -> NDArray:
        """(.., H, W) as a view."""
        array = array[..., :: -1 if self.up_down else 1, :: -1 if self.left_right else 1]
        return array.swapaxes(-1, -2) if self.transposed else array


@dataclass(frozen=True)
class Rotation:
    """The image, mirrored at its borders, rotated about its centre; both ways by bicubic
    convolution (Keys 1981, a = -1/2).

    position in the image - its centre = R (position in the frame - the frame's centre),
    R = [[cos, -sin], [sin, cos]], positions being (row, column).
    """

    degrees: float

    overlap: ClassVar[int] = 3  # a score is interpolated from a pixel before it to two behind

    def frame(self, size: Pair) -> Pair:
        """(H, W) in which each pixel of an image of `size` has all that interpolation takes."""
        c, s = abs(cos(radians(self.degrees))), abs(sin(radians(self.degrees)))
        height, width = size[0] - 1, size[1] - 1
        return ceil(c * height + s * width) + 5, ceil(s * height + c * width) + 5

    def scratch(self, tile: Pair, channels: int) -> int:
        """Bytes taken beside the tile itself: the normalised window that it is sampled from, before
        and after its axes are exchanged, and the positions of a band."""
        return 2 * 4 * channels * 2 * tile[0] * tile[1] + 100 * _BAND * tile[1]

    def is_used(self, part: Part, size: Pair) -> bool:
        """Whether the part of a tile holds any pixel of the image."""
        return all(first < last for first, last in self._box(part, size))

    def read(
        self, image: NDArray, origin: Pair, tile: Pair, normalise: Normalise, context: _core.Context
    ) -> Array:
        """The input tile (C, h, w) whose upper left pixel is `origin` of the frame."""
        size = image.shape[1], image.shape[2]
        (y, x), (height, width) = origin, tile
        window = [
            (int(corners.min()) - 2, int(corners.max()) + 4)
            for corners in np.moveaxis(self._in_image((y, y + height), (x, x + width), size), -1, 0)
        ]
        rows, columns = (
            mirror_index(*edges, extent) for edges, extent in zip(window, size, strict=True)
        )
        source = _channels_last(normalise(image[:, rows[:, None], columns]))
        data = np.empty((height, width, len(image)), np.float32)
        for top in range(0, height, _BAND):
            band = range(y + top, y + min(top + _BAND, height))
            position = self._in_image(band, range(x, x + width), size)
            _sample(
                source, position, (window[0][0], window[1][0]), data[top:][: len(band)], context
            )
        return data.transpose(2, 0, 1)

    def add(
        self, score: Array, part: Part, out: Array, accumulate: bool, context: _core.Context
    ) -> None:
        """Adds the part of a tile's scores (classes, h, w) to those of the image, or writes them.

        score: begins at part.origin. out: (classes, H, W) of the whole image. A pixel of the image
        belongs to the part in which it lies, counted from 1 pixel behind the origin.
        """
        size = out.shape[1], out.shape[2]
        source = _channels_last(score)
        low = np.add(part.origin, 1)
        (first, last), (left, right) = self._box(part, size)
        for top in range(first, last, _BAND):
            band = range(top, min(top + _BAND, last))
            position = self._in_frame(band, range(left, right), size)
            inside = np.all((position >= low) & (position < low + part.extent), axis=-1)
            sampled = np.empty((np.count_nonzero(inside), 1, len(out)), np.float32)
            if sampled.size == 0:
                continue
            _sample(source, position[inside][:, None], part.origin, sampled, context)
            target = out[:, band.start : band.stop, left:right]
            if accumulate:
                target[:, inside] += sampled[:, 0].T
            else:
                target[:, inside] = sampled[:, 0].T

    def _box(self, part: Part, size: Pair) -> list[Pair]:
        """Rows and columns (first, last + 1) of the image among which the pixels of a part are."""
        (y, x), (height, width) = np.add(part.origin, 1).tolist(), part.extent
        corners = self._in_image((y, y + height), (x, x + width), size)
        return [
            (max(0, int(at.min()) - 1), min(extent, int(at.max()) + 2))
            for at, extent in zip(np.moveaxis(corners, -1, 0), size, strict=True)
        ]

    def _in_image(self, rows: range | Pair, columns: range | Pair, size: Pair) -> NDArray:
        """Where pixels of the frame lie in an image of `size`, (rows, columns, 2) float64."""
        return _turned(self.degrees, rows, columns, self.frame(size), size)

    def _in_frame(self, rows: range | Pair, columns: range | Pair, size: Pair) -> NDArray:
        """Where pixels of an image of `size` lie in the frame, (rows, columns, 2) float64."""
        return _turned(-self.degrees, rows, columns, size, self.frame(size))


def transforms(average: str) -> list[View] | list[Rotation | View]:
    """The transforms of one of :data:`AVERAGES`, in the order in which they are summed.

    Those whose frames have the same size follow one another, so that the network changes its shape
    as seldom as possible. Raises UserError for another name.
    """
    check_average(average)
    if average == "none":
        return [View()]
    if average == "rotate7":
        turns = (1, 6, 2, 5, 3, 4)  # k / 7 and (7 - k) / 7 of a turn have frames of one size
        return [View(), *(Rotation(360 * turn / 7) for turn in turns)]
    mirrors = [(False, False), (False, True), (True, False), (True, True)]
    exchanged = (False, True) if average == "dihedral8" else (False,)
    return [View(*mirror, transposed) for transposed in exchanged for mirror in mirrors]


def check_average(average: str) -> None:
    """UserError if this is not one of :data:`AVERAGES`."""
    if average not in AVERAGES:
        raise UserError(f"average {average!r} is unknown: use {', '.join(AVERAGES)}")


def _turned(degrees: float, rows, columns, own: Pair, other: Pair) -> NDArray[np.float64]:
    """Positions (rows, columns, 2) in a plane of size `other` of pixels of one of size `own`."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    y = np.asarray(rows, np.float64)[:, None] - (own[0] - 1) / 2
    x = np.asarray(columns, np.float64) - (own[1] - 1) / 2
    position = np.stack([c * y - s * x, s * y + c * x], axis=-1)
    position += [(other[0] - 1) / 2, (other[1] - 1) / 2]
    return np.rint(position * _GRID) / _GRID


def _sample(
    source: Array, position: NDArray, origin: Pair, out: Array, context: _core.Context
) -> None:
    """out (h, w, C) = source (H, W, C), which begins at `origin`, at position (h, w, 2)."""
    _core.sample_image(context, source, (position - origin).astype(np.float32), True, out)


def _channels_last(array: Array) -> Array:
    """(C, H, W) as a dense (H, W, C)."""
    return np.ascontiguousarray(array.transpose(1, 2, 0))

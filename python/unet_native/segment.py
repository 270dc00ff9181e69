"""Overlap-tile segmentation of images of any size (paper, figure 2).

The network loses a border on every side (92 pixels for 5 levels), so each output tile is computed
from a larger input tile; beyond the image's border the input is the mirrored image. Neighbouring
tiles start a multiple of 2^(depth-1) pixels apart, because max pooling is not invariant under other
shifts: so the result does not depend on how an image was cut, and no pixel is seen without its
full surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import inf, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unet_native import models, ops
from unet_native.average import Part, Rotation, View, check_average, transforms
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.ops.arrays import context_or_default
from unet_native.room import tile_bytes
from unet_native.spec import NetSpec

__all__ = ["MEMORY_LIMIT", "Pass", "Segmenter", "Tiling", "choose_tiling", "depth_of"]

Array = NDArray[np.float32]

#: Bytes that the blobs of one tile may take. A constant, not what happens to be free: so that a
#: segmentation can be repeated bit by bit.
MEMORY_LIMIT = 1_000_000_000

_PROBE = 188  # output side of the tile on which the need of memory is measured first
_ATTEMPTS = 8  # the need is nearly, but not quite, proportional to the area
_BLOCK = 1 << 20  # scores that become probabilities at a time


@dataclass(frozen=True)
class Tiling:
    """How an image is cut. Sizes and origins are (rows, columns), in pixels.

    input_size, output_size   of every tile
    stride                    between the origins of neighbouring output tiles
    counts                    tiles along rows and columns; the last ones may stick out
    """

    input_size: tuple[int, int]
    output_size: tuple[int, int]
    stride: tuple[int, int]
    counts: tuple[int, int]

    @property
    def transposed(self) -> Tiling:
        """The tiling of the transposed image."""
        return Tiling(*(getattr(self, field.name)[::-1] for field in fields(self)))

    def parts(self, size: tuple[int, int], overlap: int = 0) -> list[Part]:
        """What the tiles contribute to an image of `size`, row by row: each from its origin to that
        of the next, the last ones to the end, less `overlap` pixels."""
        rows, columns = (
            [(i * stride, stride) for i in range(count - 1)]
            + [((count - 1) * stride, extent - overlap - (count - 1) * stride)]
            for stride, count, extent in zip(self.stride, self.counts, size, strict=True)
        )
        return [Part((y, x), (height, width)) for y, height in rows for x, width in columns]


def depth_of(spec: NetSpec) -> int:
    """Number of levels of a U-Net: one more than it has poolings."""
    return 1 + sum(layer.type == "Pooling" for layer in spec.layers)


def choose_tiling(
    size: tuple[int, int],
    depth: int,
    max_pixels: float,
    tile: int | None = None,
    overlap: int = 0,
) -> Tiling:
    """The cheapest way to cut an image of `size` (H, W) for a network of `depth` levels.

    max_pixels: limit on the area of an input tile (the smallest valid tile is always allowed).
    tile: side of square input tiles, instead of a choice. overlap: pixels that neighbouring output
    tiles must share. Raises UserError if `tile` is not valid, or too small for tiles side by side.
    """
    step, margin = 2 ** (depth - 1), 2 * models.border(depth)
    if tile is not None:
        try:
            out = models.output_size(tile, depth)
        except ValueError as error:
            raise UserError(str(error)) from None
        if out < min(step + overlap, max(size)):
            least = models.input_size(step + overlap, depth)
            raise UserError(
                f"tiles of {tile} pixels yield {out}, and must begin multiples of {step} pixels "
                f"apart: they would leave gaps; take tiles of {least} pixels or more"
            )
        return _tiling([_side(extent, out, depth, overlap) for extent in size])
    rows, columns = (_candidates(extent, max_pixels, depth, overlap) for extent in size)
    area = (rows[:, None] + margin) * (columns + margin)
    tiles = _counts(size[0], rows, step, overlap)[:, None] * _counts(
        size[1], columns, step, overlap
    )
    cost = np.where(area <= max_pixels, (area * tiles).astype(np.float64), np.inf)
    cost[0, 0] = min(cost[0, 0], np.finfo(np.float64).max)
    best = np.unravel_index(np.argmin(cost), cost.shape)
    chosen = int(rows[best[0]]), int(columns[best[1]])
    return _tiling(
        [_side(extent, out, depth, overlap) for extent, out in zip(size, chosen, strict=True)]
    )


def _candidates(extent: int, max_pixels: float, depth: int, overlap: int) -> NDArray[np.int64]:
    """Output sizes worth considering along an axis of `extent` pixels, the smallest first."""
    step, least = 2 ** (depth - 1), models.input_size(1, depth) - 2 * models.border(depth)
    while least < min(step + overlap, extent):  # such tiles would leave gaps between them
        least += step
    return np.arange(least, max(least, min(extent, max_pixels)) + step, step)


def _tiling(sides: list[tuple[int, int, int, int]]) -> Tiling:
    return Tiling(*(tuple(pair) for pair in zip(*sides, strict=True)))


def _side(extent: int, out: int, depth: int, overlap: int) -> tuple[int, int, int, int]:
    """Input size, output size, stride and count along one axis."""
    step = 2 ** (depth - 1)
    count = int(_counts(extent, np.array(out), step, overlap))
    return out + 2 * models.border(depth), out, int(_stride(np.array(out), step, overlap)), count


def _counts(extent: int, out: NDArray, step: int, overlap: int) -> NDArray:
    """Tiles of `out` pixels needed along an axis of `extent` pixels."""
    return 1 + np.maximum(0, -(-(extent - out) // _stride(out, step, overlap)))


def _stride(out: NDArray, step: int, overlap: int) -> NDArray:
    """Between the origins of tiles of `out` pixels; one that is too small stands alone."""
    stride = (out - overlap) // step * step
    return np.where(stride > 0, stride, out)


class Pass(NamedTuple):
    """One transform of an image, how it is cut, and what its tiles contribute."""

    transform: View | Rotation
    tiling: Tiling
    parts: list[Part]


class Segmenter:
    """Segments images with one network, keeping its memory from one image to the next.

    spec           the network; its phase TEST has input "data" and output "score"
    params_of      net with the parameters
    algorithm      of the 3x3 convolutions: "auto", or "direct" for results that do not depend on
                   the tiles to the last bit
    context        where the network runs; images are cut and put together on the CPU
    memory_limit   bytes that the blobs of one tile may take
    tile           side of square input tiles; None = what suits the image and the limit
    average        over which transforms of the image: one of unet_native.average.AVERAGES

    Raises UserError for an unknown average.
    """

    def __init__(
        self,
        spec: NetSpec,
        params_of: Net,
        *,
        context: ops.Context | None = None,
        algorithm: str = "auto",
        memory_limit: int = MEMORY_LIMIT,
        tile: int | None = None,
        average: str = "none",
    ) -> None:
        check_average(average)
        self.spec = spec
        self.depth = depth_of(spec)
        self._params_of = params_of
        self._context = context_or_default(context)
        self._host = self._context if self._context.device == "cpu" else ops.Context()
        self._algorithm = algorithm
        self.memory_limit = memory_limit
        self.tile = tile
        self.average = average
        self._net: Net | None = None
        self._tilings: dict[tuple, Tiling] = {}

    def tiling(self, size: tuple[int, int], channels: int = 1, overlap: int = 0) -> Tiling:
        """How an image of `size` (H, W) will be cut; neighbouring tiles share `overlap` pixels."""
        key = size, channels, overlap, self.memory_limit, self.tile
        if key not in self._tilings:
            self._tilings[key] = self._find_tiling(size, channels, overlap)
        return self._tilings[key]

    def passes(
        self, size: tuple[int, int], channels: int = 1, average: str | None = None
    ) -> list[Pass]:
        """How an image of `size` (H, W) will be segmented: its transforms, and how each is cut."""
        return [
            self._pass(transform, size, channels)
            for transform in transforms(self.average if average is None else average)
        ]

    def _pass(self, transform: View | Rotation, size: tuple[int, int], channels: int) -> Pass:
        frame = transform.frame(size)
        if isinstance(transform, View):
            tiling = self.tiling(size, channels)
            tiling = tiling.transposed if transform.transposed else tiling
        else:
            tiling = self.tiling(frame, channels, transform.overlap)
        parts = tiling.parts(frame, transform.overlap)
        return Pass(transform, tiling, [part for part in parts if transform.is_used(part, size)])

    def _find_tiling(self, size: tuple[int, int], channels: int, overlap: int) -> Tiling:
        shape = [models.input_size(_PROBE, self.depth)] * 2
        max_pixels = inf
        for _ in range(_ATTEMPTS):
            nbytes = self._tile_bytes(channels, shape)
            max_pixels = min(max_pixels, self.memory_limit / nbytes * prod(shape))
            tiling = choose_tiling(size, self.depth, max_pixels, self.tile, overlap)
            if tiling.input_size == tuple(shape):
                break
            shape = tiling.input_size
        return tiling

    def _tile_bytes(self, channels: int, size: tuple[int, int]) -> int:
        self._check_channels(channels)
        shape = (1, channels, *size)
        return tile_bytes(self.spec, self._context, self._algorithm, shape)

    def planned_memory(self, size: tuple[int, int], channels: int = 1) -> int:
        """Bytes that a tile of an image of `size` will take, before it takes them."""
        return self._tile_bytes(channels, self.tiling(size, channels).input_size)

    def memory(self, tiling: Tiling, channels: int = 1) -> int:
        """Bytes that the network takes for such tiles, beside its parameters."""
        held = self._net_for((1, channels, *tiling.input_size)).memory()
        return sum(nbytes for use, nbytes in held.items() if use != "parameters")

    def empty_tile(self, size: tuple[int, int], channels: int = 1) -> Callable[[], Array]:
        """A function that computes one tile of zeros of an image of `size`, to be timed."""
        shape = (1, channels, *self.tiling(size, channels).input_size)
        net, data = self._net_for(shape), np.zeros(shape, np.float32)
        return lambda: self._score(net, data)

    def probabilities(
        self,
        image: NDArray,
        progress: Callable[[int, int], None] | None = None,
        *,
        normalise: Callable[[NDArray], Array] | None = None,
        out: Array | None = None,
        average: str | None = None,
    ) -> Array:
        """The softmax over classes, at every pixel, of the scores averaged over transforms.

        image      (C, H, W), H and W from 1 up; float32 and normalised, if `normalise` is None
        progress   called with (tiles done, tiles in all), those of all transforms
        normalise  applied to each tile of the image: no normalised copy of the whole is made
        out        (classes, H, W) float32 to write to; None: a new array
        average    instead of that of this Segmenter

        Returns (classes, H, W) float32. Raises UserError if the network takes other channels, and
        for an unknown average.
        """
        channels, *size = image.shape
        passes = self.passes((size[0], size[1]), channels, average)
        border = models.border(self.depth)
        done, tiles = 0, sum(len(one.parts) for one in passes)
        for index, (transform, tiling, parts) in enumerate(passes):
            net = self._net_for((1, channels, *tiling.input_size))
            if out is None:
                out = np.empty((net.blobs["score"].shape[1], *size), np.float32)
            for part in parts:
                if progress is not None:
                    progress(done, tiles)
                origin = part.origin[0] - border, part.origin[1] - border
                data = transform.read(
                    image, origin, tiling.input_size, normalise or np.asarray, self._host
                )
                score = self._score(net, data[None])
                if len(passes) == 1:
                    score = ops.softmax_forward(score, context=self._host)
                transform.add(score[0], part, out, index > 0, self._host)
                del data, score  # the next transform may need the memory behind them
                done += 1
        if len(passes) > 1:
            self._probabilities_of_sums(out, len(passes))
        if progress is not None:
            progress(tiles, tiles)
        return out

    def _probabilities_of_sums(self, sums: Array, count: int) -> None:
        """The softmax of sums / count, in place; (classes, H, W), some rows at a time."""
        classes, height, width = sums.shape
        rows = max(1, _BLOCK // (classes * width))
        for top in range(0, height, rows):
            block = sums[:, top : top + rows]
            block[...] = ops.softmax_forward((block / count)[None], context=self._host)[0]

    def release(self) -> None:
        """Gives back the memory that is kept for the next image."""
        self._net = None

    def _score(self, net: Net, data: Array) -> Array:
        """Raw scores (1, classes, h, w) of one tile; the net overwrites them in the next pass."""
        return net.forward(data=data)["score"]

    def _net_for(self, shape: tuple[int, int, int, int]) -> Net:
        self._check_channels(shape[1])
        if self._net is None:
            self._net = Net(
                self.spec,
                "TEST",
                plan="lean",
                context=self._context,
                algorithm=self._algorithm,
                params_of=self._params_of,
                data=shape,
            )
        elif self._net.blobs["data"].shape != shape:
            self._net.blobs["data"].reshape(*shape)
            self._net.reshape()
        return self._net

    def _check_channels(self, channels: int) -> None:
        wanted = self._channels_wanted()
        if channels != wanted:
            raise UserError(
                f"the image has {channels} channels, the network wants {wanted}; convert the image"
            )

    def _channels_wanted(self) -> int:
        for layer in self.spec.layers:
            if "data" in layer.top and layer.type == "Input":
                return layer.input_param.shape[0][1]
        raise UserError(f"network {self.spec.name!r} has no input named 'data'")

"""Overlap-tile segmentation of images of any size (paper, figure 2).

The network loses a border on every side (92 pixels for 5 levels), so each output tile is computed
from a larger input tile; beyond the image's border the input is the mirrored image. Neighbouring
tiles start a multiple of 2^(depth-1) pixels apart, because max pooling is not invariant under other
shifts: so the result does not depend on how an image was cut, and no pixel is seen without its
full surroundings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, prod

import numpy as np
from numpy.typing import NDArray

from unet_native import models, ops
from unet_native.data.mirror import mirror_index
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.spec import NetSpec

__all__ = ["MEMORY_LIMIT", "Segmenter", "Tiling", "choose_tiling", "depth_of"]

Array = NDArray[np.float32]

#: Bytes that the blobs of one tile may take. A constant, not what happens to be free: so that a
#: segmentation can be repeated bit by bit.
MEMORY_LIMIT = 1_000_000_000

_PROBE = 188  # output side of the tile on which the need of memory is measured first
_ATTEMPTS = 8  # the need is nearly, but not quite, proportional to the area


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
    def origins(self) -> list[tuple[int, int]]:
        """Upper left corners of the output tiles in the image, row by row."""
        rows, columns = (
            [i * stride for i in range(count)]
            for stride, count in zip(self.stride, self.counts, strict=True)
        )
        return [(y, x) for y in rows for x in columns]


def depth_of(spec: NetSpec) -> int:
    """Number of levels of a U-Net: one more than it has poolings."""
    return 1 + sum(layer.type == "Pooling" for layer in spec.layers)


def choose_tiling(
    size: tuple[int, int], depth: int, max_pixels: float, tile: int | None = None
) -> Tiling:
    """The cheapest way to cut an image of `size` (H, W) for a network of `depth` levels.

    max_pixels: limit on the area of an input tile (the smallest valid tile is always allowed).
    tile: side of square input tiles, instead of a choice. Raises UserError if it is not valid.
    """
    if tile is not None:
        try:
            out = models.output_size(tile, depth)
        except ValueError as error:
            raise UserError(str(error)) from None
        sides = [_side(extent, out, depth) for extent in size]
        return _tiling(sides)
    step, margin = 2 ** (depth - 1), 2 * models.border(depth)
    rows, columns = (_candidates(extent, max_pixels, depth) for extent in size)
    area = (rows[:, None] + margin) * (columns + margin)
    tiles = _counts(size[0], rows, step)[:, None] * _counts(size[1], columns, step)
    cost = np.where(area <= max_pixels, (area * tiles).astype(np.float64), np.inf)
    cost[0, 0] = min(cost[0, 0], np.finfo(np.float64).max)
    best = np.unravel_index(np.argmin(cost), cost.shape)
    chosen = int(rows[best[0]]), int(columns[best[1]])
    return _tiling([_side(extent, out, depth) for extent, out in zip(size, chosen, strict=True)])


def _candidates(extent: int, max_pixels: float, depth: int) -> NDArray[np.int64]:
    """Output sizes worth considering along an axis of `extent` pixels, the smallest first."""
    step, least = 2 ** (depth - 1), models.input_size(1, depth) - 2 * models.border(depth)
    if least < min(step, extent):  # several such tiles could not start at multiples of `step`
        least += step
    return np.arange(least, max(least, min(extent, max_pixels)) + step, step)


def _tiling(sides: list[tuple[int, int, int, int]]) -> Tiling:
    return Tiling(*(tuple(pair) for pair in zip(*sides, strict=True)))


def _side(extent: int, out: int, depth: int) -> tuple[int, int, int, int]:
    """Input size, output size, stride and count along one axis."""
    step = 2 ** (depth - 1)
    count = int(_counts(extent, np.array(out), step))
    return out + 2 * models.border(depth), out, out // step * step or out, count


def _counts(extent: int, out: NDArray, step: int) -> NDArray:
    """Tiles of `out` pixels needed along an axis of `extent` pixels."""
    stride = np.where(out >= step, out // step * step, out)
    return 1 + np.maximum(0, -(-(extent - out) // stride))


class Segmenter:
    """Segments images with one network, keeping its memory from one image to the next.

    spec           the network; its phase TEST has input "data" and output "score"
    params_of      net with the parameters
    algorithm      of the 3x3 convolutions: "auto", or "direct" for results that do not depend on
                   the tiles to the last bit
    memory_limit   bytes that the blobs of one tile may take
    tile           side of square input tiles; None = what suits the image and the limit
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
    ) -> None:
        self.spec = spec
        self.depth = depth_of(spec)
        self._params_of = params_of
        self._context = context
        self._algorithm = algorithm
        self.memory_limit = memory_limit
        self.tile = tile
        self._net: Net | None = None

    def tiling(self, size: tuple[int, int], channels: int = 1) -> Tiling:
        """How an image of `size` (H, W) will be cut."""
        shape = [models.input_size(_PROBE, self.depth)] * 2
        max_pixels = inf
        for _ in range(_ATTEMPTS):
            nbytes = self._net_for((1, channels, *shape)).plan.bytes
            max_pixels = min(max_pixels, self.memory_limit / nbytes * prod(shape))
            tiling = choose_tiling(size, self.depth, max_pixels, self.tile)
            if tiling.input_size == tuple(shape):
                break
            shape = tiling.input_size
        return tiling

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
    ) -> Array:
        """The softmax over classes at every pixel.

        image      (C, H, W), H and W from 1 up; float32 and normalised, if `normalise` is None
        progress   called with (tiles done, tiles in all)
        normalise  applied to each tile of the image: no normalised copy of the whole is made
        out        (classes, H, W) float32 to write to; None: a new array

        Returns (classes, H, W) float32. Raises UserError if the network takes other channels.
        """
        channels, *size = image.shape
        tiling = self.tiling((size[0], size[1]), channels)
        net = self._net_for((1, channels, *tiling.input_size))
        border = models.border(self.depth)
        result = out
        origins = tiling.origins
        for done, (y, x) in enumerate(origins):
            if progress is not None:
                progress(done, len(origins))
            rows, columns = (
                mirror_index(start - border, start - border + side, extent)
                for start, side, extent in zip((y, x), tiling.input_size, size, strict=True)
            )
            data = image[:, rows[:, None], columns]
            score = self._score(net, (data if normalise is None else normalise(data))[None])
            tile = ops.softmax_forward(score, context=self._context)[0]
            if result is None:
                result = np.empty((len(tile), *size), np.float32)
            inside = result[:, y : y + tile.shape[1], x : x + tile.shape[2]]
            inside[...] = tile[:, : inside.shape[1], : inside.shape[2]]
        if progress is not None:
            progress(len(origins), len(origins))
        return result

    def release(self) -> None:
        """Gives back the memory that is kept for the next image."""
        self._net = None

    def _score(self, net: Net, data: Array) -> Array:
        """Raw scores (1, classes, h, w) of one tile; the net overwrites them in the next pass."""
        return net.forward(data=data)["score"]

    def _net_for(self, shape: tuple[int, int, int, int]) -> Net:
        wanted = self._channels_wanted()
        if shape[1] != wanted:
            raise UserError(
                f"the image has {shape[1]} channels, the network wants {wanted}; convert the image"
            )
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

    def _channels_wanted(self) -> int:
        for layer in self.spec.layers:
            if "data" in layer.top and layer.type == "Input":
                return layer.input_param.shape[0][1]
        raise UserError(f"network {self.spec.name!r} has no input named 'data'")

"""What a training run learns from, to look at: a weight map and the first tiles."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.contact_sheet import sample_tiles
from unet_native.data.sampler import Sampler
from unet_native.report.page import text
from unet_native.report.pictures import (
    coloured,
    colours_of,
    grey,
    image_picture,
    mapped,
    shrunken,
)

__all__ = ["TrainingPictures"]

_TILES = 3
_TILE_SIDE = 400  # px, to bound the size of the page
_SMALL = 256  # px: what is longer would only be made coarse by squares
_MAP = "magma"


@dataclass(frozen=True)
class TrainingPictures:
    """Data URIs, made once in a run.

    tiles    of each: (iteration, slice, tile, label, weight)
    sizes    px: side of the tile and of its label
    slice    name, image and weight map of the first slice
    highest  weight in the map, and in the tiles: white in the colours
    small    whether pixels should show as squares: of the slice, of the tiles
    """

    tiles: tuple[tuple[int, str, str, str, str], ...]
    sizes: tuple[int, int]
    slice: tuple[str, str, str]
    highest: tuple[float, float]
    small: tuple[bool, bool]

    @classmethod
    def of(cls, sampler: Sampler) -> TrainingPictures:
        tiles = sample_tiles(sampler, min(_TILES, len(sampler.dataset)))
        highest = max(float(tile.weight.max()) for tile in tiles)
        first = sampler.dataset[0]
        weight = sampler.weight_map(0)
        return cls(
            tiles=tuple(
                (
                    tile.iteration,
                    tile.name,
                    grey(_thinned(_framed(tile.grey, len(tile.weight)))),
                    coloured(_thinned(tile.cells)),
                    _weights(_thinned(tile.weight), highest),
                )
                for tile in tiles
            ),
            sizes=(sampler.tile_in, sampler.tile_out),
            slice=(
                first.name,
                image_picture(first.raw),
                _weights(shrunken(weight), float(weight.max())),
            ),
            highest=(float(weight.max()), highest),
            small=(max(weight.shape) <= _SMALL, sampler.tile_in <= _SMALL),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> TrainingPictures:
        """What :meth:`to_dict` made. Raises KeyError, TypeError or ValueError for another thing."""
        tiles = tuple((int(tile[0]), *map(str, tile[1:])) for tile in stored["tiles"])
        tile_in, tile_out = map(int, stored["sizes"])
        name, image, weight = map(str, stored["slice"])
        one, other = map(float, stored["highest"])
        small, small_tiles = map(bool, stored["small"])
        return cls(
            tiles, (tile_in, tile_out), (name, image, weight), (one, other), (small, small_tiles)
        )

    def weight_map_html(self) -> str:
        name, image, weight = self.slice
        about, crisp = f"slice {name}", _class(self.small[0])
        return (
            '<div class="slices">'
            f'<figure class="single"><h3>{text(about.capitalize())}</h3>'
            f'<img{crisp} src="{text(image)}" alt="{text("Image of " + about)}"></figure>'
            f'<figure class="single"><h3>Weight of each pixel in the loss</h3>'
            f'<img{crisp} src="{text(weight)}" alt="{text("Weight map of " + about)}">'
            f"{_colour_bar(self.highest[0])}<figcaption>Bright pixels, the narrow gaps between "
            "objects above all, count most.</figcaption></figure></div>"
        )

    def tiles_html(self) -> str:
        tile_in, tile_out = self.sizes
        cells, crisp = [], _class(self.small[1])
        for iteration, name, tile, label, weight in self.tiles:
            where = f"tile of iteration {iteration}, slice {name}"
            for kind, uri in (("Image", tile), ("Label", label), ("Weights", weight)):
                cells.append(
                    f'<img{crisp} src="{text(uri)}" alt="{text(f"{kind} of the {where}")}">'
                )
        names = ", ".join(name for _, name, *_ in self.tiles)
        return (
            f'<figure><div class="tiles">{"".join(cells)}</div>{_colour_bar(self.highest[1])}'
            f"<figcaption>The first tiles of the training, of the slices {text(names)}. Left: what "
            f"the network sees, {tile_in} px wide; it answers within the bright frame. Middle: the "
            f"label there, {tile_out} px wide, each object in a colour of its own. Right: the "
            "weight of each pixel in the loss. Labels must lie on what they should, and the "
            "deformed images must still be plausible.</figcaption></figure>"
        )


def _class(small: bool) -> str:
    return ' class="crisp"' if small else ""


def _framed(tile: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """With a bright line around the middle `side` pixels."""
    framed = tile.copy()
    border = (len(tile) - side) // 2
    width = max(1, len(tile) // 190)
    low, high = max(0, border - width), border + side
    framed[low : high + width, low : high + width] = 1
    framed[border:high, border:high] = tile[border:high, border:high]
    return framed


def _thinned(plane: np.ndarray) -> np.ndarray:
    step = -(-len(plane) // _TILE_SIDE)
    return plane[::step, ::step]


def _weights(plane: np.ndarray, highest: float) -> str:
    index = np.rint(255 * plane / max(highest, 1e-9)).astype(np.uint8)
    return mapped(index, colours_of(_MAP))


def _colour_bar(highest: float) -> str:
    ramp = mapped(np.arange(256, dtype=np.uint8)[None], colours_of(_MAP))
    alt = f"Colours of the weights from 0, dark, to {highest:.3g}, bright"
    return (
        f'<div class="bar"><span>0</span><img src="{ramp}" alt="{text(alt)}">'
        f"<span>{highest:.3g}</span></div>"
    )

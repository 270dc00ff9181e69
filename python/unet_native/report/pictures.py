"""Pictures within a page: PNG files as data URIs, and slices as layers that one can switch.

Every layer of a slice is a PNG of its own over the image below: marks of one colour compress to
little, and which kind of error is where can be told without seeing colours, by switching the others
off. The switches are checkboxes and work without a script.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.report.page import text

__all__ = [
    "Layer",
    "LayeredSlice",
    "coloured",
    "colours_of",
    "grey",
    "image_picture",
    "mapped",
    "marks",
    "outlines",
    "shrunken",
    "slices_html",
    "stretched",
]

SIDE = 896  # px: longer slices are shrunken by a whole factor, which bounds the size of the page
_LEVELS = 63  # of grey: a quarter less than 8 bits would take, and noise does not show
_LAYERS = 8  # that page.css can switch


@dataclass(frozen=True)
class Layer:
    """One picture in a stack of them.

    name    of its switch
    uri     data URI, of the same shape for all layers of a slice
    alt     what the picture shows, in words
    colour  of its marks, for the switch: "#rrggbb", or "" for a picture that covers what is below
    shown   whether it is on at first
    """

    name: str
    uri: str
    alt: str
    colour: str = ""
    shown: bool = False


@dataclass(frozen=True)
class LayeredSlice:
    """A slice with what can be laid over it; the first layer is the ground and always on.

    heading, caption  plain text
    small             whether it is so small that its pixels should show as squares
    """

    heading: str
    caption: str
    layers: tuple[Layer, ...]
    small: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> LayeredSlice:
        """What :meth:`to_dict` made. Raises TypeError or KeyError for anything else."""
        layers = tuple(Layer(**layer) for layer in stored["layers"])
        return cls(stored["heading"], stored["caption"], layers, stored["small"])


def slices_html(slices: Iterable[LayeredSlice]) -> str:
    drawn = "".join(_slice_html(item, number) for number, item in enumerate(slices))
    return f'<div class="slices">{drawn}</div>' if drawn else ""


def _slice_html(item: LayeredSlice, number: int) -> str:
    crisp = " crisp" if item.small else ""
    switches, pictures = [], []
    for k, layer in enumerate(item.layers[: _LAYERS + 1]):
        pictures.append(
            f'<img class="l{k}{crisp}" src="{text(layer.uri)}" alt="{text(layer.alt)}">'
        )
        if k == 0:
            continue
        ident = f"slice-{number}-{k}"
        colour = f'<span class="swatch" style="background:{text(layer.colour)}"></span>'
        switches.append(
            f'<input type="checkbox" class="c{k}" id="{ident}"{" checked" if layer.shown else ""}>'
            f'<label for="{ident}">{colour if layer.colour else ""}{text(layer.name)}</label>'
        )
    return (
        f'<figure class="layers"><h3>{text(item.heading)}</h3>{"".join(switches)}'
        f'<div class="stage">{"".join(pictures)}</div>'
        f"<figcaption>{text(item.caption)}</figcaption></figure>"
    )


# --- from arrays to PNG ---


def grey(plane: np.ndarray) -> str:
    """(H, W) from 0 = black to 1 = white; what is not finite is black."""
    clean = np.nan_to_num(np.clip(plane, 0, 1), nan=0.0)
    return _png(np.rint(np.rint(clean * _LEVELS) * (255 / _LEVELS)).astype(np.uint8))


def image_picture(raw: np.ndarray) -> str:
    """(C, H, W) grey values of any type: three channels as red, green, blue; else the first."""
    from PIL import Image

    if len(raw) != 3:
        return grey(shrunken(stretched(raw[0])))
    planes = np.stack([shrunken(stretched(channel)) for channel in raw], axis=-1)
    picture = Image.fromarray(np.rint(255 * planes).astype(np.uint8))
    return _encoded(picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def mapped(index: NDArray[np.uint8], palette: np.ndarray) -> str:
    """(H, W) numbers of colours; palette (up to 256, 3) uint8."""
    return _png(index, palette)


def coloured(rgb: np.ndarray) -> str:
    """(H, W, 3) from 0 to 1."""
    from PIL import Image

    picture = Image.fromarray(np.rint(255 * np.clip(rgb, 0, 1)).astype(np.uint8))
    return _encoded(picture.quantize(255, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))


def marks(where: NDArray[np.bool_], colour: str, opacity: float = 0.8) -> str:
    """(H, W) in one colour ("#rrggbb"), transparent elsewhere."""
    alpha = bytes([0, round(255 * opacity)])
    return _png(where.astype(np.uint8), np.array([(0, 0, 0), _rgb(colour)], np.uint8), alpha)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def colours_of(name: str) -> NDArray[np.uint8]:
    """256 colours of one of matplotlib's maps, (256, 3)."""
    from matplotlib import colormaps

    return np.rint(255 * colormaps[name](np.arange(256))[:, :3]).astype(np.uint8)


def _png(
    index: NDArray[np.uint8], palette: np.ndarray | None = None, alpha: bytes | None = None
) -> str:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(index))
    if palette is None:
        return _encoded(picture)
    picture.putpalette(palette.tobytes())
    return _encoded(picture, bits=1 if len(palette) == 2 else 8, transparency=alpha)


def _encoded(picture: Any, **options: Any) -> str:
    buffer = io.BytesIO()
    given = {name: value for name, value in options.items() if value is not None}
    picture.save(buffer, "PNG", **given)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# --- sizes ---


def _factor(shape: tuple[int, ...]) -> int:
    return -(-max(shape[:2]) // SIDE)


def shrunken(plane: np.ndarray) -> np.ndarray:
    """(H, W) floats by the mean over squares, or marks (bool) where enough of a square is marked.

    Enough is what a line one pixel wide covers. A slice of up to SIDE px stays as it is.
    """
    factor = _factor(plane.shape)
    if factor == 1:
        return plane
    rows, columns = (np.arange(0, side, factor) for side in plane.shape)
    values = plane.astype(np.float64)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    covered = np.outer(
        *(np.diff(np.r_[at, n]) for at, n in zip((rows, columns), plane.shape, strict=True))
    )
    mean = sums / covered
    return mean >= 1 / (factor + 1) if plane.dtype == bool else mean


def outlines(regions: np.ndarray) -> NDArray[np.bool_]:
    """(H, W): the pixels of a region (any number but 0) that touch, by a side, another number."""
    edge = np.zeros(regions.shape, bool)
    for axis in (0, 1):
        one = np.moveaxis(regions, axis, 0)
        differs = one[1:] != one[:-1]
        np.moveaxis(edge, axis, 0)[1:] |= differs
        np.moveaxis(edge, axis, 0)[:-1] |= differs
    return edge & (regions != 0)


def stretched(plane: np.ndarray) -> NDArray[np.float64]:
    """(H, W) grey values with the 0.5 and 99.5 percentiles at 0 and 1."""
    low, high = np.percentile(plane, (0.5, 99.5))
    return np.clip((plane - low) / max(high - low, 1e-9), 0, 1)

"""Image and label files: what each holds, which axis is what, and its slices."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from unet_native.data.raster import read_raster, read_raster_header
from unet_native.data.tiff import TiffMetadata, read_tiff, read_tiff_header
from unet_native.errors import UserError

__all__ = ["ImageFile", "image_paths", "list_images", "natural_key", "open_image"]

TIFF_SUFFIXES = (".tif", ".tiff")
SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ".bmp")
_CHANNEL_AXES = "CS"  # tifffile: C = channel, S = sample of a colour


def natural_key(text: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A sorting key that puts "slice2" before "slice10"."""
    parts = re.findall(r"\d+|\D+", text)
    key = ((0, int(p), "") if p.isdecimal() else (1, 0, p.casefold()) for p in parts)
    return tuple(key), text


@dataclass(frozen=True)
class ImageFile:
    """One file, described; :meth:`read` gets the pixels.

    axes, shape  as understood, e.g. "ZYX" and (24, 512, 512). Y and X are rows and columns; C and S
                 are channels; every other axis counts slices
    dtype        of the pixels
    source       how the axes are known: "its metadata" or "--axes"
    labels       whether palette indices are wanted instead of colours
    metadata     resolution and the like, for outputs to copy
    """

    path: Path
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    source: str = "its metadata"
    labels: bool = False
    metadata: TiffMetadata = field(default_factory=TiffMetadata)
    _alpha: bool = False
    _palette: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def stem(self) -> str:
        """The file name without suffix (".ome.tif" counts as one suffix)."""
        stem = self.path.stem
        return stem[:-4] if stem.lower().endswith(".ome") else stem

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[self.axes.index("Y")], self.shape[self.axes.index("X")]

    @property
    def slice_axes(self) -> tuple[str, tuple[int, ...]]:
        """The axes that count slices, and their sizes."""
        kept = [(a, n) for a, n in zip(self.axes, self.shape, strict=True) if a not in "YXCS"]
        return "".join(a for a, _ in kept), tuple(n for _, n in kept)

    @property
    def slices(self) -> int:
        return int(np.prod(self.slice_axes[1], dtype=np.int64))

    @cached_property
    def channels(self) -> int:
        """Channels of what :meth:`read` returns: alpha left out, a palette looked up."""
        if self._palette is not None and not self.labels:
            return len(_palette_rows(self._palette))
        sizes = dict(zip(self.axes, self.shape, strict=True))
        return sizes.get("C", 1) * max(1, sizes.get("S", 1) - self._alpha)

    def slice_name(self, index: int) -> str:
        """ "name" of a single image, "name[3]" within a stack."""
        return f"{self.stem}[{index}]" if self.slices > 1 else self.stem

    def read(self) -> np.ndarray:
        """The pixels, (slices, channels, H, W), in the file's dtype (bool as uint8).

        Raises UserError naming the file if it is damaged or holds values that are no numbers.
        """
        if self.path.suffix.lower() in TIFF_SUFFIXES:
            array = read_tiff(self.path)
        else:
            array = read_raster(self.path, self.labels)
        array = array.reshape(self.shape)
        if self._alpha:
            array = np.delete(array, -1, self.axes.index("S"))
        order = [a for a in self.axes if a not in "YXCS"]
        order += [a for a in _CHANNEL_AXES if a in self.axes] + ["Y", "X"]
        array = array.transpose([self.axes.index(a) for a in order])
        array = array.reshape(self.slices, -1, *self.size)
        if self._palette is not None and not self.labels:
            array = np.moveaxis(_palette_rows(self._palette)[:, array[:, 0]], 0, 1)
        if array.dtype == bool:
            array = array.astype(np.uint8)
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
        if array.dtype.kind == "f":
            self._refuse_non_finite(array)
        return array

    def describe(self) -> str:
        """What was understood, in words: "24 slices of 512x512, 1 channel, uint8"."""
        height, width = self.size
        axes, sizes = self.slice_axes
        slices = f"{self.slices} slice{'s' * (self.slices != 1)}"
        if len(axes) > 1:
            slices += f" ({' x '.join(f'{n} {a}' for a, n in zip(axes, sizes, strict=True))})"
        channels = f"{self.channels} channel{'s' * (self.channels != 1)}"
        return (
            f"{slices} of {height}x{width}, {channels}, {self.dtype.name} "
            f"(axes {self.axes} from {self.source})"
        )

    def _refuse_non_finite(self, array: np.ndarray) -> None:
        for index, plane in enumerate(array):
            bad = int(np.count_nonzero(~np.isfinite(plane)))
            if bad:
                where = f" in slice {index}" if len(array) > 1 else ""
                raise UserError(
                    f"{self.path}: {bad} pixels{where} are NaN or infinite; replace them, for "
                    "instance by the image's minimum"
                )


def open_image(path: str | Path, axes: str | None = None, labels: bool = False) -> ImageFile:
    """Describe an image or label file. `axes` overrides what the file says, e.g. "ZYX".

    Raises UserError naming the file if it is missing, damaged, of unknown format, or if `axes`
    does not fit.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    palette = None
    if suffix in TIFF_SUFFIXES:
        header = read_tiff_header(path)
        found, shape, dtype = header.axes, header.shape, header.dtype
        metadata, alpha, palette = header.metadata, header.has_alpha, header.palette
    elif suffix in SUFFIXES:
        shape, dtype, alpha = read_raster_header(path, labels)
        found, metadata = "YXS"[: len(shape)], TiffMetadata()
    else:
        raise UserError(f"{path}: unknown format; images and labels must be TIFF or PNG files")
    if axes:
        axes = _checked_axes(path, axes, shape)
        alpha = alpha and axes.find("S") == found.find("S")
    elif "Y" not in found or "X" not in found or len(set(found)) != len(found):
        raise UserError(
            f"{path}: its axes {found} are not those of an image; say with --axes what the shape "
            f"{_shape(shape)} means, e.g. --axes {'TZCYX'[-len(shape) :]}"
        )
    if dtype.kind not in "buif":
        raise UserError(f"{path}: {dtype.name} values cannot be used; convert them to 8 or 16 bits")
    source = "--axes" if axes else "its metadata"
    return ImageFile(
        path, axes or found, tuple(shape), dtype, source, labels, metadata, alpha, palette
    )


def list_images(path: str | Path, axes: str | None = None, labels: bool = False) -> list[ImageFile]:
    """The image files of a folder in natural order of their names, or the one file given.

    Hidden files and files of other kinds are passed over. Raises UserError as
    :func:`open_image`, and if there is no image or two files differ in their suffix only.
    """
    path = Path(path)
    if not path.is_dir():
        return [open_image(path, axes, labels)]
    files = [open_image(p, axes, labels) for p in image_paths(path)]
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise UserError(
                f"{file.path}: {seen[file.stem].name} has the same name in another format; keep "
                "one of the two"
            )
        seen[file.stem] = file.path
    return files


def image_paths(folder: Path) -> list[Path]:
    """The image files of a folder in natural order; UserError if there is none."""
    paths = [
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    if not paths:
        raise UserError(f"{folder}: holds no image; expected {', '.join(SUFFIXES)} files")
    return sorted(paths, key=lambda p: natural_key(p.name))


def _checked_axes(path: Path, axes: str, shape: tuple[int, ...]) -> str:
    axes = axes.strip().upper()
    if not axes.isalpha() or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
        raise UserError(
            f"--axes {axes}: give one letter per axis, among them Y (rows) and X (columns), C for "
            "channels, and Z or T for slices"
        )
    if len(axes) != len(shape):
        raise UserError(
            f"{path}: has {len(shape)} axes of sizes {_shape(shape)}, --axes {axes} names "
            f"{len(axes)}; give one letter for each"
        )
    return axes


def _palette_rows(palette: np.ndarray) -> np.ndarray:
    """(1 or 3, 256) uint8: the grey value, or the colours, of each index."""
    rows = (palette >> 8).astype(np.uint8)
    return rows[:1] if np.all(rows == rows[0]) else rows


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

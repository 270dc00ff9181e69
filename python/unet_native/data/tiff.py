"""Reading TIFF files, and noticing those that are damaged.

Which axis is what comes from the file (``tifffile``'s ``series.axes``), never from the shape: three
pages may be three slices or the planes of one RGB image.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_native.errors import UserError

__all__ = ["TiffHeader", "TiffMetadata", "read_tiff", "read_tiff_header"]

# What tifffile logs, and then overlooks, when pages or their descriptions are missing.
_DAMAGE = re.compile(r"invalid (page|value|data)? ?offset|corrupt|truncat|failed to reshape")

# What ImageJ stores about a stack beyond its axes, as far as it holds for an output as well.
_IMAGEJ_KEYS = ("spacing", "unit", "finterval", "fps", "loop", "Info", "Labels")
_OME_KEYS = ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")


@dataclass(frozen=True)
class TiffMetadata:
    """What an output copies from its input.

    flavour     "imagej", "ome" or "" (plain)
    resolution  pixels per unit along x and y, or None
    unit        of the resolution: TIFF's 1 none, 2 inch, 3 centimetre
    extra       ImageJ's keys (spacing, unit, ...) or OME's (PhysicalSizeX, PhysicalSizeXUnit, ...)
    """

    flavour: str = ""
    resolution: tuple[float, float] | None = None
    unit: int = 1
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TiffHeader:
    """What a TIFF says about itself. `palette` (3, 256) uint16 if values are colour indices."""

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    metadata: TiffMetadata
    has_alpha: bool = False
    palette: np.ndarray | None = None


def read_tiff_header(path: Path) -> TiffHeader:
    """Axes, shape and metadata of the image in a TIFF file.

    Raises UserError naming the file if it is damaged, or holds images of several sizes.
    """
    with _opened(path) as tiff:
        series = tiff.series[0]
        if len(tiff.series) > 1:
            shapes = " and ".join(
                "x".join(map(str, shape)) for shape in sorted({s.shape for s in tiff.series})
            )
            raise UserError(
                f"{path}: holds {len(tiff.series)} separate images ({shapes}); save each as a file "
                "of its own"
            )
        page = series.keyframe
        palette = page.colormap if page.photometric.name == "PALETTE" else None
        has_alpha = page.samplesperpixel in (2, 4) and len(page.extrasamples) == 1
        dtype = np.dtype(series.dtype)
        return TiffHeader(series.axes, series.shape, dtype, _metadata(tiff), has_alpha, palette)


def read_tiff(path: Path) -> np.ndarray:
    """The pixels, with the axes and shape of the header. Raises UserError as above."""
    with _opened(path) as tiff:
        size = path.stat().st_size
        for page in tiff.series[0].pages:
            if page is None:
                raise UserError(f"{path}: a page is missing; copy the file again")
            ends = zip(page.dataoffsets, page.databytecounts, strict=True)
            if any(offset + count > size for offset, count in ends):
                raise _truncated(path)
        return tiff.series[0].asarray()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A ``TiffFile``; whatever goes wrong with it becomes a UserError."""
    import tifffile

    complaints: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(listener)
    try:
        with tifffile.TiffFile(path) as tiff:
            if not tiff.series:
                raise UserError(f"{path}: holds no image")
            if any(map(_DAMAGE.search, complaints)):
                raise _truncated(path)
            yield tiff
            if any(map(_DAMAGE.search, complaints)):
                raise _truncated(path)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"{path}: does not fit into memory; split the stack into several files"
        ) from error
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; check its permissions") from None
    except Exception as error:
        raise _explained(path, error) from error
    finally:
        logger.removeHandler(listener)


def _explained(path: Path, error: Exception) -> UserError:
    text = str(error)
    if "imagecodecs" in text:
        compression = re.search(r"COMPRESSION\.(\w+)", text)
        what = f"is compressed with {compression[1]}" if compression else "is compressed"
        return UserError(
            f"{path}: {what}, which needs one more package; run "
            "pip install 'unet_native[codecs]', or save the file uncompressed"
        )
    if path.stat().st_size == 0:
        return UserError(f"{path}: is empty; copy or export it again")
    if "not a TIFF" in text:
        return UserError(f"{path}: is not a TIFF file whatever its name says; export it again")
    return _truncated(path, text)


def _truncated(path: Path, detail: str = "") -> UserError:
    because = f" ({detail})" if detail else ""
    return UserError(f"{path}: is truncated or damaged{because}; copy or export it again")


def _metadata(tiff: Any) -> TiffMetadata:
    page = tiff.series[0].keyframe
    resolution, unit = None, 1
    try:
        x, y = (page.tags[name].value for name in ("XResolution", "YResolution"))
        unit = int(page.tags["ResolutionUnit"].value) if "ResolutionUnit" in page.tags else 2
        if x[0] and x[1] and y[0] and y[1] and not (x == y == (1, 1) and unit == 1):
            resolution = x[0] / x[1], y[0] / y[1]
    except (KeyError, TypeError, IndexError):
        pass
    if tiff.is_imagej:
        stored = tiff.imagej_metadata or {}
        extra = {key: stored[key] for key in _IMAGEJ_KEYS if key in stored}
        return TiffMetadata("imagej", resolution, unit, extra)
    if tiff.is_ome:
        return TiffMetadata("ome", resolution, unit, _ome_pixel_sizes(tiff.ome_metadata or ""))
    return TiffMetadata("", resolution, unit)


def _ome_pixel_sizes(xml: str) -> dict[str, Any]:
    from xml.etree import ElementTree

    try:
        pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    except ElementTree.ParseError:
        return {}
    found: dict[str, Any] = {}
    for key in _OME_KEYS if pixels is not None else ():
        if key in pixels.attrib:
            found[key] = float(pixels.attrib[key])
            found[f"{key}Unit"] = pixels.attrib.get(
                f"{key}Unit", "s" if key == "TimeIncrement" else "µm"
            )
    return found

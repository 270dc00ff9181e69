"""Reading PNG, JPEG and BMP files."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unet_native.errors import UserError

__all__ = ["read_raster", "read_raster_header"]

_CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV", "PA")


def read_raster_header(path: Path, labels: bool = False) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape (H, W) or (H, W, samples), dtype, and whether the last sample is alpha.

    Arguments and errors are those of :func:`read_raster`; the pixels are not decoded.
    """
    with _opened(path, labels) as image:
        mode = _wanted_mode(image.mode, labels)
        bands = len(mode) if mode in ("RGB", "RGBA", "LA") else 1
        shape = (image.height, image.width) + ((bands,) if bands > 1 else ())
        return shape, _dtype(image.mode, _is_deep(path)), mode in ("RGBA", "LA")


def read_raster(path: Path, labels: bool = False) -> np.ndarray:
    """The pixels of a PNG, JPEG or BMP file: (H, W), or (H, W, samples) for colours.

    With `labels`, a palette image gives its indices, else its colours. Raises UserError naming the
    file if it cannot be read, or not faithfully.
    """
    with _opened(path, labels) as image:
        mode = _wanted_mode(image.mode, labels)
        array = np.asarray(image if mode == image.mode else image.convert(mode))
        return array.astype(_dtype(image.mode, _is_deep(path)), copy=False)


@contextlib.contextmanager
def _opened(path: Path, labels: bool) -> Iterator[Any]:
    """A PIL image; whatever goes wrong with it becomes a UserError."""
    from PIL import Image

    if labels and path.suffix.lower() in (".jpg", ".jpeg"):
        raise UserError(f"{path}: JPEG changes label values; save the labels as PNG or TIFF")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if _is_deep(path) and image.mode not in ("I", "I;16", "I;16B"):
                    raise UserError(
                        f"{path}: PNG with 16 bits per colour cannot be read; save it as TIFF"
                    )
                yield image
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; check its permissions") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: is too large for this format; save it as TIFF") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        if path.stat().st_size == 0:
            raise UserError(f"{path}: is empty; copy or export it again") from error
        raise UserError(
            f"{path}: is truncated or damaged ({error}); copy or export it again"
        ) from error


def _wanted_mode(mode: str, labels: bool) -> str:
    return "RGB" if mode in _CONVERTED or (mode == "P" and not labels) else mode


def _dtype(mode: str, is_deep: bool) -> np.dtype:
    if mode.startswith("I"):
        return np.dtype(np.uint16 if is_deep or ";16" in mode else np.int32)
    return np.dtype({"1": np.bool_, "F": np.float32}.get(mode, np.uint8))


def _is_deep(path: Path) -> bool:
    """Whether this is a PNG of 16 bits per sample; PIL drops half of them for colours."""
    with path.open("rb") as file:
        header = file.read(26)
    return header.startswith(b"\x89PNG\r\n\x1a\n") and len(header) == 26 and header[24] == 16

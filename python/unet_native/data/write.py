"""Writing TIFF files like the input they belong to: the same axes, resolution and units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unet_native.data.images import ImageFile
from unet_native.files import write_atomically

__all__ = ["write_labels", "write_objects", "write_probabilities", "write_stack"]

# Distinguishable colours for class labels (class 0 black), as (red, green, blue).
_COLOURS = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def write_labels(
    path: str | Path, labels: np.ndarray, classes: int, source: ImageFile | None = None
) -> Path:
    """Write class labels (slices, H, W), 0 .. classes - 1, so that any viewer shows them.

    Two classes become 0 and 255; more keep their numbers, with a colour table. `source`: the image
    file whose slices these are; its axes, resolution and units are copied.
    """
    if classes == 2:
        return write_stack(path, (labels != 0).astype(np.uint8) * np.uint8(255), source)
    palette = np.zeros((3, 256), np.uint16)
    for value in range(256):
        palette[:, value] = np.multiply(_COLOURS[_colour_of(value)], 257)
    return write_stack(path, labels.astype(np.uint8), source, palette=palette)


def write_objects(path: str | Path, objects: np.ndarray, source: ImageFile | None = None) -> Path:
    """Write object numbers (slices, H, W), 0 = background, as uint16, or as uint32 if a slice holds
    more than 65535."""
    dtype = np.uint16 if objects.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    return write_stack(path, objects.astype(dtype, copy=False), source)


def write_probabilities(
    path: str | Path, probabilities: np.ndarray, source: ImageFile | None = None
) -> Path:
    """Write probabilities (slices, classes, H, W) as float32.

    Of two classes only class 1 is written, as (slices, H, W); of more, all, along axis C.
    """
    probabilities = np.asarray(probabilities, np.float32)
    if probabilities.shape[1] == 2:
        return write_stack(path, probabilities[:, 1], source)
    return write_stack(path, probabilities, source)


def write_stack(
    path: str | Path,
    stack: np.ndarray,
    source: ImageFile | None = None,
    *,
    palette: np.ndarray | None = None,
) -> Path:
    """Write (slices, H, W) or (slices, C, H, W) as one TIFF, whole or not at all.

    `source` gives the names and sizes of the slice axes, the resolution and, for ImageJ and OME
    files, units and spacing. Raises UserError if the file cannot be written.
    """
    import tifffile

    letters, sizes = ("Z", (len(stack),)) if source is None else source.slice_axes
    if source is None and len(stack) == 1:
        letters, sizes = "", ()
    axes = letters + "CYX"[-(stack.ndim - 1) :]
    array = np.ascontiguousarray(stack.reshape(*sizes, *stack.shape[1:]))
    options = _options(array, axes, source, palette)
    return write_atomically(path, lambda temporary: tifffile.imwrite(temporary, array, **options))


def _options(
    array: np.ndarray, axes: str, source: ImageFile | None, palette: np.ndarray | None
) -> dict[str, Any]:
    metadata = source.metadata if source is not None else None
    options: dict[str, Any] = {"photometric": "minisblack", "metadata": {"axes": axes}}
    if palette is not None:
        options.update(photometric="palette", colormap=palette)
    if metadata is None:
        return options
    if metadata.resolution is not None:
        options.update(resolution=metadata.resolution, resolutionunit=metadata.unit)
    if metadata.flavour == "imagej" and palette is None and _fits_imagej(array, axes):
        options.update(imagej=True, metadata={**metadata.extra, "axes": axes})
    elif metadata.flavour == "ome" and palette is None:
        options.update(ome=True, metadata={**metadata.extra, "axes": axes})
    return options


def _fits_imagej(array: np.ndarray, axes: str) -> bool:
    """ImageJ knows three types of number, and the axes T, Z, C, Y, X in this order."""
    order = ["TZCYX".find(a) for a in axes]
    return (
        array.dtype.name in ("uint8", "uint16", "float32")
        and -1 not in order
        and (order == sorted(order))
    )


def _colour_of(value: int) -> int:
    return value if value < len(_COLOURS) else 1 + (value - 1) % (len(_COLOURS) - 1)

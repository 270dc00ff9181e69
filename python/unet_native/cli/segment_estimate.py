"""What a segmentation will take, said before it begins: tiles, memory, time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

from unet_native.cli.console import duration
from unet_native.cli.resident import MEGABYTE, resident
from unet_native.errors import UserError

if TYPE_CHECKING:
    from unet_native.data.images import ImageFile
    from unet_native.model_file import Model

_WORTH_TIMING = 20  # tiles in all


def estimate(model: Model, files: Sequence[ImageFile], memory: int | None) -> str | None:
    """One line on how the largest of `files` will be cut, and what all of them will take.

    memory: MB (10^6 bytes) that the process may take; the model's tiles are chosen accordingly.
    None: no more than the model's own limit. Raises UserError, naming the file and the MB that are
    needed, if the smallest tile takes more. Without a line where an image cannot be segmented at
    all, which is for its reading to say.
    """
    if not files:
        return None
    largest = max(files, key=lambda file: _array_bytes(file, model.classes))
    channels = model.net.blobs["data"].shape[1]
    if largest.channels != channels:
        return None
    segmenter = model.segmenter
    others = resident("VmRSS") + _array_bytes(largest, model.classes)
    if memory is not None:
        segmenter.memory_limit = max(1, int(memory * MEGABYTE - others))
    tiling = segmenter.tiling(largest.size, channels)
    needed = (others + segmenter.memory(tiling, channels)) / MEGABYTE
    side = "x".join(map(str, tiling.input_size))
    if memory is not None and needed > memory:
        raise UserError(
            f"{largest.path}: needs {needed:.0f} MB with tiles of {side} pixels, --memory allows "
            f"{memory}; allow more"
            + (", or give a smaller --tile" if segmenter.tile is not None else "")
        )
    tiles = prod(tiling.counts)
    plural = "s" * (tiles != 1)
    line = f"{largest.path.name}: {tiles} tile{plural} of {side} pixels a slice"
    line += f", about {needed:.0f} MB"
    pixels = sum(file.slices * prod(file.size) for file in files)
    tiles_in_all = tiles * pixels / prod(largest.size)
    if tiles_in_all >= _WORTH_TIMING:
        line += f" and {duration(tiles_in_all * _seconds_of_a_tile(model, largest))}"
    return line


def _array_bytes(file: ImageFile, classes: int) -> int:
    """Images, probabilities and labels, and what writing them copies."""
    pixels = file.slices * prod(file.size)
    held = pixels * (file.channels * file.dtype.itemsize + 4 * classes + 1)
    copies_class_1 = classes == 2 and file.slices > 1
    return held + pixels * (4 if copies_class_1 else 3)


def _seconds_of_a_tile(model: Model, file: ImageFile) -> float:
    """Measured on a tile of zeros, after one to warm up."""
    tile = model.segmenter.empty_tile(file.size, file.channels)
    tile()
    start = perf_counter()
    tile()
    return perf_counter() - start

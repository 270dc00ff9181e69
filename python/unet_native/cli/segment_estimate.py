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
    from unet_native.segment import Pass, Segmenter

_WORTH_TIMING = 20  # tiles in all
_ATTEMPTS = 4  # at a limit: what is taken beside the blobs of a tile is known afterwards only


def estimate(
    model: Model, files: Sequence[ImageFile], memory: int | None, with_objects: bool = False
) -> str | None:
    """One line on how the largest of `files` will be cut, and what all of them will take.

    memory: MB (10^6 bytes) that the process may take; the model's tiles are chosen accordingly.
    None: no more than the model's own limit. with_objects: they are numbered too. Raises UserError,
    naming the file and the MB that are needed, if the smallest tile takes more. Without a line
    where an image cannot be segmented at all, which is for its reading to say.
    """
    if not files:
        return None
    largest = max(files, key=lambda file: _array_bytes(file, model.classes))
    channels = model.net.blobs["data"].shape[1]
    if largest.channels != channels:
        return None
    segmenter = model.segmenter
    others = resident("VmRSS") + _array_bytes(largest, model.classes)
    others += _object_bytes(largest) if with_objects else 0
    if memory is not None:
        segmenter.memory_limit = max(1, int(memory * MEGABYTE - others))
    for _ in range(_ATTEMPTS):
        passes = segmenter.passes(largest.size, channels)
        needed = (others + _network_bytes(segmenter, passes, channels)) / MEGABYTE
        if memory is None or needed <= memory:
            break
        excess = int((needed - memory) * MEGABYTE)
        segmenter.memory_limit = max(1, segmenter.memory_limit - excess)
    tiling = passes[0].tiling
    side = "x".join(map(str, tiling.input_size))
    if memory is not None and needed > memory:
        raise UserError(
            f"{largest.path}: needs {needed:.0f} MB with tiles of {side} pixels, --memory allows "
            f"{memory}; allow more"
            + (", or give a smaller --tile" if segmenter.tile is not None else "")
        )
    tiles = len(passes[0].parts)
    plural = "s" * (tiles != 1)
    line = f"{largest.path.name}: {tiles} tile{plural} of {side} pixels a slice"
    line += f", about {needed:.0f} MB"
    pixels = sum(file.slices * prod(file.size) for file in files)
    tiles_in_all = tiles * pixels / prod(largest.size) * _times(passes)
    if tiles_in_all >= _WORTH_TIMING:
        line += f" and {duration(tiles_in_all * _seconds_of_a_tile(model, largest))}"
    return line


def averages(model: Model, files: Sequence[ImageFile], *, asked: bool) -> str | None:
    """One line on what the average over transforms costs; None without any.

    asked: it is the model that asks for it.
    """
    largest = max(files, key=lambda file: prod(file.size))
    passes = model.segmenter.passes(largest.size, largest.channels)
    if len(passes) == 1:
        return None
    return (
        f"averages {len(passes)} transforms of the image{', as the model asks' * asked}; "
        f"--average none is {_times(passes):.0f} times faster"
    )


def _times(passes: Sequence[Pass]) -> float:
    """How much longer all passes take than the first one, by the pixels of their tiles."""
    pixels = [len(one.parts) * prod(one.tiling.input_size) for one in passes]
    return sum(pixels) / pixels[0]


def _network_bytes(segmenter: Segmenter, passes: Sequence[Pass], channels: int) -> int:
    """What the largest tile takes, and reading it from the image."""
    return max(
        segmenter.memory(one.tiling, channels)
        + one.transform.scratch(one.tiling.input_size, channels)
        for one in passes
    )


def _object_bytes(file: ImageFile) -> int:
    """Numbers, and what numbering the objects of one slice takes beside them."""
    return 2 * file.slices * prod(file.size) + 21 * prod(file.size)


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

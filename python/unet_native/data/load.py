"""From paths to a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from unet_native.data.dataset import DataSet, Slice
from unet_native.data.images import ImageFile, list_images
from unet_native.data.labels import LabelRule, decide_label_rule, label_plane
from unet_native.data.normaliser import Normaliser
from unet_native.data.pairing import pair_files
from unet_native.errors import UserError

__all__ = ["load_images", "load_training_set", "split_indices"]


@dataclass(frozen=True)
class _Plane:
    """One slice of a file: pixels (C, H, W), a name, and the file for messages."""

    pixels: np.ndarray
    name: str
    path: Path


def load_training_set(
    images: str | Path,
    labels: str | Path | None = None,
    *,
    axes: str | None = None,
    label_kind: str = "auto",
    foreground: str | int | None = None,
    ignore: int | None = None,
    label_rule: LabelRule | None = None,
    normaliser: str | Normaliser = "zscore",
) -> DataSet:
    """Read images with their labels.

    images, labels  files or folders, see :func:`unet_native.data.pairing.pair_files`; a stack on
                    one side may also go with a folder of as many single slices on the other
    axes            of the images, overriding what the files say, e.g. "ZYX"
    label_kind, foreground, ignore
                    what label values mean, see :func:`unet_native.data.labels.decide_label_rule`
    label_rule      instead of these three: the rule of another data set (for validation)
    normaliser      a kind to be fitted on these images, or the normaliser of another data set

    Raises UserError, one sentence naming the file, for whatever cannot work.
    """
    pairs, notes = _plane_pairs(images, labels, axes)
    _refuse_mixed([image for image, _ in pairs])
    planes = []
    for image, label in pairs:
        if label.pixels.shape[1:] != image.pixels.shape[1:]:
            raise UserError(
                f"{label.path}: {label.name} is {_size(label)}, its image {image.name} is "
                f"{_size(image)}; an image and its label must have the same size"
            )
        planes.append(label_plane(label.path, label.pixels))
    if label_rule is None:
        bits = 8 * max(label.pixels.dtype.itemsize for _, label in pairs)
        where = labels if labels is not None else images
        label_rule = decide_label_rule(
            planes, bits, kind=label_kind, foreground=foreground, ignore=ignore, where=where
        )
    slices = []
    for (image, label), plane in zip(pairs, planes, strict=True):
        try:
            classes, instances, ignored = label_rule(plane)
        except UserError as error:
            raise UserError(f"{label.path}: {error}") from None
        slices.append(
            Slice(image.name, image.pixels, classes, instances, ignored, path=str(image.path))
        )
    dataset = DataSet(tuple(slices), label_rule.classes, label_rule, notes)
    return dataset.normalised(normaliser)


def load_images(
    path: str | Path, normaliser: str | Normaliser = "zscore", *, axes: str | None = None
) -> DataSet:
    """Read images without labels: a file, or a folder. Raises UserError naming the file."""
    files = list_images(path, axes)
    planes = list(_planes(files))
    _refuse_mixed(planes)
    slices = tuple(Slice(p.name, p.pixels, path=str(p.path)) for p in planes)
    return DataSet(slices, notes=_file_notes("images", files)).normalised(normaliser)


def split_indices(wish: str, count: int) -> tuple[list[int], list[int]]:
    """Training and validation slices of `count`, from a wish such as "20-23", "1,5-7" or "0.2".

    Ranges name the validation slices, counted from 0. A fraction holds back the last slices, not
    random ones: neighbours in a stack resemble each other, and a network would be tested on what it
    has nearly seen. Raises UserError for a wish that leaves nothing to train or validate on.
    """
    wish = wish.strip()
    held: set[int] = set()
    if re.fullmatch(r"0?\.\d+", wish):
        held = set(range(count - ceil(float(wish) * count), count))
    else:
        for part in wish.split(","):
            bounds = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
            if bounds is None:
                raise UserError(
                    f"validation slices {wish!r}: use a folder, numbers such as 20-23 or 1,5-7, or "
                    "a fraction such as 0.2"
                )
            first, last = int(bounds[1]), int(bounds[2] or bounds[1])
            if last < first or last >= count:
                raise UserError(
                    f"validation slices {wish!r}: the slices are numbered 0-{count - 1}"
                )
            held.update(range(first, last + 1))
    training = [i for i in range(count) if i not in held]
    if not held or not training:
        raise UserError(
            f"validation slices {wish!r}: leaves no slice for "
            f"{'training' if held else 'validation'} out of {count}"
        )
    return training, sorted(held)


def _plane_pairs(
    images: str | Path, labels: str | Path | None, axes: str | None
) -> tuple[list[tuple[_Plane, _Plane]], tuple[str, ...]]:
    """Slices of images with those of labels, and notes."""
    mixed = _stack_with_folder(images, labels, axes)
    if mixed is not None:
        image_files, label_files = mixed
        how = "the slices of a stack paired with the files of a folder, in order"
        pairs = list(zip(_planes(image_files), _planes(label_files), strict=True))
    else:
        file_pairs, how = pair_files(images, labels, axes)
        image_files, label_files = (list(side) for side in zip(*file_pairs, strict=True))
        pairs = []
        for image, label in file_pairs:
            if image.slices != label.slices:
                raise UserError(
                    f"{label.path}: holds {label.describe()}, its image {image.path.name} "
                    f"{image.describe()}; the numbers of slices must agree (--axes says which "
                    "axis counts them)"
                )
            pairs += zip(_planes([image]), _planes([label]), strict=True)
    notes = (
        *_file_notes("images", image_files),
        *_file_notes("labels", label_files),
        f"pairs: {len(pairs)} slices, {how}",
    )
    return pairs, notes


def _stack_with_folder(
    images: str | Path, labels: str | Path | None, axes: str | None
) -> tuple[list[ImageFile], list[ImageFile]] | None:
    """A stack on one side, a folder of as many single slices on the other."""
    if labels is None or Path(images).is_dir() == Path(labels).is_dir():
        return None
    image_files = list_images(images, None if Path(images).is_dir() else axes)
    label_files = list_images(labels, labels=True)
    counts = [sum(f.slices for f in files) for files in (image_files, label_files)]
    return (image_files, label_files) if counts[0] == counts[1] > 1 else None


def _planes(files: Iterable[ImageFile]) -> Iterator[_Plane]:
    for file in files:
        for index, pixels in enumerate(file.read()):
            yield _Plane(pixels, file.slice_name(index), file.path)


def _refuse_mixed(planes: list[_Plane]) -> None:
    """All images must have the channels and the kind of number of the first."""
    first = planes[0]
    for plane in planes:
        if len(plane.pixels) != len(first.pixels):
            raise UserError(
                f"{plane.path}: has {len(plane.pixels)} channels, {first.path.name} has "
                f"{len(first.pixels)}; all images of a set must have the same channels"
            )
        if plane.pixels.dtype != first.pixels.dtype:
            raise UserError(
                f"{plane.path}: holds {plane.pixels.dtype.name} values, {first.path.name} "
                f"{first.pixels.dtype.name}; convert all images of a set to one type"
            )


def _file_notes(what: str, files: list[ImageFile]) -> tuple[str, ...]:
    """One note for each way in which files were understood."""
    groups: dict[str, list[ImageFile]] = {}
    for file in files:
        groups.setdefault(file.describe(), []).append(file)
    return tuple(
        f"{what}: {group[0].path.name}"
        + (f" and {len(group) - 1} more files, each" if len(group) > 1 else "")
        + f" {description}"
        for description, group in groups.items()
    )


def _size(plane: _Plane) -> str:
    return "x".join(map(str, plane.pixels.shape[1:]))

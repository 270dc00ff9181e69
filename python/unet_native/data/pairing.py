"""Which label belongs to which image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unet_native.data.images import ImageFile, image_paths, list_images, open_image
from unet_native.errors import UserError

__all__ = ["MASK_SUFFIXES", "Pair", "pair_files"]

MASK_SUFFIXES = ("_masks", "_mask", "_labels", "_label")
_LISTED = 10  # unmatched names in a message

Pair = tuple[ImageFile, ImageFile]


def pair_files(
    images: str | Path, labels: str | Path | None = None, axes: str | None = None
) -> tuple[list[Pair], str]:
    """Find the label file of each image file.

    images  a folder or a file
    labels  a folder or a file; None, or the same folder: ``name.tif`` goes with ``name_masks.tif``
            (or _mask, _labels, _label) beside it
    axes    of the images, overriding what the files say; labels have the same without channels

    Files of two folders go together by equal names without suffix (``0.png`` and ``0.tif``), or
    name and name_masks; if not a single name matches, by the number at the end of the name
    (``t000.tif`` and ``man_seg000.tif``). One file on each side is a pair.

    Returns the pairs, in natural order, and a sentence about how they were found. Raises UserError
    with a table of names if some file has no partner.
    """
    images = Path(images)
    labels = Path(labels) if labels is not None else images
    if images.is_dir() and labels.is_dir() and images.samefile(labels):
        return _pair_within(images, axes)
    image_files = list_images(images, axes)
    label_files = list_images(labels, labels=True)
    if axes is not None:
        label_files = [_open_label(file.path, axes) for file in label_files]
    if len(image_files) == len(label_files) == 1:
        return [(image_files[0], label_files[0])], "one image file, one label file"
    by_name = {_bare(file.stem): file for file in label_files}
    if len(by_name) < len(label_files):
        raise UserError(f"{labels}: two label files share a name but for {_suffix_list()}")
    if any(file.stem in by_name for file in image_files):
        _refuse_unmatched(image_files, label_files, {f.stem for f in image_files} & by_name.keys())
        return [(f, by_name[f.stem]) for f in image_files], "paired by file name"
    by_number = _numbered(label_files)
    numbers = _numbered(image_files)
    if by_number and numbers and by_number.keys() == numbers.keys():
        pairs = [(numbers[n], by_number[n]) for n in sorted(numbers)]
        return pairs, "paired by the number at the end of the file name"
    _refuse_unmatched(image_files, label_files, set())
    raise AssertionError("no name matched, so some are unmatched")


def _pair_within(folder: Path, axes: str | None) -> tuple[list[Pair], str]:
    """name.tif with name_masks.tif in one folder."""
    paths = image_paths(folder)
    masks = {p for p in paths if _bare(p.stem) != p.stem}
    if not masks:
        raise UserError(
            f"{folder}: no label file found; expected name_masks.tif beside each name.tif, or "
            "another folder given with --labels"
        )
    image_files = [open_image(p, axes) for p in paths if p not in masks]
    label_files = [_open_label(p, axes) for p in paths if p in masks]
    by_name = {_bare(file.stem): file for file in label_files}
    if len(by_name) < len(label_files):
        raise UserError(f"{folder}: two label files share a name but for {_suffix_list()}")
    _refuse_unmatched(image_files, label_files, {f.stem for f in image_files} & by_name.keys())
    return [(f, by_name[f.stem]) for f in image_files], "paired as name and name_masks"


def _open_label(path: Path, axes: str | None) -> ImageFile:
    """A label file; `axes` of the images count if it has just these without the channels."""
    file = open_image(path, labels=True)
    without = "".join(a for a in (axes or "").strip().upper() if a not in "CS")
    return open_image(path, without, labels=True) if len(file.shape) == len(without) else file


def _bare(stem: str) -> str:
    """The stem without _masks or one of its kin."""
    for suffix in MASK_SUFFIXES:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem


def _numbered(files: Sequence[ImageFile]) -> dict[int, ImageFile] | None:
    """Files by the number at the end of their names; None if one has none or two share one."""
    found = {}
    for file in files:
        number = re.search(r"(\d+)$", _bare(file.stem))
        if number is None or int(number[1]) in found:
            return None
        found[int(number[1])] = file
    return found


def _refuse_unmatched(
    images: Sequence[ImageFile], labels: Sequence[ImageFile], matched: set[str]
) -> None:
    lone_images = [f.path.name for f in images if f.stem not in matched]
    lone_labels = [f.path.name for f in labels if _bare(f.stem) not in matched]
    if not lone_images and not lone_labels:
        return
    rows = [
        f"  {_cell(lone_images, i):40} {_cell(lone_labels, i)}".rstrip()
        for i in range(min(_LISTED, max(len(lone_images), len(lone_labels))))
    ]
    more = max(len(lone_images), len(lone_labels)) - _LISTED
    rows += [f"  ... and {more} more"] if more > 0 else []
    raise UserError(
        f"{labels[0].path.parent}: images and labels must come in pairs of the same name, but "
        f"{len(lone_images)} image{'s' * (len(lone_images) != 1)} and {len(lone_labels)} "
        f"label{'s' * (len(lone_labels) != 1)} have no partner; rename or remove them:\n"
        f"  {'image without label':40} label without image\n" + "\n".join(rows)
    )


def _cell(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else "-"


def _suffix_list() -> str:
    return ", ".join(MASK_SUFFIXES)

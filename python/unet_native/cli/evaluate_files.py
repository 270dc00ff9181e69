"""What ``unet-native evaluate`` reads: predictions and labels, in pairs, and what they hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unet_native.cli.console import note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from unet_native.data.images import ImageFile
    from unet_native.data.labels import LabelRule
    from unet_native.evaluate import ScoredObjects, ScoredSlice

    Pairs = list[tuple[ImageFile, ImageFile]]

__all__ = ["read_objects", "read_slices"]

# Of the files that ``segment`` writes for one image, which is scored: the first there is.
_ORDER = {"objects": ("_objects", "", "_prob"), "probabilities": ("_prob", "", "_objects")}

_LEAST_AREA = 4  # px: integers whose values cover less, in the median, number no objects


def read_slices(
    prediction: Path,
    truth: Path,
    kind: str,
    foreground: str | None,
    ignore: int | None,
    *,
    metric: str = "isbi",
) -> list[ScoredSlice]:
    """Slices of both, in order.

    Instances that touch have a gap of one pixel, as for training: those of the truth always, those
    of the prediction where the metric tells objects apart, or else if the truth has such gaps.
    """
    from unet_native.evaluate import ScoredSlice

    pairs, planes, rule = _matched(prediction, truth, "probabilities", kind, foreground, ignore)
    slices: list[ScoredSlice] = []
    how: set[str] = set()
    gaps = metric == "isbi" or rule.kind == "instances"
    for predicted, _ in pairs:
        stack, said = _probabilities(predicted, rule.classes, rule.kind, gaps)
        how.add(said)
        for index, probabilities in enumerate(stack):
            labels, _, ignored = rule(planes[len(slices)])
            name = _bare(predicted.slice_name(index))
            slices.append(ScoredSlice(name, probabilities, labels, ignored))
    note(f"predictions: {' and '.join(sorted(how))}; labels: {rule.describe()}")
    _look_for_emptiness([(s.name, bool(s.labels.any())) for s in slices], truth, "class 1")
    return slices


def read_objects(
    prediction: Path, truth: Path, kind: str, foreground: str | None, ignore: int | None
) -> list[ScoredObjects]:
    """Objects of both, in order; ignored pixels are background in both."""
    import numpy as np

    from unet_native.data.instances import connected_instances
    from unet_native.evaluate import ScoredObjects

    pairs, planes, rule = _matched(prediction, truth, "objects", kind, foreground, ignore)
    slices: list[ScoredObjects] = []
    how: set[str] = set()
    for predicted, _ in pairs:
        numbered, said = _objects(predicted, rule)
        how.add(said)
        for index, objects in enumerate(numbered):
            plane = planes[len(slices)]
            # Not the rule's own instances: those have gaps, which are for training.
            true = plane if rule.kind == "instances" else connected_instances(rule(plane)[0])
            if ignore is not None:
                true, objects = (np.where(plane == ignore, 0, a) for a in (true, objects))
            slices.append(ScoredObjects(_bare(predicted.slice_name(index)), objects, true))
    parts = "" if rule.kind == "instances" else "; objects are its connected parts (4 neighbours)"
    note(f"predicted objects: {' and '.join(sorted(how))}; labels: {rule.describe()}{parts}")
    _look_for_emptiness([(s.name, bool(s.truth.any())) for s in slices], truth, "objects")
    return slices


def _matched(
    prediction: Path,
    truth: Path,
    wanted: str,
    kind: str,
    foreground: str | None,
    ignore: int | None,
) -> tuple[Pairs, list[np.ndarray], LabelRule]:
    """Pairs of files, the label planes of all their slices, and what the labels mean."""
    import numpy as np

    from unet_native.data.images import list_images
    from unet_native.data.labels import decide_label_rule, label_plane
    from unet_native.errors import UserError

    found = _predictions(prediction, _ORDER[wanted])
    pairs = _pair(found, list_images(truth, labels=True), prediction, truth)
    for predicted, labelled in pairs:
        if predicted.slices != labelled.slices or predicted.size != labelled.size:
            raise UserError(
                f"{predicted.path}: holds {_extent(predicted)}, {labelled.path} "
                f"{_extent(labelled)}; they must agree"
            )
    planes = [label_plane(file.path, plane) for _, file in pairs for plane in file.read()]
    if ignore is not None and all(np.all(plane == ignore) for plane in planes):
        raise UserError(
            f"{truth}: every pixel has the value {ignore}, which --ignore says does not count; "
            "give the value of the pixels to leave out"
        )
    bits = 8 * max(file.dtype.itemsize for _, file in pairs)
    rule = decide_label_rule(
        planes, bits, kind=kind, foreground=foreground, ignore=ignore, where=truth
    )
    return pairs, planes, rule


def _look_for_emptiness(slices: Sequence[tuple[str, bool]], truth: Path, what: str) -> None:
    """UserError if no slice of the truth holds anything to find; a note if some do not."""
    from unet_native.errors import UserError

    empty = [name for name, holds in slices if not holds]
    if len(empty) == len(slices):
        raise UserError(
            f"{truth}: no slice holds {what}, so there is nothing to score; check the labels, and "
            "say with --foreground and --label-kind what their values mean"
        )
    if empty:
        more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        note(f"{empty[0]}{more}: the labels hold no {what} there")


# --- which files ---


def _predictions(path: Path, order: tuple[str, ...]) -> list[ImageFile]:
    """The files to score: of those that ``segment`` wrote for one image, the first in `order`."""
    from unet_native.data.images import list_images

    files = list_images(path, labels=True)
    stems = {file.stem for file in files}

    def is_first(file: ImageFile) -> bool:
        name = file.stem.removesuffix("_prob").removesuffix("_objects")
        return file.stem == next((name + s for s in order if name + s in stems), file.stem)

    return [file for file in files if is_first(file)]


def _pair(
    predictions: list[ImageFile], truths: list[ImageFile], prediction: Path, truth: Path
) -> Pairs:
    """Predictions with the truth of their name; a truth without prediction is passed over.

    If not one name matches, the numbers at the end of the names do: ``mask007.tif`` or ``t007.tif``
    goes with ``man_seg007.tif``. The Cell Tracking Challenge labels some images of a sequence only,
    so there predictions without truth are passed over too.
    """
    from unet_native.errors import UserError

    if len(predictions) == len(truths) == 1:
        return [(predictions[0], truths[0])]

    key_of = _bare
    by_key = _by_name(truths, truth)
    lone = [file for file in predictions if _bare(file.stem) not in by_key]
    if len(lone) == len(predictions) and (numbers := _matching_numbers(predictions, truths)):
        key_of, by_key = _last_number, numbers
        lone = [file for file in predictions if _last_number(file.stem) not in numbers]
        note("paired by the number at the end of the file name")
        _say_passed_over("prediction", "labels", len(lone))
    elif lone:
        more = f" and {len(lone) - 1} more" if len(lone) > 1 else ""
        raise UserError(
            f"{prediction}: no labels of the same name in {truth} for {lone[0].path.name}{more}; "
            "rename them, or take them away"
        )
    pairs = [(f, by_key[key_of(f.stem)]) for f in predictions if key_of(f.stem) in by_key]
    _say_passed_over("label file", "prediction", len(by_key) - len(pairs))
    return pairs


def _by_name(truths: list[ImageFile], truth: Path) -> dict[str, ImageFile]:
    """Label files by the names of their images; ``name_masks.tif`` comes before ``name.tif``."""
    from unet_native.errors import UserError

    found: dict[str, list[ImageFile]] = {}
    for file in truths:
        found.setdefault(_bare(file.stem), []).append(file)
    result = {}
    for name, files in found.items():
        masks = [file for file in files if file.stem != name]
        chosen = masks if len(files) > 1 else files
        if len(chosen) > 1:
            raise UserError(
                f"{truth}: both {chosen[0].path.name} and {chosen[1].path.name} would be the "
                f"labels of {name}; take one away"
            )
        result[name] = chosen[0]
    return result


def _matching_numbers(
    predictions: list[ImageFile], truths: list[ImageFile]
) -> dict[str | None, ImageFile]:
    """Label files by their numbers, if these say which prediction belongs to which; else none."""
    numbered = {_last_number(file.stem): file for file in truths}
    predicted = {_last_number(file.stem) for file in predictions}
    if None in numbered or None in predicted:
        return {}
    if len(numbered) < len(truths) or len(predicted) < len(predictions):
        return {}
    # Names as of the challenge may lack some numbers; of any others, all must match.
    challenge = all(re.fullmatch(r"man_(seg|track)_?\d+", file.stem) for file in truths)
    agree = numbered.keys() & predicted if challenge else numbered.keys() == predicted
    return numbered if agree else {}


def _last_number(stem: str) -> str | None:
    number = re.search(r"(\d+)$", _bare(stem))
    return str(int(number[1])) if number else None


def _say_passed_over(what: str, lacking: str, count: int) -> None:
    if count:
        note(f"{count} {what}{'s' * (count != 1)} without {lacking} passed over")


def _bare(stem: str) -> str:
    """The name of an image from that of its labels or results."""
    from unet_native.data.pairing import MASK_SUFFIXES

    for suffix in ("_prob", "_objects", *MASK_SUFFIXES):
        stem = stem.removesuffix(suffix)
    return stem


def _extent(file: ImageFile) -> str:
    height, width = file.size
    return f"{file.slices} slice{'s' * (file.slices != 1)} of {height}x{width}"


# --- what their values mean ---


def _objects(file: ImageFile, rule: LabelRule) -> tuple[list[np.ndarray], str]:
    """(H, W) integers for each slice of a prediction, and what was taken for an object."""
    import numpy as np

    from unet_native.data.instances import connected_instances

    stack = file.read()
    if stack.shape[1] > 1:
        classes = stack.argmax(axis=1).astype(np.uint8)
        return [connected_instances(c) for c in classes], "connected parts of each class but 0"
    planes = stack[:, 0]
    if planes.dtype.kind == "f" or file.stem.endswith("_prob"):
        parts = [connected_instances((p > 0.5).astype(np.uint8)) for p in _as_shares(file, planes)]
        return parts, "connected parts above 0.5"
    _refuse_negative(file, planes)
    if not file.stem.endswith("_objects"):
        if len(np.unique(planes)) <= 2:
            parts = [connected_instances(p.astype(np.uint8)) for p in _larger_of_two(planes)]
            return parts, "connected parts of the larger value"
        if rule.kind == "classes" and planes.max() < rule.classes:
            return [connected_instances(p) for p in planes], "connected parts of each class but 0"
    return list(planes), "one for each number"


def _probabilities(file: ImageFile, classes: int, kind: str, gaps: bool) -> tuple[np.ndarray, str]:
    """(slices, classes, H, W) float32 from whatever a prediction file holds, and what that is."""
    import numpy as np

    from unet_native.errors import UserError

    stack = file.read()
    channels = stack.shape[1]
    if channels == classes:
        return _as_shares(file, stack), "probabilities of all classes"
    if channels != 1:
        raise UserError(
            f"{file.path}: has {channels} channels; expected one (labels, or probabilities of "
            f"class 1) or {classes} (probabilities of all classes)"
        )
    plane = stack[:, 0]
    if classes > 2:
        if plane.dtype.kind == "f" or plane.min() < 0 or plane.max() >= classes:
            raise UserError(
                f"{file.path}: expected class numbers 0 to {classes - 1}, or probabilities of "
                f"all {classes} classes along axis C"
            )
        numbers = np.arange(classes, dtype=plane.dtype)[:, None, None]
        return (plane[:, None] == numbers).astype(np.float32), "class numbers"
    one, said = _probability_of_foreground(file, plane, kind, gaps)
    return np.stack([1 - one, one], axis=1), said


def _probability_of_foreground(
    file: ImageFile, planes: np.ndarray, kind: str, gaps: bool
) -> tuple[np.ndarray, str]:
    """(slices, H, W) float32; `kind`: of the labels; `gaps`: between objects that touch."""
    import numpy as np

    from unet_native.data.instances import separate_touching

    if planes.dtype.kind == "f" or file.stem.endswith("_prob"):
        return _as_shares(file, planes), "probabilities of class 1"
    numbered = file.stem.endswith("_objects")
    if not numbered and len(np.unique(planes)) <= 2:
        return _larger_of_two(planes).astype(np.float32), "two values, the larger is class 1"
    if numbered or kind == "instances" or _are_instances(planes):
        _refuse_negative(file, planes)
        said = "one object for each number"
        if gaps:
            planes = np.stack([separate_touching(plane) for plane in planes])
            said += ", those that touch parted by a pixel"
        return (planes > 0).astype(np.float32), said
    return _as_shares(file, planes), f"probabilities of class 1 ({planes.dtype.name})"


def _are_instances(planes: np.ndarray) -> bool:
    """Whether integers look like numbers of objects, not like probabilities."""
    import numpy as np

    from unet_native.data.labels import single_pieces

    values, areas = np.unique(planes, return_counts=True)
    return np.median(areas[values != 0]) >= _LEAST_AREA and single_pieces(planes)


def _larger_of_two(planes: np.ndarray) -> np.ndarray:
    """Where the larger of two values is; of one value, anything but 0 is foreground."""
    low, high = planes.min(), planes.max()
    return planes > (low if low < high else 0)


def _as_shares(file: ImageFile, values: np.ndarray) -> np.ndarray:
    """float32 from 0 to 1: floats as they are, integers divided by the largest of their type."""
    import numpy as np

    from unet_native.errors import UserError

    if values.dtype.kind != "f":
        _refuse_negative(file, values)
        return (values / np.iinfo(values.dtype).max).astype(np.float32)
    if values.min() < 0 or values.max() > 1:
        raise UserError(
            f"{file.path}: expected probabilities from 0 to 1, found {values.min():g} to "
            f"{values.max():g}; rescale them, or save labels as integers"
        )
    return values.astype(np.float32)


def _refuse_negative(file: ImageFile, planes: np.ndarray) -> None:
    from unet_native.errors import UserError

    if planes.min() < 0:
        raise UserError(
            f"{file.path}: holds the negative number {planes.min()}; objects are numbered from 1, "
            "0 is background"
        )

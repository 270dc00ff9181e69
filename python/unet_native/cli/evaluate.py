"""``unet-native evaluate``: how good is a segmentation?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unet_native.cli import options
from unet_native.cli.console import note

if TYPE_CHECKING:
    import numpy as np

    from unet_native.data.images import ImageFile
    from unet_native.data.labels import LabelRule
    from unet_native.evaluate import ScoredObjects, ScoredSlice


def evaluate(
    prediction: Annotated[
        Path,
        typer.Argument(
            help="Folder, stack or image; of NAME.tif, NAME_prob.tif and NAME_objects.tif the one "
            "that suits the metric."
        ),
    ],
    truth: Annotated[Path, typer.Argument(help="Folder, stack or image of labels.")],
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="isbi|iou|ctc",
            help="isbi: V_Rand, V_Info, Rand and pixel error, and IoU too; ctc: SEG of the Cell "
            "Tracking Challenge, and F1 of objects at an IoU of 0.5.",
        ),
    ] = "isbi",
    warping: Annotated[
        bool, typer.Option("--warping", help="The challenge's warping error too; takes longer.")
    ] = False,
    foreground: options.Foreground = None,
    label_kind: options.LabelKind = "auto",
    ignore: options.Ignore = None,
    as_json: options.Json = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Leave a report to look at in a browser: scores, curves, worst and best slices.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="The images, for the report to show the errors on."),
    ] = None,
) -> None:
    """Score a segmentation against labels, matched by name.

    Predictions are probabilities of class 1 (floats from 0 to 1, or integers up to the largest of
    their type), of all classes along axis C, or labels: two values, of which the larger is class
    1, or class numbers. The options say what the values of the labels in TRUTH mean, as for train.

    For ctc they are objects: one number each, or else the connected parts (4 neighbours) of what is
    above 0.5 or not background; and so is the truth.
    """
    from unet_native.cli.evaluate_report import check_report_options, leave_report
    from unet_native.errors import UserError
    from unet_native.evaluate import METRICS, evaluate_objects
    from unet_native.evaluate import evaluate as score

    if metric not in METRICS:
        raise UserError(f"--metric {metric}: use {', '.join(METRICS)}")
    if warping and metric != "isbi":
        raise UserError(f"--warping belongs to the metric isbi, not to {metric}; leave it out")
    check_report_options(report, images)
    if metric == "ctc":
        slices = _read_objects(prediction, truth, label_kind, foreground, ignore)
        result = evaluate_objects(slices)
    else:
        slices = _read(prediction, truth, label_kind, foreground, ignore)
        result = score(slices, metric, warping=warping)
    if as_json:
        import json

        print(json.dumps(_without_nan(result)))
    else:
        _print_table(result)
    if report is not None:
        leave_report(
            report,
            result,
            slices,
            images,
            prediction=prediction,
            truth=truth,
            metric=metric,
            foreground=foreground,
            ignore=ignore,
        )


_ORDER = {"objects": ("_objects", "_prob", ""), "probabilities": ("_prob", "", "_objects")}


def _read(
    prediction: Path, truth: Path, kind: str, foreground: str | None, ignore: int | None
) -> list[ScoredSlice]:
    """Slices of both, in order."""
    from unet_native.evaluate import ScoredSlice

    pairs, planes, rule = _matched(prediction, truth, "probabilities", kind, foreground, ignore)
    slices: list[ScoredSlice] = []
    for predicted, _ in pairs:
        stack = _probabilities(predicted, rule.classes, rule.kind)
        for index, probabilities in enumerate(stack):
            labels, _, ignored = rule(planes[len(slices)])
            name = _bare(predicted.slice_name(index))
            slices.append(ScoredSlice(name, probabilities, labels, ignored))
    note(f"labels: {rule.describe()}")
    return slices


def _read_objects(
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
        numbered, said = _objects(predicted)
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
    return slices


def _matched(
    prediction: Path,
    truth: Path,
    wanted: str,
    kind: str,
    foreground: str | None,
    ignore: int | None,
) -> tuple[list[tuple[ImageFile, ImageFile]], list[np.ndarray], LabelRule]:
    """Pairs of files, the label planes of all their slices, and what the labels mean."""
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
    bits = 8 * max(file.dtype.itemsize for _, file in pairs)
    rule = decide_label_rule(
        planes, bits, kind=kind, foreground=foreground, ignore=ignore, where=truth
    )
    return pairs, planes, rule


def _predictions(path: Path, order: tuple[str, ...]) -> list[ImageFile]:
    """The files to score: of those that ``segment`` wrote for one image, the first in `order`."""
    from unet_native.data.images import list_images

    files = list_images(path, labels=True)
    stems = {file.stem for file in files}

    def is_first(file: ImageFile) -> bool:
        name = file.stem.removesuffix("_prob").removesuffix("_objects")
        return file.stem == next((name + s for s in order if name + s in stems), file.stem)

    return [file for file in files if is_first(file)]


def _bare(stem: str) -> str:
    """The name of an image from that of its labels or results."""
    from unet_native.data.pairing import MASK_SUFFIXES

    for suffix in ("_prob", "_objects", *MASK_SUFFIXES):
        stem = stem.removesuffix(suffix)
    return stem


def _objects(file: ImageFile) -> tuple[list[np.ndarray], str]:
    """(H, W) int32 for each slice of a prediction, and what was taken for an object."""
    import numpy as np

    from unet_native.data.instances import connected_instances
    from unet_native.errors import UserError

    stack = file.read()
    if stack.shape[1] > 1:
        classes = stack.argmax(axis=1).astype(np.uint8)
        return [connected_instances(c) for c in classes], "connected parts of each class but 0"
    planes = stack[:, 0]
    if planes.dtype.kind == "f":
        inside = [_probability_of_foreground(file.path, p, "binary") > 0.5 for p in planes]
        parts = [connected_instances(p.astype(np.uint8)) for p in inside]
        return parts, "connected parts above 0.5"
    if planes.min() < 0:
        raise UserError(
            f"{file.path}: holds the negative number {planes.min()}; objects are numbered from 1, "
            "0 is background"
        )
    if not file.stem.endswith("_objects") and len(np.unique(planes)) <= 2:
        parts = [connected_instances((p > 0).astype(np.uint8)) for p in planes]
        return parts, "connected parts of what is not 0"
    return list(planes), "one for each number"


def _pair(
    predictions: list[ImageFile], truths: list[ImageFile], prediction: Path, truth: Path
) -> list[tuple[ImageFile, ImageFile]]:
    """Predictions with the truth of their name; a truth without prediction is passed over."""
    from unet_native.errors import UserError

    if len(predictions) == len(truths) == 1:
        return [(predictions[0], truths[0])]

    by_name = {_bare(file.stem): file for file in truths}
    lone = [file.path.name for file in predictions if _bare(file.stem) not in by_name]
    if lone:
        more = f" and {len(lone) - 1} more" if len(lone) > 1 else ""
        raise UserError(
            f"{prediction}: no labels of the same name in {truth} for {lone[0]}{more}; rename "
            "them, or take them away"
        )
    left = len(truths) - len(predictions)
    if left:
        note(f"{left} label file{'s' * (left != 1)} without prediction passed over")
    return [(file, by_name[_bare(file.stem)]) for file in predictions]


def _probabilities(file: ImageFile, classes: int, kind: str) -> np.ndarray:
    """(slices, classes, H, W) float32 from whatever a prediction file holds."""
    import numpy as np

    from unet_native.errors import UserError

    stack = file.read()
    channels = stack.shape[1]
    if channels == classes > 2 or (channels == 2 == classes):
        return np.asarray(stack, np.float32)
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
        return (plane[:, None] == numbers).astype(np.float32)
    if file.stem.endswith("_objects"):
        kind = "instances"
    one = _probability_of_foreground(file.path, plane, kind)
    return np.stack([1 - one, one], axis=1)


def _probability_of_foreground(path: Path, plane: np.ndarray, kind: str) -> np.ndarray:
    import numpy as np

    from unet_native.errors import UserError

    if plane.dtype.kind == "f":
        if plane.min() < 0 or plane.max() > 1:
            raise UserError(
                f"{path}: expected probabilities from 0 to 1, found {plane.min():g} to "
                f"{plane.max():g}; rescale them"
            )
        return plane.astype(np.float32)
    if kind == "instances" or len(np.unique(plane)) <= 2:
        low = 0 if kind == "instances" else min(0, int(plane.min()))
        return (plane > low).astype(np.float32)
    return (plane / np.iinfo(plane.dtype).max).clip(0, 1).astype(np.float32)


def _extent(file: ImageFile) -> str:
    height, width = file.size
    return f"{file.slices} slice{'s' * (file.slices != 1)} of {height}x{width}"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: undefined scores are null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _print_table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from unet_native.score_table import best_threshold, score_table

    columns, rows = score_table(result)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == "slice" else "right")
    for row in rows:
        is_total = row is rows[-1] and result["slices"] > 1
        table.add_row(*row, style="bold" if is_total else None)
    Console(soft_wrap=True).print(table)
    if "splits" in result:
        print(f"warping error: {result['splits']} split and {result['mergers']} merger pixels")
    if (best := best_threshold(result)) is not None:
        print(best)

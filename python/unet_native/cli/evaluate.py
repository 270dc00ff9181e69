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
    from unet_native.evaluate import ScoredSlice

_COLUMNS = {"v_rand": "V_Rand", "v_info": "V_Info", "pixel_error": "pixel error", "iou": "IoU"}


def evaluate(
    prediction: Annotated[
        Path,
        typer.Argument(help="Folder, stack or image; of NAME.tif and NAME_prob.tif the latter."),
    ],
    truth: Annotated[Path, typer.Argument(help="Folder, stack or image of labels.")],
    metric: Annotated[
        str,
        typer.Option(
            "--metric", metavar="isbi|iou", help="isbi: V_Rand, V_Info, pixel error, and IoU too."
        ),
    ] = "isbi",
    foreground: options.Foreground = None,
    label_kind: options.LabelKind = "auto",
    ignore: options.Ignore = None,
    as_json: options.Json = False,
) -> None:
    """Score a segmentation against labels, matched by name.

    Predictions are probabilities of class 1 (floats from 0 to 1, or integers up to the largest of
    their type), of all classes along axis C, or labels: two values, of which the larger is class
    1, or class numbers. The options say what the values of the labels in TRUTH mean, as for train.
    """
    from unet_native.errors import UserError
    from unet_native.evaluate import METRICS
    from unet_native.evaluate import evaluate as score

    if metric not in METRICS:
        raise UserError(f"--metric {metric}: use {' or '.join(METRICS)}")
    slices = _read(prediction, truth, label_kind, foreground, ignore)
    result = score(slices, metric)
    if as_json:
        import json

        print(json.dumps(_without_nan(result)))
    else:
        _print_table(result)


def _read(
    prediction: Path, truth: Path, kind: str, foreground: str | None, ignore: int | None
) -> list[ScoredSlice]:
    """Slices of both, in order."""
    from unet_native.data.images import list_images
    from unet_native.data.labels import decide_label_rule, label_plane
    from unet_native.errors import UserError
    from unet_native.evaluate import ScoredSlice

    pairs = _pair(_predictions(prediction), list_images(truth, labels=True), prediction, truth)
    planes = [label_plane(file.path, plane) for _, file in pairs for plane in file.read()]
    bits = 8 * max(file.dtype.itemsize for _, file in pairs)
    rule = decide_label_rule(
        planes, bits, kind=kind, foreground=foreground, ignore=ignore, where=truth
    )
    slices: list[ScoredSlice] = []
    for predicted, labelled in pairs:
        if predicted.slices != labelled.slices or predicted.size != labelled.size:
            raise UserError(
                f"{predicted.path}: holds {_extent(predicted)}, {labelled.path} "
                f"{_extent(labelled)}; they must agree"
            )
        stack = _probabilities(predicted, rule.classes, rule.kind)
        for index, probabilities in enumerate(stack):
            labels, _, ignored = rule(planes[len(slices)])
            name = predicted.slice_name(index).replace("_prob", "")
            slices.append(ScoredSlice(name, probabilities, labels, ignored))
    note(f"labels: {rule.describe()}")
    return slices


def _predictions(path: Path) -> list[ImageFile]:
    """The files to score: NAME_prob.tif instead of NAME.tif where there are both."""
    from unet_native.data.images import list_images

    files = list_images(path, labels=True)
    stems = {file.stem for file in files}
    return [file for file in files if f"{file.stem}_prob" not in stems]


def _pair(
    predictions: list[ImageFile], truths: list[ImageFile], prediction: Path, truth: Path
) -> list[tuple[ImageFile, ImageFile]]:
    """Predictions with the truth of their name; a truth without prediction is passed over."""
    from unet_native.data.pairing import MASK_SUFFIXES
    from unet_native.errors import UserError

    if len(predictions) == len(truths) == 1:
        return [(predictions[0], truths[0])]

    def bare(stem: str) -> str:
        for suffix in ("_prob", *MASK_SUFFIXES):
            stem = stem.removesuffix(suffix)
        return stem

    by_name = {bare(file.stem): file for file in truths}
    lone = [file.path.name for file in predictions if bare(file.stem) not in by_name]
    if lone:
        more = f" and {len(lone) - 1} more" if len(lone) > 1 else ""
        raise UserError(
            f"{prediction}: no labels of the same name in {truth} for {lone[0]}{more}; rename "
            "them, or take them away"
        )
    left = len(truths) - len(predictions)
    if left:
        note(f"{left} label file{'s' * (left != 1)} without prediction passed over")
    return [(file, by_name[bare(file.stem)]) for file in predictions]


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

    shown = {key: title for key, title in _COLUMNS.items() if key in result}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slice")
    for title in shown.values():
        table.add_column(title, justify="right")
    for name, scores in result["per_slice"].items():
        table.add_row(name, *(f"{scores[key]:.4f}" for key in shown))
    if result["slices"] > 1:
        row = [f"{result[key]:.4f}" for key in shown]
        table.add_row(f"all {result['slices']}", *row, style="bold")
    Console(soft_wrap=True).print(table)
    if "v_rand_threshold" in result:
        print(f"V_Rand is best with class 1 above {result['v_rand_threshold']:.1f}")

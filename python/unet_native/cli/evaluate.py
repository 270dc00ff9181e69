"""``unet-native evaluate``: how good is a segmentation?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from unet_native.cli import options


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
    threads: options.Threads = 0,
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

    If no name matches, the numbers at the end of the names do (mask000.tif, man_seg000.tif).

    Predictions are probabilities of class 1 (floats from 0 to 1, or integers up to the largest of
    their type), of all classes along axis C, or labels: two values, of which the larger is class
    1, class numbers, or one number for each object. What they were taken for is said. The options
    say what the values of the labels in TRUTH mean, as for train; objects that touch get a gap of
    one pixel, as in training.

    For ctc they are objects: one number each, or else the connected parts (4 neighbours) of what is
    above 0.5 or not background; and so is the truth, in which objects may touch.
    """
    from unet_native.cli.evaluate_files import read_objects, read_slices
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
        slices = read_objects(prediction, truth, label_kind, foreground, ignore)
        result = evaluate_objects(slices, threads=threads or None)
    else:
        slices = read_slices(prediction, truth, label_kind, foreground, ignore, metric=metric)
        result = score(slices, metric, warping=warping, threads=threads or None)
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


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN: undefined scores are null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
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

"""Scores of slices as a table of text: the same digits on the command line and in reports."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["SCORE_NAMES", "best_threshold", "score_table", "score_text"]

#: What the scores of unet_native.evaluate are called, in the order of a table.
SCORE_NAMES = {
    "v_rand": "V_Rand",
    "v_info": "V_Info",
    "rand_error": "Rand error",
    "pixel_error": "pixel error",
    "warping_error": "warping error",
    "iou": "IoU",
    "seg": "SEG",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "tp": "TP",
    "fp": "FP",
    "fn": "FN",
}


def score_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of what unet_native.evaluate found: one row a slice, its name first.

    If there are several slices, the last row is that of all of them.
    """
    names = {key: name for key, name in SCORE_NAMES.items() if key in result}
    if len(result.get("iou_per_class", ())) > 2:
        result = _with_class_columns(result)
        names |= {key: key for key in result if key.startswith("IoU of ")}
    rows = [
        [slice_name, *(score_text(key, scores) for key in names)]
        for slice_name, scores in result["per_slice"].items()
    ]
    if result["slices"] > 1:
        rows.append([f"all {result['slices']}", *(score_text(key, result) for key in names)])
    return ["slice", *names.values()], rows


def score_text(key: str, scores: dict[str, Any]) -> str:
    """A score for people; "nan" for a slice that has none, such as one without any interior."""
    value = scores.get(key, math.nan)
    if isinstance(value, int):
        return str(value)
    return f"{value:.{6 if key == 'warping_error' else 4}f}"


def best_threshold(result: dict[str, Any]) -> str | None:
    """Where V_Rand is best, in words; None if that was not asked for."""
    if "v_rand_threshold" not in result:
        return None
    return f"V_Rand is best with class 1 above {result['v_rand_threshold']:.1f}"


def _with_class_columns(result: dict[str, Any]) -> dict[str, Any]:
    """The same with the IoU of each class beside the other scores."""

    def flat(scores: dict[str, Any]) -> dict[str, Any]:
        per_class = scores["iou_per_class"].items()
        return scores | {f"IoU of {name}": value for name, value in per_class}

    rows = {name: flat(scores) for name, scores in result["per_slice"].items()}
    return flat(result) | {"per_slice": rows}

"""Intersection over union of class labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unet_native.errors import UserError
from unet_native.metrics.arguments import checked_labels

__all__ = ["IoU", "iou"]


@dataclass(frozen=True)
class IoU:
    """per_class: class -> IoU, NaN for a class in neither image; mean: of those that are not NaN;
    foreground: of all classes but 0 taken together."""

    per_class: dict[int, float]
    mean: float
    foreground: float


def iou(
    prediction: np.ndarray,
    truth: np.ndarray,
    classes: int | None = None,
    ignore_label: int | None = None,
) -> IoU:
    """Intersection over union of each class, |P and T| / |P or T|, over all pixels together.

    prediction, truth: class labels, integers of the same shape, any number of axes. classes: their
    number, labels being 0 .. classes - 1; None = as many as occur, at least two. Pixels where truth
    is `ignore_label` do not count. Raises UserError if shapes differ, for other dtypes and labels.
    """
    prediction = checked_labels("prediction", prediction)
    truth = checked_labels("truth", truth)
    if prediction.shape != truth.shape:
        raise UserError(
            "prediction and truth must have the same shape, got "
            f"{prediction.shape} and {truth.shape}"
        )
    if ignore_label is not None:
        counted = truth != ignore_label
        prediction, truth = prediction[counted], truth[counted]
    low = min(prediction.min(initial=0), truth.min(initial=0))
    high = max(prediction.max(initial=0), truth.max(initial=0))
    if classes is None:
        classes = max(int(high) + 1, 2)
    if low < 0 or high >= classes:
        raise UserError(
            f"class labels: expected 0 to {classes - 1}, found values from {low} to {high}"
        )
    table = _confusion(truth.ravel(), prediction.ravel(), classes)
    both = np.diag(table)
    either = table.sum(0) + table.sum(1) - both
    per_class = {k: _ratio(int(both[k]), int(either[k])) for k in range(classes)}
    known = [value for value in per_class.values() if not math.isnan(value)]
    return IoU(
        per_class=per_class,
        mean=sum(known) / len(known) if known else math.nan,
        foreground=_ratio(int(table[1:, 1:].sum()), int(table.sum() - table[0, 0])),
    )


def _confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) int64: pixels by truth and prediction."""
    table = np.zeros(classes * classes, np.int64)
    for start in range(0, truth.size, 1 << 22):  # a block at a time, to need little memory
        block = slice(start, start + (1 << 22))
        table += np.bincount(
            truth[block].astype(np.int64) * classes + prediction[block], minlength=table.size
        )
    return table.reshape(classes, classes)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan

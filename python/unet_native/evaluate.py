"""Scores of predicted slices against labelled ones, of any number and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.metrics import ThresholdScores, iou, isbi_scores

__all__ = ["METRICS", "ScoredSlice", "evaluate"]

METRICS = ("isbi", "iou")


@dataclass(frozen=True)
class ScoredSlice:
    """A prediction and the truth.

    name           for tables
    probabilities  (classes, H, W) float32, 0 to 1; from labels: 0 and 1
    labels         (H, W) true class of each pixel
    ignore         (H, W) bool, pixels that do not count; None = all count
    """

    name: str
    probabilities: NDArray[np.float32]
    labels: NDArray[np.uint8]
    ignore: NDArray[np.bool_] | None = None


def evaluate(slices: Sequence[ScoredSlice], metric: str = "isbi") -> dict[str, Any]:
    """All scores over `slices` together, and of each one.

    metric "iou": with the most probable class at each pixel,
      iou            intersection over union of the foreground: of class 1 for two classes, mean
                     over the classes but the background for more
      iou_per_class  of each class
    metric "isbi", for two classes: also the scores of the ISBI 2012 challenge, each at its best
    threshold on the probability of class 1, the interior of cells
      v_rand, v_info  foreground-restricted, after thinning, mean over slices
      v_rand_threshold  where v_rand is best
      pixel_error     1 - best F score of pixels
      rand_error      1 - best foreground-restricted F score of pairs, without thinning
    For more classes, pixel_error is the share of wrong pixels.

    "per_slice" holds the same for each slice by its name. A score that is undefined is NaN.
    Ignored pixels take part in none; for the challenge's scores, they count as background in both,
    and slices whose truth has no pixel of class 1 are left out.
    """
    isbi = metric == "isbi" and len(slices[0].probabilities) == 2
    thresholds = [_isbi_thresholds(item) if isbi else () for item in slices]
    result = _scores(slices, thresholds, metric)
    result["per_slice"] = {
        item.name: _scores([item], [rows], metric)
        for item, rows in zip(slices, thresholds, strict=True)
    }
    return result


def _scores(
    slices: Sequence[ScoredSlice], thresholds: Sequence[Sequence[ThresholdScores]], metric: str
) -> dict[str, Any]:
    """All scores over some slices; `thresholds`: the challenge's, of each slice."""
    classes = len(slices[0].probabilities)
    result: dict[str, Any] = {"slices": len(slices)}
    if metric == "isbi":
        result.update(_isbi(thresholds) if classes == 2 else {"pixel_error": _wrong_share(slices)})
    return result | _iou(slices, classes)


def _isbi(thresholds: Sequence[Sequence[ThresholdScores]]) -> dict[str, float]:
    """The challenge's averages over slices."""
    rows = list(zip(*filter(None, thresholds), strict=True))  # one for each threshold
    v_rand = [_mean(s.v_rand_thinned_per_slice for s in row) for row in rows]
    best = _largest(v_rand)
    where = [row[0].th for row, value in zip(rows, v_rand, strict=True) if value == best]
    return {
        "v_rand": best,
        "v_rand_threshold": round(where[0], 1) if where else math.nan,
        "v_info": _largest(_mean(s.v_info_thinned for s in row) for row in rows),
        "pixel_error": 1 - _largest(_pooled_f([s.pixel for s in row]) for row in rows),
        "rand_error": 1 - _largest(_pooled_f([s.rand_fr for s in row]) for row in rows),
    }


def _isbi_thresholds(item: ScoredSlice) -> Sequence[ThresholdScores]:
    """The challenge's scores of a slice; none if its truth has no interior."""
    proposal = np.clip(item.probabilities[1], 0, 1)
    label = (item.labels == 1).astype(np.uint8)
    if item.ignore is not None:
        proposal, label = (np.where(item.ignore, 0, a).astype(a.dtype) for a in (proposal, label))
    return isbi_scores(proposal, label).thresholds if label.any() else ()


def _iou(slices: Sequence[ScoredSlice], classes: int) -> dict[str, Any]:
    predicted, truth = _counted(slices)
    per_class = iou(predicted, truth, classes).per_class
    return {
        "iou": _mean(list(per_class.values())[1:]),
        "iou_per_class": {str(c): value for c, value in per_class.items()},
    }


def _wrong_share(slices: Sequence[ScoredSlice]) -> float:
    predicted, truth = _counted(slices)
    return float(np.mean(predicted != truth)) if truth.size else math.nan


def _counted(slices: Sequence[ScoredSlice]) -> tuple[NDArray, NDArray]:
    """Predicted and true classes of all pixels that count."""
    predicted, truth = [], []
    for item in slices:
        counts = slice(None) if item.ignore is None else ~item.ignore.ravel()
        predicted.append(item.probabilities.argmax(axis=0).ravel()[counts])
        truth.append(item.labels.ravel()[counts])
    return np.concatenate(predicted), np.concatenate(truth)


def _pooled_f(scores: Sequence[Any]) -> float:
    tp, fp, fn = (sum(getattr(s, name) for s in scores) for name in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else math.nan


def _mean(values: Any) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _largest(values: Any) -> float:
    return max((value for value in values if not math.isnan(value)), default=math.nan)

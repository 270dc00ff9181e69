"""Scores of predicted slices against labelled ones, of any number and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.metrics import ThresholdScores, ctc_scores, iou, isbi_scores

__all__ = ["METRICS", "ScoredObjects", "ScoredSlice", "evaluate", "evaluate_objects"]

METRICS = ("isbi", "iou", "ctc")

_LAST_WARPING_THRESHOLD = 0.9  # of the challenge


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


@dataclass(frozen=True)
class ScoredObjects:
    """Objects of a slice and the true ones: (H, W) integers, 0 = background, else one number each.

    In truth, objects that touch have no gap between them.
    """

    name: str
    predicted: NDArray
    truth: NDArray


def evaluate_objects(slices: Sequence[ScoredObjects]) -> dict[str, Any]:
    """Scores of the Cell Tracking Challenge, see :func:`unet_native.metrics.ctc_scores`.

    seg, f1, precision, recall, tp, fp, fn over all objects of all slices; "per_slice" holds the
    same for each slice by its name. NaN where there is no object.
    """

    def scores(part: Sequence[ScoredObjects]) -> dict[str, Any]:
        return asdict(ctc_scores([s.predicted for s in part], [s.truth for s in part]))

    per_slice = {item.name: scores([item]) for item in slices}
    return {"slices": len(slices)} | scores(slices) | {"per_slice": per_slice}


def evaluate(
    slices: Sequence[ScoredSlice], metric: str = "isbi", *, warping: bool = False
) -> dict[str, Any]:
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
      thresholds      "0.0", "0.1", ..: v_rand, v_info and the F scores of pixels and of pairs
                      (pixel_f, rand_f) at each threshold, over all slices
      warping_error   with `warping`: fewest splits and mergers per pixel after the label has been
                      warped; splits, mergers: how many pixels, at that threshold
    For more classes, pixel_error is the share of wrong pixels.

    "per_slice" holds the same for each slice by its name. A score that is undefined is NaN.
    Ignored pixels take part in none; for the challenge's scores, they count as background in both,
    and slices whose truth has no pixel of class 1 are left out.
    """
    isbi = metric == "isbi" and len(slices[0].probabilities) == 2
    thresholds = [_isbi_thresholds(item, warping) if isbi else () for item in slices]
    result = _scores(slices, thresholds, metric)
    if isbi:
        result["thresholds"] = _by_threshold(thresholds)
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
        result.update(_warping(slices, thresholds))
    return result | _iou(slices, classes)


def _isbi(thresholds: Sequence[Sequence[ThresholdScores]]) -> dict[str, float]:
    """The challenge's averages over slices."""
    rows = _by_threshold(thresholds)
    best = _largest(row["v_rand"] for row in rows.values())
    where = [threshold for threshold, row in rows.items() if row["v_rand"] == best]
    return {
        "v_rand": best,
        "v_rand_threshold": float(where[0]) if where else math.nan,
        "v_info": _largest(row["v_info"] for row in rows.values()),
        "pixel_error": 1 - _largest(row["pixel_f"] for row in rows.values()),
        "rand_error": 1 - _largest(row["rand_f"] for row in rows.values()),
    }


def _by_threshold(thresholds: Sequence[Sequence[ThresholdScores]]) -> dict[str, dict[str, float]]:
    """The challenge's averages over slices at each threshold; none if no slice has an interior."""
    return {
        f"{row[0].th:.1f}": {
            "v_rand": _mean(s.v_rand_thinned_per_slice for s in row),
            "v_info": _mean(s.v_info_thinned for s in row),
            "pixel_f": _pooled_f([s.pixel for s in row]),
            "rand_f": _pooled_f([s.rand_fr for s in row]),
        }
        for row in zip(*filter(None, thresholds), strict=True)
    }


def _warping(
    slices: Sequence[ScoredSlice], thresholds: Sequence[Sequence[ThresholdScores]]
) -> dict[str, float]:
    """Fewest splits and mergers over the thresholds; nothing if they were not asked for."""
    scored = [(s.labels.size, rows) for s, rows in zip(slices, thresholds, strict=True) if rows]
    if not scored or scored[0][1][0].warp_counts is None:
        return {}
    pixels = sum(size for size, _ in scored)
    found = [
        [sum(scores.warp_counts[kind] for scores in row) for kind in ("splits", "mergers")]
        for row in zip(*(rows for _, rows in scored), strict=True)
        if row[0].th <= _LAST_WARPING_THRESHOLD
    ]
    splits, mergers = min(found, key=sum)
    return {"warping_error": (splits + mergers) / pixels, "splits": splits, "mergers": mergers}


def _isbi_thresholds(item: ScoredSlice, warping: bool) -> Sequence[ThresholdScores]:
    """The challenge's scores of a slice; none if its truth has no interior."""
    proposal = np.clip(item.probabilities[1], 0, 1)
    label = (item.labels == 1).astype(np.uint8)
    if item.ignore is not None:
        proposal, label = (np.where(item.ignore, 0, a).astype(a.dtype) for a in (proposal, label))
    return isbi_scores(proposal, label, warping=warping).thresholds if label.any() else ()


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

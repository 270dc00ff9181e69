"""Scores of predicted slices against labelled ones, of any number and sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.errors import UserError
from unet_native.metrics import ThresholdScores, iou
from unet_native.metrics.ctc import combined_frames, scored_frames
from unet_native.metrics.isbi import LAST_WARPING_THRESHOLD, combined
from unet_native.metrics.isbi_slices import SliceScores, isbi_thresholds, scored_slices

__all__ = ["METRICS", "ScoredObjects", "ScoredSlice", "evaluate", "evaluate_objects"]

METRICS = ("isbi", "iou", "ctc")

_ROUNDING = 1e-3  # by which a probability may leave 0 to 1, as averages and resampling do


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


def evaluate_objects(
    slices: Sequence[ScoredObjects], *, threads: int | None = None
) -> dict[str, Any]:
    """Scores of the Cell Tracking Challenge, see :func:`unet_native.metrics.ctc_scores`.

    seg, f1, precision, recall, tp, fp, fn over all objects of all slices; "per_slice" holds the
    same for each slice by its name. NaN where there is no object.

    threads: slices scored at a time; None = all cores. Raises UserError as `ctc_scores`, and
    without any slice.
    """
    _refuse_nothing(slices)
    for item in slices:
        if np.shape(item.predicted) != np.shape(item.truth):
            raise UserError(
                f"{item.name}: the objects have shape {np.shape(item.predicted)}, the truth "
                f"{np.shape(item.truth)}; they must agree"
            )
    frames = scored_frames([s.predicted for s in slices], [s.truth for s in slices], threads)
    return {
        "slices": len(slices),
        **asdict(combined_frames(frames)),
        "per_slice": {
            item.name: {"slices": 1, **asdict(combined_frames([frame]))}
            for item, frame in zip(slices, frames, strict=True)
        },
    }


def evaluate(
    slices: Sequence[ScoredSlice],
    metric: str = "isbi",
    *,
    warping: bool = False,
    threads: int | None = None,
) -> dict[str, Any]:
    """All scores over `slices` together, and of each one.

    metric "iou": with the most probable class at each pixel,
      iou            intersection over union of the foreground: of class 1 for two classes, mean
                     over the classes but the background for more
      iou_per_class  of each class
    metric "isbi", for two classes: also the scores of the ISBI 2012 challenge, each at its best
    threshold on the probability of class 1, the interior of cells
      v_rand, v_info  foreground-restricted, after thinning, mean over slices
      pixel_error     1 - best F score of pixels
      rand_error      1 - best foreground-restricted F score of pairs, without thinning
      warping_error   with `warping`: fewest splits and mergers per pixel after the label has been
                      warped, at thresholds up to 0.9; splits, mergers: how many pixels
      v_rand_threshold, v_info_threshold, pixel_threshold, rand_threshold, warping_threshold
                      the lowest threshold where each is best
      curves          over all slices: name -> values, one for each of "thresholds"; v_rand, v_info,
                      pixel_f, rand_f (F scores, of which the errors are the rest to 1) and, with
                      `warping`, warping_error
    They are those of :func:`unet_native.metrics.isbi_scores`, to the bit, for the stack of all
    slices; slices of several sizes are taken together in the same way. For more classes,
    pixel_error is the share of wrong pixels.

    "per_slice" holds the same, without the curves, for each slice by its name. A score that is
    undefined is NaN. Ignored pixels take part in none; for the challenge's scores, they count as
    background in both, and slices whose truth has no pixel of class 1 are left out; if that is all
    of them, there are neither curves nor a warping error.

    threads: slices and thresholds scored at a time; None = all cores. No score depends on it.

    Raises UserError naming the slice for shapes that differ, for probabilities that are not
    float32, NaN or not within 0 to 1, and for labels that are no integers; and without any slice.
    """
    _refuse_nothing(slices)
    classes = len(slices[0].probabilities)
    for item in slices:
        _check(item, classes)
    challenge: list[SliceScores | None] = [None] * len(slices)
    if metric == "isbi" and classes == 2:
        challenge = _challenge(slices, warping, threads)
    result = _scores(slices, challenge, metric)
    if known := [scores for scores in challenge if scores is not None]:
        result["curves"] = _curves(known)
    result["per_slice"] = {
        item.name: _scores([item], [scores], metric)
        for item, scores in zip(slices, challenge, strict=True)
    }
    return result


def _refuse_nothing(slices: Sequence[Any]) -> None:
    if not slices:
        raise UserError("there is no slice to score; give at least one")


def _check(item: ScoredSlice, classes: int) -> None:
    shape, labels = np.shape(item.probabilities), np.asarray(item.labels)
    if len(shape) != 3 or shape != (classes, *labels.shape):
        raise UserError(
            f"{item.name}: expected probabilities of shape ({classes}, H, W) and labels (H, W), "
            f"got {shape} and {labels.shape}; they must agree"
        )
    if item.ignore is not None and np.shape(item.ignore) != labels.shape:
        raise UserError(
            f"{item.name}: ignore has shape {np.shape(item.ignore)}, labels {labels.shape}; they "
            "must agree"
        )
    if item.probabilities.dtype != np.float32:
        raise UserError(
            f"{item.name}: expected probabilities as float32, got {item.probabilities.dtype}; "
            "convert them to 0 to 1 as float32"
        )
    low, high = float(item.probabilities.min()), float(item.probabilities.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN fails both
        found = "NaN" if math.isnan(low) else f"{low:g} to {high:g}"
        raise UserError(f"{item.name}: expected probabilities from 0 to 1, found {found}")
    if labels.dtype != bool and labels.dtype.kind not in "iu":
        raise UserError(f"{item.name}: expected labels as integers, got {labels.dtype}")


def _challenge(
    slices: Sequence[ScoredSlice], warping: bool, threads: int | None
) -> list[SliceScores | None]:
    """The challenge's counts of each slice; None if its truth has no interior."""
    proposals, labels = [], []
    for item in slices:
        proposal = np.clip(item.probabilities[1], 0, 1)
        label = (np.asarray(item.labels) == 1).astype(np.uint8)
        if item.ignore is not None:
            proposal[item.ignore] = label[item.ignore] = 0
        proposals.append(proposal)
        labels.append(label)
    scored = [index for index, label in enumerate(labels) if label.any()]
    result: list[SliceScores | None] = [None] * len(slices)
    if scored:
        found = scored_slices(
            [proposals[i] for i in scored],
            [labels[i] for i in scored],
            warping=warping,
            threads=threads,
        )
        for index, scores in zip(scored, found, strict=True):
            result[index] = scores
    return result


def _scores(
    slices: Sequence[ScoredSlice], challenge: Sequence[SliceScores | None], metric: str
) -> dict[str, Any]:
    """All scores over some slices; `challenge`: the challenge's counts of each of them."""
    classes = len(slices[0].probabilities)
    result: dict[str, Any] = {"slices": len(slices)}
    if metric == "isbi":
        known = [scores for scores in challenge if scores is not None]
        result.update(_isbi(known) if classes == 2 else {"pixel_error": _wrong_share(slices)})
    return result | _iou(slices, classes)


# Score: what it is called among the thresholds, and its value in a row of them.
_F_SCORES: dict[str, Callable[[ThresholdScores], float]] = {
    "v_rand": lambda row: row.v_rand_thinned_per_slice,
    "v_info": lambda row: row.v_info_thinned,
    "pixel": lambda row: row.pixel.f,
    "rand": lambda row: row.rand_fr.f,
}


def _isbi(slices: Sequence[SliceScores]) -> dict[str, Any]:
    """The challenge's scores of some slices together, and where each is best."""
    names = ("v_rand", "v_info", "pixel_error", "rand_error")
    if not slices:
        return dict.fromkeys([*names, *(f"{name}_threshold" for name in _F_SCORES)], math.nan)
    scores = combined(slices)
    result: dict[str, Any] = {name: getattr(scores, name) for name in names}
    for name, value in _F_SCORES.items():
        defined = [row for row in scores.thresholds if not math.isnan(value(row))]
        best = max(defined, key=value, default=None)
        result[f"{name}_threshold"] = math.nan if best is None else best.th
    if scores.warping_error is not None:
        best = min(
            (row for row in scores.thresholds if row.th <= LAST_WARPING_THRESHOLD),
            key=_splits_and_mergers,
        )
        result["warping_error"] = scores.warping_error
        result["warping_threshold"] = best.th
        result |= {kind: best.warp_counts[kind] for kind in ("splits", "mergers")}
    return result


def _curves(slices: Sequence[SliceScores]) -> dict[str, list[float]]:
    scores = combined(slices)
    rows = scores.thresholds
    curves = {"thresholds": list(isbi_thresholds())}
    for name, value in _F_SCORES.items():
        curves[name if name.startswith("v_") else f"{name}_f"] = [value(row) for row in rows]
    if scores.warping_error is not None:
        pixels = sum(s.label.interior.size for s in slices)
        curves["warping_error"] = [_splits_and_mergers(row) / pixels for row in rows]
    return curves


def _splits_and_mergers(row: ThresholdScores) -> int:
    return row.warp_counts["splits"] + row.warp_counts["mergers"]


def _iou(slices: Sequence[ScoredSlice], classes: int) -> dict[str, Any]:
    predicted, truth = _counted(slices)
    per_class = iou(predicted, truth, classes).per_class if truth.size else {}
    values = [per_class.get(c, math.nan) for c in range(classes)]
    return {
        "iou": _mean(values[1:]),
        "iou_per_class": {str(c): value for c, value in enumerate(values)},
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


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan

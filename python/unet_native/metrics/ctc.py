"""Scores of instance segmentations: the Cell Tracking Challenge's SEG, and F1 at 0.5 IoU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError
from unet_native.metrics.arguments import checked_labels

__all__ = ["CtcScores", "FrameObjects", "combined_frames", "ctc_scores", "scored_frames"]


@dataclass(frozen=True)
class CtcScores:
    """seg: mean Jaccard index over the true objects, NaN without any.

    f1: 2 tp / (2 tp + fp + fn), NaN without any object; tp: predicted and true objects with an
    IoU above 0.5; fp, fn: predicted and true ones without such a partner.
    """

    seg: float
    f1: float
    precision: float
    recall: float
    tp: int
    fp: int
    fn: int


def ctc_scores(
    prediction: np.ndarray | Sequence[np.ndarray], truth: np.ndarray | Sequence[np.ndarray]
) -> CtcScores:
    """Score instance labels frame by frame, all objects of the sequence counting alike.

    SEG (celltrackingchallenge.net): a true object R is matched by the predicted object S with
    |R and S| > |R| / 2, of which there is one at most; it scores |R and S| / |R or S|, or 0 without
    a match; the mean is over all true objects. Wrong extra objects do not lower it, so look at F1
    as well, where objects correspond if their IoU exceeds 0.5, as those of one partner only can.

    prediction, truth: (H, W) or (T, H, W) integers, 0 = background, any other number = one object
    of its frame; or sequences of (H, W) frames, which may differ in size. Raises UserError if
    shapes differ, for other dtypes and for negative numbers.
    """
    return combined_frames(scored_frames(prediction, truth))


@dataclass(frozen=True)
class FrameObjects:
    """What one frame adds: the Jaccard index of each matched object, and numbers of objects."""

    jaccards: tuple[float, ...]
    tp: int
    true_objects: int
    predicted_objects: int


def scored_frames(
    prediction: np.ndarray | Sequence[np.ndarray],
    truth: np.ndarray | Sequence[np.ndarray],
    threads: int | None = None,
) -> list[FrameObjects]:
    """Each frame by itself, `threads` at a time (None = all cores). See :func:`ctc_scores`."""
    predicted_frames, true_frames = _frames("prediction", prediction), _frames("truth", truth)
    if len(predicted_frames) != len(true_frames):
        raise UserError(
            "prediction and truth must have the same number of frames, got "
            f"{len(predicted_frames)} and {len(true_frames)}"
        )
    for index, (predicted, true) in enumerate(zip(predicted_frames, true_frames, strict=True)):
        if predicted.shape != true.shape:
            raise UserError(
                f"prediction and truth must have the same shape, got {predicted.shape} and "
                f"{true.shape} in frame {index}"
            )
    if threads is not None and threads < 1:
        raise UserError(f"threads: expected a positive number or None, got {threads}")
    with ThreadPoolExecutor(threads or _core.default_threads()) as pool:
        return list(pool.map(_frame, true_frames, predicted_frames))


def combined_frames(frames: Sequence[FrameObjects]) -> CtcScores:
    """The scores of some frames, all their objects counting alike."""
    tp = sum(frame.tp for frame in frames)
    true_objects = sum(frame.true_objects for frame in frames)
    fp, fn = sum(frame.predicted_objects for frame in frames) - tp, true_objects - tp
    jaccards = math.fsum(j for frame in frames for j in frame.jaccards)
    return CtcScores(
        seg=_ratio(jaccards, true_objects),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        tp=tp,
        fp=fp,
        fn=fn,
    )


def _frame(true: np.ndarray, predicted: np.ndarray) -> FrameObjects:
    pairs = _overlaps(true, predicted)
    union = pairs.true_size + pairs.predicted_size - pairs.overlap
    matched = 2 * pairs.overlap > pairs.true_size
    return FrameObjects(
        jaccards=tuple((pairs.overlap[matched] / union[matched]).tolist()),
        tp=int((2 * pairs.overlap > union).sum()),
        true_objects=pairs.true_objects,
        predicted_objects=pairs.predicted_objects,
    )


def _frames(name: str, labels: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    if isinstance(labels, np.ndarray):
        if labels.ndim not in (2, 3):
            raise UserError(f"{name}: expected axes (H, W) or (T, H, W), got shape {labels.shape}")
        labels = labels[None] if labels.ndim == 2 else labels
    frames = [checked_labels(name, frame) for frame in labels]
    for frame in frames:
        if frame.ndim != 2:
            raise UserError(f"{name}: expected frames of axes (H, W), got shape {frame.shape}")
        if frame.dtype != bool and frame.min() < 0:
            raise UserError(f"{name}: object numbers must not be negative, found {frame.min()}")
    return frames


@dataclass(frozen=True)
class _Overlaps:
    """The pairs of a true and a predicted object that share pixels: how many, and both sizes."""

    overlap: NDArray[np.int64]
    true_size: NDArray[np.int64]
    predicted_size: NDArray[np.int64]
    true_objects: int
    predicted_objects: int


def _overlaps(true: np.ndarray, predicted: np.ndarray) -> _Overlaps:
    true_ids, rows, true_sizes = np.unique(true, return_inverse=True, return_counts=True)
    predicted_ids, columns, predicted_sizes = np.unique(
        predicted, return_inverse=True, return_counts=True
    )
    pairs, overlap = np.unique(
        rows.ravel().astype(np.int64) * predicted_ids.size + columns.ravel(), return_counts=True
    )
    row, column = np.divmod(pairs, predicted_ids.size)
    objects = (true_ids[row] != 0) & (predicted_ids[column] != 0)
    return _Overlaps(
        overlap=overlap[objects],
        true_size=true_sizes[row[objects]],
        predicted_size=predicted_sizes[column[objects]],
        true_objects=int(np.count_nonzero(true_ids)),
        predicted_objects=int(np.count_nonzero(predicted_ids)),
    )


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan

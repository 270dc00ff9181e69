"""One slice at one threshold: the counts from which the ISBI 2012 scores are made.

Slices and thresholds are independent of each other until then: they are spread over threads here,
and :mod:`unet_native.metrics.isbi` combines them, all of a stack or any part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError
from unet_native.metrics.arguments import (
    checked_interior,
    checked_label,
    checked_proposal,
    checked_thresholds,
)
from unet_native.metrics.warping import SliceWarping, slice_warping

__all__ = ["LabelSlice", "SliceScores", "ThresholdCounts", "isbi_thresholds", "scored_slices"]


def isbi_thresholds() -> tuple[float, ...]:
    """The challenge's eleven thresholds: steps of 0.1 added up, so that the last is below 1."""
    thresholds = [0.0]
    while thresholds[-1] + 0.1 <= 1.0:
        thresholds.append(thresholds[-1] + 0.1)
    return tuple(thresholds)


@dataclass(frozen=True)
class LabelSlice:
    """A label (H, W): 1 = interior, the numbers of its 4-connected objects, and how many."""

    interior: NDArray[np.uint8]
    objects: NDArray[np.int32]
    count: int
    foreground: int  # pixels

    @classmethod
    def of(cls, interior: NDArray[np.uint8]) -> LabelSlice:
        objects = np.empty(interior.shape, np.int32)
        count = _core.label_components(interior, 4, objects)
        return cls(interior, objects, count, int(np.count_nonzero(interior)))


@dataclass(frozen=True)
class ThresholdCounts:
    """A slice of the proposal at one threshold, against its label.

    pixels: tp, tn, fp, fn. plain, thinned: of the partition before and after thinning. objects,
    basins: how many objects that is. warping: None unless asked for.
    """

    threshold: float
    pixels: tuple[int, int, int, int]
    plain: _core.PartitionScores
    thinned: _core.PartitionScores
    objects: int
    basins: int
    warping: SliceWarping | None


@dataclass(frozen=True)
class SliceScores:
    """A slice at all thresholds."""

    label: LabelSlice
    at: tuple[ThresholdCounts, ...]


def scored_slices(
    proposal: np.ndarray | Sequence[np.ndarray],
    label: np.ndarray | Sequence[np.ndarray],
    thresholds: Sequence[float] | None = None,
    *,
    warping: bool = False,
    threads: int | None = None,
) -> list[SliceScores]:
    """Every slice at every threshold. Arguments and errors as in `isbi.isbi_scores`."""
    proposals, labels = _checked_slices(proposal, label)
    if threads is not None and threads < 1:
        raise UserError(f"threads: expected a positive number or None, got {threads}")
    values = isbi_thresholds() if thresholds is None else checked_thresholds(thresholds)
    known = [LabelSlice.of(image) for image in labels]
    # One slice after the other: what each thread reads at a time is small.
    tasks = [(s, t) for s in range(len(known)) for t in values]
    with ThreadPoolExecutor(threads or _core.default_threads()) as pool:
        futures = [pool.submit(_counts, proposals[s], known[s], t, warping) for s, t in tasks]
        try:
            counts = [future.result() for future in futures]
        except BaseException:  # Ctrl-C too: what has not begun never does
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    step = len(values)
    return [
        SliceScores(one, tuple(counts[s * step : (s + 1) * step])) for s, one in enumerate(known)
    ]


def _checked_slices(
    proposal: np.ndarray | Sequence[np.ndarray], label: np.ndarray | Sequence[np.ndarray]
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.uint8]]]:
    """Dense (H, W) slices of both."""
    if isinstance(proposal, np.ndarray):
        stack = checked_proposal(proposal)
        labels = checked_label(np.asarray(label), stack.shape)
        checked_interior(labels)
        return list(stack), list(labels)
    if len(proposal) != len(label) or not len(proposal):
        raise UserError(
            "label and proposal must have the same number of slices, at least one, got "
            f"{len(label)} and {len(proposal)}"
        )
    proposals, labels = [], []
    for index, (one, other) in enumerate(zip(proposal, label, strict=True)):
        try:
            if np.ndim(one) != 2:
                raise UserError(f"proposal: expected axes (H, W), got shape {np.shape(one)}")
            checked = checked_proposal(one)
            proposals.append(checked[0])
            labels.append(checked_label(other, checked.shape)[0])
            checked_interior(labels[-1][None])
        except UserError as error:
            raise UserError(f"slice {index}: {error}") from None
    return proposals, labels


def _counts(
    proposal: NDArray[np.float32], label: LabelSlice, threshold: float, warping: bool
) -> ThresholdCounts:
    inside = proposal.astype(np.float64) > threshold  # as float32 the threshold would be another
    interior = inside.astype(np.uint8)
    numbers = np.empty(interior.shape, np.int32)
    objects = _core.label_components(interior, 4, numbers)
    plain = _core.partition_scores(label.objects, numbers)
    basins = _core.flood_basins(interior, numbers)
    thinned = _core.partition_scores(label.objects, numbers)
    predicted = int(np.count_nonzero(interior))
    hits = int(np.count_nonzero(interior & label.interior))
    misses = label.foreground - hits
    return ThresholdCounts(
        threshold=threshold,
        pixels=(hits, interior.size - predicted - misses, predicted - hits, misses),
        plain=plain,
        thinned=thinned,
        objects=objects,
        basins=basins,
        warping=slice_warping(proposal, label.interior, threshold) if warping else None,
    )

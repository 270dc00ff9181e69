"""The scores of the ISBI 2012 challenge, as its own evaluation computes them.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for
connectomics" (Frontiers in Neuroanatomy 2015, doi 10.3389/fnana.2015.00142).

A proposal is turned into objects at each of eleven thresholds: interior = value > t, objects =
4-connected components, thinned = the same after growing over the membrane up to one-pixel lines.
Label pixels of value 1 are the foreground to which the "restricted" scores look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from unet_native import _core
from unet_native.metrics.isbi_slices import (
    LabelSlice,
    SliceScores,
    isbi_thresholds,
    scored_slices,
)
from unet_native.metrics.partitions import (
    InformationScore,
    PairScore,
    divide,
    information_f,
    mean,
    pooled,
)
from unet_native.metrics.warping import MISMATCH_KINDS

__all__ = [
    "LAST_WARPING_THRESHOLD",
    "IsbiScores",
    "Summary",
    "ThresholdScores",
    "combined",
    "isbi_scores",
    "isbi_thresholds",
    "v_rand_thinned",
]

LAST_WARPING_THRESHOLD = 0.9  # of the challenge: above, the warping error is not looked at


@dataclass(frozen=True)
class ThresholdScores:
    """Everything at one threshold. Undefined scores are NaN; warp_* are None unless asked for.

    pixel: pixels of all slices, positive = interior; pixel_error: the share of wrong ones.
    rand_standard: pairs of pixels of a slice, the membrane being one object, slices pooled.
    rand_fr: pairs of pixels of the label's foreground, each membrane pixel of the proposal an
        object of its own, slices pooled; rand_thinned: the same after thinning.
    v_rand_thinned_per_slice, v_info_fr, v_info_thinned: F scores of each slice, averaged.
    info_fr_per_slice: entropies of each slice, without thinning.
    warp_classic: share of pixels that differ after warping the label, mean over slices.
    warp_counts: those pixels by kind (MISMATCH_KINDS), summed over slices.
    objects_*: number of objects in each slice.
    """

    th: float
    pixel: PairScore
    rand_standard: PairScore
    rand_fr: PairScore
    rand_thinned: PairScore
    v_rand_thinned_per_slice: float
    v_info_fr: float
    v_info_thinned: float
    info_fr_per_slice: tuple[InformationScore, ...]
    warp_classic: float | None
    warp_counts: dict[str, int] | None
    objects_label: tuple[int, ...]
    objects_proposal: tuple[int, ...]
    objects_thinned: tuple[int, ...]
    pixel_error: float


@dataclass(frozen=True)
class Summary:
    """The best over the thresholds; warp_* (None unless asked for) up to 0.9, lower is better.

    v_rand_thinned_max and v_info_thinned_max are the leader board's V_Rand and V_Info. The
    paper's Table 1 states 1 - pixel_max_f, 1 - rand_fr_max_f and warp_min_splits_mergers.
    """

    pixel_max_f: float
    rand_standard_max_f: float
    rand_fr_max_f: float
    v_rand_thinned_max: float
    v_rand_thinned_max_pooled: float
    v_info_fr_max: float
    v_info_thinned_max: float
    warp_min_splits_mergers: float | None
    warp_min_splits_mergers_whole_image: float | None
    warp_min_splits_mergers_clustered: float | None


@dataclass(frozen=True)
class IsbiScores:
    """The summary, and one row for each threshold."""

    summary: Summary
    thresholds: tuple[ThresholdScores, ...]

    @property
    def v_rand(self) -> float:
        """V_Rand after thinning: the challenge's first score, 1 is best."""
        return self.summary.v_rand_thinned_max

    @property
    def v_info(self) -> float:
        """V_Info after thinning: the challenge's second score, 1 is best."""
        return self.summary.v_info_thinned_max

    @property
    def pixel_error(self) -> float:
        """1 - the best F score of pixels, as in the paper's Table 1; 0 is best."""
        return 1.0 - self.summary.pixel_max_f

    @property
    def rand_error(self) -> float:
        """1 - the best foreground-restricted F score of pairs, as in Table 1; 0 is best."""
        return 1.0 - self.summary.rand_fr_max_f

    @property
    def warping_error(self) -> float | None:
        """Fewest splits and mergers per pixel, as in Table 1; 0 is best; None if not asked for."""
        return self.summary.warp_min_splits_mergers

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of plain numbers."""
        return asdict(self)


def isbi_scores(
    proposal: np.ndarray | Sequence[np.ndarray],
    label: np.ndarray | Sequence[np.ndarray],
    thresholds: Sequence[float] | None = None,
    *,
    warping: bool = False,
    threads: int | None = None,
) -> IsbiScores:
    """Score a proposal against a label as the ISBI 2012 challenge does.

    proposal: (S, H, W) or (H, W) float32, the probability of cell interior, 0 to 1.
    label: the same shape, booleans or integers: 1 = cell interior, 0 = membrane.
        Both may be sequences of slices (H, W) that differ in size: counts are added up and scores
        of slices averaged as those of a stack are.
    thresholds: from 0 to below 1; None = the challenge's eleven.
    warping: also the warping error, which takes several times as long as all the rest.
    threads: slices and thresholds scored at a time; None = all cores. The scores do not depend
    on it.

    Raises UserError if shapes differ, for another dtype, for NaN, for values out of range and for a
    slice whose label has no interior.
    """
    return combined(scored_slices(proposal, label, thresholds, warping=warping, threads=threads))


def combined(slices: Sequence[SliceScores]) -> IsbiScores:
    """The scores of some slices together, at least one, all of the same thresholds."""
    rows = tuple(_row(slices, k) for k in range(len(slices[0].at)))
    return IsbiScores(
        _summary(rows, sum(s.label.interior.size for s in slices)),
        tuple(row.scores for row in rows),
    )


def v_rand_thinned(
    proposal: np.ndarray, label: np.ndarray, thresholds: Sequence[float] | None = None
) -> float:
    """V_Rand after thinning, the challenge's first score, at the best threshold.

    Arguments and errors as in `isbi_scores`.
    """
    return isbi_scores(proposal, label, thresholds).v_rand


@dataclass(frozen=True)
class _Row:
    scores: ThresholdScores
    splits_mergers: tuple[int, int, int] | None  # near, in the whole image, clustered


def _row(scored: Sequence[SliceScores], index: int) -> _Row:
    """The scores at one threshold."""
    labels, slices = [s.label for s in scored], [s.at[index] for s in scored]
    sizes = [label.interior.size for label in labels]
    tp, tn, fp, fn = (
        float(sum(counts)) for counts in zip(*(s.pixels for s in slices), strict=True)
    )
    wrong = [s.pixels[2] + s.pixels[3] for s in slices]
    pixel_error = mean([pixels / size for pixels, size in zip(wrong, sizes, strict=True)])
    standard = [s.plain.standard for s in slices]
    rand_indices = [
        divide(c.tp + c.tn, size * (size - 1) // 2) for c, size in zip(standard, sizes, strict=True)
    ]
    warpings = [s.warping for s in slices if s.warping is not None]
    scores = ThresholdScores(
        th=slices[0].threshold,
        pixel=PairScore.from_counts(tp, tn, fp, fn, pixel_error),
        rand_standard=pooled(standard, mean(rand_indices)),
        rand_fr=_restricted([s.plain.restricted for s in slices], labels),
        rand_thinned=_restricted([s.thinned.restricted for s in slices], labels),
        v_rand_thinned_per_slice=mean(
            [
                _restricted([s.thinned.restricted], [label]).f
                for s, label in zip(slices, labels, strict=True)
            ]
        ),
        v_info_fr=mean([information_f(s.plain.entropies) for s in slices]),
        v_info_thinned=mean([information_f(s.thinned.entropies) for s in slices]),
        info_fr_per_slice=tuple(InformationScore.from_entropies(s.plain.entropies) for s in slices),
        warp_classic=mean([w.mismatches / n for w, n in zip(warpings, sizes, strict=True)])
        if warpings
        else None,
        warp_counts={
            kind: sum(w.counts[k] for w in warpings) for k, kind in enumerate(MISMATCH_KINDS)
        }
        if warpings
        else None,
        objects_label=tuple(label.count for label in labels),
        objects_proposal=tuple(s.objects for s in slices),
        objects_thinned=tuple(s.basins for s in slices),
        pixel_error=pixel_error,
    )
    if not warpings:
        return _Row(scores, None)
    return _Row(
        scores,
        (
            sum(w.splits_mergers for w in warpings),
            sum(w.splits_mergers_whole_image for w in warpings),
            sum(w.clusters for w in warpings),
        ),
    )


def _restricted(counts: list[_core.PairCounts], labels: list[LabelSlice]) -> PairScore:
    disagreements = [
        divide(c.fp + c.fn, float(label.foreground) ** 2)
        for c, label in zip(counts, labels, strict=True)
    ]
    return pooled(counts, mean([1.0 - share for share in disagreements]))


def _largest(f_scores: Iterable[float]) -> float:
    """The best F score; 0 where it is undefined at every threshold, nothing being right."""
    return max((f for f in f_scores if not math.isnan(f)), default=0.0)


def _summary(rows: Sequence[_Row], pixels: int) -> Summary:
    scores = [row.scores for row in rows]
    found = [
        row.splits_mergers
        for row in rows
        if row.splits_mergers is not None and row.scores.th <= LAST_WARPING_THRESHOLD
    ]
    fewest = [min(counts) / pixels for counts in zip(*found, strict=True)] or [None] * 3
    return Summary(
        pixel_max_f=_largest(s.pixel.f for s in scores),
        rand_standard_max_f=_largest(s.rand_standard.f for s in scores),
        rand_fr_max_f=_largest(s.rand_fr.f for s in scores),
        v_rand_thinned_max=_largest(s.v_rand_thinned_per_slice for s in scores),
        v_rand_thinned_max_pooled=_largest(s.rand_thinned.f for s in scores),
        v_info_fr_max=_largest(s.v_info_fr for s in scores),
        v_info_thinned_max=_largest(s.v_info_thinned for s in scores),
        warp_min_splits_mergers=fewest[0],
        warp_min_splits_mergers_whole_image=fewest[1],
        warp_min_splits_mergers_clustered=fewest[2],
    )

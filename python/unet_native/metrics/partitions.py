"""Agreement of two partitions of the same pixels, by pairs (Rand) and by information."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unet_native import _core

__all__ = ["InformationScore", "PairScore", "divide", "information_f", "mean", "pooled"]


def divide(numerator: float, denominator: float) -> float:
    """IEEE division: 0 / 0 is NaN, not an error."""
    if denominator == 0:
        return math.nan if numerator == 0 else math.copysign(math.inf, numerator)
    return numerator / denominator


def mean(values: Sequence[float]) -> float:
    """The mean, summed from left to right in double precision."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


@dataclass(frozen=True)
class PairScore:
    """Counts of pixels or of pairs of pixels, and what follows from them.

    metric: for pixels the share of wrong ones; for pairs the Rand index, averaged over slices.
    precision: tp / (tp + fp); recall: tp / (tp + fn); f: their harmonic mean. NaN where undefined.
    """

    tp: float
    tn: float
    fp: float
    fn: float
    metric: float
    precision: float
    recall: float
    f: float

    @classmethod
    def from_counts(cls, tp: float, tn: float, fp: float, fn: float, metric: float) -> PairScore:
        precision = divide(tp, tp + fp)
        recall = divide(tp, tp + fn)
        f = divide(2.0 * precision * recall, precision + recall)
        return cls(tp, tn, fp, fn, metric, precision, recall, f)


def pooled(counts: Sequence[_core.PairCounts], index: float) -> PairScore:
    """One score from the counts of all slices and their mean Rand index."""
    tp, tn, fp, fn = (
        float(sum(getattr(slice_counts, name) for slice_counts in counts))
        for name in ("tp", "tn", "fp", "fn")
    )
    return PairScore.from_counts(tp, tn, fp, fn, index)


@dataclass(frozen=True)
class InformationScore:
    """Entropies (nats) of two partitions of a label's foreground; vi: variation of information."""

    h_label: float
    h_proposal: float
    h_label_given_proposal: float
    h_proposal_given_label: float
    vi: float

    @classmethod
    def from_entropies(cls, entropies: _core.Entropies) -> InformationScore:
        return cls(
            entropies.truth,
            entropies.proposal,
            entropies.truth_given_proposal,
            entropies.proposal_given_truth,
            entropies.variation,
        )


def information_f(entropies: _core.Entropies) -> float:
    """Harmonic mean of the shares of either partition's entropy that the other one explains.

    0 if either partition is a single object. (Arganda-Carreras et al. 2015, equation 4)
    """
    if entropies.proposal == 0 or entropies.truth == 0:
        return 0.0
    of_truth = divide(entropies.truth - entropies.truth_given_proposal, entropies.truth)
    of_proposal = divide(entropies.proposal - entropies.proposal_given_truth, entropies.proposal)
    return divide(2.0 * of_truth * of_proposal, of_truth + of_proposal)

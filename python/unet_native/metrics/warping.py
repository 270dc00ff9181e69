"""The warping error: what still differs once the label has been deformed, topology unchanged.

Jain et al., "Boundary Learning by Optimization with Topological Constraints" (CVPR 2010), with the
order of flips and the kinds of errors of the ISBI 2012 challenge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError
from unet_native.metrics.arguments import checked_label, checked_proposal

__all__ = [
    "MISMATCH_KINDS",
    "SEARCH_RADIUS",
    "SliceWarping",
    "classify_mismatches",
    "slice_warping",
    "warp_label",
]

# What `classify_mismatches` numbers 1, 2, ..; 0 is no mismatch.
MISMATCH_KINDS = (
    "splits",
    "mergers",
    "hole_additions",
    "hole_deletions",
    "object_additions",
    "object_deletions",
)
_SPLIT, _MERGER = 1, 2
SEARCH_RADIUS = 20  # px


def warp_label(
    proposal: np.ndarray, label: np.ndarray, threshold: float = 0.5
) -> NDArray[np.uint8]:
    """Deform a label towards a proposal without changing its topology.

    Pixels of the label that differ from `proposal > threshold` are flipped where they are simple
    points (4-connected foreground), strongest disagreement first, until nothing changes.

    proposal: (H, W) float32 probability of interior, 0 to 1. label: (H, W) 1 = interior, 0 =
    membrane. Returns (H, W) uint8. Raises UserError for other shapes, dtypes or values.
    """
    proposal, warped = _one_slice(proposal, label)
    _core.warp_label(proposal, threshold, warped)
    return warped


def classify_mismatches(
    proposal: np.ndarray,
    warped: np.ndarray,
    threshold: float = 0.5,
    radius: int | None = SEARCH_RADIUS,
) -> NDArray[np.uint8]:
    """Which error of topology each pixel is where a warped label differs from a proposal.

    Each pixel is judged alone: as a split or merger if at least two objects lie around it, told
    apart within `radius` pixels of it (None: in the whole image).

    proposal, warped: as in `warp_label`. Returns (H, W) uint8: 0 = no error, k = the kind
    MISMATCH_KINDS[k - 1]. Raises UserError for other shapes, dtypes or values.
    """
    if radius is not None and radius < 1:
        raise UserError(f"radius: expected a positive number of pixels or None, got {radius}")
    proposal, warped = _one_slice(proposal, warped)
    kinds = np.empty_like(warped)
    _core.classify_mismatches(warped, proposal, threshold, radius or 0, kinds)
    return kinds


@dataclass(frozen=True)
class SliceWarping:
    """Numbers of pixels of one slice (`clusters`: of 8-connected groups of one kind)."""

    mismatches: int
    counts: tuple[int, ...]  # by MISMATCH_KINDS
    splits_mergers: int
    splits_mergers_whole_image: int
    clusters: int


def slice_warping(
    proposal: NDArray[np.float32], label: NDArray[np.uint8], threshold: float
) -> SliceWarping:
    """All that the scores of a stack need of one dense (H, W) slice at one threshold."""
    warped = label.copy()
    mismatches = _core.warp_label(proposal, threshold, warped)
    near, far = np.empty_like(warped), np.empty_like(warped)
    _core.classify_mismatches(warped, proposal, threshold, SEARCH_RADIUS, near)
    _core.classify_mismatches(warped, proposal, threshold, 0, far)
    counts = np.bincount(near.ravel(), minlength=len(MISMATCH_KINDS) + 1)
    groups = np.empty(near.shape, np.int32)
    return SliceWarping(
        mismatches=mismatches,
        counts=tuple(counts[1:].tolist()),
        splits_mergers=int(counts[_SPLIT] + counts[_MERGER]),
        splits_mergers_whole_image=int(np.isin(far, (_SPLIT, _MERGER)).sum()),
        clusters=sum(
            _core.label_components((near == kind).astype(np.uint8), 8, groups)
            for kind in (_SPLIT, _MERGER)
        ),
    )


def _one_slice(
    proposal: np.ndarray, label: np.ndarray
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    if np.ndim(proposal) != 2:
        raise UserError(f"proposal: expected one slice (H, W), got shape {np.shape(proposal)}")
    proposal = checked_proposal(proposal)
    return proposal[0], checked_label(label, proposal.shape)[0]

"""Checks of what the scores are given: one sentence that names the argument and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unet_native.errors import UserError

__all__ = [
    "checked_interior",
    "checked_label",
    "checked_labels",
    "checked_proposal",
    "checked_thresholds",
]


def checked_proposal(proposal: np.ndarray) -> NDArray[np.float32]:
    """(S, H, W) or (H, W) float32 probabilities as a dense (S, H, W) array."""
    proposal = np.asarray(proposal)
    if proposal.dtype != np.float32:
        raise UserError(
            f"proposal: expected probabilities as float32, got {proposal.dtype}: convert it, "
            "a mask of 0 and 255 to 0 and 1"
        )
    proposal = _stack(proposal, "proposal")
    low, high = float(proposal.min()), float(proposal.max())
    if not (low >= 0 and high <= 1):  # NaN fails both
        found = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
        raise UserError(f"proposal: expected probabilities from 0 to 1, found {found}")
    return proposal


def checked_label(label: np.ndarray, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """(S, H, W) or (H, W) zeros and ones as a dense (S, H, W) uint8 array of the given shape."""
    label = np.asarray(label)
    if label.dtype != bool and not np.issubdtype(label.dtype, np.integer):
        raise UserError(f"label: expected booleans or integers 0 and 1, got {label.dtype}")
    label = _stack(label, "label")
    if label.shape != shape:
        raise UserError(
            f"label and proposal must have the same shape, got {label.shape} and {shape}"
        )
    if label.dtype != bool and (label.min() < 0 or label.max() > 1):
        raise UserError(
            f"label: expected 1 = interior and 0 = membrane, found values from {label.min()} to "
            f"{label.max()}: pass label > 0 if membranes are 0"
        )
    return label.astype(np.uint8)


def checked_interior(label: NDArray[np.uint8]) -> None:
    """Each slice (H, W) has pixels of interior, without which no object could be scored."""
    empty = ~label.any(axis=(1, 2))
    if empty.any():
        raise UserError(
            f"label: slice {int(empty.argmax())} has no interior (1) at all and cannot be scored: "
            "leave it out, or swap 0 and 1 if interior and membrane are swapped"
        )


def checked_labels(name: str, labels: np.ndarray) -> np.ndarray:
    """Booleans or integers, as they are."""
    labels = np.asarray(labels)
    if labels.dtype != bool and not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name}: expected integer labels, got {labels.dtype}")
    if labels.size == 0:
        raise UserError(f"{name}: the array is empty")
    return labels


def checked_thresholds(thresholds: Sequence[float]) -> tuple[float, ...]:
    """Thresholds t >= 0 and < 1, at least one."""
    values = tuple(float(t) for t in thresholds)
    if not values or not all(0 <= t < 1 for t in values):
        raise UserError("thresholds: expected one or more numbers from 0 to below 1")
    return values


def _stack(images: np.ndarray, name: str) -> np.ndarray:
    if images.ndim == 2:
        images = images[None]
    if images.ndim != 3 or images.size == 0:
        raise UserError(f"{name}: expected axes (slices, H, W) or (H, W), got shape {images.shape}")
    return np.ascontiguousarray(images)

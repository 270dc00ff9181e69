"""How close is close: errors relative to the largest magnitude of an array."""

from __future__ import annotations

import numpy as np


def assert_close(
    actual: np.ndarray, expected: np.ndarray, tolerance: float = 2e-6, *, floor: float = 0.0
) -> None:
    """|actual - expected| <= tolerance * max(floor, max |expected|) everywhere; NaN never is.

    floor: the magnitude of what was added up, where it may cancel in the result.
    """
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    error = np.abs(actual.astype(np.float64) - expected)
    allowed = tolerance * max(floor, float(np.abs(expected).max(initial=0.0)))
    if not np.all(error <= allowed):
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        raise AssertionError(
            f"at {tuple(map(int, worst))}: {actual[worst]!r}, expected {expected[worst]!r}, "
            f"allowed error {allowed:.3g}"
        )

"""Caffe's gradient check: central differences against what an op computes.

The objective is sum(top * coefficients), evaluated in float64 from the op's float32 output. As in
Caffe's GradientChecker, the error is relative to the larger of both gradients, but at least to 1,
and elements near a kink are left out. Where an op is linear in an argument, central differences
have no truncation error at all: there a large step is best for float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def check_gradient(
    objective: Callable[[np.ndarray], float],
    argument: np.ndarray,
    gradient: np.ndarray,
    *,
    step: float,
    threshold: float = 1e-3,
    kink: float | None = None,
    kink_range: float = 0.0,
    elements: int = 24,
) -> None:
    """Compares `gradient` with central differences of `objective` at up to `elements` places.

    objective: function of an array like `argument`, float32. kink, kink_range: places where
    |argument| is within kink_range of kink are not checked.
    """
    assert gradient.shape == argument.shape
    places = np.random.default_rng(1701).permutation(argument.size)[:elements]
    checked = 0
    for place in places:
        index = np.unravel_index(place, argument.shape)
        feature = float(argument[index])
        if kink is not None and abs(abs(feature) - kink) <= kink_range:
            continue
        values = []
        for sign in (1, -1):
            moved = argument.copy()
            moved[index] = feature + sign * step
            values.append((float(moved[index]), objective(moved)))
        (above, high), (below, low) = values
        estimate = (high - low) / (above - below)
        computed = float(gradient[index])
        scale = max(abs(computed), abs(estimate), 1.0)
        assert abs(computed - estimate) <= threshold * scale, (
            f"at {tuple(map(int, index))}: computed {computed}, central difference {estimate}, "
            f"objective+ {high}, objective- {low}, feature {feature}"
        )
        checked += 1
    assert checked or kink is not None, "no element was checked"

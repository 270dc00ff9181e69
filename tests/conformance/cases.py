"""The cases that a folder of golden data holds, found by its files; none is named in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared import golden


def folder(name: str) -> Path | None:
    """A folder of the golden data; None without them."""
    try:
        return golden(name)
    except pytest.skip.Exception:
        return None


def files(name: str, pattern: str) -> list[Path]:
    """The files of a folder that match, in order; none without the data."""
    place = folder(name)
    return [] if place is None else sorted(place.glob(pattern))


def parametrize(
    name: str, pattern: str, wanted: Callable[[Path], bool] = lambda _: True
) -> pytest.MarkDecorator:
    """One test for each wanted file, as `case`; a skipped one, which says why, if there is none."""
    found = list(filter(wanted, files(name, pattern))) or [
        pytest.param(
            None, marks=pytest.mark.skip(reason=f"no {name}/{pattern}: see tests/shared.py")
        )
    ]
    return pytest.mark.parametrize("case", found, ids=lambda case: case and case.name.split(".")[0])


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error, relative to the largest magnitude expected; inf for NaN or bad shapes."""
    if actual.shape != expected.shape:
        return np.inf
    error = np.abs(actual.astype(np.float64) - expected).max(initial=0.0)
    largest = np.abs(expected).max(initial=0.0)
    if error == 0:
        return 0.0
    return float(error / largest) if np.isfinite(error) and largest > 0 else np.inf

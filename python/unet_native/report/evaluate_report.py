"""The report of a scoring: what ``unet-native evaluate --report`` leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_native import _core
from unet_native.evaluate import ScoredObjects, ScoredSlice
from unet_native.files import write_text
from unet_native.report import page
from unet_native.report.results import Results, score_cards

__all__ = ["write_evaluation"]


def write_evaluation(
    path: str | Path,
    result: dict[str, Any],
    slices: Sequence[ScoredSlice] | Sequence[ScoredObjects],
    *,
    title: str,
    facts: Iterable[tuple[str, object]] = (),
    images: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Writes an HTML file.

    result  what unet_native.evaluate found on `slices`
    facts   what was scored and how: names and values
    images  (C, H, W) grey values by slice name, to show the errors on; without, they are shown on
            the probability, or on the true objects

    Raises UserError if the file cannot be written.
    """
    objects = [item for item in slices if isinstance(item, ScoredObjects)]
    classes = [item for item in slices if isinstance(item, ScoredSlice)]
    results = Results.of(result, classes, objects, images=images)
    count = result["slices"]
    headline = f"{count} slice{'s' * (count != 1)} scored against labels."
    charts = results.charts_html()
    sections = [
        page.Section("scores", "Scores", results.scores_html()),
        page.Section("curves", "Curves", charts),
        page.Section("slices", "Worst and best slices", results.slices_html()),
        page.Section(
            "provenance",
            "Provenance",
            page.facts([*facts, ("unet_native", _core.version)]),
        ),
    ]
    return write_text(
        path, page.page(title, "", headline, page.cards(score_cards(result)), sections)
    )

"""Curves of a training run: loss, learning rate and validation scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unet_native.report.charts import Line, chart
from unet_native.score_table import SCORE_NAMES

if TYPE_CHECKING:
    from unet_native.train.log import Row

__all__ = ["loss_charts", "score_chart"]

_SCORES = ("v_rand", "v_info", "iou", "pixel_error", "seg", "f1")  # in the order of styles


def loss_charts(rows: Sequence[Row]) -> str:
    """Two figures; nothing without rows."""
    iterations = [row.iteration for row in rows]
    return chart(
        [Line("smoothed loss", iterations, [row.smoothed_loss for row in rows])],
        band=Line("loss of each iteration", iterations, [row.loss for row in rows]),
        title="Loss",
        x_label="iteration",
        y_label="loss",
        log=True,
    ) + chart(
        [Line("learning rate", iterations, [row.lr for row in rows])],
        title="Learning rate",
        x_label="iteration",
        y_label="learning rate",
    )


def score_chart(rows: Sequence[Row], best: tuple[int, float] | None) -> str:
    """A figure; nothing without validations. best: iteration and score of the network kept."""
    scored = [row for row in rows if row.scores]
    x = [row.iteration for row in scored]
    lines = [
        Line(
            SCORE_NAMES[key], x, [row.scores.get(key, float("nan")) for row in scored], style, True
        )
        for style, key in enumerate(_SCORES, 1)
        if any(key in row.scores for row in scored)
    ]
    at = None
    if best is not None and math.isfinite(best[1]) and best[0] in x:
        at = (best[0], best[1], f"kept: {best[1]:.4f}")
    return chart(
        lines,
        title="Validation",
        x_label="iteration",
        y_label="score",
        y_range=(0, 1),
        best=at,
        caption="The network marked is the one in model.safetensors. Of the pixel error, less is "
        "better; of the others, more.",
    )

"""The picture of a run: loss and validation scores over the iterations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unet_native.files import write_atomically
from unet_native.score_table import SCORE_NAMES
from unet_native.train.log import Row

__all__ = ["draw_curves"]

_INK, _FAINT, _RATE = "#1f2933", "#b8c4ce", "#9aa5b1"
_SCORE_COLOURS = {
    "v_rand": "#0b7285",
    "v_info": "#c2410c",
    "iou": "#5f3dc4",
    "seg": "#2b8a3e",
    "f1": "#a61e4d",
    "pixel_error": "#868e96",
}


def draw_curves(path: Path, rows: Sequence[Row], title: str = "") -> None:
    """Writes a PNG with the loss of each iteration, its smoothed course and the scores."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scored = [row for row in rows if row.scores]
    figure = Figure(figsize=(7.2, 6.0 if scored else 3.6), dpi=150, layout="constrained")
    panels = figure.subplots(2 if scored else 1, 1, sharex=True, squeeze=False)[:, 0]
    _draw_loss(panels[0], rows)
    if scored:
        _draw_scores(panels[1], scored)
    panels[-1].set_xlabel("iteration")
    if title:
        panels[0].set_title(title, loc="left", fontsize=10, color=_INK)
    canvas = FigureCanvasAgg(figure)
    write_atomically(path, lambda temporary: canvas.print_png(str(temporary)))


def _draw_loss(panel, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    iterations = [row.iteration for row in rows]
    panel.plot(iterations, [row.loss for row in rows], color=_FAINT, linewidth=0.6, label="loss")
    smoothed = [row.smoothed_loss for row in rows]
    panel.plot(iterations, smoothed, color=_INK, linewidth=1.6, label="smoothed")
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_ylabel("loss")
    _style(panel)
    rate = panel.twinx()
    rate.plot(iterations, [row.lr for row in rows], color=_RATE, linewidth=1, linestyle=":")
    rate.set_ylim(bottom=0)
    rate.set_ylabel("learning rate (dotted)", color=_RATE)
    rate.tick_params(colors=_RATE, length=0, labelsize=8)
    rate.spines[:].set_visible(False)
    panel.legend(frameon=False, loc="upper right", ncols=2, fontsize=8)


def _draw_scores(panel, rows: Sequence[Row]) -> None:
    for name, colour in _SCORE_COLOURS.items():
        points = [(row.iteration, row.scores[name]) for row in rows if name in row.scores]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        dashes = "--" if name == "pixel_error" else "-"
        panel.plot(x, y, dashes, color=colour, linewidth=1.4, marker="o", markersize=3)
        panel.annotate(
            f"{SCORE_NAMES[name]} {y[-1]:.3f}",
            (x[-1], y[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            verticalalignment="center",
            annotation_clip=False,
        )
    panel.set_ylim(0, 1.02)
    panel.set_ylabel("validation")
    _style(panel)


def _style(panel) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_INK, labelsize=8)

"""The figure of the roofline page: four GPUs, three roofs each, the layers on a line below."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gpu.gpus import GPUS, MATHS, Gpu
from benchmarks.gpu.network import convolutions

# Distinct also in grey and to the colour-blind, on white (Okabe and Ito).
_COLOURS = {"fp32": "#0072B2", "tf32": "#D55E00", "bf16": "#009E73"}
_INK, _QUIET = "#222222", "#888888"
_X, _Y = (2.5, 1600), (4, 1600)  # FLOP/byte, TFLOP/s


def draw(path: Path) -> None:
    """Writes the figure as SVG, the same bytes each time."""
    style = {
        "svg.hashsalt": "roofline",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
        "font.size": 9,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        panels = figure.subplots(1, len(GPUS), sharey=True)
        for axes, gpu in zip(panels, GPUS, strict=True):
            _panel(axes, gpu)
        panels[0].set_ylabel("TFLOP/s at most")
        figure.supxlabel("operations for each byte from or to memory", fontsize=9, color=_INK)
        _legend(figure)
        figure.savefig(path, format=path.suffix[1:], metadata={"Date": None})


def _panel(axes: Axes, gpu: Gpu) -> None:
    axes.set(xscale="log", yscale="log", xlim=_X, ylim=_Y)
    for math in MATHS:
        if math == "tf32" and gpu.tf32 == gpu.fp32:
            continue  # one line on the other
        ridge, peak = gpu.ridge(math), gpu.peak(math) / 1e12
        axes.plot([ridge, _X[1]], [peak, peak], color=_COLOURS[math], linewidth=1.6)
        name = "fp32, tf32" if gpu.tf32 == gpu.fp32 and math == "fp32" else math
        axes.annotate(
            f"{name}  {peak:g}", (_X[1], peak), (-2, 5), textcoords="offset points", ha="right",
            color=_COLOURS[math], fontsize=8,
        )  # fmt: skip
        for layer in convolutions():
            reached = layer.flop / gpu.ideal_seconds(layer.flop, layer.traffic, math) / 1e12
            is_bound = gpu.is_bound_by_memory(layer.flop, layer.traffic, math)
            face = "white" if is_bound else _COLOURS[math]
            axes.plot(
                layer.intensity, reached, "o", markersize=4, markerfacecolor=face, zorder=3,
                markeredgecolor=_COLOURS[math], markeredgewidth=1,
            )  # fmt: skip
    top = gpu.ridge("bf16")
    slope = gpu.bandwidth / 1e3  # TFLOP/s for each FLOP/byte
    axes.plot([_X[0], top], [_X[0] * slope, top * slope], color=_QUIET, linewidth=1.6, zorder=1)
    middle = (max(_X[0], _Y[0] / slope) * gpu.ridge("tf32")) ** 0.5  # of what is seen of it
    axes.annotate(
        f"{gpu.bandwidth:g} GB/s", (middle, middle * slope), (-28, -16), textcoords="offset points",
        color=_QUIET, fontsize=8, rotation=45, rotation_mode="anchor", ha="left",
    )  # fmt: skip
    axes.set_title(gpu.name, fontsize=10, color=_INK, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(_QUIET)
    axes.tick_params(which="both", colors=_INK, labelsize=8)
    axes.tick_params(which="minor", length=0)
    axes.set_xticks([10, 100, 1000], ["10", "100", "1000"])
    axes.set_yticks([10, 100, 1000], ["10", "100", "1000"])
    axes.grid(which="major", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _legend(figure: Figure) -> None:
    marks = [
        mpl.lines.Line2D(
            [], [], linestyle="none", marker="o", markersize=4, markeredgecolor=_INK,
            markerfacecolor=face, label=label,
        )
        for face, label in ((_INK, "layer bound by math"), ("white", "layer bound by memory"))
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper right", ncols=2, frameon=False, fontsize=8)

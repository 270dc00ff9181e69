"""A contact sheet of training tiles: what the network will see, to look at before it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_native.data.instances import connected_instances
from unet_native.data.sampler import Sampler
from unet_native.files import write_atomically
from unet_native.picture import colour_cells

__all__ = ["draw_contact_sheet"]

_INK, _FRAME = "#1f2933", "#ffb000"
_SIDE = 2.3  # of a picture, inches


def draw_contact_sheet(path: Path, sampler: Sampler, count: int = 8, start: int = 0) -> None:
    """Writes a PNG with the tiles of iterations start .. start + count - 1 of a training.

    One row a tile: what the network sees (first channel; the frame is where it answers), the label
    there (each object in a colour of its own, over the image), and the weight of each pixel in the
    loss. Raises UserError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tiles = [(k, *sampler.sample(k)) for k in range(start, start + count)]
    grey_range = _grey_range([data[0, 0] for _, data, _, _ in tiles])
    highest = max(float(weight.max()) for *_, weight in tiles)
    border = (sampler.tile_in - sampler.tile_out) // 2
    figure = Figure(figsize=(3 * _SIDE + 1.2, count * _SIDE + 0.8), dpi=120, facecolor="white")
    panels = figure.subplots(count, 3, squeeze=False)
    figure.subplots_adjust(
        left=0.7 / figure.get_figwidth(),
        right=1 - 0.1 / figure.get_figwidth(),
        top=1 - 0.35 / figure.get_figheight(),
        bottom=0.45 / figure.get_figheight(),
        wspace=0.03,
        hspace=0.03,
    )
    for row, (iteration, data, label, weight) in zip(panels, tiles, strict=True):
        grey = np.clip((data[0, 0] - grey_range[0]) / (grey_range[1] - grey_range[0]), 0, 1)
        row[0].imshow(grey, cmap="gray", vmin=0, vmax=1)
        row[0].add_patch(_frame(border, sampler.tile_out))
        inside = grey[border : border + sampler.tile_out, border : border + sampler.tile_out]
        cells = connected_instances(label[0, 0].astype(np.uint8))
        row[1].imshow(colour_cells(cells, inside))
        shown = row[2].imshow(weight[0, 0], cmap="magma", vmin=0, vmax=highest)
        name = sampler.dataset[sampler.slice_index(iteration)].name
        row[0].text(
            -0.03,
            0.5,
            f"{iteration}: slice {name}",
            transform=row[0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=9,
            color=_INK,
        )
        for panel in row:
            panel.set_axis_off()
    titles = (
        f"tile, {sampler.tile_in} px; frame: output",
        f"label, {sampler.tile_out} px",
        "weight in the loss",
    )
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, loc="left", fontsize=9, color=_INK)
    _colour_bar(figure, panels[-1, 2], shown)
    canvas = FigureCanvasAgg(figure)
    write_atomically(path, lambda temporary: canvas.print_png(str(temporary)))


def _grey_range(planes: list[NDArray[np.float32]]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of all tiles: one scale, so that grey-value curves show."""
    low, high = np.percentile(np.concatenate([p.ravel() for p in planes]), (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def _frame(border: int, side: int):
    from matplotlib.patches import Rectangle

    corner = border - 0.5
    return Rectangle((corner, corner), side, side, fill=False, edgecolor=_FRAME, linewidth=1.2)


def _colour_bar(figure, panel, shown) -> None:
    box = panel.get_position()
    height = figure.get_figheight()
    bar = figure.colorbar(
        shown,
        cax=figure.add_axes((box.x0, 0.3 / height, box.width, 0.08 / height)),
        orientation="horizontal",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK, labelsize=8, length=0, pad=2)

"""A contact sheet of training tiles: what the network will see, to look at before it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_native.data.instances import connected_instances
from unet_native.data.sampler import Sampler
from unet_native.files import write_atomically
from unet_native.picture import colour_cells

__all__ = ["SampledTile", "draw_contact_sheet", "sample_tiles"]

_INK, _FRAME = "#1f2933", "#ffb000"
_SIDE = 2.3  # of a picture, inches


@dataclass(frozen=True)
class SampledTile:
    """A training tile, ready to be shown.

    iteration  that it belongs to, from 0
    name       of the slice that it comes from
    grey       (tile_in, tile_in), first channel, 0 to 1 on one scale for all tiles
    cells      (tile_out, tile_out, 3), each object in a colour of its own, over the image
    weight     (tile_out, tile_out) of each pixel in the loss
    """

    iteration: int
    name: str
    grey: NDArray[np.float32]
    cells: NDArray[np.float64]
    weight: NDArray[np.float32]


def sample_tiles(sampler: Sampler, count: int, start: int = 0) -> list[SampledTile]:
    """The tiles of iterations start .. start + count - 1 of a training."""
    sampled = [(k, *sampler.sample(k)) for k in range(start, start + count)]
    low, high = _grey_range([data[0, 0] for _, data, _, _ in sampled])
    border = (sampler.tile_in - sampler.tile_out) // 2
    middle = slice(border, border + sampler.tile_out)
    tiles = []
    for iteration, data, label, weight in sampled:
        grey = np.clip((data[0, 0] - low) / (high - low), 0, 1)
        cells = connected_instances(label[0, 0].astype(np.uint8))
        name = sampler.dataset[sampler.slice_index(iteration)].name
        shown = colour_cells(cells, grey[middle, middle])
        tiles.append(SampledTile(iteration, name, grey, shown, weight[0, 0]))
    return tiles


def draw_contact_sheet(path: Path, sampler: Sampler, count: int = 8, start: int = 0) -> None:
    """Writes a PNG with the tiles of iterations start .. start + count - 1 of a training.

    One row a tile: what the network sees (first channel; the frame is where it answers), the label
    there (each object in a colour of its own, over the image), and the weight of each pixel in the
    loss. Raises UserError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tiles = sample_tiles(sampler, count, start)
    highest = max(float(tile.weight.max()) for tile in tiles)
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
    for row, tile in zip(panels, tiles, strict=True):
        row[0].imshow(tile.grey, cmap="gray", vmin=0, vmax=1)
        row[0].add_patch(_frame(border, sampler.tile_out))
        row[1].imshow(tile.cells)
        shown = row[2].imshow(tile.weight, cmap="magma", vmin=0, vmax=highest)
        row[0].text(
            -0.03,
            0.5,
            f"{tile.iteration}: slice {tile.name}",
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

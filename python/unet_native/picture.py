"""A picture of one slice: image, truth, prediction and weight map side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_native.data.instances import connected_instances
from unet_native.files import write_atomically

__all__ = ["colour_cells", "draw_overview", "match_cells"]

_INK, _WRONG = "#1f2933", (0.85, 0.1, 0.15)
_GOLDEN = 0.61803398875  # steps of the hue: neighbours in number are far apart in colour
_MATCH = 0.5  # IoU above which a cell counts as found


def draw_overview(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
    *,
    threshold: float = 0.5,
    caption: str = "",
) -> None:
    """Writes a PNG.

    image        (H, W) grey values
    truth        (H, W) class labels, 1 = cell
    probability  (H, W) of class 1; cells are the connected regions above `threshold`
    weights      (H, W) weight of each pixel in the loss
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = connected_instances(truth)
    found = connected_instances((probability > threshold).astype(np.uint8))
    matched = match_cells(found, cells)
    count, right = int(cells.max()), len(set(matched[matched > 0].tolist()))
    grey = _stretched(image)

    figure = Figure(figsize=(16, 4.75), dpi=120, facecolor="white")
    panels = figure.subplots(1, 4)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.12, wspace=0.03)
    panels[0].imshow(grey, cmap="gray", vmin=0, vmax=1)
    panels[1].imshow(colour_cells(cells, grey))
    panels[2].imshow(colour_cells(matched, grey))
    shown = panels[3].imshow(weights, cmap="magma", vmin=0)
    titles = (
        "image",
        f"truth: {count} cells",
        f"prediction: {right} cells right, the others red",
        "weight of each pixel in the loss",
    )
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, loc="left", fontsize=13, color=_INK)
        panel.set_axis_off()
    bar = figure.colorbar(
        shown, cax=figure.add_axes((0.8, 0.066, 0.19, 0.022)), orientation="horizontal"
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK, labelsize=10, length=0, pad=3)
    figure.text(0.012, 0.025, caption, fontsize=12.5, color=_INK)
    canvas = FigureCanvasAgg(figure)
    write_atomically(path, lambda temporary: canvas.print_png(str(temporary)))


def match_cells(found: np.ndarray, cells: np.ndarray) -> NDArray[np.int32]:
    """`found` with the numbers of the true cells: (H, W), -1 in cells that match none.

    found, cells: (H, W) instances. Two match if their intersection over union exceeds 0.5, which
    can be true of one cell on either side only.
    """
    width = int(cells.max()) + 1
    pairs = found.astype(np.int64) * width + cells
    table = np.bincount(pairs.ravel(), minlength=(int(found.max()) + 1) * width).reshape(-1, width)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    overlap = table / np.maximum(union, 1)
    overlap[:, 0] = 0
    best = overlap.argmax(axis=1).astype(np.int32)
    best[overlap.max(axis=1) <= _MATCH] = -1
    best[0] = 0
    return best[found]


def colour_cells(cells: np.ndarray, grey: np.ndarray) -> NDArray[np.float64]:
    """(H, W, 3): each cell in a colour of its own, red for -1, over the image; 0 is dark."""
    from matplotlib.colors import hsv_to_rgb

    number = np.arange(max(0, int(cells.max())) + 1)
    saturation, value = 0.35 + 0.25 * (number % 3) / 2, 1.0 - 0.12 * (number % 2)
    palette = hsv_to_rgb(np.stack([number * _GOLDEN % 1, saturation, value], axis=-1))
    palette[0] = 0.1, 0.11, 0.14
    palette = np.concatenate([palette, [_WRONG]])  # the last one is what -1 picks
    return palette[cells] * (0.55 + 0.45 * grey[..., None])


def _stretched(image: np.ndarray) -> NDArray[np.float64]:
    """Grey values with the 0.5 and 99.5 percentiles at 0 and 1."""
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / max(high - low, 1e-9), 0, 1)

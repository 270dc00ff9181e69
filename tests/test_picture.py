"""The picture of a slice: which cells count as found, and that it can always be drawn."""

import numpy as np
import pytest
from PIL import Image

from unet_native.picture import colour_cells, draw_overview, match_cells


def test_cells_are_matched_by_overlap():
    cells = np.zeros((6, 12), np.int32)
    cells[:, :3], cells[:, 4:7], cells[:, 8:] = 1, 2, 3
    found = np.zeros_like(cells)
    found[:, 8:] = 1  # exactly cell 3
    found[1:, :3] = 2  # most of cell 1
    found[0, 4:7] = 3  # a bit of cell 2
    matched = match_cells(found, cells)
    np.testing.assert_array_equal(
        matched, np.select([found == 1, found == 2, found == 3], [3, 1, -1], 0)
    )


def test_merged_cells_match_neither():
    cells = np.zeros((4, 9), np.int32)
    cells[:, :4], cells[:, 5:] = 1, 2
    assert set(np.unique(match_cells(np.ones_like(cells), cells))) == {-1}


def test_colours_tell_cells_apart_and_wrong_ones_are_red():
    cells = np.array([[0, 1, 2, 3, -1]])
    colours = colour_cells(cells, np.ones(cells.shape))[0]
    assert len(np.unique(colours.round(3), axis=0)) == 5
    assert colours.min() >= 0
    assert colours.max() <= 1
    red, others = colours[-1], colours[1:-1]
    assert red[0] > 2 * red[1:].max()
    assert colours[0].max() < others.max(axis=1).min() / 2


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0, None])
def test_drawn_whatever_the_prediction(tmp_path, probability):
    rng = np.random.default_rng(0)
    shape = (40, 56)
    truth = np.zeros(shape, np.uint8)
    truth[3:20, 5:50] = 1
    random = rng.random(shape).astype(np.float32)
    draw_overview(
        tmp_path / "slice.png",
        rng.integers(0, 255, shape),
        truth,
        random if probability is None else np.full(shape, probability, np.float32),
        np.ones(shape, np.float32),
        caption="a caption",
    )
    with Image.open(tmp_path / "slice.png") as picture:
        assert picture.size == (1920, 570)
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100

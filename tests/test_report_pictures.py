"""Pictures in reports: which pixels and objects are marked, and what a browser decodes."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from reports import slices
from unet_native.evaluate import ScoredObjects
from unet_native.metrics import ctc_scores
from unet_native.report import pictures
from unet_native.report.charts import Line, chart
from unet_native.report.layers import layered_objects, layered_slice
from unet_native.report.mistakes import compare_objects, wrong_pixels


def decoded(uri, mode="RGBA"):
    """(H, W, channels) of a data URI."""
    raw = base64.b64decode(uri.removeprefix("data:image/png;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(raw)).convert(mode))


def random_objects(rng, size=(24, 30), count=9):
    """Rectangles that cover one another, with numbers that are not in a row."""
    plane = np.zeros(size, np.int32)
    for number in rng.choice(1000, count, replace=False):
        y, x = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        plane[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = number
    return plane


# --- what is marked ---


@pytest.mark.parametrize("seed", range(5))
def test_objects_are_compared_as_their_definitions_say(seed):
    rng = np.random.default_rng(seed)
    truth = random_objects(rng)
    predicted = np.roll(truth, rng.integers(0, 3, 2), (0, 1))
    predicted[:, 15:] = random_objects(rng)[:, 15:]
    predicted[rng.random(truth.shape) < 0.1] = 0
    found = compare_objects(predicted, truth)
    expected = ctc_scores(predicted, truth)
    counts = len(found.found), len(found.missed), len(found.invented)
    assert counts == (expected.tp, expected.fn, expected.fp)

    def pixels(plane):
        return {int(n): plane == n for n in np.unique(plane) if n}

    true, guess = pixels(truth), pixels(predicted)
    share = {(t, p): int((a & b).sum()) for t, a in true.items() for p, b in guess.items()}
    split = {
        t
        for t, a in true.items()
        if sum(share[t, p] > b.sum() / 2 and share[t, p] >= a.sum() / 10 for p, b in guess.items())
        > 1
    }
    merged = {p for p in guess if sum(share[t, p] > a.sum() / 2 for t, a in true.items()) > 1}
    assert set(found.split.tolist()) == split
    assert set(found.merged.tolist()) == merged


def test_wrong_pixels():
    labels = np.array([[0, 0, 1, 1, 2, 2, 2]])
    predicted = np.array([[0, 1, 0, 1, 2, 1, 0]])
    ignore = np.array([[0, 0, 0, 0, 0, 0, 1]], bool)
    wrong = wrong_pixels(predicted, labels, ignore)
    assert {kind: np.flatnonzero(mask).tolist() for kind, mask in wrong.items()} == {
        "missed": [2],
        "false": [1],
        "confused": [5],
    }


def test_the_layers_show_the_wrong_pixels():
    (item,) = slices(1, noise=0.8)
    ignore = np.zeros(item.labels.shape, bool)
    ignore[:9] = True
    image = np.arange(item.labels.size, dtype=np.uint16).reshape(1, *item.labels.shape)
    layered = layered_slice(replace(item, ignore=ignore), "heading", image)
    layers = {layer.name: layer for layer in layered.layers}
    wrong = wrong_pixels(item.probabilities.argmax(axis=0), item.labels, ignore)
    for name, kind in (("missed interior", "missed"), ("false interior", "false")):
        marked = decoded(layers[name].uri)
        np.testing.assert_array_equal(marked[..., 3] > 0, wrong[kind])
        colour = "#" + bytes(marked[wrong[kind]][0, :3]).hex()
        assert colour == layers[name].colour
        assert layers[name].shown
    np.testing.assert_array_equal(decoded(layers["ignored"].uri)[..., 3] > 0, ignore)
    shade = decoded(layers["probability"].uri, "L") / 255
    assert np.abs(shade - item.probabilities[1]).max() < 0.5 / 63 + 0.5 / 255
    ground = decoded(layered.layers[0].uri, "L").astype(int)
    assert (np.diff(ground.ravel()) >= 0).all()
    assert (ground.min(), ground.max()) == (0, 255)


def test_the_layers_show_the_wrong_objects():
    """Areas are missed or invented, rims are found, split or merged; none is in two of these."""
    truth = np.zeros((50, 60), np.int32)
    truth[2:14, 2:14], truth[2:14, 14:26], truth[20:34, 2:30], truth[2:14, 40:52] = 1, 2, 3, 4
    truth[40:48, 2:12] = 5
    predicted = np.zeros_like(truth)
    predicted[2:14, 2:26], predicted[20:34, 2:15], predicted[20:34, 17:30] = 7, 8, 9
    predicted[40:48, 40:50], predicted[40:48, 2:12] = 10, 11
    layered = layered_objects(ScoredObjects("a", predicted, truth), "heading", None)
    shown = {layer.name: decoded(layer.uri)[..., 3] > 0 for layer in layered.layers[1:]}
    np.testing.assert_array_equal(shown["missed"], np.isin(truth, (1, 2, 4)))
    np.testing.assert_array_equal(shown["invented"], np.isin(predicted, (8, 9, 10)))
    for name, inside in (
        ("merged", predicted == 7),
        ("split", truth == 3),
        ("outlines of those found", truth == 5),
    ):
        width = 1 if "found" in name else 2
        core = ndimage.binary_erosion(inside, iterations=width)
        np.testing.assert_array_equal(shown[name], inside & ~core, err_msg=name)


def test_outlines_lie_within_their_regions():
    regions = np.zeros((6, 8), np.int32)
    regions[1:5, 1:4], regions[1:5, 4:7] = 3, 5
    edges = pictures.outlines(regions)
    inner = np.zeros_like(edges)
    inner[2:4, 2], inner[2:4, 5] = True, True
    np.testing.assert_array_equal(edges, (regions > 0) & ~inner)


# --- sizes ---


@pytest.mark.parametrize("shape", [(900, 40), (1793, 2690), (3, 2048)])
def test_large_slices_are_shrunken(shape):
    plane = np.random.default_rng(0).random(shape)
    small = pictures.shrunken(plane)
    factor = -(-max(shape) // pictures.SIDE)
    assert small.shape == tuple(-(-side // factor) for side in shape)
    assert max(small.shape) <= pictures.SIDE
    first = plane[:factor, :factor].mean()
    assert small[0, 0] == pytest.approx(first)
    last = plane[(small.shape[0] - 1) * factor :, (small.shape[1] - 1) * factor :].mean()
    assert small[-1, -1] == pytest.approx(last)


@pytest.mark.parametrize("side", [1000, 2048, 3000])
def test_a_line_of_one_pixel_survives_shrinking(side):
    where = np.zeros((side, side), bool)
    where[side // 2] = True
    small = pictures.shrunken(where)
    assert small.dtype == bool
    assert small.any(axis=0).all()
    assert small.sum() == small.shape[1]


def test_small_slices_stay_as_they_are():
    plane = np.random.default_rng(0).random((pictures.SIDE, 7))
    assert pictures.shrunken(plane) is plane


# --- charts ---


def drawn(*lines, **options):
    return chart(lines, title="t", x_label="x", y_label="y", **options)


def test_points_lie_where_they_should():
    svg = drawn(Line("a", [0, 1, 2], [0, 0.5, 1], points=True), y_range=(0, 1))
    circles = [part.split('"') for part in svg.split("<circle")[1:]]
    x, y = ([float(c[c.index(f" {key}=") + 1]) for c in circles] for key in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    assert y[0] - y[1] == pytest.approx(y[1] - y[2])
    assert y[0] > y[2]
    assert "a 0.5 at x 1" in svg


def test_what_is_no_number_leaves_a_gap():
    nan = float("nan")
    svg = drawn(Line("a", list(range(7)), [1, 2, nan, 3, float("inf"), 4, 5]))
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 1, "a point by itself"
    assert "nan" not in svg
    assert "inf" not in svg
    assert drawn(Line("a", [0, 1], [nan, nan])) == ""
    assert drawn(Line("a", [], [])) == ""


@pytest.mark.parametrize(
    "values", [[5], [0, 0], [1e-9, 1e9], [-3, 4], [1e-320, 1], [0.7, 0.7000001], [1e30, 2e30]]
)
@pytest.mark.parametrize("log", [False, True])
def test_any_range_can_be_drawn(values, log):
    svg = drawn(Line("a", list(range(len(values))), values), log=log)
    assert "nan" not in svg
    if not log or max(values) > 0:
        assert svg.count('text-anchor="end"') <= 12, "ticks without end"


def test_long_curves_take_little_room():
    x = list(range(100_000))
    y = [1 + k % 7 for k in x]
    svg = drawn(Line("a", x, y), band=Line("b", x, y), log=True)
    assert len(svg) < 40_000

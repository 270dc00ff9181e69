"""Deformation and sampling of tiles against plain float64 numpy, and what they depend on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from unet_native import _core
from unet_native.data.augment import AugmentSettings, Deformation, grey_curve
from unet_native.data.dataset import DataSet
from unet_native.data.mirror import mirror_index, mirror_pad
from unet_native.data.sampler import Sampler
from unet_native.errors import UserError

CONTEXT = _core.Context(threads=1)


def keys_kernel(x):
    """Keys (1981), equation 15: cubic convolution with a = -1/2."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def keys_line(values, position):
    """`values` (n, ...) with outer values repeated, interpolated at one position."""
    padded = np.concatenate([values[:1], values[:1], values, values[-1:], values[-1:]])
    weight = keys_kernel(position - np.arange(-2, len(values) + 2))
    return np.tensordot(weight, padded, 1)


def reference_coordinates(deformation):
    height, width = deformation.size
    nodes = deformation.displacement.astype(np.float64)
    middle = (len(nodes) - 1) / 2  # what a tile of one pixel sees
    result = np.empty((height, width, 2))
    for y in range(height):
        row = keys_line(nodes, 2 * middle * y / (height - 1) if height > 1 else middle)
        for x in range(width):
            displacement = keys_line(row, 2 * middle * x / (width - 1) if width > 1 else middle)
            position = np.array([y - (height - 1) / 2, x - (width - 1) / 2])
            result[y, x] = deformation.matrix @ (position + displacement) + deformation.offset
    return result


def reference_sample(image, coordinates, kernel, reach):
    """Separable interpolation of (H, W, C) with mirrored borders, one pixel at a time."""
    out = np.empty((*coordinates.shape[:2], image.shape[2]))
    for at in np.ndindex(*coordinates.shape[:2]):
        taps = []
        for position, size in zip(coordinates[at].astype(np.float64), image.shape, strict=False):
            first = int(np.floor(position)) - reach + 1
            index = np.arange(first, first + 2 * reach)
            taps.append((mirror_index(first, first + 2 * reach, size), kernel(position - index)))
        (rows, row_weight), (columns, column_weight) = taps
        patch = image[rows[:, None], columns].astype(np.float64)
        out[at] = np.einsum("i,j,ijc->c", row_weight, column_weight, patch)
    return out


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def dataset(rng):
    images = rng.integers(0, 255, (3, 60, 70)).astype(np.uint8)
    labels = [ndimage.gaussian_filter(rng.standard_normal((60, 70)), 3) > 0 for _ in range(3)]
    return DataSet.from_arrays(list(images), labels)


@pytest.mark.parametrize("grid", [2, 3, 5])
@pytest.mark.parametrize("tile", [1, 2, 15, 32])
def test_coordinates_equal_reference(rng, grid, tile):
    settings = AugmentSettings(grid=grid)
    deformation = Deformation.draw(rng, settings, tile, tile, (50, 64))
    np.testing.assert_allclose(
        deformation.coordinates(CONTEXT), reference_coordinates(deformation), atol=1e-4
    )


def test_displacement_at_the_nodes_has_the_asked_deviation():
    settings = AugmentSettings(rotation=(0, 0), mirror=False, shift=False)
    plain = Deformation.draw(np.random.default_rng(0), AugmentSettings.none(), 21, 21, (21, 21))
    straight = np.stack(np.mgrid[:21, :21], -1)
    draws = []
    for seed in range(300):
        drawn = Deformation.draw(np.random.default_rng(seed), settings, 21, 21, (21, 21))
        draws.append((drawn.coordinates(CONTEXT) - straight)[::10, ::10])
    assert np.std(draws) == pytest.approx(10, rel=0.03)
    assert abs(np.mean(draws)) < 0.5
    assert plain.displacement.shape == (3, 3, 2)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 2), (8, 1, 1), (2, 3, 3), (20, 30, 1)])
@pytest.mark.parametrize("cubic", [True, False])
def test_interpolation_equals_reference_far_outside_too(rng, shape, cubic):
    image = rng.standard_normal(shape).astype(np.float32)
    coordinates = rng.uniform(-40, 50, (9, 11, 2)).astype(np.float32)
    coordinates[0] = np.round(coordinates[0])
    out = np.full((9, 11, shape[2]), np.nan, np.float32)
    _core.sample_image(CONTEXT, image, coordinates, cubic, out)
    kernel, reach = (keys_kernel, 2) if cubic else (lambda x: np.maximum(0, 1 - np.abs(x)), 1)
    np.testing.assert_allclose(out, reference_sample(image, coordinates, kernel, reach), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (20, 30)])
def test_nearest_equals_reference(rng, dtype, shape):
    image = rng.integers(0, 200, shape).astype(dtype)
    coordinates = rng.uniform(-40, 50, (13, 7, 2)).astype(np.float32)
    out = np.zeros((13, 7), dtype)
    _core.sample_nearest(CONTEXT, image, coordinates, out)
    nearest = np.floor(coordinates + np.float32(0.5)).astype(int)
    rows = mirror_index(-50, 60, shape[0])[nearest[..., 0] + 50]
    columns = mirror_index(-50, 60, shape[1])[nearest[..., 1] + 50]
    np.testing.assert_array_equal(out, image[rows, columns])


def test_curves_are_linear_between_knots_and_beyond(rng):
    values = rng.uniform(-3, 3, (8, 9, 2)).astype(np.float32)
    low, high = np.array([-1, 0], np.float32), np.array([1, 2], np.float32)
    curve = np.array([[0, 1, 4], [5, 5, 7]], np.float32)
    expected = np.empty(values.shape)
    for c in range(2):
        x = np.linspace(low[c], high[c], 3)
        v = values[..., c].astype(np.float64)
        inside = np.interp(v, x, curve[c])
        left = curve[c][0] + (v - x[0]) * (curve[c][1] - curve[c][0]) / (x[1] - x[0])
        right = curve[c][2] + (v - x[2]) * (curve[c][2] - curve[c][1]) / (x[2] - x[1])
        expected[..., c] = np.where(v < x[0], left, np.where(v > x[2], right, inside))
    _core.apply_curves(CONTEXT, values, curve, low, high)
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_grey_curve_rises_smoothly_within_its_ranges(rng):
    settings = AugmentSettings()
    for _ in range(50):
        curve = grey_curve(rng, settings).astype(np.float64)
        assert -0.05 <= curve[0] <= 0.05
        assert 0.95 <= curve[-1] <= 1.05
        slope = np.diff(curve) * (len(curve) - 1)
        assert slope.min() > 0.8 / 1.25 * 0.9
        assert slope.max() < 1.25 / 0.8 * 1.1
        assert np.abs(np.diff(slope)).max() < 0.1


def test_without_augmentation_a_tile_is_a_window_of_the_mirrored_image(dataset):
    sampler = Sampler(dataset, 44, 12, AugmentSettings.none(), seed=1)
    positions = set()
    for iteration in range(12):
        data, label, weight = sampler.sample(iteration)
        item = dataset[sampler.slice_index(iteration)]
        mirrored = mirror_pad(item.image, (60, 60))
        views = np.lib.stride_tricks.sliding_window_view(mirrored[0], (44, 44))
        found = np.argwhere(np.abs(views - data[0, 0]).max(axis=(2, 3)) < 1e-6)
        assert len(found) >= 1
        y, x = found[0]
        positions.add((y, x))
        labels = mirror_pad(item.labels, (60, 60))[y + 16 : y + 28, x + 16 : x + 28]
        np.testing.assert_array_equal(label[0, 0], labels)
        full = sampler._prepare(sampler.slice_index(iteration)).weight
        expected = mirror_pad(full, (60, 60))[y + 16 : y + 28, x + 16 : x + 28]
        np.testing.assert_allclose(weight[0, 0], expected, rtol=1e-5)
    assert len(positions) == 12


def test_image_label_and_weight_move_together():
    labels = np.zeros((80, 90), np.uint8)
    labels[20:60, 15:40], labels[5:70, 50:85] = 1, 1
    images = (labels * 200).astype(np.uint8)
    dataset = DataSet.from_arrays([images], [labels], normaliser="minmax")
    straight = {"slope": (1.0, 1.0), "black": (0.0, 0.0), "white": (1.0, 1.0)}
    settings = AugmentSettings(displacement=4, interpolation="linear", **straight)
    sampler = Sampler(dataset, 61, 41, settings, class_weights=[1, 3])
    for iteration in range(10):
        data, label, weight = sampler.sample(iteration)
        middle = data[0, 0, 10:-10, 10:-10]
        # At a corner the nearest pixel may hold a quarter of the bilinear weight.
        assert middle[label[0, 0] == 1].min() >= 0.25 - 1e-5
        assert middle[label[0, 0] == 0].max() <= 0.75 + 1e-5
        assert weight[0, 0][middle > 0.999].min() >= 3 - 1e-5


@pytest.mark.parametrize("weights", ["deformed", "recomputed"])
def test_shapes_types_and_layout(rng, weights):
    images = rng.integers(0, 4000, (2, 3, 30, 25)).astype(np.uint16)
    labels = rng.integers(0, 3, (2, 30, 25)).astype(np.uint8)
    dataset = DataSet.from_arrays(list(images), list(labels), classes=3)
    settings = AugmentSettings(weights=weights)
    data, label, weight = Sampler(dataset, 40, 20, settings).sample(0)
    assert data.shape == (1, 3, 40, 40)
    assert label.shape == weight.shape == (1, 1, 20, 20)
    assert {data.dtype, label.dtype, weight.dtype} == {np.dtype(np.float32)}
    assert data.strides[1] == 4
    assert set(np.unique(label)) <= {0, 1, 2}
    assert np.all(np.isfinite(data))
    assert np.all(weight > 0)


def test_tiles_depend_on_seed_and_iteration_alone(dataset):
    def tiles(seed, iterations, threads=1, cache_bytes=1 << 30):
        sampler = Sampler(
            dataset, 44, 28, seed=seed, threads=threads, cache_bytes=cache_bytes, weights=None
        )
        return {k: np.concatenate([a.ravel() for a in sampler.sample(k)]) for k in iterations}

    straight = tiles(3, range(7))
    for other in (
        tiles(3, range(7), threads=4),
        tiles(3, [6, 2, 5, 4]),  # a resume, or any order
        tiles(3, range(7), cache_bytes=0),
    ):
        for k, tile in other.items():
            np.testing.assert_array_equal(tile, straight[k])
    assert not np.array_equal(straight[0], straight[3])
    assert not np.array_equal(straight[0], tiles(4, [0])[0])


def test_every_slice_is_visited_once_an_epoch(dataset):
    sampler = Sampler(dataset, 20, 4, seed=2)
    orders = [[sampler.slice_index(3 * epoch + k) for k in range(3)] for epoch in range(12)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_recomputed_weights_equal_deformed_ones_where_nothing_is_deformed(dataset):
    plain = AugmentSettings.none().to_dict()
    deformed = Sampler(dataset, 48, 16, AugmentSettings.from_dict(plain))
    recomputed = Sampler(dataset, 48, 16, AugmentSettings(**{**plain, "weights": "recomputed"}))
    for iteration in range(20):
        ours, theirs = (s.sample(iteration)[2] for s in (recomputed, deformed))
        # At the image's edge the mirrored instances count for one of the two only.
        assert np.median(np.abs(ours - theirs)) < 1e-5
        assert np.all(ours > 0)


def test_ignored_pixels_weigh_nothing(dataset):
    from dataclasses import replace

    ignore = np.zeros((60, 70), bool)
    ignore[:, 30:] = True
    dataset = replace(dataset, slices=(replace(dataset[0], ignore=ignore),))
    for weights in ("deformed", "recomputed"):
        sampler = Sampler(dataset, 60, 44, AugmentSettings(weights=weights))
        ignored = [(sampler.sample(iteration)[2] == 0).mean() for iteration in range(20)]
        assert 0.3 < np.mean(ignored) < 0.9


@pytest.mark.parametrize(("tile_in", "tile_out"), [(20, 22), (20, 15), (20, 0)])
def test_impossible_tiles_are_refused(dataset, tile_in, tile_out):
    with pytest.raises(UserError, match="tile"):
        Sampler(dataset, tile_in, tile_out)


@pytest.mark.parametrize(
    "bad",
    [
        {"displacement": -1},
        {"grid": 1},
        {"rotation": (10, 0)},
        {"slope": (0, 1)},
        {"black": (0, 1)},
        {"interpolation": "spline"},
        {"weights": "new"},
    ],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        AugmentSettings(**bad)


# The layers of 2019


def b_spline(x):
    """The uniform cubic B-spline around 0, by its definition in pieces."""
    x = abs(x)
    return (4 - 6 * x**2 + 3 * x**3) / 6 if x < 1 else max(0.0, 2 - x) ** 3 / 6


def test_layer2019_displaces_by_b_splines():
    settings = AugmentSettings.preset("layer2019")
    size, spacing = 211, 60.0
    rng = np.random.default_rng(0)
    settings = replace(settings, spacing=spacing, rotation=(0.0, 0.0))
    deformation = Deformation.draw(rng, settings, size, size, (size, size))
    assert deformation.displacement.shape == (7, 7, 2)
    found = deformation.coordinates(CONTEXT)
    nodes = np.arange(7)
    weights = np.array([[b_spline(p / spacing + 1 - n) for n in nodes] for p in range(size)])
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    moved = np.einsum("yi,xj,ijc->yxc", weights, weights, deformation.displacement)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1)
    corner = deformation.offset - (size - 1) / 2
    np.testing.assert_allclose(found, grid + corner + moved, atol=2e-4)


def test_layer2019_moves_pixels_by_less_than_its_vectors():
    """At a node the weights are 1/6, 2/3, 1/6 along both axes: 10 px become 5."""
    settings = replace(AugmentSettings.preset("layer2019"), rotation=(0.0, 0.0))
    at_node = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        deformation = Deformation.draw(rng, settings, 160, 160, (160, 160))
        moved = deformation.coordinates(CONTEXT)[150, 150]
        at_node.append(moved - 150 - (deformation.offset - 159 / 2))
    assert np.std(at_node) == pytest.approx(10 * 0.5, rel=0.1)


def test_midpoint_curves_rise_within_their_slopes():
    settings = AugmentSettings.preset("layer2019")
    bends = []
    for seed in range(200):
        curve = grey_curve(np.random.default_rng(seed), settings)
        assert -0.05 <= curve[0] <= 0.05
        assert 0.95 <= curve[-1] <= 1.05
        slopes = np.diff(curve) * 64
        assert slopes.min() >= 0.8 - 1e-3
        assert slopes.max() <= 1.2 + 1e-3
        bends.append(np.ptp(slopes))
    assert np.median(bends) > 0.05, "most curves are bent"


def test_settings_of_older_runs_draw_as_before():
    stored = AugmentSettings().to_dict()
    del stored["spacing"], stored["curve"]
    assert AugmentSettings.from_dict(stored) == AugmentSettings()

"""The paper's weight map against a brute-force float64 reference."""

import time

import numpy as np
import pytest

from unet_native import _core
from unet_native.data.instances import connected_instances, separate_touching
from unet_native.data.weight_map import (
    WeightSettings,
    border_distances,
    border_term,
    class_counts,
    class_weights,
    weight_map,
)
from unet_native.errors import UserError


def distances_to_each_instance(instances):
    """(instances, H, W) float64, by looking at every pixel of every instance."""
    height, width = instances.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    maps = []
    for value in np.unique(instances[instances != 0]):
        ys, xs = np.nonzero(instances == value)
        square = np.full(instances.shape, np.inf)
        for y, x in zip(ys, xs, strict=True):
            np.minimum(square, (rows - y) ** 2 + (columns - x) ** 2, out=square)
        maps.append(np.sqrt(square))
    return np.array(maps).reshape(-1, height, width)


def reference_border_term(instances, w0, sigma):
    maps = distances_to_each_instance(instances)
    if len(maps) < 2:
        return np.zeros(instances.shape)
    d1, d2 = np.sort(maps, axis=0)[:2]
    return np.where(instances == 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)), 0)


def random_instances(rng, height, width, count, radius=5):
    """Discs, some cut by the edge, some touching, some hiding others."""
    rows, columns = np.mgrid[:height, :width]
    instances = np.zeros((height, width), np.int32)
    for value in range(1, count + 1):
        y, x = rng.uniform(-3, height + 3), rng.uniform(-3, width + 3)
        size = rng.uniform(0.5, radius)
        instances[(rows - y) ** 2 + (columns - x) ** 2 < size**2] = 7 * value
    return instances


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (33, 31), (64, 97), (130, 70)])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 25])
def test_border_term_equals_brute_force(size, count):
    rng = np.random.default_rng(count)
    for w0, sigma in ((10.0, 5.0), (50.0, 6.0), (3.0, 1.0)):
        instances = random_instances(rng, *size, count)
        term = border_term(instances, WeightSettings(w0=w0, sigma=sigma))
        assert term.dtype == np.float32
        np.testing.assert_allclose(term, reference_border_term(instances, w0, sigma), atol=1e-5)


def test_unlimited_distances_equal_brute_force():
    rng = np.random.default_rng(1)
    instances = random_instances(rng, 70, 90, 6)
    d1, d2 = border_distances(instances)
    reference = np.sort(distances_to_each_instance(instances), axis=0)
    background = instances == 0
    np.testing.assert_allclose(d1[background], reference[0][background], rtol=1e-6)
    np.testing.assert_allclose(d2[background], reference[1][background], rtol=1e-6)
    assert np.all(d1[~background] == 0)
    assert np.all(np.isinf(d2[~background]))


@pytest.mark.parametrize(("max_sum", "max_nearest"), [(0, 0), (9.5, 0), (0, 6), (9, 7), (5, 30)])
def test_limited_distances_are_exact_within_and_infinite_beyond(max_sum, max_nearest):
    rng = np.random.default_rng(2)
    instances = random_instances(rng, 70, 90, 9)
    exact1, exact2 = np.sort(distances_to_each_instance(instances), axis=0)[:2]
    exact1[instances != 0], exact2[instances != 0] = 0, np.inf
    both = exact1 + exact2 <= max_sum
    d1, d2 = border_distances(instances, max_sum, max_nearest)
    near = both | (exact1 <= max_nearest)
    np.testing.assert_allclose(d1, np.where(near, exact1, np.inf), rtol=1e-6)
    np.testing.assert_allclose(d2, np.where(both, exact2, np.inf), rtol=1e-6)


def test_result_does_not_depend_on_threads():
    instances = random_instances(np.random.default_rng(3), 200, 150, 60)
    one, four = (weight_map(instances, context=_core.Context(threads=t)) for t in (1, 4))
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize(("size", "cells", "limit"), [(512, 100, 0.2), (2048, 2000, 4.0)])
def test_many_cells_take_little_time(size, cells, limit):
    """Fifteen times faster than the limit when the machine is idle."""
    rng = np.random.default_rng(5)
    instances = np.zeros((size, size), np.int32)
    rows, columns = np.mgrid[:31, :31] - 15
    for value in range(1, cells + 1):
        y, x = rng.integers(0, size - 31, 2)
        radius = rng.uniform(7, 15)
        instances[y : y + 31, x : x + 31][rows**2 + columns**2 < radius**2] = value
    start = time.perf_counter()
    weight_map(instances)
    assert time.perf_counter() - start < limit


def test_weight_map_adds_class_weights_and_border_term():
    instances = random_instances(np.random.default_rng(4), 50, 60, 8)
    ignore = np.zeros(instances.shape, bool)
    ignore[10:20, 5:30] = True
    weights = weight_map(instances, w0=4, sigma=3, class_weights=[2.0, 0.5], ignore=ignore)
    expected = np.where(instances == 0, 2.0, 0.5) + reference_border_term(instances, 4, 3)
    expected[ignore] = 0
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def reference_plugin(instances, labels, w0, sigma, v_bal, sigma_bal):
    """The plugin's formula pixel by pixel and instance by instance, in float64."""
    rows, columns = np.indices(instances.shape)
    weights = np.full(instances.shape, v_bal)
    for value in set(labels[labels > 0].tolist()):
        distances = [np.full(instances.shape, np.inf)] * 2
        for k in set(instances[labels == value].tolist()):
            y, x = np.nonzero((instances == k) & (labels == value))
            squares = (rows[..., None] - y) ** 2 + (columns[..., None] - x) ** 2
            distances.append(np.sqrt(squares.min(axis=-1).astype(np.float64)))
        d1, d2 = np.sort(distances, axis=0)[:2]
        weights += w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))
        weights += (1 - v_bal) * np.exp(-(d1**2) / (2 * sigma_bal**2))
    return np.where(labels > 0, 1.0, weights)


@pytest.mark.parametrize("size", [(60, 83), (1, 90), (40, 1)])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("given", [{}, {"w0": 7.0, "sigma": 3.0, "v_bal": 0.3, "sigma_bal": 4.0}])
def test_plugin2019_equals_brute_force(size, classes, given):
    rng = np.random.default_rng(3)
    for cells in (0, 1, 9):
        instances = np.zeros(size, np.int32)
        for k in range(1, cells + 1):
            y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
            instances[y : y + 6, x : x + 5] = k
        labels = (np.where(instances > 0, instances % classes + 1, 0)).astype(np.uint8)
        ignore = rng.random(size) < 0.1
        parameters = {"w0": 50.0, "sigma": 6.0, "v_bal": 0.1, "sigma_bal": 10.0} | given
        expected = reference_plugin(instances, labels, **parameters)
        found = weight_map(instances, labels, preset="plugin2019", ignore=ignore, **given)
        assert not found[ignore].any()
        np.testing.assert_allclose(found[~ignore], expected[~ignore], rtol=1e-6, atol=1e-5)


def test_uniform_weights_are_one_except_where_ignored():
    instances = np.zeros((9, 9), np.int32)
    instances[2:4, 2:4] = 1
    ignore = np.zeros((9, 9), bool)
    ignore[0] = True
    found = weight_map(instances, preset="uniform", ignore=ignore)
    np.testing.assert_array_equal(found, np.where(ignore, 0, 1))


@pytest.mark.parametrize(
    "mixed",
    [
        {"preset": "paper2015", "v_bal": 0.1},
        {"preset": "paper2015", "sigma_bal": 10.0},
        {"preset": "uniform", "w0": 10.0},
    ],
)
def test_presets_do_not_mix(mixed):
    with pytest.raises(UserError, match="has no"):
        WeightSettings(**mixed)


def test_settings_of_older_runs_are_the_same():
    assert WeightSettings(preset="paper2015", w0=10.0, sigma=5.0) == WeightSettings()


def test_own_class_weights_have_mean_one():
    instances = np.zeros((20, 30), np.int32)
    instances[5:9, 3:20] = 1
    assert np.isclose(weight_map(instances).mean(), 1)
    labels = np.where(instances == 1, 2, 0)  # class 1 does not occur in this map
    assert np.isclose(weight_map(instances, labels).mean(), 1)


def test_class_weights_are_inverse_frequencies_with_mean_one():
    labels = [np.array([[0, 0, 1], [1, 1, 2]]), np.array([[0, 2, 2]])]
    ignore = [None, np.array([[False, False, True]])]
    counts = class_counts(labels, 3, ignore)
    assert counts.tolist() == [3, 3, 2]
    weights = class_weights(counts)
    np.testing.assert_allclose(weights, 8 / 3 / np.array([3, 3, 2]))
    assert np.isclose((counts * weights).sum() / counts.sum(), 1)


def test_class_without_a_pixel_is_refused():
    with pytest.raises(UserError, match="class 1"):
        class_weights([10, 0])


@pytest.mark.parametrize("bad", [{"w0": -1}, {"sigma": 0}, {"preset": "paper"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(UserError):
        WeightSettings(**bad)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"labels.*\(2, 3\).*\(3, 2\)"):
        weight_map(np.zeros((3, 2), np.int32), np.zeros((2, 3), np.int32))


def test_touching_instances_get_a_gap_of_one_pixel():
    instances = np.zeros((8, 12), np.int32)
    instances[:, :5], instances[:, 5:9], instances[4:, 9:] = 3, 1, 2
    gap = separate_touching(instances)
    assert np.all(gap[:, 4] == 0)  # the largest gives way
    assert np.all(gap[:, :4] == 3)
    assert np.all(gap[:, 5:8] == 1)
    assert gap[2, 8] == 1
    assert np.all(gap[3:, 8] == 0)
    assert np.all(gap[4:, 9:] == 2)
    kept = gap > 0
    np.testing.assert_array_equal(gap[kept], instances[kept])
    padded = np.pad(gap, 1)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            other = padded[1 + dy : 9 + dy, 1 + dx : 13 + dx]
            assert not np.any((gap != other) & (gap > 0) & (other > 0))


def test_small_instances_survive_the_gap():
    instances = np.full((9, 9), 5, np.int32)
    instances[4, 4] = 2
    gap = separate_touching(instances)
    assert gap[4, 4] == 2
    assert (gap == 0).sum() == 8
    whole = np.full((3, 3), 7, np.int32)
    np.testing.assert_array_equal(separate_touching(whole), whole)


def test_instances_are_4_connected_and_distinct_between_classes():
    labels = np.array([[1, 0, 2, 2], [0, 1, 1, 0], [1, 0, 0, 1]])
    instances = connected_instances(labels)
    assert np.array_equal(instances > 0, labels > 0)
    assert len(np.unique(instances)) == 1 + 5
    assert instances[1, 1] == instances[1, 2]
    assert instances[0, 2] == instances[0, 3] != instances[1, 2]

"""Fillers: distributions, against Caffe's own draws, and what a draw depends on."""

from __future__ import annotations

import json
import re
from math import prod, sqrt

import numpy as np
import pytest

from shared import golden
from unet_native import ops
from unet_native.fillers import fill, generator
from unet_native.spec import FillerParameter

SHAPE = (48, 24, 3, 3)


def draw(filler: FillerParameter, shape=SHAPE, seed=1, layer=2, param=0) -> np.ndarray:
    array = np.full(shape, np.nan, np.float32)
    fill(array, filler, generator(seed, layer, param))
    return array


def check(values: np.ndarray, std: float, *, uniform: bool, mean: float = 0.0) -> None:
    """Mean, deviation, kurtosis and bound of a draw, each within five of its own deviations."""
    n = values.size
    centred = values.astype(np.float64) - mean
    kurtosis = (centred**4).mean() / (centred**2).mean() ** 2
    expected, spread = (1.8, 1.1) if uniform else (3.0, 4.9)  # of a sample, times sqrt(n)
    assert abs(centred.mean()) < 5 * std / sqrt(n)
    assert abs(centred.std() / std - 1) < 5 * sqrt((expected - 1) / (4 * n))
    assert abs(kurtosis - expected) < 5 * spread / sqrt(n) + 5 / n
    if uniform:
        assert np.abs(centred).max() <= sqrt(3) * std * (1 + 1e-6)
        assert np.abs(centred).max() > sqrt(3) * std * (1 - 20 / n)


FAN_IN, FAN_OUT = prod(SHAPE[1:]), SHAPE[0] * 9


@pytest.mark.parametrize(
    ("filler", "std", "uniform"),
    [
        (FillerParameter("xavier"), sqrt(1 / FAN_IN), True),
        (FillerParameter("xavier", variance_norm="FAN_OUT"), sqrt(1 / FAN_OUT), True),
        (FillerParameter("xavier", variance_norm="AVERAGE"), sqrt(2 / (FAN_IN + FAN_OUT)), True),
        (FillerParameter("msra"), sqrt(2 / FAN_IN), False),
        (FillerParameter("msra", variance_norm="FAN_OUT"), sqrt(2 / FAN_OUT), False),
        (FillerParameter("msra", variance_norm="AVERAGE"), sqrt(4 / (FAN_IN + FAN_OUT)), False),
        (FillerParameter("release_xavier"), sqrt(2 / FAN_IN), False),
        (FillerParameter("gaussian", std=0.3), 0.3, False),
    ],
)
def test_distribution(filler, std, uniform):
    check(draw(filler), std, uniform=uniform)


def test_distributions_with_a_mean():
    check(draw(FillerParameter("uniform", min=2, max=5)), 3 / sqrt(12), uniform=True, mean=3.5)
    check(draw(FillerParameter("gaussian", mean=-2, std=0.5)), 0.5, uniform=False, mean=-2)


def test_constant_and_default():
    assert (draw(FillerParameter("constant", value=-0.3165)) == np.float32(-0.3165)).all()
    assert not draw(FillerParameter()).any()


def test_sparse_gaussian_keeps_a_share_of_the_values():
    values = draw(FillerParameter("gaussian", std=2, sparse=12))
    kept = values[values != 0]
    assert abs(kept.size / values.size - 12 / 48) < 5 * sqrt(0.25 * 0.75 / values.size)
    check(kept, 2, uniform=False)


def test_a_vector_has_all_its_elements_as_fan_out():
    values = draw(FillerParameter("xavier", variance_norm="FAN_OUT"), shape=(5000,))
    check(values, sqrt(1 / 5000), uniform=True)


def test_golden_fillers_have_caffes_distributions():
    rows = json.loads(golden("fillers.json").read_text())["rows"]
    for row in rows:
        fields = dict(re.findall(r'(\w+): "?([\w.-]+)"?', row["filler"]))
        numbers = {k: v if k in ("type", "variance_norm") else float(v) for k, v in fields.items()}
        values = draw(FillerParameter(**numbers), tuple(row["weight_shape"]), seed=row["seed"])
        if row["std"] == 0:
            assert (values == np.float32(row["mean"])).all()
            continue
        uniform = row["excess_kurtosis"] < -0.6  # -1.2, a Gaussian's is 0
        mean = numbers.get("mean", (numbers.get("min", 0) + numbers.get("max", 0)) / 2)
        check(values, row["expected_std"], uniform=uniform, mean=mean)
        spread = 5 / sqrt(row["count"])  # between two draws
        assert abs(values.std() / row["std"] - 1) < 2 * spread, row["filler"]
    assert len(rows) > 10


def test_a_draw_depends_on_seed_layer_and_parameter_alone():
    filler = FillerParameter("msra")
    first = draw(filler)
    assert np.array_equal(draw(filler), first)
    for other in ({"seed": 2}, {"layer": 3}, {"param": 1}):
        assert not np.array_equal(draw(filler, **other), first)
    for transposed in (False, True):
        filter_array = ops.empty_filter(SHAPE, transposed=transposed)
        fill(filter_array, filler, generator(1, 2, 0))
        assert np.array_equal(filter_array, first)


@pytest.mark.parametrize(
    ("filler", "problem"),
    [
        (FillerParameter("bilinear"), "'bilinear' is not supported"),
        (FillerParameter("msra", variance_norm="FAN"), "variance_norm 'FAN'"),
    ],
)
def test_unknown_fillers_are_refused(filler, problem):
    with pytest.raises(ValueError, match=problem):
        draw(filler)

"""sgd: Caffe's order of rate, momentum and decay; memory orders; bad input."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from closeness import assert_close
from guard import guarded_dense
from places import context_of
from unet_native import ops

SIZES = [*range(1, 36), 47, 48, 49, 63, 64, 65, 127, 500, 4097]


@pytest.mark.parametrize("regularization", ["L2", "L1"])
@pytest.mark.parametrize("size", SIZES)
def test_values(size, regularization, on_threads):
    rng = np.random.default_rng(size)
    arrays = rng.standard_normal((3, size), np.float32)
    arrays[0, ::5] = 0  # the sign of 0 is 0
    setting = {
        "rate": 0.3,
        "momentum": 0.99,
        "weight_decay": 0.05,
        "regularization": regularization,
        "scale": 0.25,
    }

    def run(context):
        results = []
        for keep_update in (False, True):
            guards = [guarded_dense(array) for array in arrays]
            weight, diff, history = (guard.array for guard in guards)
            ops.sgd_update(
                weight, diff, history, **setting, keep_update=keep_update, context=context
            )
            results += [guard.checked() for guard in guards]
        return tuple(results)

    weight, diff, history, *kept = on_threads(run)
    expected_weight, expected_history = reference.sgd(*arrays, **setting)
    assert_close(weight, expected_weight, 5e-7)
    assert_close(history, expected_history, 5e-7)
    np.testing.assert_array_equal(diff, arrays[1])
    np.testing.assert_array_equal(kept[0], weight)
    np.testing.assert_array_equal(kept[1], history)
    np.testing.assert_array_equal(kept[2], history)


def test_a_rate_in_memory_multiplies_the_other(isa):
    rng, context = np.random.default_rng(0), context_of(isa)
    arrays = rng.standard_normal((3, 100), np.float32)
    one, two = ([array.copy() for array in arrays] for _ in range(2))
    setting = {"momentum": 0.9, "weight_decay": 0.05, "context": context}
    ops.sgd_update(*one, rate=0.5, **setting)
    ops.sgd_update(*two, rate=2.0, rate_factor=np.float32([0.25]), **setting)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one[0], arrays[0])


def test_many_steps_follow_the_reference():
    """The rate lies inside the history: after a change of rate the old one still acts."""
    weight, history = np.ones(9, np.float32), np.zeros(9, np.float32)
    expected = weight.astype(np.float64), history.astype(np.float64)
    rng = np.random.default_rng(0)
    for step in range(20):
        diff = rng.standard_normal(9, np.float32)
        setting = {"rate": 0.1 if step < 10 else 0.01, "momentum": 0.9, "weight_decay": 5e-4}
        ops.sgd_update(weight, diff, history, **setting)
        expected = reference.sgd(expected[0], diff, expected[1], **setting)
    assert_close(weight, expected[0])
    assert_close(history, expected[1])


@pytest.mark.parametrize("transposed", [False, True])
def test_filters(transposed):
    """Parameters over channels-last filter memory are updated where they lie."""
    rng = np.random.default_rng(0)
    arrays = []
    for _ in range(3):
        array = ops.empty_filter((5, 3, 2, 2), transposed=transposed)
        array[...] = rng.standard_normal(array.shape)
        arrays.append(array)
    expected = reference.sgd(*arrays, rate=0.1, momentum=0.9)
    ops.sgd_update(*arrays, rate=0.1, momentum=0.9)
    assert_close(arrays[0], expected[0])
    assert_close(arrays[2], expected[1])


def test_bad_input():
    a = np.zeros((2, 3, 3, 3), np.float32)
    setting = {"rate": 0.1, "momentum": 0.9}
    cases = [
        (lambda: ops.sgd_update(a, a[:1], a, **setting), "diff must have the shape and memory"),
        (
            lambda: ops.sgd_update(a, ops.empty_filter(a.shape), a, **setting),
            "sgd_update: diff must have the shape and memory order of weight",
        ),
        (
            lambda: ops.sgd_update(a, a, a.astype(np.float64), **setting),
            "history: expected a float32 array, got float64",
        ),
        (
            lambda: ops.sgd_update(*[a[:, ::2]] * 3, **setting),
            "weight: expected a dense array",
        ),
        (
            lambda: ops.sgd_update(a, a, a, regularization="L3", **setting),
            'unknown regularization "L3": use "L2" or "L1"',
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

"""adam: Caffe's form of the step; memory orders; bad input."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from closeness import assert_close
from guard import guarded_dense
from places import context_of
from unet_native import ops

SIZES = [*range(1, 36), 47, 48, 49, 63, 64, 65, 127, 500, 4097]
SETTING = {"rate": 0.3, "momentum": 0.9, "momentum2": 0.999, "delta": 1e-8}


@pytest.mark.parametrize("regularization", ["L2", "L1"])
@pytest.mark.parametrize("size", SIZES)
def test_values(size, regularization, on_threads):
    rng = np.random.default_rng(size)
    arrays = rng.standard_normal((4, size), np.float32)
    arrays[0, ::5] = 0  # the sign of 0 is 0
    arrays[3] **= 2
    setting = SETTING | {
        "step": 7,
        "weight_decay": 0.05,
        "regularization": regularization,
        "scale": 0.25,
    }

    def run(context):
        results = []
        for keep_update in (False, True):
            guards = [guarded_dense(array) for array in arrays]
            ops.adam_update(
                *(guard.array for guard in guards),
                **setting,
                keep_update=keep_update,
                context=context,
            )
            results += [guard.checked() for guard in guards]
        return tuple(results)

    weight, diff, history, history2, *kept = on_threads(run)
    expected = reference.adam(arrays[0], arrays[1], (arrays[2], arrays[3]), **setting)
    assert_close(weight, expected[0], 1e-6)
    assert_close(history, expected[1], 5e-7)
    assert_close(history2, expected[2], 5e-7)
    np.testing.assert_array_equal(diff, arrays[1])
    for one, other in zip((kept[0], kept[2], kept[3]), (weight, history, history2), strict=True):
        np.testing.assert_array_equal(one, other)
    assert_close(kept[1], arrays[0] - expected[0], 1e-6)


def test_the_first_steps_follow_the_reference():
    """The histories start from 0; without the correction the first steps would be far off."""
    rng = np.random.default_rng(0)
    arrays = [np.ones(9, np.float32), *np.zeros((2, 9), np.float32)]
    expected = [array.astype(np.float64) for array in arrays]
    for step in range(1, 11):
        diff = rng.standard_normal(9, np.float32)
        ops.adam_update(arrays[0], diff, *arrays[1:], **SETTING, step=step)
        expected = reference.adam(expected[0], diff, tuple(expected[1:]), **SETTING, step=step)
        if step == 1:
            assert_close(arrays[0], 1 - 0.3 * np.sign(diff), 1e-4)
    for one, other in zip(arrays, expected, strict=True):
        assert_close(one, other)


def test_a_rate_in_memory_multiplies_the_other(isa):
    rng, context = np.random.default_rng(0), context_of(isa)
    arrays = np.abs(rng.standard_normal((4, 100), np.float32))
    one, two = ([array.copy() for array in arrays] for _ in range(2))
    ops.adam_update(*one, rate=0.5, step=3, context=context)
    factor = np.float32([0.25 * ops.adam_correction(3)])
    ops.adam_update(*two, rate=2.0, rate_factor=factor, step=None, context=context)
    assert_close(two[0], one[0], 5e-7)
    assert not np.array_equal(one[0], arrays[0])


def test_a_gradient_that_is_always_zero_moves_nothing():
    arrays = [np.full(5, 2, np.float32), *np.zeros((3, 5), np.float32)]
    ops.adam_update(*arrays, **SETTING, step=1)
    assert (arrays[0] == 2).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_filters(transposed):
    """Parameters over channels-last filter memory are updated where they lie."""
    rng = np.random.default_rng(0)
    arrays = []
    for _ in range(4):
        array = ops.empty_filter((5, 3, 2, 2), transposed=transposed)
        array[...] = rng.standard_normal(array.shape) ** 2
        arrays.append(array)
    expected = reference.adam(arrays[0], arrays[1], (arrays[2], arrays[3]), **SETTING, step=3)
    ops.adam_update(*arrays, **SETTING, step=3)
    assert_close(arrays[0], expected[0])
    assert_close(arrays[3], expected[2])


def test_bad_input():
    a = np.zeros((2, 3, 3, 3), np.float32)
    cases = [
        (lambda: ops.adam_update(a, a[:1], a, a, rate=1, step=1), "diff must have the shape and"),
        (
            lambda: ops.adam_update(a, a, a, ops.empty_filter(a.shape), rate=1, step=1),
            "adam_update: history2 must have the shape and memory order of weight",
        ),
        (
            lambda: ops.adam_update(a, a, a.astype(np.float64), a, rate=1, step=1),
            "history: expected a float32 array, got float64",
        ),
        (
            lambda: ops.adam_update(*[a[:, ::2]] * 4, rate=1, step=1),
            "weight: expected a dense array",
        ),
        (
            lambda: ops.adam_update(a, a, a, a, rate=1, step=1, regularization="L3"),
            'unknown regularization "L3": use "L2" or "L1"',
        ),
        (lambda: ops.adam_update(a, a, a, a, rate=1, step=0), "step counts from 1, got 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

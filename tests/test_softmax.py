"""softmax: values, accuracy of the exponential, in place, gradient, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from closeness import assert_close
from gradcheck import check_gradient
from guard import guarded_blob
from places import context_of
from shapes import BLOBS, shape_id
from unet_native import ops


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, on_threads):
    rng = np.random.default_rng(shape)
    x = 4 * rng.standard_normal(shape, np.float32)
    top_diff = rng.standard_normal(shape, np.float32)

    def run(context):
        top, diff = guarded_blob(shape), guarded_blob(shape)
        ops.softmax_forward(x, out=top.array, context=context)
        ops.softmax_backward(top.array, top_diff, out=diff.array, context=context)
        return top.checked(), diff.checked()

    top, diff = on_threads(run)
    assert_close(top, reference.softmax(x), 1e-6)
    assert_close(diff, reference.softmax_backward(top, top_diff), 1e-6, floor=1.0)


def test_exponential(isa):
    """exp(x) / (1 + exp(x)) down to the last subnormal: within 4 units in the last place."""
    x = np.concatenate([np.linspace(-110, 0, 20001), -np.logspace(-30, 0, 500)]).astype(np.float32)
    bottom = np.stack([np.zeros_like(x), x])[None, :, None, :]
    small = ops.softmax_forward(bottom, context=context_of(isa))[0, 1, 0]
    e = np.exp(x.astype(np.float64))
    expected = e / (1 + e)
    ulp = np.spacing(np.maximum(expected, np.finfo(np.float32).tiny).astype(np.float32))
    assert (np.abs(small - expected) <= 4 * ulp.astype(np.float64)).all()
    assert small[0] == 0
    assert 0 < small[np.searchsorted(x[:20001], -103)] < np.finfo(np.float32).tiny


def test_extremes(isa):
    context = context_of(isa)
    x = np.array([[3e38, -3e38], [-np.inf, 1.0], [np.nan, 0.0]], np.float32)
    top = ops.softmax_forward(x.T[None, :, None, :], context=context)[0, :, 0, :].T
    np.testing.assert_array_equal(top[:2], [[1, 0], [0, 1]])
    assert np.isnan(top[2]).all()


def test_in_place(isa):
    context = context_of(isa)
    x = ops.channels_last(np.random.default_rng(0).standard_normal((2, 3, 4, 21), np.float32))
    top_diff = ops.channels_last(np.random.default_rng(1).standard_normal(x.shape, np.float32))
    top = ops.softmax_forward(x, context=context)
    diff = ops.softmax_backward(top, top_diff, context=context)
    ops.softmax_forward(x, out=x, context=context)
    ops.softmax_backward(top, top_diff, out=top_diff, context=context)
    np.testing.assert_array_equal(x, top)
    np.testing.assert_array_equal(top_diff, diff)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    rng = np.random.default_rng(shape)
    x, coefficients = rng.standard_normal((2, *shape), np.float32)
    gradient = ops.softmax_backward(ops.softmax_forward(x), coefficients)

    def objective(bottom):
        return float((ops.softmax_forward(bottom).astype(np.float64) * coefficients).sum())

    check_gradient(objective, x, gradient, step=1e-2)


def test_bad_input():
    x = ops.zeros((1, 2, 3, 4))
    with pytest.raises(ValueError, match="softmax_forward: top must have the shape of bottom"):
        ops.softmax_forward(x, out=ops.empty((1, 3, 3, 4)))
    with pytest.raises(ValueError, match="softmax_backward: top_diff must have the shape of top"):
        ops.softmax_backward(x, ops.zeros((1, 2, 4, 4)))
    with pytest.raises(ValueError, match="top_diff: expected a float32 array, got float64"):
        ops.softmax_backward(x, np.zeros((1, 2, 3, 4)))

"""relu: values, in place, gradient, bad input."""

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


def blobs(shape, count=1):
    rng = np.random.default_rng(shape)
    return [rng.standard_normal(shape, np.float32) for _ in range(count)]


@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, slope, on_threads):
    x, top_diff = blobs(shape, 2)
    x.flat[::3] = [0.0, -0.0][x.size % 2]

    def run(context):
        top, diff = guarded_blob(shape), guarded_blob(shape)
        ops.relu_forward(x, negative_slope=slope, out=top.array, context=context)
        ops.relu_backward(x, top_diff, negative_slope=slope, out=diff.array, context=context)
        return top.checked(), diff.checked()

    top, diff = on_threads(run)
    assert_close(top, reference.relu(x, slope))
    assert_close(diff, reference.relu_backward(x, top_diff, slope))


def test_layouts_agree(isa):
    """Dense channels-last, plain NCHW and one half of a wider blob give the same numbers."""
    context = context_of(isa)
    (x,) = blobs((2, 5, 4, 7))
    expected = reference.relu(x, 0.125).astype(np.float32)
    wide = ops.zeros((2, 12, 4, 7))
    wide[:, 3:8] = x
    for bottom in (x, ops.channels_last(x), wide[:, 3:8]):
        top = ops.relu_forward(bottom, negative_slope=0.125, context=context)
        np.testing.assert_array_equal(top, expected)


def test_in_place(isa):
    context = context_of(isa)
    x, top_diff = map(ops.channels_last, blobs((2, 19, 3, 4), 2))
    expected = reference.relu(x), reference.relu_backward(x, top_diff)
    ops.relu_backward(x, top_diff, out=top_diff, context=context)
    ops.relu_forward(x, out=x, context=context)
    assert_close(x, expected[0])
    assert_close(top_diff, expected[1])


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    x, coefficients = blobs(shape, 2)
    gradient = ops.relu_backward(x, coefficients, negative_slope=0.1)

    def objective(bottom):
        top = ops.relu_forward(bottom, negative_slope=0.1)
        return float((top.astype(np.float64) * coefficients).sum())

    check_gradient(objective, x, gradient, step=1e-2, kink=0.0, kink_range=1.1e-2)


@pytest.mark.parametrize(
    ("bottom", "out", "message"),
    [
        (np.zeros((1, 2, 3, 4)), None, "bottom: expected a float32 array, got float64"),
        (
            np.zeros((2, 3, 4), np.float32),
            None,
            r"bottom: expected 4 axes .* got shape \(2, 3, 4\)",
        ),
        ([1.0], None, "bottom: expected a float32 array, got list"),
        (
            np.zeros((1, 2, 3, 4), np.float32),
            ops.empty((1, 2, 3, 5)),
            r"relu_forward: top must have the shape of bottom \(top 1x2x3x5, bottom 1x2x3x4\)",
        ),
        (
            np.zeros((1, 2, 3, 4), np.float32),
            np.zeros((1, 2, 3, 4), np.float32),
            "top: channels must be contiguous in memory",
        ),
        (np.zeros((1, 2, 0, 4), np.float32), None, "bottom: axis 2 has 0 elements"),
    ],
)
def test_bad_input(bottom, out, message):
    with pytest.raises(ValueError, match=message):
        ops.relu_forward(bottom, out=out)


def test_read_only_output():
    top = ops.empty((1, 2, 3, 4))
    top.flags.writeable = False
    with pytest.raises(ValueError, match="top: the array is read-only"):
        ops.relu_forward(ops.zeros((1, 2, 3, 4)), out=top)

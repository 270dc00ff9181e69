"""max_pool2x2: Caffe's rounding, ties, clipped windows, accumulation, NaN, gradient, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from gradcheck import check_gradient
from guard import guarded_blob
from places import context_of
from shapes import BLOBS, shape_id
from unet_native import ops


def pooled(shape):
    n, c, h, w = shape
    return n, c, -(-h // 2), -(-w // 2)


@pytest.mark.parametrize("distinct", [True, False], ids=["distinct", "ties"])
@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, distinct, on_threads):
    rng = np.random.default_rng(shape)
    x = rng.standard_normal(shape, np.float32)
    if not distinct:
        x = rng.integers(-1, 2, shape).astype(np.float32)
    top_diff = rng.standard_normal(pooled(shape), np.float32)
    before = rng.standard_normal(shape, np.float32)

    def run(context):
        top, diff, summed = (
            guarded_blob(pooled(shape)),
            guarded_blob(shape),
            guarded_blob(shape, before),
        )
        ops.max_pool2x2_forward(x, out=top.array, context=context)
        ops.max_pool2x2_backward(x, top_diff, out=diff.array, context=context)
        ops.max_pool2x2_backward(x, top_diff, accumulate=True, out=summed.array, context=context)
        return top.checked(), diff.checked(), summed.checked()

    top, diff, summed = on_threads(run)
    expected = reference.max_pool2x2_backward(x, top_diff).astype(np.float32)
    np.testing.assert_array_equal(top, reference.max_pool2x2_forward(x))
    np.testing.assert_array_equal(diff, expected)
    np.testing.assert_array_equal(summed, before + expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (7, 5)])
def test_backward_in_place(size, isa):
    """bottom_diff may take the bottom's memory: each window is read before it is written."""
    context = context_of(isa)
    rng = np.random.default_rng(size)
    x = ops.channels_last(rng.standard_normal((2, 21, *size), np.float32))
    top_diff = rng.standard_normal(pooled(x.shape), np.float32)
    expected = reference.max_pool2x2_backward(x, top_diff)
    ops.max_pool2x2_backward(x, top_diff, out=x, context=context)
    np.testing.assert_array_equal(x, expected.astype(np.float32))


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("size", "window", "offset"),
    [((8, 10), (4, 6), (2, 2)), ((7, 9), (7, 9), (0, 0)), ((9, 5), (1, 3), (8, 1))],
)
@pytest.mark.parametrize("channels", [3, 21, 48])
def test_skip_and_relu(channels, size, window, offset, accumulate, on_threads):
    """The backward passes of crop, pooling and ReLU at once: the bits of one after the other."""
    rng = np.random.default_rng((channels, *size))
    x = np.maximum(rng.standard_normal((2, channels, *size), np.float32), -0.5)
    top_diff = rng.standard_normal(pooled(x.shape), np.float32)
    skip_diff = rng.standard_normal((2, channels, *window), np.float32)
    before = rng.standard_normal(x.shape, np.float32)

    def run(context):
        def passes(skip, slope):
            out = guarded_blob(x.shape, before)
            ops.max_pool2x2_backward(
                x,
                top_diff,
                skip_diff=skip,
                skip_offset=offset if skip is not None else (0, 0),
                negative_slope=slope,
                accumulate=accumulate,
                out=out.array,
                context=context,
            )
            return out.checked()

        return passes(skip_diff, 0.0), passes(skip_diff, 0.25), passes(None, 0.25)

    skipped, leaky, alone = on_threads(run)
    routed = ops.max_pool2x2_backward(x, top_diff)
    if accumulate:
        routed = before + routed
    joined = routed + ops.crop_backward(skip_diff, x.shape, offset=offset)
    np.testing.assert_array_equal(skipped, ops.relu_backward(x, joined))
    np.testing.assert_array_equal(leaky, ops.relu_backward(x, joined, negative_slope=0.25))
    np.testing.assert_array_equal(alone, ops.relu_backward(x, routed, negative_slope=0.25))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("channels", [1, 40])
def test_nan_and_infinities(place, channels, isa):
    """A NaN anywhere in a window is its maximum and takes the gradient; -inf is a number."""
    context = context_of(isa)
    x = np.full((1, channels, 2, 2), -np.inf, np.float32)
    top_diff = np.full((1, channels, 1, 1), 3.0, np.float32)
    assert (ops.max_pool2x2_forward(x, context=context) == -np.inf).all()
    np.testing.assert_array_equal(
        ops.max_pool2x2_backward(x, top_diff, context=context)[0, 0], [[3, 0], [0, 0]]
    )
    x[:, :, place // 2, place % 2] = np.nan
    x[:, :, 1 - place // 2, place % 2] = np.inf
    assert np.isnan(ops.max_pool2x2_forward(x, context=context)).all()
    diff = ops.max_pool2x2_backward(x, top_diff, context=context)
    assert (diff[:, :, place // 2, place % 2] == 3).all()
    assert diff.sum() == 3 * channels


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    """All elements differ by far more than the step, so that no window is near its kink."""
    rng = np.random.default_rng(shape)
    size = int(np.prod(shape))
    x = rng.permutation(size).astype(np.float32).reshape(shape)
    coefficients = rng.standard_normal(pooled(shape), np.float32)
    gradient = ops.max_pool2x2_backward(x, coefficients)

    def objective(bottom):
        return float((ops.max_pool2x2_forward(bottom).astype(np.float64) * coefficients).sum())

    check_gradient(objective, x, gradient, step=0.25)


def test_bad_input():
    x = ops.zeros((1, 2, 5, 4))
    with pytest.raises(
        ValueError,
        match=r"max_pool2x2_forward: top must be 1x2x3x2 \(bottom 1x2x5x4, top 1x2x2x2\)",
    ):
        ops.max_pool2x2_forward(x, out=ops.empty((1, 2, 2, 2)))
    with pytest.raises(ValueError, match="max_pool2x2_backward: top_diff must be 1x2x3x2"):
        ops.max_pool2x2_backward(x, ops.zeros((1, 3, 3, 2)))
    with pytest.raises(ValueError, match="bottom_diff must have the shape of bottom"):
        ops.max_pool2x2_backward(x, ops.zeros((1, 2, 3, 2)), out=ops.empty((1, 2, 5, 5)))
    with pytest.raises(ValueError, match="accumulate needs an array to add to: pass out"):
        ops.max_pool2x2_backward(x, ops.zeros((1, 2, 3, 2)), accumulate=True)
    for window, offset in (((4, 4), (2, 0)), ((2, 2), (0, 3)), ((2, 2), (-1, 0))):
        with pytest.raises(ValueError, match=r"skip_diff .* is no window of the bottom 1x2x5x4"):
            ops.max_pool2x2_backward(
                x, ops.zeros((1, 2, 3, 2)), skip_diff=ops.zeros((1, 2, *window)), skip_offset=offset
            )
    with pytest.raises(ValueError, match=r"skip_diff 1x3x2x2 .* is no window"):
        ops.max_pool2x2_backward(x, ops.zeros((1, 2, 3, 2)), skip_diff=ops.zeros((1, 3, 2, 2)))
    with pytest.raises(ValueError, match="bottom: expected a float32 array, got int64"):
        ops.max_pool2x2_forward(np.zeros((1, 2, 3, 4), np.int64))

"""conv1x1: values of all passes, few and many outputs, gradient, bad input."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import reference
from closeness import assert_close
from convolution_passes import CONV1X1
from gradcheck import check_gradient
from guard import aligned_nan
from places import context_of
from shapes import LAYERS, shape_id
from unet_native import ops

WIDE = [
    (1, 1024, 2, 29, 20),  # tile rows that collide in the cache, several chunks of channels
    (1, 40, 3, 50, 300),  # many panels
    (2, 200, 1, 400, 33),  # rows longer than a packed block
    (1, 520, 5, 4, 260),  # sums of outer products in several groups
    (1, 24, 90, 3, 36),  # several strips and parts of the rows
]

# What the kernels of a GPU distinguish (csrc/cuda/conv1x1_few.cu): each number of outputs that has
# dot products of its own; channels that come four at a time, or not. test_convolution_gpu.py has
# the tiles of matrix products.
TILES = [
    (1, 130, 5, 7, 1),
    (1, 64, 9, 13, 2),
    (1, 65, 3, 5, 3),
    (2, 64, 3, 33, 4),
    (1, 68, 4, 9, 8),
    (1, 132, 3, 5, 16),
    (1, 1024, 2, 3, 16),  # a filter too large for dot products
    (1, 68, 17000, 1, 2),  # more rows than blocks take at once
    (1, 17, 11, 12, 65),
    (1, 132, 10, 13, 68),
]
operands = CONV1X1.operands


@pytest.mark.parametrize("shape", LAYERS + WIDE, ids=shape_id)
def test_values(shape, on_threads):
    results = on_threads(partial(CONV1X1.run_passes, shape))
    CONV1X1.check(shape, results)


@pytest.mark.parametrize("shape", TILES, ids=shape_id)
def test_tiles(shape, isa):
    bottom, weight, bias, top_diff = operands(shape)
    bottom, top_diff = ops.channels_last(bottom), ops.channels_last(top_diff)
    context = context_of(isa)
    top, bottom_diff = aligned_nan(top_diff.shape), aligned_nan(bottom.shape)
    ops.conv1x1_forward(bottom, weight, bias, out=top, context=context)
    ops.conv1x1_backward_data(top_diff, weight, out=bottom_diff, context=context)
    weight_diff, _ = ops.conv1x1_backward_weights(bottom, top_diff, context=context)
    assert_close(top, reference.conv_forward(bottom, weight, bias))
    assert_close(bottom_diff, reference.conv_backward_data(top_diff, weight))
    assert_close(weight_diff, reference.conv_backward_weights(bottom, top_diff)[0], 4e-6)


@pytest.mark.parametrize("shape", [(1, 3, 6, 7, 5), (2, 33, 9, 10, 18), WIDE[0]], ids=shape_id)
def test_integers_are_exact(shape, isa):
    """Sums of small integers have no rounding: whatever the order, the result is exact."""
    rng = np.random.default_rng(shape)
    bottom, weight, bias, top_diff = (
        rng.integers(-4, 5, x.shape).astype(np.float32) for x in operands(shape)
    )
    context = context_of(isa)
    top = ops.conv1x1_forward(bottom, weight, bias, context=context)
    bottom_diff = ops.conv1x1_backward_data(top_diff, weight, context=context)
    diffs = ops.conv1x1_backward_weights(bottom, top_diff, context=context)
    np.testing.assert_array_equal(top, reference.conv_forward(bottom, weight, bias))
    expected = reference.conv_backward_data(top_diff, weight)
    np.testing.assert_array_equal(bottom_diff, expected)
    expected = reference.conv_backward_weights(bottom, top_diff)
    for diff, value in zip(diffs, expected, strict=True):
        np.testing.assert_array_equal(diff, value)


@pytest.mark.parametrize("shape", [(2, 18, 9, 7, 2), (2, 70, 9, 7, 21)], ids=shape_id)
def test_parameter_gradients_accumulate(shape, on_threads):
    """Caffe adds to the diffs of parameters; without a bias_diff the bias is left out."""
    bottom, weight, bias, top_diff = operands(shape)

    def run(context):
        weight_diff = ops.empty_filter(weight.shape)
        weight_diff[...] = weight
        bias_diff = bias.copy()
        ops.conv1x1_backward_weights(
            bottom, top_diff, weight_diff=weight_diff, bias_diff=bias_diff, context=context
        )
        alone, none = ops.conv1x1_backward_weights(
            bottom,
            top_diff,
            weight_diff=ops.zeros_filter(weight.shape),
            context=context,
        )
        assert none is None
        return weight_diff, bias_diff, alone

    weight_diff, bias_diff, alone = on_threads(run)
    expected, expected_bias = reference.conv_backward_weights(bottom, top_diff)
    assert_close(weight_diff, weight + expected)
    assert_close(bias_diff, bias + expected_bias, floor=float(np.abs(top_diff).max()))
    assert_close(alone, expected)


@pytest.mark.parametrize("shape", LAYERS, ids=shape_id)
def test_gradient(shape):
    """Linear in each argument: central differences are exact at any step."""
    bottom, weight, bias, coefficients = operands(shape)

    def objective(*arguments):
        top = ops.conv1x1_forward(*arguments)
        return float((top.astype(np.float64) * coefficients).sum())

    bottom_diff = ops.conv1x1_backward_data(coefficients, weight)
    weight_diff, bias_diff = ops.conv1x1_backward_weights(bottom, coefficients)
    options = {"step": 10.0, "elements": 8}
    check_gradient(lambda x: objective(x, weight, bias), bottom, bottom_diff, **options)
    check_gradient(lambda w: objective(bottom, w, bias), weight, weight_diff, **options)
    check_gradient(lambda b: objective(bottom, weight, b), bias, bias_diff, **options)


def test_nan_stays_visible(isa):
    """Not even the rectifier hides a NaN."""
    context = context_of(isa)
    for oc in (2, 40):
        bottom, weight, bias, _ = operands((1, 20, 4, 5, oc))
        bottom[0, 7, 2, 3] = np.nan
        top = ops.conv1x1_forward(bottom, weight, bias, negative_slope=0.0, context=context)
        assert np.isnan(top[:, :, 2, 3]).all()
        assert np.isnan(top).sum() == oc * 1**2


@pytest.mark.parametrize("shape", [(2, 40, 9, 13, 2), (1, 37, 5, 4, 3), (1, 24, 9, 3, 36)])
@pytest.mark.parametrize("negative_slope", [0.0, 0.25])
def test_backward_data_through_the_relu_that_made_the_bottom(shape, negative_slope, isa):
    bottom, weight, _, top_diff = operands(shape)
    bottom[:, ::3] = 0.0
    context = context_of(isa, threads=2)
    bottom_diff = ops.conv1x1_backward_data(top_diff, weight, context=context)
    expected = ops.relu_backward(bottom, bottom_diff, negative_slope=negative_slope)
    actual = ops.conv1x1_backward_data(
        top_diff, weight, bottom=bottom, negative_slope=negative_slope, context=context
    )
    np.testing.assert_array_equal(actual, expected)


def test_bad_input():
    bottom, weight, bias, top_diff = operands((1, 3, 4, 5, 2))
    cases = [
        (
            lambda: ops.conv1x1_forward(bottom[:, :2], weight, bias),
            r"conv1x1_forward: weight has 3 input channels, bottom has 2 \(bottom 1x2x4x5, weight "
            r"2x3x1x1, top 1x2x4x5\)",
        ),
        (
            lambda: ops.conv1x1_forward(bottom, weight, bias[:1]),
            "bias has 1 elements for 2 output channels",
        ),
        (
            lambda: ops.conv1x1_forward(bottom, np.zeros((2, 3, 3, 3), np.float32), bias),
            "weight must be 1x1",
        ),
        (
            lambda: ops.conv1x1_forward(bottom, weight, out=ops.empty((1, 2, 4, 6))),
            "top must be 1x2x4x5",
        ),
        (
            lambda: ops.conv1x1_forward(bottom, weight, workspace=np.empty(1, np.float32)),
            "conv1x1_forward: workspace has 1 floats, needs",
        ),
        (
            lambda: ops.conv1x1_backward_data(top_diff, weight, out=ops.empty((1, 2, 4, 5))),
            "weight has 3 input channels, bottom_diff has 2",
        ),
        (
            lambda: ops.conv1x1_backward_weights(bottom, top_diff[:, :, 1:]),
            "top_diff must be 1x2x4x5",
        ),
        (
            lambda: ops.conv1x1_backward_weights(
                bottom, top_diff, weight_diff=np.zeros(weight.shape, np.float32)
            ),
            "weight_diff: written in place, so its memory must be dense",
        ),
        (
            lambda: ops.conv1x1_backward_weights(bottom, top_diff, bias_diff=bias),
            "bias_diff needs a weight_diff beside it",
        ),
        (
            lambda: ops.conv1x1_forward(bottom.astype(np.float64), weight),
            "bottom: expected a float32 array, got float64",
        ),
        (
            lambda: ops.conv1x1_forward(bottom, weight[0]),
            r"weight: expected 4 axes \(OC, IC, KH, KW\), got shape",
        ),
        (
            lambda: ops.conv1x1_workspace_bytes((1, 3, 4, 5), 0, "forward"),
            "every size must be positive",
        ),
        (
            lambda: ops.conv1x1_workspace_bytes((1, 3, 4, 5), 2, "backward"),
            'unknown direction "backward"',
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

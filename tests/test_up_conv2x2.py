"""up_conv2x2: values of all passes, wide layers, concat halves, gradient, bad input."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import reference
from closeness import assert_close
from convolution_passes import UP_CONV2X2
from gradcheck import check_gradient
from guard import aligned_nan
from places import context_of, instruction_sets
from shapes import LAYERS, shape_id
from unet_native import ops

WIDE = [
    (1, 1024, 2, 29, 20),  # tile rows that collide in the cache, several chunks of channels
    (1, 40, 3, 50, 300),  # many panels
    (2, 200, 1, 400, 33),  # rows longer than a packed block
    (1, 520, 5, 4, 260),  # sums of outer products in several groups
    (1, 24, 90, 3, 36),  # several strips and parts of the rows
]

# Aligned memory, where a GPU's kernels take channels by fours; test_convolution_gpu.py has their
# tiles.
TILES = [
    (1, 130, 5, 7, 1),
    (1, 64, 9, 13, 4),
    (2, 68, 3, 33, 17),
    (1, 20, 11, 12, 36),
]
operands = UP_CONV2X2.operands


@pytest.mark.parametrize("shape", LAYERS + WIDE, ids=shape_id)
def test_values(shape, on_threads):
    results = on_threads(partial(UP_CONV2X2.run_passes, shape))
    UP_CONV2X2.check(shape, results)


@pytest.mark.parametrize("shape", TILES, ids=shape_id)
def test_tiles(shape, isa):
    bottom, weight, bias, top_diff = operands(shape)
    bottom, top_diff = ops.channels_last(bottom), ops.channels_last(top_diff)
    context = context_of(isa)
    top, bottom_diff = aligned_nan(top_diff.shape), aligned_nan(bottom.shape)
    ops.up_conv2x2_forward(bottom, weight, bias, out=top, context=context)
    ops.up_conv2x2_backward_data(top_diff, weight, out=bottom_diff, context=context)
    weight_diff, _ = ops.up_conv2x2_backward_weights(bottom, top_diff, context=context)
    assert_close(top, reference.up_conv2x2_forward(bottom, weight, bias))
    assert_close(bottom_diff, reference.up_conv2x2_backward_data(top_diff, weight))
    assert_close(weight_diff, reference.up_conv2x2_backward_weights(bottom, top_diff)[0], 4e-6)


@pytest.mark.parametrize("isa_of_cpu", instruction_sets())
@pytest.mark.parametrize("oc", [32, 36, 40, 48, 72])
def test_large_tops(oc, isa_of_cpu):
    """Stored past the caches, if all their pixels begin at a cache line."""
    bottom, weight, bias, top_diff = operands((1, 18, 59, 90, oc))
    top = aligned_nan(top_diff.shape)
    ops.up_conv2x2_forward(bottom, weight, bias, out=top, context=context_of(isa_of_cpu))
    assert_close(top, reference.up_conv2x2_forward(bottom, weight, bias))


@pytest.mark.parametrize("shape", [(1, 3, 6, 7, 5), (2, 33, 9, 10, 18), WIDE[0]], ids=shape_id)
def test_integers_are_exact(shape, isa):
    """Sums of small integers have no rounding: whatever the order, the result is exact."""
    rng = np.random.default_rng(shape)
    bottom, weight, bias, top_diff = (
        rng.integers(-4, 5, x.shape).astype(np.float32) for x in operands(shape)
    )
    context = context_of(isa)
    top = ops.up_conv2x2_forward(bottom, weight, bias, context=context)
    bottom_diff = ops.up_conv2x2_backward_data(top_diff, weight, context=context)
    diffs = ops.up_conv2x2_backward_weights(bottom, top_diff, context=context)
    np.testing.assert_array_equal(top, reference.up_conv2x2_forward(bottom, weight, bias))
    expected = reference.up_conv2x2_backward_data(top_diff, weight)
    np.testing.assert_array_equal(bottom_diff, expected)
    expected = reference.up_conv2x2_backward_weights(bottom, top_diff)
    for diff, value in zip(diffs, expected, strict=True):
        np.testing.assert_array_equal(diff, value)


@pytest.mark.parametrize("shape", [(2, 18, 9, 7, 2), (2, 70, 9, 7, 21)], ids=shape_id)
def test_parameter_gradients_accumulate(shape, on_threads):
    """Caffe adds to the diffs of parameters; without a bias_diff the bias is left out."""
    bottom, weight, bias, top_diff = operands(shape)

    def run(context):
        weight_diff = ops.empty_filter(weight.shape, transposed=True)
        weight_diff[...] = weight
        bias_diff = bias.copy()
        ops.up_conv2x2_backward_weights(
            bottom, top_diff, weight_diff=weight_diff, bias_diff=bias_diff, context=context
        )
        alone, none = ops.up_conv2x2_backward_weights(
            bottom,
            top_diff,
            weight_diff=ops.zeros_filter(weight.shape, transposed=True),
            context=context,
        )
        assert none is None
        return weight_diff, bias_diff, alone

    weight_diff, bias_diff, alone = on_threads(run)
    expected, expected_bias = reference.up_conv2x2_backward_weights(bottom, top_diff)
    assert_close(weight_diff, weight + expected)
    assert_close(bias_diff, bias + expected_bias, floor=float(np.abs(top_diff).max()))
    assert_close(alone, expected)


@pytest.mark.parametrize(("first", "last"), [(3, 20), (20, 40), (16, 32)])
def test_halves_of_a_concat_buffer(first, last, isa):
    """The top may be a slice of the channels of a wider blob; the other slice stays as it was."""
    context = context_of(isa)
    bottom, weight, bias, top_diff = operands((1, 20, 3, 5, last - first))
    wide = ops.empty((1, 40, 6, 10))
    wide[...] = 5
    ops.up_conv2x2_forward(bottom, weight, bias, out=wide[:, first:last], context=context)
    assert_close(wide[:, first:last], reference.up_conv2x2_forward(bottom, weight, bias))
    assert (wide[:, :first] == 5).all()
    assert (wide[:, last:] == 5).all()
    wide[:, first:last] = top_diff
    np.testing.assert_array_equal(
        ops.up_conv2x2_backward_data(wide[:, first:last], weight, context=context),
        ops.up_conv2x2_backward_data(top_diff, weight, context=context),
    )


@pytest.mark.parametrize("shape", LAYERS, ids=shape_id)
def test_gradient(shape):
    """Linear in each argument: central differences are exact at any step."""
    bottom, weight, bias, coefficients = operands(shape)

    def objective(*arguments):
        top = ops.up_conv2x2_forward(*arguments)
        return float((top.astype(np.float64) * coefficients).sum())

    bottom_diff = ops.up_conv2x2_backward_data(coefficients, weight)
    weight_diff, bias_diff = ops.up_conv2x2_backward_weights(bottom, coefficients)
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
        top = ops.up_conv2x2_forward(bottom, weight, bias, negative_slope=0.0, context=context)
        assert np.isnan(top[:, :, 4:6, 6:8]).all()
        assert np.isnan(top).sum() == oc * 2**2


def test_bad_input():
    bottom, weight, bias, top_diff = operands((1, 3, 4, 5, 2))
    cases = [
        (
            lambda: ops.up_conv2x2_forward(bottom[:, :2], weight, bias),
            r"up_conv2x2_forward: weight has 3 input channels, bottom has 2 \(bottom 1x2x4x5, "
            r"weight 3x2x2x2, top 1x2x8x10\)",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom, weight, bias[:1]),
            "bias has 1 elements for 2 output channels",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom, np.zeros((3, 2, 3, 3), np.float32), bias),
            "weight must be 2x2",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom, weight, out=ops.empty((1, 2, 4, 6))),
            "top must be 1x2x8x10",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom, weight, workspace=np.empty(1, np.float32)),
            "up_conv2x2_forward: workspace has 1 floats, needs",
        ),
        (
            lambda: ops.up_conv2x2_backward_data(top_diff, weight, out=ops.empty((1, 2, 4, 5))),
            "weight has 3 input channels, bottom_diff has 2",
        ),
        (
            lambda: ops.up_conv2x2_backward_weights(bottom, top_diff[:, :, 1:]),
            "top_diff must be 1x2x8x10",
        ),
        (
            lambda: ops.up_conv2x2_backward_weights(
                bottom, top_diff, weight_diff=np.zeros(weight.shape, np.float32)
            ),
            "weight_diff: written in place, so its memory must be dense",
        ),
        (
            lambda: ops.up_conv2x2_backward_weights(bottom, top_diff, bias_diff=bias),
            "bias_diff needs a weight_diff beside it",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom.astype(np.float64), weight),
            "bottom: expected a float32 array, got float64",
        ),
        (
            lambda: ops.up_conv2x2_forward(bottom, weight[0]),
            r"weight: expected 4 axes \(IC, OC, KH, KW\), got shape",
        ),
        (
            lambda: ops.up_conv2x2_workspace_bytes((1, 3, 4, 5), 0, "forward"),
            "every size must be positive",
        ),
        (
            lambda: ops.up_conv2x2_workspace_bytes((1, 3, 4, 5), 2, "backward"),
            'unknown direction "backward"',
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

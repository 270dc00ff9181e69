"""conv3x3 by Winograd's transforms: every way to cut the work gives what the direct sums give, and
the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from closeness import assert_close
from places import context_of
from shapes import shape_id
from unet_native import ops
from unet_native.ops import Context

ALGORITHMS = ["winograd-4x4", "winograd-6x6"]
TOLERANCE = 4e-5  # relative to the largest magnitude
THREADS = (1, 2, 9)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 40, 16, 16, 100),  # tiles kept whole, or filters where threads outnumber the panels
        (1, 20, 42, 40, 24),  # filters kept whole
        (1, 1100, 9, 10, 330),  # one tile or few: panels together, three chunks of channels
        (2, 600, 66, 60, 130),  # filters that fit no cache, tiles in blocks, products in steps
        (1, 520, 30, 31, 40),  # the same of a panel that is not whole
    ],
    ids=shape_id,
)
def test_each_cut_of_the_products(shape, algorithm, isa):
    n, ic, ih, iw, oc = shape
    rng = np.random.default_rng(5)
    bottom, top_diff = ops.empty((n, ic, ih, iw)), ops.empty((n, oc, ih - 2, iw - 2))
    weight = ops.empty_filter((oc, ic, 3, 3))
    for array in (bottom, top_diff, weight):
        array[...] = rng.standard_normal(array.shape, np.float32)
    for run in (
        lambda **how: ops.conv3x3_forward(bottom, weight, **how),
        lambda **how: ops.conv3x3_backward_data(top_diff, weight, **how),
    ):
        expected = run(algorithm="direct").astype(np.float64)
        results = [run(algorithm=algorithm, context=context_of(isa, threads=t)) for t in THREADS]
        assert_close(results[0], expected, TOLERANCE)
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("height", range(1, 15))
def test_whatever_is_left_is_covered(height, threads, algorithm):
    """By smaller tiles, of either cut: one panel for one thread is cut by channels, for two by
    tiles. The source of backward_data is padded."""
    rng = np.random.default_rng(height)
    weight = ops.empty_filter((19, 17, 3, 3))
    weight[...] = rng.standard_normal(weight.shape, np.float32)
    how = {"algorithm": algorithm, "context": Context(threads=threads)}
    for width in range(1, 15):
        bottom = rng.standard_normal((2, 17, height + 2, width + 2), np.float32)
        top = ops.conv3x3_forward(bottom, weight, **how)
        expected = ops.conv3x3_forward(bottom, weight, algorithm="direct").astype(np.float64)
        assert_close(top, expected, TOLERANCE)
        if min(height, width) > 2:
            top_diff = rng.standard_normal((2, 19, height - 2, width - 2), np.float32)
            diff = ops.conv3x3_backward_data(top_diff, weight, **how)
            expected = ops.conv3x3_backward_data(top_diff, weight, algorithm="direct")
            assert_close(diff, expected.astype(np.float64), TOLERANCE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "shape",
    [
        (1, 512, 38, 35, 496),  # many blocks of channels, each of all tiles
        (1, 300, 60, 62, 130),  # blocks that are not equal
        (1, 256, 92, 94, 128),  # two blocks, of parts of the tiles
        (3, 24, 130, 70, 20),  # one block, of parts that begin within a row of tiles
    ],
    ids=shape_id,
)
def test_each_cut_of_backward_weights(shape, algorithm):
    """Also of large diffs, which are stored past the caches."""
    n, ic, ih, iw, oc = shape
    rng = np.random.default_rng(4)
    bottom, top_diff = ops.empty((n, ic, ih, iw)), ops.empty((n, oc, ih - 2, iw - 2))
    for array in (bottom, top_diff):
        array[...] = rng.standard_normal(array.shape, np.float32)
    expected, expected_bias = ops.conv3x3_backward_weights(bottom, top_diff, algorithm="direct")
    first = None
    for threads in THREADS:
        how = {"algorithm": algorithm, "context": Context(threads=threads)}
        weight_diff, bias_diff = ops.conv3x3_backward_weights(bottom, top_diff, **how)
        assert_close(weight_diff, expected.astype(np.float64), TOLERANCE)
        assert_close(bias_diff, expected_bias.astype(np.float64), TOLERANCE)
        first = first or (weight_diff.tobytes(), bias_diff.tobytes())
        assert (weight_diff.tobytes(), bias_diff.tobytes()) == first
    twice, twice_bias = weight_diff.copy(order="K"), bias_diff.copy()
    ops.conv3x3_backward_weights(bottom, top_diff, weight_diff=twice, bias_diff=twice_bias, **how)
    assert_close(twice, 2 * expected.astype(np.float64), TOLERANCE)
    assert_close(twice_bias, 2 * expected_bias.astype(np.float64), TOLERANCE)

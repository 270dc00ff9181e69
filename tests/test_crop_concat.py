"""crop_concat: windows, slices, centred and given offsets, accumulation, gradient, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck import check_gradient
from guard import guarded_blob
from places import context_of
from shapes import BLOBS, shape_id
from unet_native import ops


def larger(shape, index, channels):
    """A second bottom: other channels, larger by an even and by any difference."""
    n, _, h, w = shape
    return (n, channels, h + 2 * (index % 3), w + 2 * (index % 2)), (
        n,
        channels,
        h + index % 4,
        w + 3,
    )


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, on_threads):
    rng = np.random.default_rng(shape)
    index = BLOBS.index(shape)
    centred, offset = larger(shape, index, 1 + index % 5)
    bottoms = [rng.standard_normal(s, np.float32) for s in (shape, centred, offset)]
    shapes = [bottom.shape for bottom in bottoms]
    offsets = [None, None, (index % 4, 2)]
    n, _, h, w = shape
    top_shape = (n, sum(s[1] for s in shapes), h, w)
    top_diff = rng.standard_normal(top_shape, np.float32)
    before = [rng.standard_normal(s, np.float32) for s in shapes]

    def run(context):
        top = guarded_blob(top_shape)
        diffs = [guarded_blob(s) for s in shapes]
        sums = [guarded_blob(b.shape, b) for b in before]
        ops.crop_concat_forward(bottoms, offsets=offsets, out=top.array, context=context)
        for accumulate, outs in ((False, diffs), (True, sums)):
            ops.crop_concat_backward(
                top_diff,
                shapes,
                offsets=offsets,
                accumulate=accumulate,
                outs=[out.array for out in outs],
                context=context,
            )
        return top.checked(), *(out.checked() for out in diffs + sums)

    top, *diffs = on_threads(run)
    starts = [(0, 0), (index % 3, index % 2), (index % 4, 2)]
    windows = [np.s_[:, :, y : y + h, x : x + w] for y, x in starts]
    np.testing.assert_array_equal(
        top, np.concatenate([b[window] for b, window in zip(bottoms, windows, strict=True)], 1)
    )
    channel = 0
    for i, window in enumerate(windows):
        expected = np.zeros(shapes[i], np.float32)
        expected[window] = top_diff[:, channel : channel + shapes[i][1]]
        channel += shapes[i][1]
        np.testing.assert_array_equal(diffs[i], expected)
        np.testing.assert_array_equal(diffs[3 + i], before[i] + expected)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_crop_alone(shape, isa):
    context = context_of(isa)
    n, c, h, w = shape
    x = np.random.default_rng(shape).standard_normal((n, c, h + 3, w + 1), np.float32)
    top = ops.crop_forward(x, (h, w), offset=(2, 1), context=context)
    np.testing.assert_array_equal(top, x[:, :, 2 : 2 + h, 1 : 1 + w])
    expected = np.zeros_like(x)
    expected[:, :, 2 : 2 + h, 1 : 1 + w] = top
    diff = ops.crop_backward(top, x.shape, offset=(2, 1), context=context)
    np.testing.assert_array_equal(diff, expected)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    """Linear in each bottom: a step of 1 is exact but for rounding."""
    rng = np.random.default_rng(shape)
    _, second_shape = larger(shape, BLOBS.index(shape), 2)
    bottoms = [rng.standard_normal(s, np.float32) for s in (shape, second_shape)]
    offsets = [(0, 0), (0, 1)]
    n, c, h, w = shape
    coefficients = rng.standard_normal((n, c + 2, h, w), np.float32)
    gradients = ops.crop_concat_backward(coefficients, [b.shape for b in bottoms], offsets=offsets)
    for i in range(2):

        def objective(moved, i=i):
            args = [*bottoms[:i], moved, *bottoms[i + 1 :]]
            top = ops.crop_concat_forward(args, offsets=offsets)
            return float((top.astype(np.float64) * coefficients).sum())

        check_gradient(objective, bottoms[i], gradients[i], step=1.0)


def test_bad_input():
    a, b = ops.zeros((1, 2, 4, 4)), ops.zeros((1, 3, 7, 8))
    cases = [
        (lambda: ops.crop_concat_forward([a, b]), "4x4 has no centre in 7x8: the differences must"),
        (lambda: ops.crop_concat_forward([]), "no bottoms"),
        (lambda: ops.crop_concat_forward([a, b], offsets=[(0, 0)]), "1 offsets for 2 bottoms"),
        (
            lambda: ops.crop_concat_forward([a, b], offsets=[None, (4, 0)]),
            "window at offset 4, 0 does not lie inside bottom .bottom 1x3x7x8, top 1x5x4x4",
        ),
        (
            lambda: ops.crop_concat_forward([a, b], offsets=[None, (0, -1)]),
            "window at offset 0, -1 does not lie inside bottom",
        ),
        (
            lambda: ops.crop_concat_forward([b, a], offsets=[(0, 0), (0, 0)]),
            "window at offset 0, 0 does not lie inside bottom .bottom 1x2x4x4, top 1x5x7x8",
        ),
        (lambda: ops.crop_concat_forward([a, ops.zeros((2, 1, 4, 4))]), "differ in N"),
        (
            lambda: ops.crop_concat_forward([a], out=ops.empty((1, 3, 4, 4))),
            "out must have 2 channels, the sum of the bottoms'",
        ),
        (
            lambda: ops.crop_concat_backward(a, [(1, 3, 4, 4)]),
            "top_diff must have 3 channels, the sum of the bottoms'",
        ),
        (
            lambda: ops.crop_concat_backward(a, [a.shape], accumulate=True),
            "accumulate needs arrays to add to: pass outs",
        ),
        (
            lambda: ops.crop_backward(a, a.shape, accumulate=True),
            "accumulate needs an array to add to: pass out",
        ),
        (lambda: ops.crop_forward(a, (3, 4)), "3x4 has no centre in 4x4"),
        (
            lambda: ops.crop_forward(a, (2, 2), out=ops.empty((1, 1, 2, 2))),
            "channels 0 to 2 do not lie inside top",
        ),
        (
            lambda: ops.crop_concat_forward([a, np.zeros((1, 2, 4, 4))]),
            r"bottoms\[1\]: expected a float32 array, got float64",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

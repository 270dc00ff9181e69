"""dropout: the random numbers, Caffe's scaling, in place, gradient, bad input."""

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


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_reference_philox(counter, key, expected):
    """The published known answers of Philox4x32-10 (Random123)."""
    words = reference.philox4x32(np.array([counter], np.uint64), key)
    np.testing.assert_array_equal(words[0], np.array(expected, np.uint32))


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_mask_words(shape, on_threads):
    """Bit for bit what the reference draws; keys differ in every 32-bit half."""
    number = BLOBS.index(shape)
    seed, iteration, layer = 7 + (number << 40), 3 + (number % 2 << 35), 2**32 - 1 - number
    ratio = (0.5, 0.2, 0.0, 0.9)[number % 4]

    def run(context):
        mask = np.full((shape[0], *shape[2:], shape[1]), 7, np.uint8).transpose(0, 3, 1, 2)
        return ops.dropout_mask(
            shape, ratio, seed=seed, iteration=iteration, layer=layer, out=mask, context=context
        )

    mask = on_threads(run)
    np.testing.assert_array_equal(
        mask, reference.dropout_mask(shape, ratio, seed, iteration, layer)
    )


def test_an_iteration_in_memory_is_added(isa):
    shape, context = (1, 3, 5, 7), context_of(isa)
    far = (1 << 33) + 5  # beyond 32 bits
    expected = ops.dropout_mask(shape, 0.5, seed=3, iteration=far + 2, layer=4, context=context)
    mask = ops.dropout_mask(
        shape, 0.5, seed=3, iteration=2, further=np.uint64([far]), layer=4, context=context
    )
    np.testing.assert_array_equal(mask, expected)
    without = ops.dropout_mask(shape, 0.5, seed=3, iteration=2, layer=4, context=context)
    assert not np.array_equal(mask, without)


def test_threshold():
    """A word equal to ratio * 2^32 is kept, one below it is not."""
    words = reference.philox4x32(np.arange(4096)[:, None] * [1, 0, 0, 0], (0, 0)).reshape(-1)
    exact = np.flatnonzero(words == words.astype(np.float32))  # ratios that float32 holds
    assert exact.size > 10
    shape = (1, 1, 1, words.size)
    for index in exact[:10]:
        ratio = float(words[index]) / 2.0**32
        mask = ops.dropout_mask(shape, ratio, seed=0)
        np.testing.assert_array_equal(mask[0, 0, 0], words >= words[index])
        assert mask[0, 0, 0, index] == 1


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.75])
def test_kept_fraction(ratio):
    """Within five standard deviations, over blobs that differ in seed, iteration and layer."""
    shape = (1, 64, 40, 40)
    masks = [
        ops.dropout_mask(shape, ratio, seed=seed, iteration=iteration, layer=layer)
        for seed, iteration, layer in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    for mask in masks:
        assert abs(mask.mean() - (1 - ratio)) <= 5 * np.sqrt(ratio * (1 - ratio) / mask.size)
    if ratio:
        for i, mask in enumerate(masks):
            for other in masks[i + 1 :]:
                correlation = np.corrcoef(mask.ravel(), other.ravel())[0, 1]
                assert abs(correlation) <= 5 / np.sqrt(mask.size)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, on_threads):
    rng = np.random.default_rng(shape)
    x, top_diff = rng.standard_normal((2, *shape), np.float32)
    ratio = 0.2
    mask = ops.dropout_mask(shape, ratio, seed=1)

    def run(context):
        top, diff = guarded_blob(shape), guarded_blob(shape)
        ops.dropout_forward(x, mask, ratio, out=top.array, context=context)
        ops.dropout_backward(top_diff, mask, ratio, out=diff.array, context=context)
        return top.checked(), diff.checked()

    top, diff = on_threads(run)
    assert_close(top, x.astype(np.float64) * mask / (1 - ratio), 5e-7)
    assert_close(diff, top_diff.astype(np.float64) * mask / (1 - ratio), 5e-7)


def test_in_place_and_strided_masks(isa):
    context = context_of(isa)
    x = ops.channels_last(np.random.default_rng(3).standard_normal((2, 20, 3, 5), np.float32))
    mask = ops.dropout_mask(x.shape, 0.5, seed=2)
    expected = x * mask * 2
    plain = np.ascontiguousarray(mask)
    np.testing.assert_array_equal(ops.dropout_forward(x, plain, 0.5, context=context), expected)
    ops.dropout_forward(x, mask, 0.5, out=x, context=context)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    """Linear in the bottom: a step of 1 is exact but for rounding."""
    rng = np.random.default_rng(shape)
    x, coefficients = rng.standard_normal((2, *shape), np.float32)
    mask = ops.dropout_mask(shape, 0.5, seed=5)
    gradient = ops.dropout_backward(coefficients, mask, 0.5)

    def objective(bottom):
        top = ops.dropout_forward(bottom, mask, 0.5)
        return float((top.astype(np.float64) * coefficients).sum())

    check_gradient(objective, x, gradient, step=1.0)


def test_bad_input():
    x = ops.zeros((1, 2, 3, 4))
    mask = ops.dropout_mask(x.shape, 0.5, seed=0)
    cases = [
        (lambda: ops.dropout_mask(x.shape, 1.0, seed=0), "ratio must be at least 0 and below 1"),
        (lambda: ops.dropout_mask(x.shape, -0.1, seed=0), "ratio must be at least 0 and below 1"),
        (lambda: ops.dropout_forward(x, mask, float("nan")), "dropout_forward: ratio must be"),
        (
            lambda: ops.dropout_forward(x, mask[:, :1], 0.5),
            "dropout_forward: mask must have the shape of bottom .mask 1x1x3x4, bottom 1x2x3x4",
        ),
        (
            lambda: ops.dropout_backward(x, mask, 0.5, out=ops.empty((1, 2, 3, 3))),
            "dropout_backward: bottom_diff must have the shape of top_diff",
        ),
        (lambda: ops.dropout_forward(x, x, 0.5), "mask: expected a uint8 array, got float32"),
        (
            lambda: ops.dropout_mask(x.shape, 0.5, seed=0, out=np.zeros(x.shape, np.uint8)),
            "mask: expected a dense array",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

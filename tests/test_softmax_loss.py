"""softmax_loss: every normalisation, weights, ignored labels, clamp, gradient, bad labels."""

from __future__ import annotations

import numpy as np
import pytest

import reference
from closeness import assert_close
from gradcheck import check_gradient
from guard import guarded_blob
from places import context_of, devices
from shapes import BLOBS, shape_id
from unet_native import ops

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE", "WEIGHT_SUM")


def problem(shape, ignore_label=None):
    """Scores, labels (a quarter of them ignored, if there is such a label), weights."""
    rng = np.random.default_rng(shape)
    n, c, h, w = shape
    score = 3 * rng.standard_normal(shape, np.float32)
    label = rng.integers(0, c, (n, 1, h, w)).astype(np.float32)
    if ignore_label is not None:
        label[rng.random(label.shape) < 0.25] = ignore_label
    weight = rng.exponential(1, label.shape).astype(np.float32)
    return score, label, weight


@pytest.mark.parametrize("ignore_label", [None, 255, 0], ids=["all", "ignore255", "ignore0"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_values(shape, weighted, ignore_label, on_threads):
    score, label, weight = problem(shape, ignore_label)
    weight = weight if weighted else None
    normalization = NORMALIZATIONS[BLOBS.index(shape) % len(NORMALIZATIONS)]
    arguments = {
        "normalization": normalization,
        "ignore_label": ignore_label,
        "loss_weight": 1.0 + BLOBS.index(shape) % 3,
    }

    def run(context):
        diff, prob = guarded_blob(shape), guarded_blob(shape)
        result = ops.softmax_loss(
            score,
            label,
            weight,
            **arguments,
            out=diff.array,
            prob_out=prob.array,
            context=context,
        )
        return np.array(result.loss), diff.checked(), prob.checked()

    loss, diff, prob = on_threads(run)
    expected, expected_diff, factor = reference.softmax_loss(score, label, weight, **arguments)
    assert_close(loss, np.array(expected), 1e-6, floor=factor.sum() / arguments["loss_weight"])
    assert_close(diff, expected_diff, 1e-6, floor=factor.max())
    assert_close(prob, reference.softmax(score), 1e-6)


def test_many_pixels(isa):
    """More than the blocks of a GPU take at once."""
    score, label, weight = problem((1, 2, 401, 383), 1)
    arguments = {"normalization": "WEIGHT_SUM", "ignore_label": 1, "loss_weight": 1.0}
    result = ops.softmax_loss(score, label, weight, **arguments, context=context_of(isa))
    loss, diff, factor = reference.softmax_loss(score, label, weight, **arguments)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert_close(result.bottom_diff, diff, 1e-6, floor=factor.max())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_normalizations(normalization, weighted):
    score, label, weight = problem((3, 4, 9, 7), 2)
    arguments = {"normalization": normalization, "ignore_label": 2, "loss_weight": 2.5}
    weight = weight if weighted else None
    result = ops.softmax_loss(score, label, weight, **arguments)
    loss, diff, _ = reference.softmax_loss(score, label, weight, **arguments)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert_close(result.bottom_diff, diff, 1e-6)


def test_outputs_on_request(isa):
    context = context_of(isa)
    score, label, weight = problem((2, 3, 5, 21))
    full = ops.softmax_loss(score, label, weight, with_prob=True, context=context)
    plain = ops.softmax_loss(score, label, weight, context=context)
    alone = ops.softmax_loss(score, label, weight, with_diff=False, context=context)
    prob = ops.softmax_loss(score, label, weight, with_diff=False, with_prob=True, context=context)
    assert plain.prob is None
    assert alone.bottom_diff is None
    assert full.loss == plain.loss == alone.loss == prob.loss
    np.testing.assert_array_equal(full.bottom_diff, plain.bottom_diff)
    np.testing.assert_array_equal(full.prob, prob.prob)


def test_in_place(isa):
    context = context_of(isa)
    score, label, weight = problem((2, 3, 5, 21))
    expected = ops.softmax_loss(score, label, weight, with_prob=True, context=context)
    for name, array in (("out", expected.bottom_diff), ("prob_out", expected.prob)):
        memory = ops.channels_last(score)
        result = ops.softmax_loss(memory, label, weight, context=context, **{name: memory})
        assert result.loss == expected.loss
        np.testing.assert_array_equal(memory, array)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_nothing_counts(normalization):
    """All ignored: loss and gradient are 0, also where a score is NaN. Weights of 0 likewise."""
    score, label, weight = problem((1, 2, 6, 5))
    weightless = ops.softmax_loss(score, label, 0 * weight, normalization=normalization)
    assert weightless.loss == 0
    assert (weightless.bottom_diff == 0).all()
    score[0, 0, 0, 0] = np.nan
    ignored = ops.softmax_loss(
        score, np.full_like(label, 255), normalization=normalization, ignore_label=255
    )
    assert ignored.loss == 0
    assert (ignored.bottom_diff == 0).all()


def test_clamp():
    """-log p ends at -log(FLT_MIN) without weights, as in Caffe; the gradient does not."""
    score = np.array([200.0, 0.0], np.float32).reshape(1, 2, 1, 1)
    label = np.ones((1, 1, 1, 1), np.float32)
    plain = ops.softmax_loss(score, label)
    assert plain.loss == pytest.approx(-np.log(reference.FLT_MIN), rel=1e-6)
    np.testing.assert_array_equal(plain.bottom_diff.ravel(), [1, -1])
    assert ops.softmax_loss(score, label, np.ones_like(label)).loss == 200


def test_weight_sum_is_exact():
    """A sum of weights below 1 and far from whole is neither raised nor truncated."""
    score, label, weight = problem((1, 2, 4, 4))
    weight *= np.float32(0.25 / weight.sum())
    result = ops.softmax_loss(score, label, weight, normalization="WEIGHT_SUM")
    loss, diff, _ = reference.softmax_loss(score, label, weight, "WEIGHT_SUM", None, 1.0)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    assert_close(result.bottom_diff, diff)


@pytest.mark.parametrize("shape", BLOBS, ids=shape_id)
def test_gradient(shape):
    score, label, weight = problem(shape)
    arguments = {"normalization": "NONE", "loss_weight": 2.0}
    gradient = ops.softmax_loss(score, label, weight, **arguments).bottom_diff

    def objective(moved):
        return 2.0 * ops.softmax_loss(moved, label, weight, with_diff=False, **arguments).loss

    check_gradient(objective, score, gradient, step=1e-2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("channel", [0, 2])
def test_nan_reaches_the_loss(weighted, channel):
    """Or a training that has diverged would look as if it went on."""
    score, label, weight = problem((1, 3, 5, 19))
    score[0, channel, 2, 7] = np.nan
    result = ops.softmax_loss(score, label, weight if weighted else None)
    assert np.isnan(result.loss)
    assert np.isnan(result.bottom_diff[0, :, 2, 7]).all()
    assert np.isfinite(result.bottom_diff[0, :, 2, 8]).all()


@pytest.mark.parametrize("wait", [True, False])
def test_loss_and_its_gradient_in_memory(wait, isa):
    score, label, weight = problem((2, 3, 4, 5))
    context, loss = context_of(isa), np.full(1, np.nan, np.float32)
    result = ops.softmax_loss(
        score,
        label,
        weight,
        loss_weight=2.0,
        loss_diff=np.float32([0.75]),
        loss_out=loss,
        wait=wait,
        context=context,
    )
    expected = ops.softmax_loss(score, label, weight, loss_weight=1.5, context=context)
    assert loss[0] == np.float32(expected.loss)
    assert result.loss == (expected.loss if wait or isa not in devices() else 0)
    np.testing.assert_array_equal(result.bottom_diff, expected.bottom_diff)


def test_a_bad_label_that_is_not_waited_for_makes_the_loss_nan(isa):
    if isa not in devices():
        pytest.skip("the CPU always looks")
    score, label, weight = problem((2, 3, 4, 5), ignore_label=255)
    weight[...] = 1
    bad, loss = label.copy(), np.zeros(1, np.float32)
    bad[1, 0, 2, 3], label[1, 0, 2, 3] = 7, 255
    how = {"ignore_label": 255, "context": context_of(isa)}
    result = ops.softmax_loss(score, bad, weight, loss_out=loss, wait=False, **how)
    assert np.isnan(loss[0])
    ignored = ops.softmax_loss(score, label, weight, **how)
    np.testing.assert_array_equal(result.bottom_diff, ignored.bottom_diff)


@pytest.mark.parametrize("bad", [3.0, -1.0, 0.5, np.nan, np.inf, 1e30])
def test_bad_label(bad, isa):
    """The first of them is named, whatever the number of threads."""
    score, label, _ = problem((2, 3, 4, 5))
    label[1, 0, 2, 3] = bad
    label[1, 0, 3, 0] = 77
    for threads in (1, 3):
        with pytest.raises(
            ValueError,
            match=r"softmax_loss: label\[1, 0, 2, 3\] is .*, expected a whole number from 0 to 2$",
        ):
            ops.softmax_loss(score, label, context=context_of(isa, threads))
    with pytest.raises(ValueError, match="from 0 to 2 or ignore_label 255"):
        ops.softmax_loss(score, label, ignore_label=255)


def test_bad_input():
    score, label, weight = problem((1, 3, 4, 5))
    cases = [
        (
            lambda: ops.softmax_loss(score, label[:, :, :3]),
            "softmax_loss: label must be 1x1x4x5 .score 1x3x4x5, label 1x1x3x5",
        ),
        (
            lambda: ops.softmax_loss(score, label, weight[..., :4]),
            "softmax_loss: weight must be 1x1x4x5",
        ),
        (
            lambda: ops.softmax_loss(score, label, normalization="MEAN"),
            'unknown normalization "MEAN": use "FULL", "VALID", "BATCH_SIZE", "NONE" or',
        ),
        (
            lambda: ops.softmax_loss(score, label.astype(np.int64)),
            "label: expected a float32 array, got int64",
        ),
        (
            lambda: ops.softmax_loss(score, label, out=ops.empty((1, 3, 4, 4))),
            "bottom_diff must have the shape of score",
        ),
        (
            lambda: ops.softmax_loss(score, label, prob_out=ops.empty((1, 2, 4, 5))),
            "prob must have the shape of score",
        ),
        (
            lambda: ops.softmax_loss(score, label, workspace=np.empty(3, np.float32)),
            "workspace has 3 floats, needs 44",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()

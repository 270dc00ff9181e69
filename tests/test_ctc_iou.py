"""Cell Tracking Challenge SEG, F1 at 0.5 IoU, and IoU of classes."""

import math

import numpy as np
import pytest

from unet_native.errors import UserError
from unet_native.metrics import ctc_scores, iou


def boxes(*spans, length=20):
    """(1, length): one object for each (first, last + 1) span."""
    labels = np.zeros((1, length), np.uint16)
    for number, (first, last) in enumerate(spans, 1):
        labels[0, first:last] = number
    return labels


def ctc_by_definition(prediction, truth):
    """SEG and F1 by looking at every pair of objects of every frame."""
    jaccards, tp, predicted = [], 0, 0
    for p, t in zip(prediction, truth, strict=True):
        predicted_masks = [p == k for k in np.unique(p) if k]
        predicted += len(predicted_masks)
        for true in [t == k for k in np.unique(t) if k]:
            jaccard = 0.0
            for mask in predicted_masks:
                inside, union = (true & mask).sum(), (true | mask).sum()
                if inside > 0.5 * true.sum():
                    jaccard = inside / union
                tp += inside / union > 0.5
            jaccards.append(jaccard)
    return np.mean(jaccards), 2 * tp / (predicted + len(jaccards))


def test_a_perfect_prediction_scores_one_whatever_the_numbers():
    truth = boxes((0, 5), (6, 12))
    renumbered = np.select([truth == 1, truth == 2], [65535, 7], 0).astype(np.uint16)
    for prediction in (truth, renumbered, renumbered.astype(np.int64)):
        scores = ctc_scores(prediction, truth)
        assert scores.seg == scores.f1 == 1
        assert (scores.tp, scores.fp, scores.fn) == (2, 0, 0)


def test_exactly_half_is_no_match():
    truth = boxes((0, 8))
    assert ctc_scores(boxes((0, 4)), truth).seg == 0
    assert ctc_scores(boxes((0, 5)), truth).seg == 5 / 8
    half = ctc_scores(boxes((0, 4)), truth)
    assert (half.tp, half.fp, half.fn) == (0, 1, 1)


def test_seg_matches_without_an_iou_above_half():
    """The prediction covers the whole object and three times as much around it."""
    scores = ctc_scores(boxes((0, 16)), boxes((0, 4)))
    assert scores.seg == 0.25
    assert scores.f1 == 0


def test_extra_objects_lower_f1_but_not_seg():
    scores = ctc_scores(boxes((0, 5), (10, 20)), boxes((0, 5)))
    assert scores.seg == 1
    assert scores.f1 == pytest.approx(2 / 3)
    assert (scores.precision, scores.recall) == (0.5, 1)


def test_merged_objects_share_one_prediction():
    scores = ctc_scores(boxes((0, 10)), boxes((0, 7), (7, 10)))
    assert scores.seg == pytest.approx((0.7 + 0.3) / 2)
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 1)


def test_the_mean_is_over_all_objects_not_over_frames():
    truth = np.stack([boxes((0, 4)), boxes((0, 4), (5, 9), (10, 14))])
    prediction = np.stack([boxes(), boxes((0, 4), (5, 9), (10, 14))])
    assert ctc_scores(prediction, truth).seg == 0.75


def test_an_object_is_of_one_frame():
    truth = np.stack([boxes((0, 4)), boxes((0, 4))])
    prediction = np.stack([boxes((0, 4)), boxes()])
    assert ctc_scores(prediction, truth).seg == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_definition(seed):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 12, (3, 6, 7)).astype(np.uint16)
    truth = blocks.repeat(4, axis=1).repeat(4, axis=2)
    prediction = np.where(rng.random(truth.shape) < 0.3, rng.integers(0, 12, truth.shape), truth)
    scores = ctc_scores(prediction, truth)
    seg, f1 = ctc_by_definition(prediction, truth)
    assert scores.seg == pytest.approx(seg, abs=1e-12)
    assert scores.f1 == pytest.approx(f1, abs=1e-12)


def test_frames_may_differ_in_size():
    frames = [boxes((0, 4), length=9), boxes((2, 7), length=12)]
    assert ctc_scores(frames, frames).seg == 1


def test_nothing_at_all_is_undefined():
    scores = ctc_scores(boxes(), boxes())
    assert math.isnan(scores.seg)
    assert math.isnan(scores.f1)


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        (boxes(), boxes(length=9), "same shape"),
        ([boxes()], [boxes(), boxes()], "number of frames"),
        (boxes().astype(np.float32), boxes(), "prediction: expected integer"),
        (boxes(), boxes().astype(np.float32), "truth: expected integer"),
        (boxes(), boxes().astype(np.int32) - 1, "negative"),
        (boxes()[0], boxes()[0], "axes"),
        ([boxes()[0]], [boxes()[0]], "axes"),
        (boxes()[:0], boxes()[:0], "empty"),
    ],
)
def test_bad_instances(prediction, truth, message):
    with pytest.raises(UserError, match=message):
        ctc_scores(prediction, truth)


def test_iou_of_each_class():
    truth = np.array([0, 0, 1, 1, 2, 2], np.uint8)
    prediction = np.array([0, 1, 1, 1, 2, 0], np.uint8)
    scores = iou(prediction, truth, classes=4)
    assert scores.per_class[0] == pytest.approx(1 / 3)
    assert scores.per_class[1] == pytest.approx(2 / 3)
    assert scores.per_class[2] == pytest.approx(1 / 2)
    assert math.isnan(scores.per_class[3])
    assert scores.mean == pytest.approx(1 / 2)
    assert scores.foreground == pytest.approx(3 / 5)


def test_iou_leaves_out_what_is_ignored():
    truth = np.array([[0, 1, 255], [1, 1, 255]], np.uint8)
    prediction = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    scores = iou(prediction, truth, ignore_label=255)
    assert scores.per_class == {0: 1 / 2, 1: 2 / 3}
    assert math.isnan(iou(prediction, np.full_like(truth, 255), ignore_label=255).mean)


def test_iou_of_background_alone():
    nothing = np.zeros((3, 3), bool)
    scores = iou(nothing, nothing)
    assert scores.per_class[0] == 1
    assert math.isnan(scores.foreground)


@pytest.mark.parametrize(
    ("prediction", "truth", "arguments", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), {}, "same shape"),
        (np.zeros(3), np.zeros(3, int), {}, "prediction: expected integer"),
        (np.zeros(3, int), np.zeros(3), {}, "truth: expected integer"),
        (np.zeros(3, int), np.full(3, 2), {"classes": 2}, "expected 0 to 1"),
        (np.full(3, -1), np.zeros(3, int), {}, "found values from -1"),
    ],
)
def test_bad_classes(prediction, truth, arguments, message):
    with pytest.raises(UserError, match=message):
        iou(prediction, truth, **arguments)

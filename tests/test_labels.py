"""What label values mean."""

import numpy as np
import pytest

from unet_native.data.labels import LabelRule, decide_label_rule, label_plane
from unet_native.errors import UserError


def decide(plane, bits=8, **options):
    return decide_label_rule([np.asarray(plane)], bits, **options)


@pytest.mark.parametrize("high", [1, 255, 65535])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_two_values_are_a_mask_whose_foreground_is_not_zero(high, dtype):
    if high > np.iinfo(dtype).max:
        pytest.skip("the type cannot hold the value")
    plane = np.array([[0, high, high], [high, 0, 0], [high, 0, high]], dtype)
    rule = decide(plane, np.dtype(dtype).itemsize * 8)
    labels, instances, ignore = rule(plane)
    assert (rule.kind, rule.classes, ignore) == ("binary", 2, None)
    np.testing.assert_array_equal(labels, plane > 0)
    assert labels.dtype == np.uint8
    assert instances.dtype == np.int32
    assert len(np.unique(instances)) == 4  # 4-connected


@pytest.mark.parametrize(
    ("foreground", "expected"),
    [
        ("nonzero", [0, 1, 1]),
        ("zero", [1, 0, 0]),
        (128, [0, 1, 0]),
        ("255", [0, 0, 1]),
        ("0", [1, 0, 0]),
    ],
)
def test_polarity_by_option(foreground, expected):
    plane = np.array([[0, 128, 255]])
    rule = decide(plane, foreground=foreground, kind="binary")
    assert rule(plane)[0].tolist() == [expected]


def test_foreground_value_makes_labels_binary():
    plane = np.array([[0, 1, 2, 2]])
    assert decide(plane).kind == "classes"
    assert decide(plane, foreground=2).kind == "binary"
    with pytest.raises(UserError, match="foreground"):
        decide(plane, foreground=2, kind="classes")


@pytest.mark.parametrize(
    ("plane", "options"),
    [
        ([[0, 255]], {"foreground": 7}),
        ([[0, 0]], {}),
        ([[255, 255]], {}),
        ([[1, 2]], {}),
        ([[1, 2]], {"foreground": "zero"}),
    ],
)
def test_masks_without_background_or_foreground_are_refused(plane, options):
    with pytest.raises(UserError, match="--foreground"):
        decide(plane, **options)


def test_classes_by_value_in_ascending_order():
    plane = np.array([[0, 32, 255, 32], [255, 0, 0, 191], [32, 0, 191, 0]])
    rule = decide(plane)
    assert rule.kind == "classes"
    assert rule.values == (0, 32, 191, 255)
    labels, instances, _ = rule(plane)
    np.testing.assert_array_equal(np.take(rule.values, labels), plane)
    assert instances[0, 1] != instances[0, 3]
    with pytest.raises(UserError, match="value 7"):
        rule(np.array([[0, 7]]))


def test_many_values_of_one_piece_each_are_instances():
    plane = np.zeros((30, 30), np.uint8)
    for k in range(9):
        plane[3 * k : 3 * k + 3, 5:20] = 10 + k
    assert decide(plane).kind == "instances"
    assert decide(plane, kind="classes").kind == "classes"
    scattered = np.random.default_rng(0).integers(0, 9, (30, 30))
    assert decide(scattered * 20).kind == "classes"
    noise = np.random.default_rng(0).integers(0, 200, (30, 30))
    with pytest.raises(UserError, match="--label-kind"):
        decide(noise)


def test_labels_of_more_than_8_bits_are_instances():
    assert decide([[0, 1, 2]], bits=16).kind == "instances"
    assert decide([[0, 1, 2]], bits=8).kind == "classes"


def test_touching_instances_are_separated():
    plane = np.zeros((9, 9), np.uint16)
    plane[2:6, 1:4], plane[2:6, 4:7] = 40000, 7
    rule = decide(plane, bits=16)
    labels, instances, _ = rule(plane)
    np.testing.assert_array_equal(labels, instances > 0)
    assert set(np.unique(instances)) == {0, 1, 2}
    assert np.all((plane > 0) | (labels == 0))
    assert (plane > 0).sum() - labels.sum() == 4


def test_instances_need_a_background():
    with pytest.raises(UserError, match="background"):
        decide([[1, 2, 3]], bits=16)


@pytest.mark.parametrize("kind", ["binary", "classes", "instances"])
def test_ignored_value(kind):
    plane = np.array([[0, 1, 1, 99], [0, 0, 0, 99], [2, 2, 0, 0]])
    if kind == "binary":
        plane[plane == 2] = 1
    rule = decide(plane, kind=kind, ignore=99)
    labels, instances, ignore = rule(plane)
    np.testing.assert_array_equal(ignore, plane == 99)
    assert np.all(labels[ignore] == 0)
    assert np.all(instances[ignore] == 0)
    assert len(np.unique(instances)) == 3
    assert "99 is ignored" in rule.describe()


def test_colours_become_classes():
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
    index = np.random.default_rng(0).integers(0, 3, (6, 7))
    plane = label_plane("a.png", np.moveaxis(colours[index], -1, 0))
    rule = decide_label_rule([plane], 8)
    assert rule.values == (0, 0x0000FF, 0xFF0000)
    labels = rule(plane)[0]
    np.testing.assert_array_equal(labels == 2, index == 1)
    assert "#ff0000" in rule.describe()


def test_grey_saved_as_colours_is_grey():
    grey = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(label_plane("a.png", np.stack([grey] * 3)), grey)


def test_floats_must_be_whole():
    whole = label_plane("a.tif", np.array([[[0.0, 255.0]]]))
    assert whole.tolist() == [[0, 255]]
    with pytest.raises(UserError, match=r"a\.tif.*0\.25"):
        label_plane("a.tif", np.array([[[0.0, 0.25]]]))


def test_channels_and_negative_values_are_refused():
    with pytest.raises(UserError, match="channel"):
        label_plane("a.tif", np.zeros((2, 3, 3), np.uint8))
    with pytest.raises(UserError, match="negative"):
        decide([[-1, 0, 1]])


def test_description_says_the_polarity():
    text = LabelRule("binary", (0, 255), "zero").describe()
    assert "class 1 (foreground) = 0" in text
    assert "class 0 (background) = 255" in text

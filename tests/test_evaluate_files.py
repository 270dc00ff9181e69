"""``unet-native evaluate``: which files belong together, and what their values are taken for."""

import json

import numpy as np
import pytest
import tifffile

from command_line import evaluated
from unet_native import cli
from unet_native.data.instances import separate_touching
from unet_native.evaluate import ScoredSlice, evaluate
from unet_native.metrics import ctc_scores


def cells(size=40, shift=0):
    """Four cells in contact, numbered as 16-bit labels are."""
    labels = np.zeros((size, size), np.uint16)
    labels[2:18, 2:18], labels[2:18, 18:36] = 7, 300
    labels[18:36, 2:18], labels[20:36, 20:36] = 21, 4
    return np.roll(labels, shift, 1)


@pytest.fixture
def folders(tmp_path):
    """Two empty folders, of results and of truth."""
    for name in ("result", "truth"):
        (tmp_path / name).mkdir()
    return tmp_path / "result", tmp_path / "truth"


def write(folder, **images):
    for name, image in images.items():
        tifffile.imwrite(folder / f"{name}.tif", image)


def complaint(capsys, *arguments):
    capsys.readouterr()
    assert cli.run(["evaluate", *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


# --- pairs ---


@pytest.mark.parametrize("prediction", ["mask{:03}", "t{:03}", "t{:03}_prob", "mask{:03}_objects"])
@pytest.mark.parametrize("truth", ["man_seg{:03}", "man_seg{:04}", "man_track{:03}"])
def test_names_of_the_cell_tracking_challenge(folders, capsys, prediction, truth):
    """Only some images have labels there; the others do not count."""
    result, labels = folders
    for k in (2, 5, 9, 10):
        image = cells(shift=k)
        image = (image > 0).astype(np.float32) if prediction.endswith("prob") else image
        write(result, **{prediction.format(k): image})
    for k in (5, 9, 10, 12):
        write(labels, **{truth.format(k): cells(shift=k)})
    scores = evaluated(capsys, result, labels, "--metric", "ctc")
    assert scores["slices"] == 3
    assert len(scores["per_slice"]) == 3
    if not prediction.endswith("prob"):
        assert scores["seg"] == scores["f1"] == 1
        assert (scores["tp"], scores["fp"], scores["fn"]) == (12, 0, 0)


def test_other_names_need_all_numbers(folders, capsys):
    result, labels = folders
    write(result, out_1=cells(), out_2=cells())
    write(labels, label_01=cells(), label_02=cells())
    assert evaluated(capsys, result, labels, "--metric", "ctc")["seg"] == 1
    write(result, out_3=cells())
    assert "no labels of the same name" in complaint(capsys, result, labels)
    write(labels, label_003=cells(), label_3=cells())
    assert "no labels of the same name" in complaint(capsys, result, labels)


def test_names_come_before_numbers(folders, capsys):
    result, labels = folders
    write(result, a_1=cells(), b_1=cells(shift=3))
    write(labels, a_1_mask=cells(), b_1=cells(shift=3), a_1=0 * cells(), c_1=cells())
    scores = evaluated(capsys, result, labels, "--metric", "ctc")
    assert scores["seg"] == 1, "a_1_mask.tif, not a_1.tif"
    write(labels, a_1_labels=cells())
    said = complaint(capsys, result, labels, "--metric", "ctc")
    assert "both" in said
    assert "labels of a_1" in said


# --- objects ---


def test_objects_come_from_the_best_file_there_is(folders, capsys):
    """NAME_objects.tif, then NAME.tif, then NAME_prob.tif."""
    result, labels = folders
    write(labels, a=cells())
    one, two = np.where(cells() == 7, 1, 0), np.where(cells() < 22, cells(), 0)
    write(result, a_prob=(one > 0).astype(np.float32))
    for name, image in (("a_prob", one), ("a", two), ("a_objects", cells())):
        if name != "a_prob":
            write(result, **{name: image.astype(np.uint16)})
        expected = ctc_scores(image.astype(np.uint16), cells())
        scores = evaluated(capsys, result, labels, "--metric", "ctc")
        assert (scores["seg"], scores["tp"]) == (expected.seg, expected.tp)


def test_class_numbers_are_taken_apart_into_objects(folders, capsys):
    """Labels of three classes as segment writes them: three objects of two classes."""
    result, labels = folders
    classes = np.zeros((30, 40), np.uint8)
    classes[2:8, 2:8] = classes[12:18, 2:8] = 1
    classes[2:8, 20:28] = 2
    write(result, a=classes)
    write(labels, a=classes)
    scores = evaluated(capsys, result, labels, "--metric", "ctc", "--label-kind", "classes")
    assert (scores["tp"], scores["fp"], scores["fn"]) == (3, 0, 0)


def test_touching_objects_are_parted_for_the_challenge_but_not_for_ctc(folders, capsys):
    result, labels = folders
    write(result, a=cells())
    write(labels, a=cells())
    assert evaluated(capsys, result, labels, "--metric", "ctc")["seg"] == 1
    scores = evaluated(capsys, result, labels)
    assert scores["v_rand"] == scores["v_info"] == 1
    parted = (separate_touching(cells()) > 0).astype(np.float32)
    write(result, a=parted)
    assert evaluated(capsys, result, labels)["pixel_error"] == 0
    merged = (cells() > 0).astype(np.float32)
    write(result, a=merged)
    assert evaluated(capsys, result, labels)["v_info"] < 0.6


def test_numbers_against_a_binary_truth(folders, capsys):
    """300 of 65535 is no probability; and for IoU no pixel is taken away."""
    result, labels = folders
    write(result, a=cells())
    write(labels, a=(separate_touching(cells()) > 0).astype(np.uint8))
    assert evaluated(capsys, result, labels)["v_rand"] == 1
    write(labels, a=(cells() > 0).astype(np.uint8))
    assert evaluated(capsys, result, labels, "--metric", "iou")["iou"] == 1


# --- probabilities ---


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ["a", "a_prob"])
def test_integers_can_be_probabilities(folders, capsys, dtype, name):
    result, labels = folders
    rng = np.random.default_rng(0)
    truth = (separate_touching(cells()) > 0).astype(np.uint8)
    largest = np.iinfo(dtype).max
    share = np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.1, truth.shape), 0, 1)
    image = np.rint(share * largest).astype(dtype)
    write(result, **{name: image})
    write(labels, a=truth)
    one = (image / largest).astype(np.float32)
    expected = evaluate([ScoredSlice("a", np.stack([1 - one, one]), truth)])
    scores = evaluated(capsys, result, labels)
    assert scores["v_rand"] == expected["v_rand"]
    assert scores["pixel_error"] == expected["pixel_error"]
    assert scores["v_rand_threshold"] == expected["v_rand_threshold"] > 0


def test_of_two_values_the_larger_is_class_1(folders, capsys):
    result, labels = folders
    truth = (cells() > 0).astype(np.uint8)
    write(result, a=truth + np.uint8(1))
    write(labels, a=truth)
    for metric in ("isbi", "iou"):
        assert evaluated(capsys, result, labels, "--metric", metric)["iou"] == 1
    scores = evaluated(capsys, result, labels, "--metric", "ctc")
    assert (scores["tp"], scores["fp"]) == (2, 0)


def test_what_was_understood_is_said(folders, capsys):
    result, labels = folders
    write(labels, a=(cells() > 0).astype(np.uint8))
    for image, words in (
        (cells(), "one object for each number"),
        ((cells() > 0).astype(np.float32), "probabilities of class 1"),
        ((cells() > 0).astype(np.uint8), "two values"),
    ):
        write(result, a=image)
        assert cli.run(["evaluate", str(result), str(labels)]) == 0
        assert f"predictions: {words}" in capsys.readouterr().err


# --- the result ---


def test_json_has_curves_and_the_table_does_not_depend_on_threads(folders, capsys):
    result, labels = folders
    rng = np.random.default_rng(1)
    for k in range(3):
        truth = separate_touching(cells(shift=k)) > 0
        noise = np.clip(truth * 0.5 + rng.random(truth.shape) * 0.5, 0, 1)
        write(result, **{f"{k}_prob": noise.astype(np.float32)})
        write(labels, **{str(k): truth.astype(np.uint8)})
    texts = set()
    for threads in ("1", "2", "0"):
        assert (
            cli.run(
                ["evaluate", str(result), str(labels), "--warping", "--json", "--threads", threads]
            )
            == 0
        )
        texts.add(capsys.readouterr().out)
    scores = json.loads(texts.pop())
    assert not texts
    curves = scores["curves"]
    assert {len(values) for values in curves.values()} == {11}
    assert set(curves) == {"thresholds", "v_rand", "v_info", "pixel_f", "rand_f", "warping_error"}
    assert max(v for v in curves["v_rand"] if v is not None) == scores["v_rand"]
    assert "curves" not in scores["per_slice"]["0"]


def test_undefined_points_of_a_curve_are_null(folders, capsys):
    """Nothing exceeds 0.5 here, so from there on the F score of pixels is 0 / 0."""
    result, labels = folders
    write(result, a=np.where(cells() > 0, 0.5, 0.2).astype(np.float32))
    write(labels, a=(cells() > 0).astype(np.uint8))
    pixel_f = evaluated(capsys, result, labels)["curves"]["pixel_f"]
    assert pixel_f[4] == 1
    assert pixel_f[5:] == [None] * 6


# --- one sentence each ---


@pytest.mark.parametrize("metric", ["isbi", "iou", "ctc"])
def test_unusable_files_are_refused_in_one_sentence(folders, capsys, metric):
    result, labels = folders
    good = (cells() > 0).astype(np.float32)
    write(labels, a=cells())
    spoilt = good.copy()
    spoilt[3, 3] = np.nan
    for image, words in (
        (good[:-1], "39x40, "),
        (spoilt, "NaN"),
        (good * 255, "from 0 to 1"),
        (good.astype(np.complex64), "complex64"),
        (good.astype(np.int16)[::-1] - (cells() == 7) * np.int16(9), "negative"),
    ):
        write(result, a=image)
        said = complaint(capsys, result, labels, "--metric", metric)
        assert words in said
        assert "a.tif" in said
    write(result, a=good, b=good)
    said = complaint(capsys, result, labels, "--metric", metric)
    assert "no labels of the same name" in said
    assert "b.tif" in said


@pytest.mark.parametrize("metric", ["isbi", "iou", "ctc"])
@pytest.mark.parametrize(
    ("value", "options", "words"),
    [
        (0, [], "foreground"),
        (0, ["--label-kind", "instances"], "nothing to score"),
        (9, ["--ignore", "9"], "does not count"),
        (1, ["--ignore", "1"], "does not count"),
    ],
)
def test_labels_without_anything_are_refused(folders, capsys, metric, value, options, words):
    result, labels = folders
    write(result, a=(cells() > 0).astype(np.float32))
    write(labels, a=np.full((40, 40), value, np.uint8))
    said = complaint(capsys, result, labels, "--metric", metric, *options)
    assert words in said
    assert str(labels) in said


@pytest.mark.parametrize("metric", ["isbi", "iou", "ctc"])
def test_one_empty_slice_of_several_is_named(folders, capsys, metric):
    result, labels = folders
    for name in ("a", "b"):
        write(result, **{name: (cells() > 0).astype(np.float32)})
    write(labels, a=cells(), b=0 * cells())
    assert cli.run(["evaluate", str(result), str(labels), "--metric", metric]) == 0
    assert "b: the labels hold no" in capsys.readouterr().err

"""``unet-native evaluate``: objects, the warping error, and which file of a result is scored."""

import numpy as np
import pytest
import tifffile

from command_line import evaluated
from unet_native import cli
from unet_native.data.instances import connected_instances
from unet_native.evaluate import ScoredObjects, ScoredSlice, evaluate, evaluate_objects
from unet_native.metrics import ctc_scores, isbi_scores

OBJECTS = ("seg", "f1", "precision", "recall", "tp", "fp", "fn")


def touching_cells(size=40):
    """Four cells in contact, numbered as 16-bit labels are."""
    labels = np.zeros((size, size), np.uint16)
    labels[2:18, 2:18], labels[2:18, 18:36] = 7, 300
    labels[18:36, 2:18], labels[20:36, 20:36] = 21, 4
    return labels


@pytest.fixture
def folders(tmp_path):
    """Truth and a result of one image; labels and probabilities merge the three that touch."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    truth.mkdir()
    result.mkdir()
    cells = touching_cells()
    tifffile.imwrite(truth / "one.tif", cells)
    inside = cells > 0
    tifffile.imwrite(result / "one.tif", inside.astype(np.uint8) * np.uint8(255))
    tifffile.imwrite(result / "one_prob.tif", np.where(inside, 0.8, 0.1).astype(np.float32))
    return truth, result, cells


def test_objects_that_touch_are_scored_as_they_lie_in_the_file(folders, capsys):
    truth, result, cells = folders
    merged = connected_instances((cells > 0).astype(np.uint8))
    expected = ctc_scores(merged, cells)
    assert expected.f1 < 0.5
    scores = evaluated(capsys, result, truth, "--metric", "ctc")
    for name in OBJECTS:
        assert scores[name] == pytest.approx(getattr(expected, name), abs=1e-12)
    tifffile.imwrite(result / "one_objects.tif", cells)
    scores = evaluated(capsys, result, truth, "--metric", "ctc")
    assert (scores["seg"], scores["f1"], scores["fp"]) == (1, 1, 0)
    assert scores["per_slice"]["one"]["tp"] == 4


def test_objects_beside_probabilities_do_not_disturb_the_other_metrics(folders, capsys):
    truth, result, cells = folders
    options = ["--label-kind", "instances"]
    for metric in ("isbi", "iou"):
        before = evaluated(capsys, result, truth, "--metric", metric, *options)
        tifffile.imwrite(result / "one_objects.tif", cells)
        assert evaluated(capsys, result, truth, "--metric", metric, *options) == before
        (result / "one_objects.tif").unlink()
    for name in ("one.tif", "one_prob.tif"):
        (result / name).unlink()
    tifffile.imwrite(result / "one_objects.tif", cells)
    alone = evaluated(capsys, result, truth, "--metric", "iou", "--label-kind", "binary")
    assert alone["iou"] == 1


def test_binary_truth_is_taken_apart_and_ignored_pixels_are_background(tmp_path, capsys):
    truth = np.zeros((30, 30), np.uint8)
    truth[2:10, 2:10] = truth[15:25, 15:25] = 255
    truth[2:10, 15:25] = 9
    prediction = (truth > 0).astype(np.uint8)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    tifffile.imwrite(tmp_path / "prediction.tif", prediction)
    paths = [tmp_path / "prediction.tif", tmp_path / "truth.tif", "--metric", "ctc"]
    binary = ["--foreground", "255"]
    assert evaluated(capsys, *paths, *binary)["fp"] == 1
    scores = evaluated(capsys, *paths, *binary, "--ignore", "9")
    assert [scores[n] for n in OBJECTS] == [1, 1, 1, 1, 2, 0, 0]


def test_objects_of_all_slices_count_alike():
    cells = touching_cells()
    one = np.where(cells == 7, 1, 0)
    scores = evaluate_objects([ScoredObjects("a", cells, cells), ScoredObjects("b", 0 * one, one)])
    assert scores["seg"] == pytest.approx(4 / 5)
    assert scores["per_slice"]["a"]["seg"] == 1
    assert scores["per_slice"]["b"]["seg"] == 0


def noisy(shape, seed):
    rng = np.random.default_rng(seed)
    label = np.ones(shape, np.uint8)
    label[:, ::12] = label[:, :, ::9] = 0
    noise = rng.normal(0, 0.35, shape)
    return np.clip(0.2 + 0.6 * label + noise, 0, 1).astype(np.float32), label


def scored_slices(proposal, label):
    return [
        ScoredSlice(str(i), np.stack([1 - p, p]), t)
        for i, (p, t) in enumerate(zip(proposal, label, strict=True))
    ]


def test_the_warping_error_is_the_challenges():
    proposal, label = noisy((3, 45, 61), 0)
    expected = isbi_scores(proposal, label, warping=True)
    scores = evaluate(scored_slices(proposal, label), warping=True)
    assert expected.warping_error > 0
    assert scores["warping_error"] == pytest.approx(expected.warping_error, abs=1e-15)
    assert scores["splits"] + scores["mergers"] == round(expected.warping_error * label.size)
    assert scores["v_rand"] == pytest.approx(expected.v_rand, abs=1e-12)
    assert scores["v_info"] == pytest.approx(expected.v_info, abs=1e-12)
    assert scores["rand_error"] == pytest.approx(expected.rand_error, abs=1e-12)
    assert "warping_error" not in evaluate(scored_slices(proposal, label))


def test_slices_of_different_sizes_share_one_warping_error():
    parts = [noisy((1, 45, 61), 1), noisy((1, 30, 33), 2)]
    slices = [scored_slices(*part)[0] for part in parts]
    both = evaluate(slices, warping=True)
    pixels = 45 * 61 + 30 * 33
    assert both["warping_error"] * pixels == pytest.approx(both["splits"] + both["mergers"])
    alone = [evaluate([s], warping=True) for s in slices]
    fewest = sum(scores["splits"] + scores["mergers"] for scores in alone)
    assert both["splits"] + both["mergers"] >= fewest


def test_a_slice_without_interior_has_no_warping_error_in_the_table(tmp_path, capsys):
    proposal, label = noisy((2, 30, 40), 3)
    label[1] = 0
    tifffile.imwrite(tmp_path / "truth.tif", label)
    tifffile.imwrite(tmp_path / "result.tif", proposal)
    command = ["evaluate", str(tmp_path / "result.tif"), str(tmp_path / "truth.tif"), "--warping"]
    assert cli.run(command) == 0
    rows = capsys.readouterr().out.splitlines()
    assert sum("nan" in row for row in rows) == 1


def test_the_table_shows_what_was_asked_for(folders, capsys):
    truth, result, _ = folders
    common = [str(result), str(truth), "--label-kind", "instances"]
    assert cli.run(["evaluate", *common, "--warping"]) == 0
    text = capsys.readouterr().out
    assert "warping error" in text
    assert "merger pixels" in text
    assert cli.run(["evaluate", *common, "--metric", "ctc"]) == 0
    assert "SEG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metric", "dice"], "use isbi, iou, ctc"),
        (["--metric", "ctc", "--warping"], "--warping belongs to the metric isbi"),
    ],
)
def test_what_makes_no_sense_is_refused(folders, capsys, options, words):
    truth, result, _ = folders
    assert cli.run(["evaluate", str(result), str(truth), *options]) == 2
    assert words in capsys.readouterr().err


def test_predictions_that_are_no_objects_are_refused(folders, capsys):
    truth, result, cells = folders
    for bad, words in (
        (cells.astype(np.int16) - 1, "negative number -1"),
        (cells.astype(np.float32), "probabilities from 0 to 1"),
    ):
        tifffile.imwrite(result / "one_objects.tif", bad)
        assert cli.run(["evaluate", str(result), str(truth), "--metric", "ctc"]) == 2
        assert words in capsys.readouterr().err

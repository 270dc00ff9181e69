"""``unet-native evaluate``: objects, the warping error, and which file of a result is scored."""

import math

import numpy as np
import pytest
import tifffile

from command_line import evaluated
from unet_native import cli
from unet_native.data.instances import connected_instances
from unet_native.errors import UserError
from unet_native.evaluate import ScoredObjects, ScoredSlice, evaluate, evaluate_objects
from unet_native.metrics import ctc_scores, isbi_scores, isbi_thresholds

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


SUMMARY = {
    "v_rand": "v_rand_thinned_per_slice",
    "v_info": "v_info_thinned",
    "pixel": "pixel",
    "rand": "rand_fr",
}


def curve(scores, name):
    """A score at each threshold, from the challenge's own rows."""
    values = [getattr(row, SUMMARY[name]) for row in scores.thresholds]
    return [value if isinstance(value, float) else value.f for value in values]


@pytest.mark.parametrize("seed", range(4))
def test_slices_of_a_stack_score_as_the_stack_to_the_bit(seed):
    """Means of slices at one threshold, pooled pairs and pixels, summed splits and mergers."""
    proposal, label = noisy((3, 45, 61), seed)
    expected = isbi_scores(proposal, label, warping=True)
    scores = evaluate(scored_slices(proposal, label), warping=True)
    for name in ("v_rand", "v_info", "pixel_error", "rand_error", "warping_error"):
        assert scores[name] == getattr(expected, name), name
    assert expected.warping_error > 0
    curves = scores["curves"]
    assert curves["thresholds"] == list(isbi_thresholds())
    for name in SUMMARY:
        values = curve(expected, name)
        assert curves[name if name in curves else f"{name}_f"] == values
        assert scores[f"{name}_threshold"] == curves["thresholds"][values.index(max(values))]
    counts = [row.warp_counts for row in expected.thresholds]
    errors = [(c["splits"] + c["mergers"]) / label.size for c in counts]
    assert curves["warping_error"] == errors
    best = errors.index(min(errors[:10]))
    assert scores["warping_threshold"] == curves["thresholds"][best]
    assert {k: scores[k] for k in ("splits", "mergers")} == {
        k: counts[best][k] for k in ("splits", "mergers")
    }
    for item, p, t in zip(scores["per_slice"].values(), proposal, label, strict=True):
        alone = isbi_scores(p, t, warping=True)
        for name in ("v_rand", "v_info", "pixel_error", "rand_error", "warping_error"):
            assert item[name] == getattr(alone, name)


def test_the_last_threshold_has_no_part_in_the_warping_error():
    """At 0.9999 nothing of the proposal is left and no split either, but it is not looked at."""
    proposal, label = noisy((2, 40, 50), 5)
    scores = evaluate(scored_slices(np.minimum(proposal, 0.99), label), warping=True)
    errors = scores["curves"]["warping_error"]
    assert errors[-1] < min(errors[:-1]) == scores["warping_error"]


def test_scores_are_the_same_with_any_number_of_threads():
    slices = [scored_slices(*noisy((1, 40 + k, 51), k))[0] for k in range(3)]
    one = evaluate(slices, warping=True, threads=1)
    for threads in (2, 5, None):
        assert evaluate(slices, warping=True, threads=threads) == one
    objects = [ScoredObjects(s.name, s.labels, s.labels) for s in slices]
    assert evaluate_objects(objects, threads=3) == evaluate_objects(objects, threads=1)


def test_slices_of_several_sizes_are_one_stack():
    """Two sizes: means over slices and sums over pixels, from each slice by itself."""
    parts = [noisy((1, 45, 61), 1), noisy((1, 30, 33), 2)]
    scores = evaluate([scored_slices(*part)[0] for part in parts], warping=True)
    alone = [isbi_scores(*part, warping=True) for part in parts]
    for name in ("v_rand", "v_info"):
        curves = zip(*(curve(a, name) for a in alone), strict=True)
        assert scores[name] == pytest.approx(max(sum(c) / 2 for c in curves), rel=1e-14)
    for name, error in (("pixel", "pixel_error"), ("rand_fr", "rand_error")):
        best = 0
        for rows in zip(*(a.thresholds for a in alone), strict=True):
            tp, fp, fn = (sum(getattr(getattr(r, name), c) for r in rows) for c in OBJECTS[4:])
            best = max(best, 2 * tp / (2 * tp + fp + fn))
        assert scores[error] == pytest.approx(1 - best, rel=1e-13)


def test_curves_and_thresholds_of_nothing_at_all():
    proposal, label = noisy((2, 20, 20), 0)
    scores = evaluate(scored_slices(proposal, 0 * label), warping=True)
    assert "curves" not in scores
    assert "warping_error" not in scores
    assert math.isnan(scores["v_rand"])
    assert math.isnan(scores["v_rand_threshold"])
    assert "warping_error" not in evaluate(scored_slices(proposal, label))
    assert "warping_error" not in evaluate(scored_slices(proposal, label))["curves"]


def test_an_ignored_slice_counts_for_nothing():
    proposal, label = noisy((2, 30, 40), 4)
    slices = scored_slices(proposal, label)
    ignored = ScoredSlice("1", slices[1].probabilities, label[1], np.ones((30, 40), bool))
    scores = evaluate([slices[0], ignored], warping=True)
    alone = evaluate(slices[:1], warping=True)
    for name in alone.keys() - {"slices", "per_slice"}:
        assert scores[name] == alone[name], name
    assert math.isnan(scores["per_slice"]["1"]["iou"])


PROBABILITIES, LABELS = np.full((2, 4, 5), 0.5, np.float32), np.ones((4, 5), np.uint8)


def spoilt(value):
    probabilities = PROBABILITIES.copy()
    probabilities[1, 2, 3] = value
    return probabilities


@pytest.mark.parametrize(
    ("probabilities", "labels", "ignore", "words"),
    [
        (PROBABILITIES[:, :3], LABELS, None, "must agree"),
        (PROBABILITIES[0], LABELS, None, "must agree"),
        (PROBABILITIES, LABELS, np.ones((4, 4), bool), "must agree"),
        (PROBABILITIES.astype(np.float64), LABELS, None, "float64"),
        (spoilt(np.nan), LABELS, None, "found NaN"),
        (spoilt(200), LABELS, None, "found 0.5 to 200"),
        (spoilt(-1), LABELS, None, "found -1 to 0.5"),
        (PROBABILITIES, LABELS.astype(np.float32), None, "labels as integers"),
    ],
)
@pytest.mark.parametrize("metric", ["isbi", "iou"])
def test_bad_slices_are_refused_by_name(probabilities, labels, ignore, words, metric):
    good = ScoredSlice("good", PROBABILITIES, LABELS)
    with pytest.raises(UserError, match=words) as caught:
        evaluate([good, ScoredSlice("bad", probabilities, labels, ignore)], metric)
    assert str(caught.value).startswith("bad: ")
    assert "\n" not in str(caught.value)


def test_no_slice_and_no_thread_are_refused():
    with pytest.raises(UserError, match="no slice"):
        evaluate([])
    with pytest.raises(UserError, match="no slice"):
        evaluate_objects([])
    with pytest.raises(UserError, match="threads"):
        evaluate([ScoredSlice("a", PROBABILITIES, LABELS)], threads=0)
    with pytest.raises(UserError, match="threads"):
        evaluate_objects([ScoredObjects("a", LABELS, LABELS)], threads=0)
    with pytest.raises(UserError, match=r"a: .*must agree"):
        evaluate_objects([ScoredObjects("a", LABELS, LABELS[1:])])


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
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[1:] == ["SEG", "F1", "precision", "recall", "TP", "FP", "FN"]
    tp, fp, fn = (int(number) for number in row.split()[-3:])
    assert tp + fn == 4
    assert fp == 1


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

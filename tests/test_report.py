"""Reports of scorings: what they hold, that they stand alone, and that their numbers are right."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from command_line import evaluated
from reports import checked, slices
from unet_native import cli
from unet_native.evaluate import ScoredObjects, evaluate, evaluate_objects
from unet_native.report.evaluate_report import write_evaluation
from unet_native.report.results import Results
from unet_native.score_table import score_table

ODD = "<b>&\"'</b><script>alert(1)</script>"


def written(tmp_path, scored, metric="isbi", **options):
    """The page of these slices, and their scores."""
    result = evaluate(scored, metric, warping=options.pop("warping", False))
    path = write_evaluation(tmp_path / "r.html", result, scored, title="Test", **options)
    return checked(path), result


# --- what is in it ---


def test_the_numbers_are_those_of_evaluate(tmp_path):
    page, result = written(tmp_path, slices(), warping=True)
    _, rows = score_table(result)
    assert len(rows) == 4
    for name, *cells in rows:
        assert page.row(name) == cells
    assert page.row("all 3")[0] == f"{result['v_rand']:.4f}"
    assert f"above {result['v_rand_threshold']:.1f}" in page.words
    assert f"{result['splits']} split and {result['mergers']} merger pixels" in page.words


def test_the_worst_and_the_best_slices_are_shown(tmp_path):
    scored = slices(6)
    result = evaluate(scored)
    order = sorted(result["per_slice"], key=lambda name: result["per_slice"][name]["v_rand"])
    shown = Results.of(result, scored).slices
    found = [item.heading.split(" \N{EN DASH} ") for item in shown]
    assert [name.rpartition(" ")[2] for name, _ in found] == [*order[:3], order[-1]]
    for name, score in found:
        expected = result["per_slice"][name.rpartition(" ")[2]]["v_rand"]
        assert score == f"V_Rand {expected:.4f}"


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
def test_no_slice_is_shown_twice(count, shown):
    scored = slices(count)
    headings = [item.heading for item in Results.of(evaluate(scored), scored).slices]
    assert len(set(headings)) == len(headings) == shown


def test_the_shares_of_wrong_pixels(tmp_path):
    (item,) = slices(1, noise=0.8)
    page, _ = written(tmp_path, [item], "iou")
    predicted = item.probabilities[1] > item.probabilities[0]
    missed = 100 * np.mean((item.labels == 1) & ~predicted)
    false = 100 * np.mean((item.labels == 0) & predicted)
    assert missed > 0
    assert false > 0
    said = f"Missed foreground {missed:.2f} %, false foreground {false:.2f} % of the pixels"
    assert said in page.words


def test_the_curve_over_the_threshold_holds_the_best_scores():
    result = evaluate(slices())
    curves = result["curves"]
    assert len(curves["thresholds"]) == 11
    best = curves["thresholds"].index(result["v_rand_threshold"])
    assert curves["v_rand"][best] == max(curves["v_rand"]) == result["v_rand"]
    assert 1 - max(curves["pixel_f"]) == result["pixel_error"]
    assert 1 - max(curves["rand_f"]) == result["rand_error"]
    assert max(curves["v_info"]) == result["v_info"]


def test_the_histogram_counts_every_pixel_that_counts():
    scored = slices()
    ignore = np.zeros((60, 70), bool)
    ignore[:, :11] = True
    scored[1] = replace(scored[1], ignore=ignore)
    found = Results.of(evaluate(scored), scored).histogram
    inside, outside = found.values()
    counted = [item.labels if item.ignore is None else item.labels[~ignore] for item in scored]
    assert sum(inside) == sum(int(np.count_nonzero(labels)) for labels in counted)
    assert sum(inside) + sum(outside) == sum(labels.size for labels in counted)
    high = sum(
        int(np.count_nonzero((item.probabilities[1] >= 0.5) & (item.labels == 1)))
        if item.ignore is None
        else int(np.count_nonzero((item.probabilities[1] >= 0.5) & (item.labels == 1) & ~ignore))
        for item in scored
    )
    assert sum(inside[25:]) == high


def test_several_classes(tmp_path):
    page, result = written(tmp_path, slices(classes=4))
    for name in ("IoU of 1", "IoU of 3", "predicted classes", "wrong class", "as 3 (%)"):
        assert name in page.words
    for c in range(4):
        _, *shares, iou = page.row(f"class {c}")
        assert iou == f"{result['iou_per_class'][str(c)]:.4f}"
        assert sum(map(float, shares)) == pytest.approx(100, abs=0.03)


def test_objects(tmp_path):
    truth = np.zeros((40, 60), np.int32)
    truth[5:15, 5:15], truth[5:15, 15:25], truth[20:35, 5:25], truth[5:15, 40:50] = 1, 2, 3, 4
    predicted = np.zeros_like(truth)
    predicted[5:15, 5:25], predicted[20:35, 5:14], predicted[20:35, 16:25] = 7, 8, 9
    predicted[25:30, 45:50] = 10
    scored = [ScoredObjects("a", predicted, truth), ScoredObjects("b", truth, truth)]
    result = evaluate_objects(scored)
    page = checked(write_evaluation(tmp_path / "r.html", result, scored, title="Objects"))
    assert page.row("all 2")[0] == f"{result['seg']:.4f}"
    counts = [row for row in page.rows if row[:1] == ["all 2"]][1]
    assert counts[1:] == [str(result[key]) for key in ("tp", "fn", "fp")]
    for name in ("missed", "invented", "merged", "split", "outlines of those found"):
        assert name in page.words
    assert "4 objects in the truth" in page.words
    assert "1 split. Of the predicted ones 4 match none, 1 merge several" in page.words


# --- degenerate ---


def test_a_slice_without_score(tmp_path):
    scored = slices()
    scored[0] = replace(scored[0], labels=np.zeros_like(scored[0].labels))
    page, result = written(tmp_path, scored)
    assert math.isnan(result["per_slice"]["slice0"]["v_rand"])
    assert page.row("slice0")[0] == "nan"


def test_no_slice_with_a_score(tmp_path):
    scored = [replace(item, labels=np.zeros_like(item.labels)) for item in slices(2)]
    page, _ = written(tmp_path, scored)
    assert page.row("all 2")[0] == "nan"
    assert len(page.all("figure")) == 2, "the histogram and one slice"


def test_predictions_that_are_labels_have_no_histogram(tmp_path):
    with_some, _ = written(tmp_path, slices(2), "iou")
    hard = [
        replace(item, probabilities=np.rint(item.probabilities).astype(np.float32))
        for item in slices(2)
    ]
    without, _ = written(tmp_path, hard, "iou")
    assert "Probabilities" in with_some.words
    assert "Probabilities" not in without.words


def test_one_pixel_and_empty_objects(tmp_path):
    dot = np.ones((1, 1), np.int32)
    for k, (predicted, truth) in enumerate([(dot, dot), (dot, 0 * dot), (0 * dot, 0 * dot)]):
        scored = [ScoredObjects("dot", predicted, truth)]
        path = tmp_path / f"{k}.html"
        checked(write_evaluation(path, evaluate_objects(scored), scored, title="dot"))


def test_names_cannot_become_markup(tmp_path):
    scored = [replace(item, name=f"{ODD}{k}") for k, item in enumerate(slices(2))]
    page, _ = written(tmp_path, scored, facts=[(ODD, ODD)])
    assert f"{ODD}0" in [row[0] for row in page.rows]
    assert len(page.all("script")) == 1, "the page's own"
    assert not page.all("b")


def test_large_slices_make_a_small_page(tmp_path):
    """Noise, which hardly compresses, in slices of 2048 x 2048 pixels of three colours."""
    rng = np.random.default_rng(0)
    noise = rng.random((2048, 2048), np.float32)
    labels = (np.indices(noise.shape).sum(axis=0) % 97 > 5).astype(np.uint8)
    item = slices(1)[0]
    inside = 0.6 * labels + 0.4 * noise
    item = replace(item, probabilities=np.stack([1 - inside, inside]), labels=labels)
    scored = [replace(item, name=str(k)) for k in range(6)]
    image = rng.integers(0, 256, (3, 2048, 2048)).astype(np.uint8)
    rows = {str(k): {"iou": k / 6} for k in range(6)}
    result = {"slices": 6, "iou": 0.5, "iou_per_class": {"0": 0.5, "1": 0.5}, "per_slice": rows}
    images = {item.name: image for item in scored}
    path = write_evaluation(tmp_path / "r.html", result, scored, title="Large", images=images)
    assert path.stat().st_size < 8e6
    assert len(checked(path).all("img")) >= 4 * 4


# --- on the command line ---


@pytest.fixture
def folders(tmp_path):
    """Truth, result and images of four slices."""
    for item in slices(4):
        for name, plane in (
            ("truth", 255 * item.labels),
            ("result", item.probabilities[1]),
            ("images", (200 * item.probabilities[1]).astype(np.uint8)),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"{item.name}.tif", plane)
    return [tmp_path / name for name in ("result", "truth", "images")]


@pytest.mark.parametrize("metric", ["isbi", "iou", "ctc"])
def test_evaluate_leaves_a_report_when_asked(folders, tmp_path, capsys, metric):
    result, truth, images = folders
    report = tmp_path / "new" / "r.html"
    before = evaluated(capsys, result, truth, "--metric", metric)
    assert not report.parent.exists()
    options = ["--metric", metric, "--report", str(report), "--images", str(images)]
    assert cli.run(["evaluate", str(result), str(truth), *options]) == 0
    printed = capsys.readouterr().out.split()
    page = checked(report)
    assert " ".join(["all 4", *page.row("all 4")]) in " ".join(printed)
    key = {"isbi": "v_rand", "iou": "iou", "ctc": "seg"}[metric]
    assert page.row("all 4")[0] == f"{before[key]:.4f}"
    assert "The image" in {image["alt"] for image in page.all("img")}
    assert evaluated(capsys, result, truth, *options) == before
    assert str(tmp_path) not in page.source


def test_images_in_one_stack_go_by_number(folders, tmp_path, capsys):
    result, truth, images = folders
    stack = np.stack([tifffile.imread(path) for path in sorted(images.iterdir())])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    pages = []
    for source in (images, tmp_path / "stack.tif"):
        options = ["--report", str(tmp_path / "r.html"), "--images", str(source)]
        assert cli.run(["evaluate", str(result), str(truth), *options]) == 0
        pages.append(checked(tmp_path / "r.html").source)
    assert pages[0] == pages[1]


def test_what_cannot_be_reported_is_refused(folders, tmp_path, complaint):
    result, truth, images = folders
    report = tmp_path / "r.html"
    (tmp_path / "folder.html").mkdir()
    (images / "slice2.tif").unlink()
    small = tmp_path / "small"
    small.mkdir()
    for k in range(4):
        tifffile.imwrite(small / f"slice{k}.tif", np.eye(5, dtype=np.uint8))
    for options, words in [
        (("--images", images), "give --report FILE.html"),
        (("--report", tmp_path / "r.tif"), "name of an .html file"),
        (("--report", tmp_path / "folder.html"), "name of an .html file"),
        (("--report", report, "--images", images), "no image for the slice slice2"),
        (("--report", report, "--images", small), "has 5x5 pixels, its labels 60x70"),
        (("--report", report, "--images", tmp_path / "none"), "none"),
        (("--report", result / "slice0.tif" / "r.html"), "cannot be written"),
    ]:
        assert words in complaint("evaluate", result, truth, *options)
    assert not report.exists()

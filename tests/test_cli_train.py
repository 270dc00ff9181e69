"""``unet-native train`` and ``demo``."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from command_line import FAST, contents, evaluated, outside, sources
from reports import checked
from unet_native import cli


def test_train_says_what_it_understood(data, tmp_path, capsys):
    status = cli.run(
        ["train", *sources(data), "-o", str(tmp_path / "run"), "--validation", "0.5", *FAST]
    )
    assert status == 0
    captured = capsys.readouterr()
    for text in ("uint8", "foreground", "zscore", "2 to train on, 2 to validate on", "parameters"):
        assert text in captured.out
    assert "v_rand" in captured.err
    assert captured.err.count("\n") < 10, "no flood of progress where nobody watches"


def test_train_stores_the_recipe_that_was_chosen(data, tmp_path):
    run = tmp_path / "run"
    recipe = ["--lr-policy", "poly", "--weight-map", "plugin2019", "--w0", "30"]
    recipe += ["--augmentation", "none", "--average", "mirror4", "--choose-by", "iou"]
    assert cli.run(["train", *sources(data), "-o", str(run), *recipe, *FAST]) == 0
    stored = json.loads((run / "settings.json").read_text())["settings"]
    assert (stored["lr_policy"], stored["power"], stored["average"]) == ("poly", 1.0, "mirror4")
    assert stored["choose_by"] == "iou"
    assert stored["weights"] == {
        "preset": "plugin2019",
        "w0": 30.0,
        "sigma": 6.0,
        "v_bal": 0.1,
        "sigma_bal": 10.0,
    }
    assert stored["augment"]["displacement"] == 0
    assert cli.run(["train", "-o", str(run), "--resume", "--iterations", "7"]) == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--lr-policy", "cosine"], "use inv, poly, fixed"),
        (["--weight-map", "paper"], "use one of paper2015"),
        (["--weight-map", "uniform", "--w0", "5"], "has no w0"),
        (["--augmentation", "mixup"], "use paper2015, layer2019, none"),
        (["--average", "tta"], "mirror4"),
        (["--choose-by", "loss"], "use auto, v_rand, v_info, iou, seg, f1"),
    ],
)
def test_train_refuses_an_unknown_recipe(data, tmp_path, capsys, option, words):
    run = tmp_path / "run"
    assert cli.run(["train", *sources(data), "-o", str(run), *FAST, *option]) == 2
    assert words in capsys.readouterr().err
    assert not run.exists()


def test_train_resumes_with_what_it_was_given(data, tmp_path, capsys):
    run = tmp_path / "run"
    start = ["train", *sources(data), "-o", str(run), "--validation", "0-1", *FAST]
    assert cli.run(start) == 0
    assert cli.run(["train", "-o", str(run), "--resume", "--iterations", "9"]) == 0
    assert "resumed at iteration 6" in capsys.readouterr().out
    whole = tmp_path / "whole"
    assert cli.run([*start, "-o", str(whole), "--iterations", "9"]) == 0
    name = "snapshots/iter_9.safetensors"
    assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_train_on_pairs_in_one_folder_and_validate_on_another(data, tmp_path, capsys):
    for index in range(3):
        for source, target in (("images", f"{index}.tif"), ("labels", f"{index}_masks.tif")):
            folder = tmp_path / ("held" if index == 2 else "set")
            folder.mkdir(exist_ok=True)
            (folder / target).write_bytes((data / source / f"{index}.tif").read_bytes())
    status = cli.run(
        [
            "train",
            *("--images", str(tmp_path / "set")),
            *("--validation", str(tmp_path / "held")),
            *("-o", str(tmp_path / "run")),
            *FAST,
        ]
    )
    assert status == 0
    assert "2 to train on, 1 to validate on" in capsys.readouterr().out


def test_train_fine_tunes(data, trained, tmp_path, capsys):
    short = FAST[4:]  # the size of the network is that of the weights
    status = cli.run(
        ["train", *sources(data), "-o", str(tmp_path / "run"), *short, "--weights", str(trained)]
    )
    assert status == 0
    assert "2 levels, base width 4" in capsys.readouterr().out


def test_train_refuses_and_destroys_nothing(data, trained, tmp_path, complaint):
    before = contents(trained)
    new = tmp_path / "new"
    images, labels = data / "images", data / "labels"
    empty, lone = tmp_path / "empty", tmp_path / "lone"
    empty.mkdir()
    lone.mkdir()
    tifffile.imwrite(lone / "0.tif", np.ones((72, 72), np.uint8))
    broken = tmp_path / "broken"
    broken.mkdir()
    for index in range(4):
        whole = (images / f"{index}.tif").read_bytes()
        (broken / f"{index}.tif").write_bytes(whole[: len(whole) - 900 * (index == 2)])
    for arguments, text in [
        ((*sources(data), "-o", trained), "holds a run already"),
        ((*sources(data), "-o", trained / "log.csv"), "is a file"),
        (("--images", tmp_path / "none", "--labels", labels, "-o", new), "none"),
        (("--images", empty, "--labels", labels, "-o", new), "empty: holds no image"),
        (("--images", images, "--labels", lone, "-o", new), "in pairs"),
        (("--images", lone, "--labels", labels / "0.tif", "-o", new), "constant"),
        (("--images", broken, "--labels", labels, "-o", new), "2.tif"),
        (("--images", images, "-o", new), "_masks"),
        ((*sources(data), "-o", new, "--validation", "7-9"), "0-3"),
        ((*sources(data), "-o", new, "--validation", "some"), "some"),
        ((*sources(data), "-o", new, "--foreground", "13"), "--foreground"),
        ((*sources(data), "-o", new, "--axes", "QQ"), "--axes"),
        ((*sources(data), "-o", new, "--tile", "571"), "--tile"),
        ((*sources(data), "-o", new, "--normaliser", "x"), "normaliser"),
        ((*sources(data), "-o", new, "--algorithm", "x", "--tile", "188"), "x"),
        ((*sources(data), "-o", new, "--resume"), "no run to resume"),
        ((*sources(data), "-o", trained, "--resume", "--seed", "4"), "seed (0 in the run)"),
        ((*sources(data), "-o", new, "--weights", tmp_path), "model.safetensors"),
        ((*sources(data), "-o", new, "--weights", trained, "--base-width", "6"), "do not fit"),
    ]:
        assert text in complaint("train", *arguments)
    assert contents(trained) == before
    assert not new.exists()


# --- demo ---


def test_demo(tmp_path, capsys, monkeypatch, complaint):
    from unet_native.cli import demo

    short = replace(demo.settings(), iterations=20, tile=92, base_width=4)
    monkeypatch.setattr(demo, "settings", lambda: short)
    monkeypatch.setattr(demo, "_SIZE", 96)
    out = tmp_path / "demo"
    assert cli.run(["demo", "-o", str(out)]) == 0
    scores = json.loads((out / "scores.json").read_text())
    assert 0 < scores["v_rand"] <= 1
    assert 0 < scores["raw_image"]["v_rand"] <= 1
    printed = capsys.readouterr().out
    assert f"{scores['v_rand']:.4f}" in printed
    for report in (out / "report.html", out / "run" / "report.html"):
        assert str(report) in printed
        page = checked(report)
    assert "There was no validation" in page.words
    assert checked(out / "report.html").row("all 4")[0] == f"{scores['v_rand']:.4f}"
    picture = (out / "demo.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    result = evaluated(capsys, out / "segmentation", out / "test-labels.tif")
    assert result["v_rand"] == pytest.approx(scores["v_rand"], abs=1e-12)
    before = contents(out)
    assert "exists already" in complaint("demo", "-o", out)
    assert contents(out) == before


@pytest.mark.slow
def test_demo_learns(tmp_path):
    start = time.monotonic()
    assert outside("demo", "-o", tmp_path / "demo").returncode == 0
    assert time.monotonic() - start < 180
    scores = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert scores["v_rand"] >= 0.90
    assert scores["v_rand"] >= scores["raw_image"]["v_rand"] + 0.1

"""The report of a training run: at every validation, at the end, and after a break."""

import json
from dataclasses import replace

import numpy as np
import pytest

from command_line import FAST, sources
from reports import checked, slices
from small_run import SMALL, Recorder, data_set, discs, sets
from unet_native import cli
from unet_native.data.dataset import DataSet
from unet_native.errors import UserError
from unet_native.evaluate import evaluate
from unet_native.files import write_text
from unet_native.report.train_report import TrainReport
from unet_native.score_table import SCORE_NAMES
from unet_native.train import DivergenceError, Observer, Trainer
from unet_native.train.log import read_log
from unet_native.train.run_directory import RunDirectory

ODD = "<i>&\"'</i>"


def page_of(run):
    return checked(run / "report.html")


def test_train_leaves_a_report(data, tmp_path, capsys):
    run = tmp_path / "my <run> & more"
    command = ["train", *sources(data), "-o", str(run), "--validation", "2-3", *FAST]
    assert cli.run(command) == 0
    captured = capsys.readouterr()
    assert str(run / "report.html") in captured.out
    page = page_of(run)
    assert "Training: my <run> & more finished" in page.words
    for line in captured.out.splitlines()[:6]:
        assert " ".join(line.split()) in page.words, "the data check"
    for text in ('2 slices of "images"', "base lr 0.001", "displacement 10.0", "w0 10.0", "seed 0"):
        assert text in page.words
    assert str(tmp_path) not in page.source
    rows = [row for row in read_log(run / "log.csv") if row.scores]
    best = max(rows, key=lambda row: row.scores["v_rand"])
    assert f"iteration {best.iteration}: V_Rand {best.scores['v_rand']:.4f}" in page.words
    cells = page.row("all 2")
    assert cells[:2] == [f"{best.scores[key]:.4f}" for key in ("v_rand", "v_info")]
    assert cells[3:] == [f"{best.scores[key]:.4f}" for key in ("pixel_error", "iou")]
    assert {row[0] for row in page.rows} >= {"2", "3"}
    alts = " ".join(image["alt"] for image in page.all("img"))
    for text in ("The image", "Weight map of slice 0", "Label of the tile of iteration 0"):
        assert text in alts


def test_the_report_follows_the_run(tmp_path):
    training, validation = sets()
    run, seen = tmp_path / "run", {}

    class Watching(Observer):
        def iteration(self, row, iterations):
            if (run / "report.html").exists():
                seen[row.iteration] = page_of(run).words

    assert Trainer(run, training, validation, SMALL, observer=Watching()).train()
    assert sorted(seen) == list(range(5, 13)), "from the first validation on"
    assert "running" in seen[5]
    assert "had done 4 of 12" in seen[8]
    assert "had done 8 of 12" in seen[9]
    assert "finished" in page_of(run).words


def test_a_stopped_and_resumed_run_loses_nothing(tmp_path):
    training, validation = sets()
    Trainer(tmp_path / "whole", training, validation, SMALL, check="said by the check").train()
    run = tmp_path / "parts"
    trainer = Trainer(run, training, validation, SMALL, check="said by the check")
    trainer._warn(f"something {ODD}")
    assert not trainer.train(stop=lambda: trainer.iteration >= 6)
    page = page_of(run)
    assert "stopped after 6 of 12" in page.words
    assert f"Warning: something {ODD}" in page.words

    # Nothing is validated between 6 and 7: what is shown of it comes from the folder.
    resumed = Trainer(run, training, validation, SMALL, resume=True)
    assert not resumed.train(stop=lambda: resumed.iteration >= 7)
    again = page_of(run)
    assert again.row("all 2") == page.row("all 2")
    assert [image["src"] for image in again.all("img")] == [i["src"] for i in page.all("img")]
    for text in (f"Warning: something {ODD}", "said by the check", "resumed after iteration 6"):
        assert text in again.words

    assert Trainer(run, training, validation, SMALL, resume=True).train()
    parts, whole = page_of(run), page_of(tmp_path / "whole")
    assert parts.row("all 2") == whole.row("all 2")
    assert [i["src"] for i in parts.all("img")] == [i["src"] for i in whole.all("img")]


def test_the_report_shows_the_network_that_is_kept(tmp_path):
    training, validation = sets()
    recorder = Recorder()
    settings = replace(SMALL, iterations=40, test_interval=5, base_lr=1e-2)
    Trainer(tmp_path / "run", training, validation, settings, observer=recorder).train()
    kept = [(iteration, scores) for iteration, scores, best in recorder.scores if best][-1]
    assert kept[0] < 40, "else the test shows nothing"
    page = page_of(tmp_path / "run")
    assert (
        f"Kept is the network of iteration {kept[0]}: V_Rand {kept[1]['v_rand']:.4f}" in page.words
    )
    assert page.row("all 2")[0] == f"{kept[1]['v_rand']:.4f}"


def test_without_validation(tmp_path):
    Trainer(tmp_path / "run", data_set(1), settings=SMALL).train()
    page = page_of(tmp_path / "run")
    assert "There was no validation" in page.words
    assert not [row for row in page.rows if row]
    assert sum("iteration" in image["alt"] for image in page.all("img")) == 3, "a tile"


@pytest.mark.parametrize("choose_by", ["seg", "f1", "v_info"])
def test_objects_are_shown_where_they_choose_the_network(tmp_path, choose_by):
    training, validation = sets()
    run, recorder = tmp_path / "run", Recorder()
    settings = replace(SMALL, choose_by=choose_by)
    Trainer(run, training, validation, settings, observer=recorder).train()
    page = page_of(run)
    kept = next(scores for _, scores, best in reversed(recorder.scores) if best)
    name = SCORE_NAMES[choose_by]
    assert f"{name} {kept[choose_by]:.4f}" in page.words
    per_slice = {row[0]: dict(zip(page.rows[0], row, strict=True)) for row in page.rows[1:4]}
    assert per_slice["all 2"][name] == f"{kept[choose_by]:.4f}"
    worst = min("01", key=lambda k: float(per_slice[k][name]))
    assert f"Worst: {worst} \N{EN DASH} {name} {per_slice[worst][name]}" in page.words
    by_objects = "Areas are missed or invented" in page.words
    assert by_objects == (choose_by in ("seg", "f1"))
    assert "truly class 1" in page.words, "the histogram is of pixels in any case"


def test_warnings_of_the_data_check_stand_on_top(tmp_path):
    check = "images: as they should be\nwarning: class 1 is rare"
    Trainer(tmp_path / "run", data_set(1), settings=SMALL, check=check).train()
    page = page_of(tmp_path / "run")
    assert page.words.count("is rare") == 1
    assert page.words.index("Warning: class 1 is rare") < page.words.index("as they should be")


def test_too_short_for_a_validation(tmp_path):
    training, validation = sets()
    settings = replace(SMALL, iterations=2)
    Trainer(tmp_path / "run", training, validation, settings).train()
    page = page_of(tmp_path / "run")
    assert page.row("all 2")[0] != "nan"
    assert "kept:" not in page.words, "no point on a curve that there is not"


def test_classes_channels_and_ignored_pixels(tmp_path):
    images, labels = discs(3)
    labels[:, 36:] *= 2
    colours = np.stack([images, 255 - images, images // 2], axis=1)
    dataset = DataSet.from_arrays(colours, labels, classes=3)
    ignore = np.zeros((72, 72), bool)
    ignore[:20, :20] = True
    dataset = replace(
        dataset, slices=tuple(replace(s, ignore=ignore, name=s.name + ODD) for s in dataset)
    )
    Trainer(tmp_path / "run", dataset, dataset, SMALL).train()
    page = page_of(tmp_path / "run")
    assert len(page.row("class 2")) == 5
    assert "Ignored: pixels that do not count" in {image["alt"] for image in page.all("img")}
    assert f"1{ODD}" in [row[0] for row in page.rows if row]


def test_divergence_is_reported(tmp_path):
    training, validation = sets()
    settings = replace(SMALL, iterations=400, base_lr=1e4)
    with np.errstate(all="ignore"), pytest.raises(DivergenceError):
        Trainer(tmp_path / "run", training, validation, settings).train()
    assert "diverged after" in page_of(tmp_path / "run").words


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 99}', '{"format": 1, "check": 0}', "cut"],
)
def test_a_damaged_state_is_done_without(trained, tmp_path, damage):
    whole = (trained / "report.json").read_text()
    state, html = tmp_path / "report.json", tmp_path / "report.html"
    state.write_text(whole[: len(whole) // 2] if damage == "cut" else damage)
    settings = RunDirectory(trained).read_settings()["settings"]
    report = TrainReport(html, state, resume=True)
    report.write("stopped", read_log(trained / "log.csv"), settings, None, 1000)
    assert "stopped after 6 of 6" in checked(html).words
    assert TrainReport(html, state, resume=True)._kept() == report._kept()


def test_the_state_is_json_and_comes_back(trained, tmp_path):
    """JSON knows no NaN, which scores may be."""
    scored = slices(2)
    scored[0] = replace(scored[0], labels=np.zeros_like(scored[0].labels))
    report = TrainReport(tmp_path / "r.html", tmp_path / "r.json")
    report.validated(3, "v_rand", evaluate(scored), scored, [], {})
    rows = read_log(trained / "log.csv")
    settings = RunDirectory(trained).read_settings()["settings"]
    report.write("stopped", rows, settings, None, 1000)
    first = (tmp_path / "r.html").read_text()
    json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    again = TrainReport(tmp_path / "r.html", tmp_path / "r.json", resume=True)
    again.write("stopped", rows, settings, None, 1000)
    assert (tmp_path / "r.html").read_text() == first
    assert checked(tmp_path / "r.html").row("slice0")[0] == "nan"


def test_a_state_cannot_smuggle_in_a_script(tmp_path):
    """A run's folder may come from somebody else."""
    training, validation = sets()
    run = tmp_path / "run"
    Trainer(run, training, validation, replace(SMALL, iterations=6)).train()
    state = run / "report.json"
    evil = '"><script>alert(1)</script>'
    stored = json.loads(state.read_text())
    stored["pictures"]["slice"][0] = evil
    stored["validation"]["results"]["slices"][0]["layers"][1]["colour"] = evil
    stored["warnings"] = [evil]
    state.write_text(json.dumps(stored))
    resumed = Trainer(run, training, validation, SMALL, resume=True)
    resumed.train(stop=lambda: resumed.iteration >= 7)
    page = page_of(run)
    assert f"Warning: {evil}" in page.words
    assert len(page.all("script")) == 1


def test_a_report_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch):
    from unet_native.report import train_report

    def full(path, text):
        if path.suffix == ".html":
            raise UserError(f"{path}: cannot be written (No space left on device)")
        return write_text(path, text)

    monkeypatch.setattr(train_report, "write_text", full)
    training, validation = sets()
    recorder = Recorder()
    assert Trainer(tmp_path / "run", training, validation, SMALL, observer=recorder).train()
    assert any("report.html: cannot be written" in warning for warning in recorder.warnings)
    assert not (tmp_path / "run" / "report.html").exists()

"""Training: it learns, it resumes bit for bit, and what is on the disk is always whole."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from small_run import SMALL, Recorder, assert_same_tensors, data_set, discs, sets, tensors
from unet_native.data.augment import AugmentSettings
from unet_native.data.dataset import DataSet
from unet_native.data.labels import LabelRule
from unet_native.data.synthetic import synthetic_em
from unet_native.errors import UserError
from unet_native.evaluate import ScoredSlice, evaluate
from unet_native.metrics import ctc_scores
from unet_native.model_file import Model
from unet_native.objects import close_gaps, foreground_of, objects
from unet_native.train import DivergenceError, Observer, Trainer, TrainSettings
from unet_native.train.log import Log, Row, read_log
from unet_native.train.run_directory import RunDirectory

# --- learning ---


def test_overfits_one_slice(tmp_path):
    images, labels = synthetic_em(1, 96, seed=3)
    dataset = DataSet.from_arrays(images, labels > 0)
    settings = TrainSettings(
        depth=3,
        base_width=8,
        tile=108,
        iterations=1000,
        seed=1,
        base_lr=5e-3,
        lr_policy="poly",
        power=1.0,
        snapshot=1000,
        augment=AugmentSettings.none(),
    )
    Trainer(tmp_path / "run", dataset, settings=settings).train()
    model = Model.load(tmp_path / "run")
    scores = evaluate([ScoredSlice("0", model.segment(images[0]), dataset[0].labels)])
    assert scores["v_rand"] > 0.95
    assert scores["pixel_error"] < 0.05


def test_validation_keeps_the_best(tmp_path):
    training, validation = sets()
    recorder = Recorder()
    settings = replace(SMALL, iterations=40, test_interval=5, base_lr=1e-2)
    trainer = Trainer(tmp_path / "run", training, validation, settings, observer=recorder)
    assert trainer.train()
    assert [i for i, _, _ in recorder.scores] == [5, 10, 15, 20, 25, 30, 35, 40]
    v_rands = [scores["v_rand"] for _, scores, _ in recorder.scores]
    for k, (_, _, best) in enumerate(recorder.scores):
        assert best == (v_rands[k] > max(v_rands[:k], default=-1))
    model = Model.load(tmp_path / "run")
    assert model.provenance["iteration"] == 5 * (1 + v_rands.index(max(v_rands)))
    assert trainer.best_score == max(v_rands)
    again = [ScoredSlice(s.name, model.segment(s.raw), s.labels, s.ignore) for s in validation]
    assert evaluate(again)["v_rand"] == pytest.approx(max(v_rands), abs=1e-12)


@pytest.mark.parametrize(
    ("choose_by", "kind", "name"),
    [
        ("auto", "instances", "seg"),
        ("auto", "binary", "v_rand"),
        ("iou", "instances", "iou"),
        ("f1", "binary", "f1"),
    ],
)
def test_networks_are_compared_by_the_score_that_is_asked_for(tmp_path, choose_by, kind, name):
    rule = LabelRule(kind, (0,)) if kind == "instances" else LabelRule(kind, (0, 1))
    training, validation = (replace(part, label_rule=rule) for part in sets())
    recorder = Recorder()
    settings = replace(
        SMALL, base_width=8, iterations=120, test_interval=30, base_lr=1e-2, choose_by=choose_by
    )
    trainer = Trainer(tmp_path / "run", training, validation, settings, observer=recorder)
    assert trainer.train()
    assert trainer.choosing_score == name
    values = [scores[name] for _, scores, _ in recorder.scores]
    assert trainer.best_score == max(values) > 0
    model = Model.load(tmp_path / "run")
    assert model.provenance["iteration"] == 30 * (1 + values.index(max(values)))
    if name in ("seg", "f1"):
        found = [objects(foreground_of(model.segment(s.raw))) for s in validation]
        truth = [close_gaps(s.instances) for s in validation]
        assert getattr(ctc_scores(found, truth), name) == pytest.approx(max(values), abs=1e-12)
    logged = [row.scores for row in read_log(trainer.run.log) if row.scores]
    assert logged == [scores for _, scores, _ in recorder.scores]


def test_a_score_of_two_classes_cannot_choose_among_three(tmp_path):
    images, labels = discs(2)
    labels[:, 36:] *= 2
    training = DataSet.from_arrays(images, labels, classes=3)
    with pytest.raises(
        UserError, match="v_rand is a score of two classes, the labels have 3: use iou"
    ):
        Trainer(tmp_path / "run", training, training, replace(SMALL, choose_by="v_rand"))
    assert not (tmp_path / "run").exists()


def test_three_classes(tmp_path):
    images, labels = discs(2)
    labels[:, 36:] *= 2
    training = DataSet.from_arrays(images, labels, classes=3)
    recorder = Recorder()
    Trainer(tmp_path / "run", training, training, SMALL, observer=recorder).train()
    assert set(recorder.scores[0][1]) == {"pixel_error", "iou"}
    assert Model.load(tmp_path / "run").segment(images[0]).shape == (3, 72, 72)


def test_log_and_files(tmp_path):
    training, validation = sets()
    recorder = Recorder()
    Trainer(tmp_path / "run", training, validation, SMALL, observer=recorder).train()
    files = sorted(str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*.*"))
    assert files == [
        "curves.png",
        "log.csv",
        "model.safetensors",
        "report.html",
        "report.json",
        "settings.json",
        "snapshots/iter_10.safetensors",
        "snapshots/iter_12.safetensors",
    ]
    assert recorder.snapshots == [
        "iter_5.safetensors",
        "iter_10.safetensors",
        "iter_12.safetensors",
    ]
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == list(range(1, 13))
    assert [row["iteration"] for row in rows if row["v_rand"]] == ["4", "8", "12"]
    assert [float(row["loss"]) for row in rows] == [row.loss for row in recorder.rows]
    assert [float(row["lr"]) for row in rows] == [
        pytest.approx(2e-3 * (1 + 1e-3 * k) ** -0.75) for k in range(12)
    ]


def test_warmup_scales_the_rate(tmp_path):
    plain = replace(SMALL, weight_decay=0.0, lr_policy="fixed", iterations=1)
    runs = {
        "warm": replace(plain, warmup=4),
        "low": replace(plain, base_lr=plain.base_lr / 4),
    }
    for name, settings in runs.items():
        Trainer(tmp_path / name, data_set(), settings=settings).train()
    one, two = (tensors(tmp_path / name / "model.safetensors") for name in runs)
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, atol=1e-7, err_msg=name)
    recorder = Recorder()
    longer = replace(runs["warm"], iterations=6)
    Trainer(tmp_path / "longer", data_set(), settings=longer, observer=recorder).train()
    assert [row.lr / SMALL.base_lr for row in recorder.rows] == [0.25, 0.5, 0.75, 1, 1, 1]


# --- exactness ---


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, algorithm):
    training, validation = sets()
    settings = replace(SMALL, algorithm=algorithm)
    Trainer(tmp_path / "whole", training, validation, settings).train()
    first = replace(settings, iterations=7)
    Trainer(tmp_path / "parts", training, validation, first).train()
    resumed = Trainer(tmp_path / "parts", training, validation, settings, resume=True)
    assert resumed.iteration == 7
    resumed.train()
    for name in ("model.safetensors", "snapshots/iter_12.safetensors"):
        whole, parts = (tmp_path / run / name for run in ("whole", "parts"))
        assert_same_tensors(whole, parts)
        assert whole.read_bytes() == parts.read_bytes()
    logs = [read_log(tmp_path / run / "log.csv") for run in ("whole", "parts")]
    assert [replace(row, seconds=0) for row in logs[0]] == [
        replace(row, seconds=0) for row in logs[1]
    ]


def test_stopped_and_resumed_at_every_iteration(tmp_path):
    training, validation = sets()
    Trainer(tmp_path / "whole", training, validation, SMALL).train()
    resume, count = False, 0
    while True:
        trainer = Trainer(tmp_path / "parts", training, validation, SMALL, resume=resume)
        before = trainer.iteration
        done = trainer.train(stop=lambda t=trainer, b=before: t.iteration > b)
        resume, count = True, count + 1
        if done:
            break
    assert count == 13  # the last one for the interrupted validation only
    final = "snapshots/iter_12.safetensors"
    assert_same_tensors(tmp_path / "whole" / final, tmp_path / "parts" / final)
    assert_same_tensors(
        tmp_path / "whole" / "model.safetensors", tmp_path / "parts" / "model.safetensors"
    )


def test_an_interrupted_validation_is_made_up_for(tmp_path):
    training, validation = sets()
    Trainer(tmp_path / "whole", training, validation, SMALL).train()
    asked = []

    class StopWhileValidating(Observer):
        def validating(self, done, slices):
            asked.append(done)

    trainer = Trainer(
        tmp_path / "parts", training, validation, SMALL, observer=StopWhileValidating()
    )
    assert not trainer.train(stop=lambda: asked)
    assert trainer.iteration == 4
    assert read_log(tmp_path / "parts" / "log.csv")[-1].scores == {}
    Trainer(tmp_path / "parts", training, validation, SMALL, resume=True).train()
    logs = [read_log(tmp_path / run / "log.csv") for run in ("whole", "parts")]
    assert [row.scores for row in logs[0]] == [row.scores for row in logs[1]]


def test_threads_do_not_matter(tmp_path):
    from unet_native.ops import Context

    training = data_set()
    for threads in (1, 3):
        context = Context(threads=threads)
        Trainer(tmp_path / str(threads), training, settings=SMALL, context=context).train()
    assert_same_tensors(tmp_path / "1" / "model.safetensors", tmp_path / "3" / "model.safetensors")


# --- guards ---


def test_divergence_stops_and_keeps_the_snapshot(tmp_path):
    training = data_set()
    trainer = Trainer(tmp_path / "run", training, settings=SMALL)
    trainer.train(stop=lambda: trainer.iteration >= 6)
    good = (tmp_path / "run" / "snapshots" / "iter_6.safetensors").read_bytes()
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    wild = Trainer(tmp_path / "run", training, settings=SMALL, resume=True)
    wild.solver.net.parameters[2].blob.data[0] = np.nan
    with pytest.raises(DivergenceError, match=r"iteration 7: .* nan.*iter_6.*--base-lr") as caught:
        wild.train()
    assert "\n" not in str(caught.value)
    assert RunDirectory(tmp_path / "run").snapshot_paths()[0].name == "iter_6.safetensors"
    assert (tmp_path / "run" / "snapshots" / "iter_6.safetensors").read_bytes() == good
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trainer = Trainer(tmp_path / "run", data_set(), settings=SMALL)

    def poison():
        trainer.solver.history[-1][...] = np.inf
        trainer.solver.net.parameters[-1].blob.data[...] = np.inf
        return trainer.iteration >= 5

    with pytest.raises(DivergenceError):
        trainer.train(stop=poison)
    assert RunDirectory(tmp_path / "run").snapshot_paths() == []


def test_a_run_is_never_overwritten(tmp_path):
    training = data_set()
    Trainer(tmp_path / "run", training, settings=replace(SMALL, iterations=2)).train()
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.*")}
    with pytest.raises(UserError, match="holds a run already"):
        Trainer(tmp_path / "run", training, settings=SMALL)
    for changed in (replace(SMALL, seed=1), replace(SMALL, base_lr=1.0)):
        with pytest.raises(UserError, match="other settings"):
            Trainer(tmp_path / "run", training, settings=changed, resume=True)
    with pytest.raises(UserError, match="other training data"):
        Trainer(tmp_path / "run", data_set(seed=5), settings=SMALL, resume=True)
    with pytest.raises(UserError, match="larger --iterations"):
        Trainer(tmp_path / "run", training, settings=replace(SMALL, iterations=1), resume=True)
    with pytest.raises(UserError, match="no run to resume"):
        Trainer(tmp_path / "none", training, settings=SMALL, resume=True)
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.*")}
    assert not (tmp_path / "none").exists()


def test_damaged_newest_snapshot_falls_back(tmp_path):
    training = data_set()
    Trainer(tmp_path / "run", training, settings=SMALL).train()
    newest = tmp_path / "run" / "snapshots" / "iter_12.safetensors"
    reference = tensors(newest)
    newest.write_bytes(newest.read_bytes()[:-100])
    recorder = Recorder()
    trainer = Trainer(tmp_path / "run", training, settings=SMALL, resume=True, observer=recorder)
    assert trainer.iteration == 10
    assert "iter_12" in recorder.warnings[0]
    trainer.train()
    again = tensors(newest)
    for name, array in reference.items():
        np.testing.assert_array_equal(array, again[name])


def test_a_full_disk_does_not_end_the_run(tmp_path, monkeypatch):
    recorder = Recorder()
    trainer = Trainer(tmp_path / "run", data_set(), settings=SMALL, observer=recorder)
    written, solver_snapshot = [], trainer.solver.snapshot

    def sometimes_full(path):
        written.append(path.name)
        if len(written) in (1, 3):
            raise UserError(f"{path}: cannot be written (No space left on device)")
        return solver_snapshot(path)

    monkeypatch.setattr(trainer.solver, "snapshot", sometimes_full)
    trainer.train()
    assert written == [f"iter_{k}.safetensors" for k in (5, 10, 12, 12)], "the last one is retried"
    assert len(recorder.warnings) == 1
    assert "No space left" in recorder.warnings[0]
    assert RunDirectory(tmp_path / "run").snapshot_paths()[0].name == "iter_12.safetensors"


def test_killed_before_the_first_snapshot(tmp_path):
    training = data_set()
    Trainer(tmp_path / "whole", training, settings=SMALL).train()
    Trainer(tmp_path / "run", training, settings=SMALL).train()
    for path in (tmp_path / "run" / "snapshots").iterdir():
        path.unlink()
    trainer = Trainer(tmp_path / "run", training, settings=SMALL, resume=True)
    assert trainer.iteration == 0
    trainer.train()
    assert len(read_log(tmp_path / "run" / "log.csv")) == 12
    final = "snapshots/iter_12.safetensors"
    assert_same_tensors(tmp_path / "whole" / final, tmp_path / "run" / final)


def test_fine_tuning(tmp_path):
    training = data_set()
    Trainer(tmp_path / "first", training, settings=SMALL).train()
    model = Model.load(tmp_path / "first")
    tuned = Trainer(tmp_path / "second", training, settings=SMALL, weights=model)
    for name, blobs in tuned.solver.net.params.items():
        np.testing.assert_array_equal(blobs[0].data, model.net.params[name][0].data)
    with pytest.raises(UserError, match="do not fit"):
        Trainer(tmp_path / "third", training, settings=replace(SMALL, base_width=6), weights=model)
    images, labels = discs(2)
    labels[:, 36:] *= 2
    classes = DataSet.from_arrays(images, labels, classes=3)
    other = Trainer(tmp_path / "third", classes, settings=SMALL, weights=model)
    np.testing.assert_array_equal(
        other.solver.net.params["conv_d0a-b"][0].data, model.net.params["conv_d0a-b"][0].data
    )


def test_settings_are_refused_in_one_sentence():
    for wrong in (
        {"net": "unet"},
        {"tile": 75},
        {"tile": 3},
        {"base_width": 0},
        {"iterations": 0},
        {"seed": -1},
        {"base_lr": 0.0},
    ):
        with pytest.raises(UserError, match="--" + next(iter(wrong)).replace("_", "-")):
            replace(SMALL, **wrong)
    assert TrainSettings.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL


def test_a_half_written_row_is_dropped(tmp_path):
    path = tmp_path / "log.csv"
    log = Log(path)
    for k in (1, 2, 3):
        log.append(Row(k, 1 / k, 0.1 + 0.2, 1e-3, 0.5, {"iou": k / 7} if k == 2 else {}))
    log.close()
    text = path.read_text()
    path.write_text(text + text.splitlines()[-1][:9])
    again = Log(path, keep=2)
    again.close()
    assert again.rows == log.rows[:2]
    assert path.read_text() == "".join(text.splitlines(keepends=True)[:3])


@pytest.mark.parametrize("place", [(), ("augment",), ("weights",)])
def test_settings_of_a_later_version_are_refused_in_words(place):
    stored = TrainSettings().to_dict()
    part = stored
    for name in place:
        part = part[name]
    part["of_tomorrow"] = 1
    with pytest.raises(UserError, match=r"another version.*of_tomorrow"):
        TrainSettings.from_dict(stored)

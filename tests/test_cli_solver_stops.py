"""What ends ``train --solver`` early, or nearly: signals, a loss that is no number, a full disk."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

import small_caffe
import unet_native as caffe
from command_line import contents
from unet_native import cli, files
from unet_native.caffe import pycaffe
from unet_native.caffe.log import CaffeLog

TRAIN = ["train", "--solver", "solver.prototxt"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pycaffe, "_seed", [])
    return tmp_path


@pytest.fixture
def train(folder, capsys):
    """Writes the files with these fields and trains; returns exit status and log."""

    def run(*arguments, **fields):
        small_caffe.write_all(folder, **fields)
        capsys.readouterr()
        status = cli.run([*TRAIN, *arguments])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def when(monkeypatch):
    """Has something done once, when the log is told of an event of that iteration."""

    def arrange(event, iteration, do):
        tell = getattr(CaffeLog, event)

        def told(self, solver, *more):
            tell(self, solver, *more)
            if solver.iter == iteration and not done:
                done.append(True)
                do()

        done: list[bool] = []
        monkeypatch.setattr(CaffeLog, event, told)

    return arrange


def send(*numbers):
    def do():
        for number in numbers:
            os.kill(os.getpid(), number)

    return do


def iterations(folder, prefix="run"):
    """Of the snapshots that are there, both files of each."""
    found = [
        {int(re.search(r"_iter_(\d+)", path.name)[1]) for path in folder.glob(f"{prefix}_*.{kind}")}
        for kind in ("caffemodel", "solverstate")
    ]
    assert found[0] == found[1]
    assert not list(folder.glob(".*")), "no leftovers"
    return found[0]


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_iteration_with_a_snapshot(train, when, folder, number):
    before = signal.getsignal(number)
    when("displayed", 2, send(number))
    status, log = train()
    assert status == 0
    assert iterations(folder) == {3}
    assert log.count("Optimization stopped early.") == log.count("Optimization Done.") == 1
    assert "Iteration 3" not in log
    assert signal.getsignal(number) is before
    model = (folder / "run_iter_3.caffemodel").read_bytes()
    train(max_iter=3)
    assert (folder / "run_iter_3.caffemodel").read_bytes() == model


def test_a_stop_where_a_snapshot_is_due_writes_it_once(train, when, folder):
    when("displayed", 3, send(signal.SIGINT))
    status, log = train()
    assert (status, iterations(folder)) == (0, {4})
    assert log.count("Snapshotting to") == 1


@pytest.mark.parametrize(
    ("number", "arguments"),
    [(signal.SIGHUP, []), (signal.SIGINT, ["--sigint-effect", "snapshot"])],
)
def test_a_signal_takes_a_snapshot_and_training_goes_on(train, when, folder, number, arguments):
    when("displayed", 1, send(number))
    status, log = train(*arguments)
    assert (status, iterations(folder)) == (0, {2, 4, 6})
    assert "stopped early" not in log
    model = (folder / "run_iter_6.caffemodel").read_bytes()
    train()
    assert (folder / "run_iter_6.caffemodel").read_bytes() == model


def test_a_hang_up_may_stop(train, when, folder):
    when("displayed", 1, send(signal.SIGHUP))
    status, _ = train("--sighup-effect", "stop")
    assert (status, iterations(folder)) == (0, {2})


def test_signals_without_effect_do_nothing(train, when, folder):
    when("displayed", 1, send(signal.SIGINT, signal.SIGHUP))
    status, log = train("--sigint-effect", "none", "--sighup-effect", "none")
    assert (status, iterations(folder)) == (0, {4, 6})
    assert "stopped early" not in log


def test_a_signal_while_testing_stops(train, when, folder):
    when("testing", 3, send(signal.SIGINT))
    status, log = train()
    assert (status, iterations(folder)) == (0, {3})
    told = re.sub(r"^\S+ \S+ +\d+ ", "", log.partition("Iteration 3, Testing net")[2], flags=re.M)
    assert told.splitlines()[1:] == [
        "solver.cpp:396] Test interrupted.",
        "solver.cpp:464] Snapshotting to binary proto file run_iter_3.caffemodel",
        "sgd_solver.cpp:284] Snapshotting solver state to binary proto file run_iter_3.solverstate",
        "solver.cpp:311] Optimization stopped early.",
        "caffe.cpp:250] Optimization Done.",
    ]


def test_a_signal_while_testing_takes_a_snapshot(train, when, folder):
    when("testing", 3, send(signal.SIGHUP))
    status, log = train()
    assert (status, iterations(folder)) == (0, {3, 4, 6})
    assert log.count("Test net output #0") == 3, "at 0, 3 and 6"


def test_no_snapshot_after_training_holds_for_a_stop_too(train, when, folder):
    when("displayed", 1, send(signal.SIGINT))
    status, _ = train(snapshot_after_train="false")
    assert (status, iterations(folder)) == (0, set())


def test_a_signal_to_a_process(folder):
    small_caffe.write_all(folder, max_iter=1000000, snapshot=0, test_iter=None)
    process = subprocess.Popen(
        [sys.executable, "-c", "from unet_native.cli import main; main()", *TRAIN],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert any("Iteration 3, lr" in line for line in process.stderr)
        process.send_signal(signal.SIGHUP)
        assert any("run_iter_" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in rest
    assert "Optimization stopped early." in rest
    assert len(iterations(folder)) == 2


# --- divergence ---


@pytest.mark.parametrize("display", [0, 1])
def test_a_loss_that_is_no_number_ends_training(folder, capsys, display):
    """Samples 2 and 3 come in iteration 1."""
    small_caffe.write_all(folder, snapshot=1, display=display)
    with h5py.File("data.h5", "a") as file:
        file["data"][3, 0, 5, 5] = np.nan
    assert cli.run(TRAIN) == 2
    log = capsys.readouterr().err
    last = log.splitlines()[-1]
    assert last.startswith("unet-native: iteration 1: the loss is nan, the training has diverged; ")
    assert "base_lr (now 0.05), or check the data" in last
    assert log.count("Train net output #0: loss = nan") == display
    assert iterations(folder) == {1}
    solver = caffe.get_solver("solver.prototxt")
    solver.restore("run_iter_1.solverstate")
    assert solver.iter == 1


def test_weights_that_are_no_numbers_are_not_written(complaint, folder):
    """An update that is too large for a float, while the loss before it was fine."""
    small_caffe.write_all(folder, max_iter=3, snapshot=2, test_iter=None)
    assert cli.run(TRAIN) == 0
    before = contents(folder)
    wild = {"base_lr": 3e38, "weight_decay": 1e3}
    small_caffe.write_all(folder, max_iter=3, snapshot=1, test_iter=None, **wild)
    line = complaint(*TRAIN, "--snapshot=run_iter_2.solverstate")
    assert "iteration 2: some weights are no finite numbers any more" in line
    after = contents(folder)
    assert {p: d for p, d in after.items() if "run_iter" in p.name} == {
        p: d for p, d in before.items() if "run_iter" in p.name
    }


# --- snapshots that cannot be written ---


def test_a_folder_that_has_gone(complaint, folder, when):
    (folder / "out").mkdir()

    def replace_folder():
        (folder / "out").rename(folder / "kept")
        (folder / "out").write_text("")

    when("displayed", 3, replace_folder)
    small_caffe.write_all(folder, snapshot=2, snapshot_prefix='"out/run"')
    line = complaint(*TRAIN)
    assert line.startswith("unet-native: out/run_iter_4.caffemodel: cannot be written (")
    assert iterations(folder / "kept") == {2}
    solver = caffe.get_solver("solver.prototxt")
    os.remove("out")
    (folder / "kept").rename("out")
    solver.restore("out/run_iter_2.solverstate")


@pytest.mark.parametrize("kind", ["caffemodel", "solverstate"])
def test_a_full_disk(complaint, folder, monkeypatch, kind):
    """While the one file or the other of the second snapshot is written."""
    sync = files._sync

    def full(path):
        if path.name.startswith(".run_iter_4.") and path.suffix == f".{kind}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    monkeypatch.setattr(files, "_sync", full)
    small_caffe.write_all(folder, snapshot=2)
    line = complaint(*TRAIN)
    assert line.startswith(
        f"unet-native: run_iter_4.{kind}: cannot be written (No space left on device)"
    )
    kept = {path.name for path in folder.glob("*run_iter*")} | {p.name for p in folder.glob(".*")}
    whole = {"run_iter_2.caffemodel", "run_iter_2.solverstate"}
    assert kept == (whole if kind == "caffemodel" else whole | {"run_iter_4.caffemodel"})
    caffe.get_solver("solver.prototxt").restore("run_iter_2.solverstate")

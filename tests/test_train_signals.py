"""Signals and kills while training: an answer at once, and a snapshot that can be read."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from small_run import SMALL, sets, tensors
from unet_native import snapshot
from unet_native.train import Trainer
from unet_native.train.interrupt import Interrupt
from unet_native.train.log import read_log
from unet_native.train.run_directory import RunDirectory

_PROGRAM = """
import sys
from small_run import SMALL, sets
from dataclasses import replace
from unet_native.train import Observer, Trainer
from unet_native.train.interrupt import Interrupt

class Tell(Observer):
    def iteration(self, row, iterations):
        print(row.iteration, flush=True)

training, validation = sets()
settings = replace(SMALL, iterations=100000, snapshot=int(sys.argv[3]), test_interval=50)
trainer = Trainer(sys.argv[1], training, validation, settings, resume=sys.argv[2] == "resume",
                  observer=Tell())
with Interrupt(lambda name: print("got", name, flush=True)) as interrupt:
    trainer.train(stop=lambda: interrupt)
sys.exit(interrupt.exit_status)
"""


@contextmanager
def python(program, *arguments):
    """A process that runs `program`; killed at the end if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=os.path.dirname(__file__),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def training(run, mode="new", snapshot=1000):
    """A process that trains, and has done one iteration at least."""
    with python(_PROGRAM, run, mode, snapshot) as process:
        assert any(line.strip().isdigit() for line in process.stdout), "no iteration was done"
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_acknowledged_and_leaves_a_snapshot(tmp_path, number):
    with training(tmp_path / "run") as process:
        process.send_signal(number)
        sent = time.monotonic()
        acknowledged = next(line for line in process.stdout if line.startswith("got"))
        assert acknowledged == f"got {number.name}\n"
        assert time.monotonic() - sent < 0.3
        assert process.wait(20) == 128 + number
    newest = RunDirectory(tmp_path / "run").snapshot_paths()[0]
    done = read_log(tmp_path / "run" / "log.csv")[-1].iteration
    assert snapshot.read(newest).iteration == done
    assert RunDirectory(tmp_path / "run").model.exists()


def test_killed_at_any_moment_leaves_a_readable_snapshot(tmp_path):
    run = tmp_path / "run"
    mode = "new"
    rng = np.random.default_rng(0)
    for _ in range(4):
        with training(run, mode, snapshot=1) as process:  # a snapshot in each iteration
            time.sleep(rng.uniform(0.05, 0.4))
            process.kill()
        paths = RunDirectory(run).snapshot_paths()
        assert paths
        for path in paths:
            tensors(path)
        mode = "resume"
    settings = replace(SMALL, iterations=100000, snapshot=1, test_interval=50)
    trainer = Trainer(run, *sets(), settings, resume=True)
    assert trainer.iteration == snapshot.read(paths[0]).iteration
    trainer.train(stop=lambda: True)
    assert not list((run / "snapshots").glob(".*")), "leftovers of killed processes"


_SLOW_TO_OBEY = """
import time
from unet_native.train.interrupt import Interrupt

def say(word):
    return lambda name: print(word, name, flush=True)

with Interrupt(say("got"), say("left")):
    print("ready", flush=True)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(0.1)
"""


def test_a_second_signal_leaves_at_once():
    with python(_SLOW_TO_OBEY) as process:
        for expected in ("ready\n", "got SIGINT\n", "left SIGINT\n"):
            assert process.stdout.readline() == expected
            process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130


def test_interrupt_gives_the_handlers_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(lambda name: None) as interrupt:
        assert signal.getsignal(signal.SIGINT) is not before
        assert not interrupt
        assert interrupt.exit_status == 0
    assert signal.getsignal(signal.SIGINT) is before

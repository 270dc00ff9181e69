"""Replaying Caffe's logs: train_log*.txt, each with the solver file whose settings it prints.

All lines must be equal but for the stamps at their begin and the speeds.
"""

from __future__ import annotations

import re
import shutil

import pytest

from command_line import outside
from conformance.cases import files, folder
from unet_native.caffe import text

LOGS = files("", "train_log*.txt") or [
    pytest.param(None, marks=pytest.mark.skip(reason="no logs: see tests/shared.py"))
]

# What Caffe's parse_log.py and extract_seconds.py look for.
STAMP = re.compile(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+:\d+\] ")
ITERATION = re.compile(r"Iteration (\d+)")
TRAIN_OUTPUT = re.compile(r"Train net output #(\d+): (\S+) = ([\.\deE+-]+)")
TEST_OUTPUT = re.compile(r"Test net output #(\d+): (\S+) = ([\.\deE+-]+)")
RATE = re.compile(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)")


def plain(log):
    """The lines without stamps and speeds."""
    lines = [re.sub(r"^I\d+ [\d:.]+ +\d+ ", "", line) for line in log.splitlines()]
    return [re.sub(r"\(\S+ iter/s, \S+s/(\d+) iters\)", r"(\1 iters)", line) for line in lines]


def solver_of(log):
    """The solver file whose settings the log prints, and the options of the command line."""
    lines = plain(log)
    start = next(i for i, line in enumerate(lines) if "Initializing solver" in line) + 1
    stop = next(i for i in range(start, len(lines)) if "Creating training net" in lines[i])
    printed = text.parse("\n".join(lines[start:stop]), "SolverParameter", "log")
    options = [f"--weights={name}" for name in printed.weights]
    options += [
        f"--snapshot={m[1]}" for line in lines if (m := re.search("Resuming from (.+)", line))
    ]
    for field in ("train_state", "weights"):
        printed.ClearField(field)
    for path in folder("solver").glob("*_solver.prototxt"):
        if text.read(path, "SolverParameter") == printed:
            return path.name, options
    raise AssertionError("no solver file has the settings that the log prints")


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log and log.stem)
def test_replay(log, tmp_path):
    solver, options = solver_of(log.read_text())
    for path in folder("solver").iterdir():
        shutil.copy(path, tmp_path)
    done = outside("train", "--solver", solver, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-500:]
    assert plain(done.stderr) == plain(log.read_text())
    check_parsers(done.stderr)


def check_parsers(log):
    """Caffe's own parsers find what they look for."""
    stamped = [line for line in log.splitlines() if "] " in line]
    assert all(STAMP.match(line) for line in stamped if line.startswith("I"))
    for pattern in (ITERATION, TRAIN_OUTPUT, TEST_OUTPUT, RATE):
        assert pattern.search(log), pattern.pattern
    assert "Solving " in log

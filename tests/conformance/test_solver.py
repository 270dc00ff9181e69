"""Solver trajectories against BVLC Caffe: solver/<case>_solver.prototxt with <case>_traj.npz.

Every run starts from init.caffemodel. w:, b:<layer> hold the parameters before the first iteration
and after each; dw:, db: the sum of gradients before clipping, division and decay; vw:, vb: the
momentum after each. <case>_iter_<N>.solverstate is Caffe's own snapshot after N iterations.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pytest

import unet_native as caffe
from conformance.cases import arrays_of, files, folder, parametrize, relative_error
from unet_native.caffe import schema

# Of the largest magnitude over all iterations.
TOLERANCES = {"w": 1e-6, "b": 1e-6, "d": 1e-5, "v": 1e-5, "lr": 1e-6, "loss": 2e-6}


def case_of(path):
    return path.name.removesuffix("_traj.npz")


def solver_of(case, monkeypatch, tmp_path, context=None):
    """The solver of a case; what it writes goes to a folder of its own."""
    monkeypatch.chdir(case.parent)
    name = f"{case_of(case)}_solver.prototxt"
    solver = caffe.get_solver(name, algorithm="direct", context=context)
    from dataclasses import replace

    prefix = str(tmp_path / case_of(case))
    solver.settings = replace(solver.settings, snapshot_prefix=prefix, display=0)
    return solver


class Recorder:
    """What a trajectory holds, under the same names."""

    def __init__(self, solver):
        self.solver = solver
        self.found = defaultdict(list)
        self.record_params()
        solver.add_callback(lambda: None, self.record_gradients)

    def record_params(self):
        for param in self.solver.net.parameters:
            self.found[f"{'wb'[param.index]}:{param.layer.name}"].append(param.blob.data.copy())

    def record_gradients(self):
        self.found["lr"].append(self.solver.lr)
        self.found["loss"].append(self.solver.loss)
        for param in self.solver.net.parameters:
            key = f"d{'wb'[param.index]}:{param.layer.name}"
            self.found[key].append(param.blob.diff.copy())

    def step(self):
        self.solver.step(1)
        self.record_params()
        for param, history in zip(self.solver.net.parameters, self.solver.history, strict=True):
            key = f"v{'wb'[param.index]}:{param.layer.name}"
            self.found[key].append(np.array(history))
            np.testing.assert_array_equal(param.blob.diff, history)  # as Caffe leaves it


def compare(found, expected, first):
    """The recorded iterations from `first` on, within the tolerances of the whole trajectory."""
    for key, values in found.items():
        kind = key if key in TOLERANCES else key[0]
        reference = expected[key]
        largest = np.abs(reference).max()
        part = reference[first:]
        assert len(values) == len(part), key
        error = np.abs(np.array(values, np.float64) - part).max() / largest
        assert error <= TOLERANCES[kind], f"{key}: {error:.2g} of the trajectory's largest"
    names = {key for key in expected if ":" in key}
    assert names == {key for key in found if ":" in key}


@parametrize("solver", "*_traj.npz")
def test_trajectory(case, monkeypatch, tmp_path, context):
    expected = arrays_of(case)
    solver = solver_of(case, monkeypatch, tmp_path, context)
    solver.net.copy_from("init.caffemodel")
    recorder = Recorder(solver)
    for _ in range(len(expected["iteration"])):
        recorder.step()
    compare(recorder.found, expected, 0)


def iteration_of(state):
    return int(re.search(r"_iter_(\d+)\.", state.name)[1])


def trajectory_of(state):
    """The trajectory that a snapshot of Caffe's was taken on."""
    return state.with_name(f"{state.name.rpartition('_iter_')[0]}_traj.npz")


of_each_snapshot = parametrize(
    "solver", "*_iter_*.solverstate*", lambda state: trajectory_of(state).exists()
)


@of_each_snapshot
def test_resuming_caffes_snapshot_continues_caffes_trajectory(case, monkeypatch, tmp_path, context):
    trajectory, iteration = trajectory_of(case), iteration_of(case)
    expected = arrays_of(trajectory)
    solver = solver_of(trajectory, monkeypatch, tmp_path, context)
    solver.restore(case.name)
    assert solver.iter == iteration
    recorder = Recorder(solver)
    for _ in range(len(expected["iteration"]) - iteration):
        recorder.step()
    compare(recorder.found, expected, iteration)


@of_each_snapshot
def test_our_snapshot_is_caffes_but_for_rounding(case, monkeypatch, tmp_path):
    """The same files, named alike, and equal byte for byte where they hold no floats."""
    trajectory = trajectory_of(case)
    solver = solver_of(trajectory, monkeypatch, tmp_path)
    solver.net.copy_from("init.caffemodel")
    solver.step(iteration_of(case))
    ours = tmp_path / case.name
    assert ours.exists()
    other = caffe.SGDSolver(f"{case_of(trajectory)}_solver.prototxt", algorithm="direct")
    other.restore(ours)
    for one, two in zip(solver.history, other.history, strict=True):
        np.testing.assert_array_equal(one, two)
    if case.suffix == ".h5":
        return
    for kind, name in (
        ("NetParameter", case.name.replace("solverstate", "caffemodel")),
        ("SolverState", case.name),
    ):
        found = message_of(kind, tmp_path / name)
        expected = message_of(kind, case.parent / name)
        if kind == "SolverState":
            found.learned_net = found.learned_net.rpartition("/")[2]
        for a, b in zip(blobs_of(found), blobs_of(expected), strict=True):
            for field in ("data", "diff"):
                one, two = (np.array(getattr(blob, field)) for blob in (a, b))
                assert relative_error(one, two) <= 1e-5 or not two.any()
                a.ClearField(field)
                b.ClearField(field)
        assert found == expected


def message_of(kind, path):
    message = schema.new(kind)
    message.ParseFromString(path.read_bytes())
    return message


def blobs_of(message):
    if hasattr(message, "history"):
        return list(message.history)
    return [blob for layer in message.layer for blob in layer.blobs]


def test_the_folder_has_cases():
    if folder("solver") is None:
        pytest.skip("no golden data: see tests/shared.py")
    assert files("solver", "*_traj.npz")

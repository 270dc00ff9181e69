"""AdamSolver: an iteration recomputed in float64, the plans, and its snapshots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import reference
from closeness import assert_close
from test_solver import SETTINGS as SGD
from test_solver import feed, small_spec, state_of
from unet_native.errors import UserError
from unet_native.ops import Context
from unet_native.solver import SGDSolver, SolverSettings
from unet_native.solvers import AdamSolver, make_solver

SETTINGS = replace(SGD, type="Adam", base_lr=0.01, momentum=0.9, momentum2=0.99, delta=1e-6)


def solver_of(settings: SolverSettings = SETTINGS, **options) -> AdamSolver:
    solver = make_solver(settings, small_spec(), feed=feed, **options)
    assert type(solver) is AdamSolver
    return solver


def test_the_type_decides():
    assert type(make_solver(SGD, small_spec())) is SGDSolver
    with pytest.raises(ValueError, match="solver type 'AdaGrad': use SGD or Adam"):
        make_solver(replace(SGD, type="AdaGrad"), small_spec())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1, "iter_size": 3},
        {"clip_gradients": 0.05},
        {"clip_gradients": 1e6},
        {"clip_gradients": 0.05, "iter_size": 2, "weight_decay": 0.1},
        {"regularization_type": "L1", "weight_decay": 0.01},
        {"momentum": 0.0, "momentum2": 0.5},
        {"lr_policy": "step", "gamma": 0.1, "stepsize": 2},
    ],
)
def test_order_of_clip_normalize_regularize_update(settings):
    s = replace(SETTINGS, **settings)
    solver = solver_of(s)
    seen = []
    solver.add_callback(
        lambda: None,
        lambda: seen.append([p.blob.diff.astype(np.float64) for p in solver.net.parameters]),
    )
    params = solver.net.parameters
    weights = [p.blob.data.astype(np.float64) for p in params]
    moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]
    for t in range(4):
        rate = s.base_lr * (s.gamma ** (t // 2) if s.lr_policy == "step" else 1)
        solver.step(1)
        diffs = seen.pop()
        norm = np.sqrt(sum((diff**2).sum() for diff in diffs))
        clip = s.clip_gradients / norm if 0 < s.clip_gradients < norm else 1
        assert (clip < 1) == (s.clip_gradients == 0.05)
        for i, (param, diff) in enumerate(zip(params, diffs, strict=True)):
            before = weights[i]
            weights[i], *moments[i] = reference.adam(
                before,
                diff,
                moments[i],
                rate=rate * param.spec.lr_mult,
                step=t + 1,
                momentum=s.momentum,
                momentum2=s.momentum2,
                delta=s.delta,
                weight_decay=s.weight_decay * param.spec.decay_mult,
                regularization=s.regularization_type,
                scale=clip / s.iter_size,
            )
            # Each iteration rounds a few times; the updates of all are of the size of the rate.
            assert_close(param.blob.data, weights[i], 2e-6, floor=10 * rate)
            assert_close(solver.history[i], moments[i][0], 2e-6)
            assert_close(solver.history[i + len(params)], moments[i][1], 4e-6)
            assert_close(param.blob.diff, before - weights[i], 2e-5, floor=rate)


def test_iter_size_sums_and_divides():
    """Twice the same image in one iteration is once, but for the order of the sums."""
    spec = small_spec(dropout_ratio=0.0)
    once = AdamSolver(SETTINGS, spec, feed=feed)
    twice = AdamSolver(replace(SETTINGS, iter_size=2), spec, feed=lambda k: feed(k // 2))
    for solver in (once, twice):
        solver.step(1)
    assert twice.loss == once.loss
    count = len(once.net.parameters)
    for i, (one, two) in enumerate(zip(once.history, twice.history, strict=True)):
        assert_close(two, one.astype(np.float64), 1e-5 if i < count else 2e-5)


@pytest.mark.parametrize("settings", [{}, {"iter_size": 2}, {"clip_gradients": 0.1}])
def test_lean_and_observable_training_give_the_same_bits(settings):
    s = replace(SETTINGS, **settings)
    observable = solver_of(s, context=Context(threads=1))
    lean = solver_of(s, plan="lean", context=Context(threads=2))
    for solver in (observable, lean):
        solver.step(3)
    assert state_of(lean) == state_of(observable)
    assert len(lean.history) == 2 * len(lean.net.parameters)
    assert lean.loss == observable.loss
    assert (lean.net.memory()["diffs of parameters"] == 0) == (not settings)


@pytest.mark.parametrize("format", ["SAFETENSORS", "BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_a_run_that_is_resumed_gives_the_same_bits(tmp_path, format, plan):
    s = replace(
        SETTINGS,
        lr_policy="multistep",
        gamma=0.5,
        stepvalue=(2, 4),
        snapshot_format=format,
        snapshot_prefix=str(tmp_path / "s"),
        snapshot=3,
    )
    unbroken = solver_of(s, plan=plan)
    unbroken.step(6)
    ending = {"SAFETENSORS": "safetensors", "BINARYPROTO": "solverstate", "HDF5": "solverstate.h5"}
    resumed = solver_of(replace(s, random_seed=s.random_seed), plan=plan)
    for param in resumed.net.parameters:
        param.blob.data[...] = np.nan
    resumed.restore(tmp_path / f"s_iter_3.{ending[format]}")
    assert (resumed.iter, resumed.current_step) == (3, 1)
    resumed.step(3)
    assert state_of(resumed) == state_of(unbroken)
    assert resumed.lr == unbroken.lr
    assert resumed.loss == unbroken.loss


@pytest.mark.parametrize("format", ["SAFETENSORS", "BINARYPROTO", "HDF5"])
def test_the_state_of_another_solver_is_refused_and_nothing_changes(tmp_path, format):
    s = replace(SGD, snapshot_format=format, snapshot_prefix=str(tmp_path / "s"))
    sgd = make_solver(s, small_spec(), feed=feed)
    sgd.step(1)
    path = sgd.snapshot()
    adam = solver_of()
    adam.step(2)
    before = state_of(adam)
    with pytest.raises(UserError, match=r"SGD|history|momentum"):
        adam.restore(path)
    assert (adam.iter, state_of(adam)) == (2, before)

"""What a solver tells its observer, in which order, and what `action` may ask of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from test_solver import SETTINGS, feed, small_spec, state_of
from unet_native.solver import SGDSolver, SolverObserver, SolverSettings


class Notes(SolverObserver):
    """Writes down what it is told, one word or a few for each call."""

    def __init__(self):
        self.said: list[str] = []

    def solving(self, solver):
        self.said.append("solving")

    def displayed(self, solver):
        self.said.append(f"displayed {solver.iter}")

    def stepped(self, solver):
        self.said.append(f"stepped {solver.current_step}")

    def rated(self, solver, rate):
        assert rate == solver._schedule.rate(solver.iter, solver.current_step)
        self.said.append(f"rated {rate:g}")

    def clipped(self, norm, limit):
        assert norm > limit
        self.said.append(f"clipped {limit:g}")

    def testing(self, solver, index):
        self.said.append(f"testing {index} at {solver.iter}")

    def tested(self, net, scores):
        assert net.phase == "TEST"
        self.said.append(f"tested {' '.join(scores)}")

    def snapshotting(self, model, state):
        self.said.append(f"snapshot {model.rpartition('/')[2]} {state.rpartition('/')[2]}")

    def ended(self, solver):
        self.said.append(f"ended {solver.iter}")

    def done(self, stopped):
        self.said.append(f"done {stopped}")


def solver_of(tmp_path, requests=(), **settings) -> tuple[SGDSolver, Notes]:
    """A solver whose `action` answers with `requests`, one after the other."""
    s = replace(
        SETTINGS, snapshot_format="BINARYPROTO", snapshot_prefix=str(tmp_path / "s"), **settings
    )
    answers, notes = iter(requests), Notes()
    solver = SGDSolver(
        s,
        small_spec(),
        feed=feed,
        test_feed=lambda k: {"data": feed(k)["data"]},
        observer=notes,
        action=lambda: next(answers, None),
    )
    return solver, notes


def test_the_order_of_a_whole_run(tmp_path):
    solver, notes = solver_of(
        tmp_path,
        max_iter=4,
        display=2,
        test_iter=(1, 1),
        test_interval=2,
        snapshot=3,
        lr_policy="multistep",
        gamma=0.5,
        stepvalue=(2,),
        clip_gradients=1e-6,
    )
    solver.solve()
    assert (
        notes.said
        == """solving
        testing 0 at 0, tested score, testing 1 at 0, tested score
        displayed 0, rated 0.02, clipped 1e-06
        clipped 1e-06
        testing 0 at 2, tested score, testing 1 at 2, tested score
        displayed 2, stepped 1, rated 0.01, clipped 1e-06
        snapshot s_iter_3.caffemodel s_iter_3.solverstate
        clipped 1e-06
        snapshot s_iter_4.caffemodel s_iter_4.solverstate
        ended 4
        testing 0 at 4, tested score, testing 1 at 4, tested score
        done False""".replace("\n        ", ", ").split(", ")
    )


def test_without_display_and_tests_only_the_ends_are_told(tmp_path):
    solver, notes = solver_of(tmp_path, max_iter=2)
    solver.solve()
    assert notes.said == [
        "solving",
        "snapshot s_iter_2.caffemodel s_iter_2.solverstate",
        "done False",
    ]
    solver, notes = solver_of(tmp_path, max_iter=2, snapshot=2, snapshot_after_train=True)
    solver.solve()
    assert len([line for line in notes.said if line.startswith("snapshot")]) == 1, "not twice"
    solver, notes = solver_of(tmp_path, max_iter=2, snapshot_after_train=False)
    solver.solve()
    assert notes.said == ["solving", "done False"]


def test_a_test_before_the_first_iteration_may_be_left_out(tmp_path):
    options = {"test_iter": (1,), "test_interval": 2, "test_initialization": False}
    solver, notes = solver_of(tmp_path, **options)
    solver.step(3)
    assert notes.said == ["testing 0 at 2", "tested score"]


def test_stop_ends_after_the_iteration_with_a_snapshot(tmp_path):
    solver, notes = solver_of(tmp_path, [None, "stop"], max_iter=10, display=10)
    solver.solve()
    assert (solver.iter, solver.stopped) == (2, True)
    assert notes.said == [
        "solving",
        "displayed 0",
        "rated 0.02",
        "snapshot s_iter_2.caffemodel s_iter_2.solverstate",
        "done True",
    ], "no last test, no last forward pass"
    resumed, _ = solver_of(tmp_path, max_iter=4)
    resumed.solve(tmp_path / "s_iter_2.solverstate")
    assert (resumed.iter, resumed.stopped) == (4, False)
    unbroken, _ = solver_of(tmp_path, max_iter=4)
    unbroken.solve()
    assert state_of(resumed) == state_of(unbroken)


def test_a_solver_that_was_stopped_goes_on(tmp_path):
    solver, _ = solver_of(tmp_path, ["stop"], max_iter=3)
    solver.step(3)
    assert (solver.iter, solver.stopped) == (1, True)
    solver.step(2)
    assert (solver.iter, solver.stopped) == (3, False)
    straight, _ = solver_of(tmp_path)
    straight.step(3)
    assert state_of(solver) == state_of(straight)


def test_a_snapshot_on_request_changes_nothing(tmp_path):
    solver, notes = solver_of(tmp_path, [None, "snapshot", None])
    solver.step(3)
    assert notes.said == ["snapshot s_iter_2.caffemodel s_iter_2.solverstate"]
    straight, _ = solver_of(tmp_path)
    straight.step(3)
    assert state_of(solver) == state_of(straight)
    restored, _ = solver_of(tmp_path)
    restored.restore(tmp_path / "s_iter_2.solverstate")
    restored.step(1)
    assert state_of(restored) == state_of(straight)


def test_requests_during_a_test(tmp_path):
    """Asked before every pass: a snapshot of the iteration that comes next, or an end at once."""
    options = {"test_iter": (3, 2), "test_interval": 2, "max_iter": 5}
    solver, notes = solver_of(
        tmp_path, [None, "snapshot", None, None, None, None, None, None, "stop"], **options
    )
    solver.solve()
    assert notes.said == [
        "solving",
        "testing 0 at 0",
        "snapshot s_iter_0.caffemodel s_iter_0.solverstate",
        "tested score",
        "testing 1 at 0",
        "tested score",
        "testing 0 at 2",
        "snapshot s_iter_2.caffemodel s_iter_2.solverstate",
        "done True",
    ]
    assert (solver.iter, solver.stopped) == (2, True)
    assert len(solver.test_scores) == 2, "those of the test that was completed"
    whole, _ = solver_of(tmp_path, **options)
    whole.step(2)
    assert state_of(solver) == state_of(whole)


def test_scores_are_means_over_the_passes(tmp_path):
    seen = {}

    class Scores(SolverObserver):
        def tested(self, net, scores):
            seen.update({name: values.copy() for name, values in scores.items()})

    solver, _ = solver_of(tmp_path, test_iter=(3,), test_interval=1)
    solver.observer = Scores()
    solver.test_all()
    net = solver.test_nets[0]
    passes = [net.forward(data=feed(k)["data"])["score"].astype(np.float64) for k in range(3)]
    np.testing.assert_allclose(seen["score"], np.mean(passes, axis=0), rtol=1e-5, atol=1e-6)
    assert solver.test_scores[0]["score"].shape == seen["score"].shape


def test_callbacks_frame_the_passes(tmp_path):
    solver, notes = solver_of(tmp_path, display=1, iter_size=2)
    solver.add_callback(lambda: notes.said.append("start"), lambda: notes.said.append("ready"))
    solver.step(2)
    assert notes.said == [
        "start", "displayed 0", "ready", "rated 0.02",
        "start", "displayed 1", "ready", "rated 0.02",
    ]  # fmt: skip


@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_an_observer_of_nothing_and_no_action_are_the_default(plan):
    settings = SolverSettings(base_lr=0.02, display=1, random_seed=1)
    solver = SGDSolver(settings, small_spec(), feed=feed, plan=plan)
    solver.step(1)
    assert (solver.iter, solver.stopped) == (1, False)

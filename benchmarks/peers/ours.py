"""This project's side of the comparison."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.peers.problem import Problem
from unet_native.ops import Context
from unet_native.solver import SGDSolver, SolverSettings


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    context = Context(threads=threads)
    if mode == "forward":
        net = problem.net(context=context)
        return lambda: net.forward(data=problem.data)["score"]
    solver = solver_of(problem, context)
    return lambda: solver.step(1)


def solver_of(problem: Problem, context: Context, kind: type[SGDSolver] = SGDSolver) -> SGDSolver:
    """Trains on the one image of the problem."""
    inputs = {"data": problem.data, "label": problem.label, "weight": problem.weight}
    settings = SolverSettings(base_lr=1e-4, momentum=0.99, random_seed=1)
    return kind(settings, problem.spec, feed=lambda _: inputs, plan="lean", context=context)

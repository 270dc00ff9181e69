"""The whole network on a device: a step of training, inference, segmentation of an image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks import timing
from benchmarks.gpu.check import TOLERANCE, Finding, relative_error
from benchmarks.gpu.pytorch import PyTorch
from benchmarks.gpu.race import OURS, PYTORCH
from benchmarks.peers.problem import Problem
from unet_native.ops import Context
from unet_native.ops.arrays import Array
from unet_native.segment import Segmenter
from unet_native.solver import SGDSolver, SolverSettings

CHECKED_STEPS = 3  # on a device the first runs as it is, the second is recorded, the third replays
IMAGE = 512  # pixels a side, of the image that is segmented: a slice of the paper's first data set


def step(problem: Problem, context: Context, *, replays: bool = True) -> Callable[[], float]:
    """A step of training; returns the loss. replays: whether a device may launch a recording."""
    inputs = {"data": problem.data, "label": problem.label, "weight": problem.weight}
    settings = SolverSettings(base_lr=1e-4, momentum=0.99, random_seed=1)
    solver = SGDSolver(settings, problem.spec, feed=lambda _: inputs, plan="lean", context=context)
    if not replays:
        solver.net.on_step = lambda *_: None  # steps that somebody follows are not recorded

    def run() -> float:
        solver.step(1)
        return solver.loss

    return run


def forward(problem: Problem, context: Context) -> Callable[[], Array]:
    """Inference of one tile, from the host and back; returns the scores."""
    net = problem.net(context=context)
    return lambda: np.array(net.forward(data=problem.data)["score"])


def segmentation(problem: Problem, context: Context) -> Callable[[], Array]:
    """Probabilities of an image, cut into the tiles that suit it."""
    shape = (1, IMAGE, IMAGE)
    image = np.random.default_rng(5).standard_normal(shape, np.float32)
    segmenter = Segmenter(problem.spec, problem.net(context=context), context=context)
    return lambda: segmenter.probabilities(image)


def check(
    problem: Problem, contexts: dict[str, Context], say: Callable[[Finding], object]
) -> list[Finding]:
    """The scores, and the losses of the first steps, against the CPU, twice."""
    scores, losses = forward(problem, Context())(), _losses(problem, Context())
    # The loss of a pixel moves by no more than twice what its scores do, however small it is.
    magnitude = float(np.abs(scores).max())
    findings = []
    for math, context in contexts.items():
        found = [forward(problem, context)() for _ in range(2)]
        error = relative_error(found[0], scores)
        findings.append(Finding("network scores", math, error, np.array_equal(*found)))
        say(findings[-1])
        found = [_losses(problem, context) for _ in range(2)]
        error = relative_error(found[0], losses, floor=magnitude)
        name = f"network losses of {CHECKED_STEPS} steps"
        findings.append(Finding(name, math, error, np.array_equal(*found)))
        say(findings[-1])
    return findings


def _losses(problem: Problem, context: Context) -> Array:
    run = step(problem, context)
    return np.array([run() for _ in range(CHECKED_STEPS)])


def race(
    problem: Problem,
    contexts: dict[str, Context],
    pytorch: PyTorch | None,
    *,
    repeats: int,
    say: Callable[[dict], object],
) -> list[dict]:
    """A row for each mode and math, as page.py wants it.

    Each run ends with a result on the host, so its clock will do. The first ones, in which steps
    are recorded, are not counted.
    """
    rows = []
    for math, context in contexts.items():
        for mode, runs in _modes(problem, math, context, pytorch).items():
            made = {name: make() for name, make in runs.items()}
            notes = leave_out_what_differs(made, math) if mode == "forward" else {}
            seconds = timing.alternate(made, repeats=repeats, warm_up=CHECKED_STEPS)
            rows.append(
                {
                    "mode": mode,
                    "math": math,
                    "seconds": {name: timing.median(values) for name, values in seconds.items()},
                    "spread": {name: [min(v), max(v)] for name, v in seconds.items()},
                    "notes": notes,
                }
            )
            say(rows[-1])
    return rows


def _modes(
    problem: Problem, math: str, context: Context, pytorch: PyTorch | None
) -> dict[str, dict[str, Callable]]:
    """By mode and competitor, what sets it up."""
    modes = {
        "step": {
            OURS: partial(step, problem, context),
            f"{OURS}, not replayed": partial(step, problem, context, replays=False),
        },
        "forward": {OURS: partial(forward, problem, context)},
        f"segmentation of {IMAGE}x{IMAGE}": {OURS: partial(segmentation, problem, context)},
    }
    if pytorch is not None:
        modes["step"][PYTORCH] = partial(pytorch.step, problem, math)
        modes["forward"][PYTORCH] = partial(pytorch.forward, problem, math)
    return modes


def leave_out_what_differs(runs: dict[str, Callable[[], Array]], math: str) -> dict[str, str]:
    """Takes PyTorch out of `runs` where its scores are others; the note that says so."""
    if PYTORCH not in runs:
        return {}
    error = relative_error(runs[PYTORCH](), runs[OURS]())
    if error <= 2 * TOLERANCE[math]:  # both may err
        return {}
    del runs[PYTORCH]
    return {PYTORCH: f"computes something else, off by {error:.1e}"}

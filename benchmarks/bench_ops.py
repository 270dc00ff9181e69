"""Where the time of a training step goes, by op.

``python -m benchmarks.bench_ops`` writes its table. The passes are called and timed one by one, not
launched as a whole.
"""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter

from benchmarks import report, timing
from benchmarks.peers import ours
from benchmarks.peers.problem import Problem
from unet_native import _core
from unet_native.layers import Layer
from unet_native.ops import Context
from unet_native.solver import SGDSolver

THREADS = _core.default_threads()
PROBLEM = Problem(572, 64)
WARM_UP, STEPS = 2, 9
PRODUCTS = "3x3 convolutions"
#: Most that all ops but those are to take of a step.
WANTED = 0.15
OPS = {
    "Deconvolution": "up-convolutions",
    "Pooling": "pooling, with crop and ReLU on the way back",
    "Crop": "crop and concat",
    "Concat": "crop and concat",
    "ReLU": "ReLU, where no op before it applies it",
    "Dropout": "dropout",
    "SoftmaxWithLoss": "loss",
}


def op_of(layer: Layer, channels: int) -> str:
    """What the table calls the op of a layer whose bottom has so many channels."""
    if layer.type != "Convolution":
        return OPS[layer.type]
    if layer.spec.convolution_param.kernel_size == 1:
        return "1x1 convolution"
    return "first layer" if channels == PROBLEM.data.shape[1] else PRODUCTS


class TimedSolver(SGDSolver):
    """Times the update of each parameter."""

    def __init__(self, *arguments, **options):
        self.seconds: defaultdict[str, float] = defaultdict(float)
        super().__init__(*arguments, **options)

    def _apply(self, *arrays, **how) -> None:
        start = perf_counter()
        super()._apply(*arrays, **how)
        self.seconds["update"] += perf_counter() - start


def measure() -> list[dict[str, float]]:
    """Seconds by op, of each step."""
    solver = ours.solver_of(PROBLEM, Context(threads=THREADS), TimedSolver)
    net = solver.net
    names = {
        layer.name: op_of(layer, (*net.plan.shapes[layer.spec.bottom[0]], 0, 0)[1])
        for layer in net.layers
        if layer.spec.bottom
    }

    def add(layer: str, step: str, seconds: float) -> None:
        if layer in names:
            solver.seconds[names[layer]] += seconds

    net.on_step = add
    steps = []
    for turn in range(WARM_UP + STEPS):
        solver.seconds.clear()
        solver.step(1)
        if turn >= WARM_UP:
            steps.append(dict(solver.seconds))
    return steps


def main() -> None:
    steps = measure()
    medians = {name: timing.median([step[name] for step in steps]) for name in steps[0]}
    total = sum(medians.values())
    others = 1 - medians[PRODUCTS] / total
    verdict = "met" if others <= WANTED else "MISSED"
    rows = [
        [name, f"{1e3 * seconds:.1f}", f"{seconds / total:.1%}"]
        for name, seconds in sorted(medians.items(), key=lambda item: -item[1])
    ]
    for row in rows:
        print("  ".join(row))
    report.write_section(
        "ops-572-64",
        "Ops of a training step, 572 pixels, width 64",
        [
            timing.machine(THREADS),
            f"Medians of {STEPS} steps, all passes of an op together.",
            f"- all but the 3x3 convolutions: {others:.1%}, wanted at most {WANTED:.0%}, {verdict}",
        ],
        ["op", "ms", "share"],
        rows,
    )


if __name__ == "__main__":
    main()

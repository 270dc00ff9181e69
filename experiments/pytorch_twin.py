"""The same training in PyTorch: are the losses equal, and how much longer does a step take?

    python -m experiments.pytorch_twin          needs PyTorch (pip install ".[bench]")

The network, its initial weights, the tiles, the dropout masks, the schedule and Caffe's update are
those of the row ``isbi2012``. First each trains for some iterations; then they take turns, one step
each, on the same threads. Without the images of ISBI 2012 (``UNET_NATIVE_DATA``) synthetic ones are
taken, with which a step takes as long.

Rounding differs, and training amplifies what differs, so "equal" needs a measure: this project's
two algorithms for the 3x3 convolutions, which differ by rounding alone, are compared likewise.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from benchmarks import timing
from experiments import isbi2012
from experiments.row import RESULTS, Row, arguments, data_folder
from unet_native import _core, ops
from unet_native.data.dataset import DataSet
from unet_native.data.load import load_training_set
from unet_native.data.sampler import Sampler
from unet_native.data.synthetic import synthetic_em
from unet_native.files import write_text
from unet_native.solver import SGDSolver
from unet_native.train import TrainSettings

NAME = "pytorch-twin"
ITERATIONS = 200
FORMATS = ("contiguous", "channels_last")

Tile = tuple[np.ndarray, np.ndarray, np.ndarray]
Step = Callable[[int], float]  # from an iteration, counted from 0, to its loss


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=15, help="timed steps of each")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--tile", type=int, default=572)
    given = parser.parse_args()
    settings = TrainSettings(
        base_width=given.width,
        tile=given.tile,
        base_lr=0.004,
        lr_policy="poly",
        power=1.0,
        warmup=300,
        iterations=isbi2012.ITERATIONS,
        seed=given.seed,
    )
    dataset, source = _data_set(given)
    sampler = Sampler(dataset, settings.tile, settings.tile_out, seed=settings.seed)
    tiles = lru_cache(maxsize=8)(sampler.sample)
    threads = _core.default_threads()
    makers = {
        "unet_native": partial(ours, settings, tiles, "auto", threads),
        "unet_native, direct": partial(ours, settings, tiles, "direct", threads),
        "PyTorch": partial(theirs, settings, tiles, FORMATS[0], threads),
    }
    iterations = given.iterations or ITERATIONS
    losses = {name: _trained(name, make(), iterations) for name, make in makers.items()}
    seconds = _raced(settings, tiles, threads, given.turns)
    result = {
        "experiment": NAME,
        "data": source,
        "width": settings.base_width,
        "tile": settings.tile,
        "machine": timing.machine(threads),
        "iterations": iterations,
        "largest_relative_difference_of_losses": {
            name: _difference(losses["unet_native"], values)
            for name, values in losses.items()
            if name != "unet_native"
        },
        "seconds_a_step": {name: round(timing.median(s), 4) for name, s in seconds.items()},
        "ratio": round(_best(seconds) / timing.median(seconds["unet_native"]), 2),
    }
    text = json.dumps(result, indent=1) + "\n"
    given.work.mkdir(parents=True, exist_ok=True)
    write_text(given.work / f"{NAME}.json", text)
    write_text(given.work / f"{NAME}-losses.json", json.dumps(losses) + "\n")
    if given.iterations is None:
        write_text(RESULTS / f"{NAME}.json", text)
    print(text)


def ours(
    settings: TrainSettings, tiles: Callable[[int], Tile], algorithm: str, threads: int
) -> Step:
    """A training by this project, as unet_native.train.Trainer does it."""

    def feed(k: int) -> dict[str, np.ndarray]:
        return dict(zip(("data", "label", "weight"), tiles(k), strict=True))

    solver = _solver(settings, feed, algorithm, threads)

    def step(k: int) -> float:
        solver.net.blobs["loss"].diff[...] = settings.warmup_factor(k)
        solver.step(1)
        return float(solver.loss)

    return step


def theirs(
    settings: TrainSettings, tiles: Callable[[int], Tile], layout: str, threads: int
) -> Step:
    """The same by PyTorch, from the same weights."""
    import torch
    from torch.nn import functional

    from benchmarks.peers.pytorch_net import UNet

    torch.set_num_threads(threads)
    solver = _solver(settings, None, "auto", threads)  # initial weights and schedule
    dropout_layers = [layer.index for layer in solver.net.layers if layer.spec.type == "Dropout"]
    iteration = 0

    def dropout(x: torch.Tensor, level: int) -> torch.Tensor:
        mask = ops.dropout_mask(
            tuple(x.shape),
            0.5,
            seed=settings.seed,
            iteration=iteration,
            layer=dropout_layers[level - 3],
        )
        return x * (2 * torch.from_numpy(mask))

    net = UNet(settings.base_width, dropout)
    net.load([tuple(np.array(b.data) for b in blobs) for blobs in solver.net.params.values()])
    form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    net.to(memory_format=form)
    groups = [
        # parameters, rate and decay of each relative to the solver's: models._LEARNING
        ([module.weight for module in net.in_order()], 1.0, settings.weight_decay),
        ([module.bias for module in net.in_order()], 2.0, 0.0),
    ]
    histories = [[torch.zeros_like(p) for p in params] for params, _, _ in groups]

    def step(k: int) -> float:
        nonlocal iteration
        iteration = k
        data, label, weight = map(torch.from_numpy, tiles(k))
        net.zero_grad(set_to_none=True)
        scores = net(data.to(memory_format=form))
        nll = functional.cross_entropy(scores, label[:, 0].long(), reduction="none")
        loss = (nll * weight[:, 0]).sum() / weight.sum()
        (settings.warmup_factor(k) * loss).backward()
        rate = settings.solver().schedule().rate(k, 0)
        with torch.no_grad():
            for (params, multiple, decay), history in zip(groups, histories, strict=True):
                diffs = [p.grad for p in params]
                if decay:
                    torch._foreach_add_(diffs, params, alpha=decay)
                torch._foreach_mul_(history, settings.momentum)
                torch._foreach_add_(history, diffs, alpha=rate * multiple)
                torch._foreach_sub_(params, history)
        return float(loss.detach())

    return step


def _solver(settings: TrainSettings, feed: Any, algorithm: str, threads: int) -> SGDSolver:
    return SGDSolver(
        settings.solver(),
        settings.network(channels=1, classes=2),
        feed=feed,
        plan="lean",
        algorithm=algorithm,
        context=_core.Context(threads=threads),
    )


def _data_set(given: Any) -> tuple[DataSet, str]:
    try:
        data_folder(isbi2012.NAME)
    except SystemExit:
        images, labels = synthetic_em(4, 512, seed=1)
        return DataSet.from_arrays(images, labels > 0), "synthetic"
    row = Row(f"{isbi2012.NAME}-seed{given.seed}", given.work, [], [])
    part = row.part("fit", isbi2012.pairs(range(16)))
    return load_training_set(part / "images", part / "labels"), isbi2012.NAME


def _trained(name: str, step: Step, iterations: int) -> list[float]:
    losses = []
    for k in range(iterations):
        losses.append(step(k))
        if k % 20 == 19:
            print(f"{name}: iteration {k + 1}, loss {losses[-1]:.6f}", flush=True)
    return losses


def _raced(
    settings: TrainSettings, tiles: Callable[[int], Tile], threads: int, turns: int
) -> dict[str, list[float]]:
    """Seconds of each step, tiles being at hand, everyone from the first iteration."""
    steps = {"unet_native": ours(settings, tiles, "auto", threads)}
    steps |= {f"PyTorch, {form}": theirs(settings, tiles, form, threads) for form in FORMATS}
    taken = dict.fromkeys(steps, 0)

    def once(name: str) -> None:
        steps[name](taken[name])
        taken[name] += 1

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(turns + 2):
        tiles(k)
        turn = timing.alternate({n: partial(once, n) for n in steps}, repeats=1, warm_up=0)
        for name, (value,) in turn.items():
            seconds[name] += [value] if k >= 2 else []
    return seconds


def _difference(one: list[float], other: list[float]) -> float:
    a, b = np.array(one), np.array(other)
    return float(f"{np.max(np.abs(a - b) / np.abs(a)):.2g}")


def _best(seconds: dict[str, list[float]]) -> float:
    return min(timing.median(s) for name, s in seconds.items() if name.startswith("PyTorch"))


if __name__ == "__main__":
    main()

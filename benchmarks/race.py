"""Competitors that compute the whole network, each in a process of its own, taking turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import timing
from benchmarks.worker import Worker

#: Package that a competitor needs, by the beginning of its name.
_NEEDS = {"torch": "torch", "onnxruntime": "onnxruntime", "mnn": "MNN", "ncnn": "ncnn"}

STEP = ("unet_native", "torch", "torch_channels_last")
FORWARD = (*STEP, "onnxruntime", "mnn", "ncnn")
COMPILED = ("torch_compiled", "torch_channels_last_compiled")

#: Largest difference of scores, relative to the largest score. MNN's own transforms err most.
TOLERANCE = 3e-3


def installed(names: Iterable[str]) -> list[str]:
    """Those competitors whose package is there."""
    return [
        name
        for name in names
        if all(find_spec(p) for start, p in _NEEDS.items() if name.startswith(start))
    ]


def race(
    names: Iterable[str], mode: str, tile: int, width: int, threads: int, repeats: int
) -> list[list[str]]:
    """One row a competitor: mode, name, median, least and most ms, ratio to ours, peak MB.

    In mode "forward", all must give the same scores, or AssertionError is raised before any time is
    taken. Two iterations to warm up.
    """
    workers = {name: Worker(name, mode, tile, width, threads) for name in names}
    if mode == "forward":
        _check(workers)
    for _ in range(2):
        for worker in workers.values():
            worker.run()
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(repeats):
        for name, worker in workers.items():
            seconds[name].append(worker.run())
    ours = timing.median(seconds["unet_native"])
    rows = []
    for name, worker in workers.items():
        worker.close()
        value = timing.median(seconds[name])
        row = [mode, name, f"{value * 1e3:.0f}", timing.spread(seconds[name])]
        rows.append([*row, f"{value / ours:.2f}", f"{worker.peak_rss_mb:.0f}"])
        print("  ".join(rows[-1]), flush=True)
    return rows


def _check(workers: dict[str, Worker]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scores = {
            name: worker.scores(Path(folder) / f"{name}.npy") for name, worker in workers.items()
        }
    ours = scores["unet_native"]
    for name, theirs in scores.items():
        error = float(np.abs(theirs - ours).max() / np.abs(ours).max())
        assert error <= TOLERANCE, f"{name} computes something else: differs by {error:.2g}"

"""The network and its training step as each competitor does them.

:func:`make` returns a function that runs one iteration; in mode "forward" it returns the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from benchmarks.peers.problem import Problem

#: By the beginning of a competitor's name, the module that knows it.
_HOME = {
    "unet_native": "ours",
    "torch": "pytorch",
    "onnxruntime": "onnxruntime",
    "mnn": "mnn",
    "ncnn": "ncnn",
}


def make(name: str, mode: str, tile: int, width: int, threads: int) -> Callable[[], object]:
    """One iteration of a competitor: "unet_native", "torch[_channels_last][_compiled]", .."""
    for start, module in _HOME.items():
        if name.startswith(start):
            home = import_module(f"benchmarks.peers.{module}")
            return home.make(name, mode, Problem(tile, width), threads)
    raise ValueError(f"unknown competitor {name!r}")

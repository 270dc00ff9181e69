"""Timing on shared, noisy machines: competitors take turns, medians and ratios are reported."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping

from unet_native import _core


def alternate(
    runs: Mapping[str, Callable[[], object]], *, repeats: int = 7, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each call, the competitors taking turns: A B A B ...

    A neighbour's load then falls on all of them alike, so that the ratio of two medians of one
    table means something even where the seconds do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def spread(seconds: list[float]) -> str:
    """ "min - max" in milliseconds."""
    return f"{min(seconds) * 1e3:.0f} - {max(seconds) * 1e3:.0f}"


def machine(threads: int) -> str:
    """One line that a reader needs to judge a table: processor, threads, instruction set, load."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    context = _core.Context(threads=threads)
    return (
        f"{model}, {threads} of {os.cpu_count()} cores, {context.isa}, "
        f"load average {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )

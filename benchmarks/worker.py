"""One competitor in a process of its own, so that its peak memory can be measured.

``python -m benchmarks.worker NAME MODE TILE WIDTH THREADS`` sets the competitor up and then runs
iterations for each line "run N" read from standard input, answering with a JSON line ``{"seconds":
s, "peak_rss_mb": m}`` for one of them; a line "scores FILE" has it write its scores. MODE is "step"
(forward, loss, backward, update) or "forward" (inference). :class:`Worker` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


class Worker:
    """A competitor's process; :meth:`run` makes it do iterations."""

    def __init__(self, name: str, mode: str, tile: int, width: int, threads: int):
        # Left set, this variable would hold the peers' BLAS to an older instruction set.
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
        environment["OMP_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.worker",
                name,
                mode,
                *map(str, (tile, width, threads)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.peak_rss_mb = 0.0

    def run(self, iterations: int = 1) -> float:
        """Seconds of one iteration, as the process itself measured so many in a loop."""
        return self._ask(f"run {iterations}")

    def scores(self, path: Path) -> np.ndarray:
        """What the network gives, (1, 2, H, W); by way of the file `path`."""
        self._ask(f"scores {path}")
        return np.load(path)

    def _ask(self, question: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._process.args[2:])} ended without an answer")
        answer = json.loads(line)
        self.peak_rss_mb = answer["peak_rss_mb"]
        return answer["seconds"]

    def close(self) -> None:
        self._process.communicate()


def peak_rss_mb() -> float:
    """Largest resident size of this process so far, in 10^6 bytes (Linux)."""
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    name, mode = sys.argv[1:3]
    tile, width, threads = map(int, sys.argv[3:])
    # What a peer's C++ prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from benchmarks import peers

    iterate = peers.make(name, mode, tile, width, threads)
    for line in sys.stdin:
        order, argument = line.split(maxsplit=1)
        iterations = int(argument) if order == "run" else 1
        start = time.perf_counter()
        for _ in range(iterations):
            result = iterate()
        seconds = (time.perf_counter() - start) / iterations
        if order == "scores":
            np.save(argument.rstrip("\n"), result)
        answer = {"seconds": seconds, "peak_rss_mb": peak_rss_mb()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""A whole slice of 4096x4096 pixels, from file to file, against the speed of a single tile.

``python -m benchmarks.bench_whole_image [--base-width 64] [--threads N] [--repeats 3]`` runs
`unet-native segment` as its users do, starting, reading, tiling and writing included. Every few
seconds it is stopped and a process that does nothing but single tiles of the same size runs for as
long, so that both see the same neighbours; what is left of their speed is said.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from benchmarks import report, timing
from benchmarks.peers.problem import Problem
from benchmarks.worker import Worker
from unet_native import _core
from unet_native.data.normaliser import Normaliser
from unet_native.model_file import Model

SIZE = 4096  # is cut into square tiles, as the single ones are
BORDER = 92  # pixels that the network loses on every side
STEP = 16  # tiles begin multiples of it apart, for the sake of four poolings
CASES: dict[str, list[str]] = {"as it comes": [], "--tile 572": ["--tile", "572"]}
#: Least share of the single tile's speed, per useful pixel.
WANTED = 0.85
#: Of probabilities, between a tile here and another there: scores of up to 20 that differ by 1e-4
#: of that change them by a quarter of it.
TOLERANCE = 5e-4
CHECKED = 572  # pixels of the tile that is compared
TURN = 2.0  # seconds that the command, and then the single tiles, run at a time
_MAIN = "from unet_native.cli import main; main()"
_SAID = re.compile(r"(\d+) tiles? of (\d+)x\2 pixels a slice, about (\d+) MB")


@dataclass
class Run:
    """One run of the command: `seconds` without those in which it was stopped, `predicted_mb` what
    it said before it began, `others` what the process running in between measured."""

    seconds: float
    others: list[float]
    tiles: int
    tile: int
    predicted_mb: float
    peak_mb: float


def segment(
    folder: Path, options: list[str], threads: int, between: Callable[[], float] | None = None
) -> Run:
    """Runs the command; `between` is called every `TURN` seconds while it is stopped."""
    command = ["segment", folder / "em.safetensors", folder / "slice.tif", "-o", folder / "out"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, *map(str, command), *options, "--threads", f"{threads}"],
        stderr=subprocess.PIPE,
    )
    said, stopped, resumed = b"", 0.0, start
    others: list[float] = []
    while True:
        left = max(0.0, resumed + TURN - time.perf_counter())
        if between is None or select.select([process.stderr], [], [], left)[0]:
            piece = os.read(process.stderr.fileno(), 1 << 16)
            if not piece:
                break  # it has ended
            said += piece
        else:
            process.send_signal(signal.SIGSTOP)
            pause = time.perf_counter()
            try:
                others.append(between())
            finally:  # or it would stay stopped for ever
                resumed = time.perf_counter()
                process.send_signal(signal.SIGCONT)
            stopped += resumed - pause
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start - stopped
    found = _SAID.search(said.decode())
    if status != 0 or found is None:
        raise RuntimeError(f"unet-native segment failed: {said.decode()}")
    tiles, tile, predicted = map(int, found.groups())
    return Run(seconds, others, tiles, tile, predicted, usage.ru_maxrss * 1024 / 1e6)


def prepare(folder: Path, width: int) -> Model:
    """Writes a slice of noise and a network with its first weights."""
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE), np.uint8)
    tifffile.imwrite(folder / "slice.tif", image)
    model = Model(Problem(CHECKED, width).net(), Normaliser.fit([image[None]]), {})
    model.save(folder / "em.safetensors")
    return model


def check(folder: Path, model: Model) -> None:
    """Raises AssertionError unless, amid the slice, the result is that of the network."""
    image = tifffile.imread(folder / "slice.tif")
    first = (image.shape[0] // 2 - CHECKED // 2 + BORDER) // STEP * STEP  # pixel of the result
    inner = slice(first, first + CHECKED - 2 * BORDER)
    outer = slice(first - BORDER, first - BORDER + CHECKED)
    tile = image[None, outer, outer]
    scores = model.net.forward(data=model.normaliser(tile)[None])["score"][0]
    expected = 1 / (1 + np.exp(scores[0] - scores[1]))
    found = tifffile.imread(folder / "out" / "slice_prob.tif")[inner, inner]
    error = np.abs(found - expected).max()
    assert error <= TOLERANCE, f"the slice differs from its tile by {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=_core.default_threads())
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    width, threads = arguments.base_width, arguments.threads
    rows, judged = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = prepare(folder, width)
        for case, options in CASES.items():
            run = segment(folder, options, threads)  # also the warm-up
            check(folder, model)
            worker = Worker("unet_native", "forward", run.tile, width, threads)
            at_a_time = max(1, round(TURN / worker.run(2)))
            runs = [
                segment(folder, options, threads, partial(worker.run, at_a_time))
                for _ in range(arguments.repeats)
            ]
            useful = SIZE**2 / (run.tile - 2 * BORDER) ** 2
            tiles = [sum(one.others) / len(one.others) for one in runs]
            shares = [useful * t / one.seconds for t, one in zip(tiles, runs, strict=True)]
            worker.close()
            seconds = [one.seconds for one in runs]
            share = timing.median(shares)
            peak = max(one.peak_mb for one in runs)
            row = [case, f"{run.tiles} of {run.tile}", f"{timing.median(seconds):.1f}"]
            row += [f"{min(seconds):.1f} - {max(seconds):.1f}", f"{timing.median(tiles) * 1e3:.0f}"]
            rows.append([*row, f"{share:.2f}", f"{run.predicted_mb:.0f}", f"{peak:.0f}"])
            print("  ".join(rows[-1]), flush=True)
            judged.append(
                f"{case}: {share:.2f} of the single tile's speed, wanted {WANTED:.2f}, "
                + ("met" if share >= WANTED else "MISSED")
            )
    report.write_section(
        f"whole-image-{width}",
        f"A slice of {SIZE}x{SIZE} pixels, width {width}",
        [
            timing.machine(threads),
            "`unet-native segment` from file to file, starting and writing labels and "
            f"probabilities included, stopped every {TURN:.0f} s for a process that does nothing "
            "but single tiles of the same size. share: of the single tile's speed, per useful "
            "pixel, medians of means of the same minutes; "
            "predicted: what the command says before it begins. MB = 10^6 bytes, resident, whole "
            "process.",
            "\n".join(f"- {sentence}" for sentence in judged),
        ],
        ["cut", "tiles", "median s", "min - max s", "tile ms", "share", "predicted MB", "peak MB"],
        rows,
    )


if __name__ == "__main__":
    main()

"""How the speed grows: tiles from 316 to 1532 pixels, fewer channels, one thread.

``python -m benchmarks.bench_growth`` writes its table. GFLOP/s count the operations of the direct
sums, so that they can be compared across sizes.
"""

from __future__ import annotations

from functools import cache

from benchmarks import report, timing
from benchmarks.peers.problem import Problem
from benchmarks.worker import Worker
from unet_native import _core

Case = tuple[int, int, int]  # tile, width, threads

THREADS = _core.default_threads()
REFERENCE: Case = (572, 64, THREADS)
CASES: tuple[Case, ...] = (
    REFERENCE,
    *((tile, 64, THREADS) for tile in (316, 444, 1020, 1532)),
    *((572, width, THREADS) for width in (32, 16)),
    (572, 64, 1),
)
WARM_UP, TURNS = 1, 7
#: Work of a turn, in iterations of the reference: what counts is the speed in a loop, not that of a
#: process that was just asleep.
WORK = 3


@cache
def flop(tile: int, width: int) -> int:
    """Operations of the direct sums of one forward pass."""
    net = Problem(tile, width).net(fill=False)
    total = 0
    for layer in net.layers:
        if layer.type in ("Convolution", "Deconvolution"):
            bottom = net.plan.shapes[layer.spec.bottom[0]]
            top = net.plan.shapes[layer.spec.top[0]]
            taps = layer.spec.convolution_param.kernel_size**2 if layer.type == "Convolution" else 1
            total += 2 * taps * bottom[1] * top[1] * top[2] * top[3]
    return total


#: Least share that is wanted: of the slowest tile to the fastest, of a width to width 64, and how
#: many times faster two threads are than one.
WANTED = {"forward": 0.85, "step": 0.75}
WANTED_WIDTH = {32: 0.80, 16: 0.60}
WANTED_THREADS = 1.8


def verdicts(mode: str, shares: dict[Case, float]) -> list[str]:
    """One sentence for each target, met or missed."""
    tiles = [
        share for (_, width, threads), share in shares.items() if width == 64 and threads == THREADS
    ]
    found = [("slowest tile to fastest", min(tiles) / max(tiles), WANTED[mode])]
    for width, wanted in WANTED_WIDTH.items():
        found.append((f"width {width} to 64", shares[572, width, THREADS], wanted))
    found.append((f"{THREADS} threads to one", 1 / shares[572, 64, 1], WANTED_THREADS))
    return [
        f"{mode}, {what}: {value:.2f}, wanted {wanted:.2f}, "
        + ("met" if value >= wanted else "MISSED")
        for what, value, wanted in found
    ]


def race(mode: str) -> dict[Case, list[float]]:
    """Seconds of an iteration in each turn; each case has a process of its own, all take turns.

    What a neighbour does in some minute then falls on all cases alike.
    """
    workers = {case: Worker("unet_native", mode, *case) for case in CASES}
    seconds: dict[Case, list[float]] = {case: [] for case in CASES}
    for turn in range(WARM_UP + TURNS):
        for case, worker in workers.items():
            took = worker.run(max(1, round(WORK / work(case))))
            if turn >= WARM_UP:
                seconds[case].append(took)
    for worker in workers.values():
        worker.close()
    return seconds


def work(case: Case) -> float:
    """Operations of an iteration, in those of the reference."""
    return flop(*case[:2]) / flop(*REFERENCE[:2])


def main() -> None:
    rows, judged = [], []
    for mode, passes in (("forward", 1), ("step", 3)):
        shares = {}
        taken = race(mode)
        for case, seconds in taken.items():
            tile, width, threads = case
            ratios = [theirs / ours for theirs, ours in zip(taken[REFERENCE], seconds, strict=True)]
            shares[case] = work(case) * timing.median(ratios)
            median = timing.median(seconds)
            row = [mode, f"{tile}", f"{width}", f"{threads}", f"{median * 1e3:.0f}"]
            row += [f"{passes * flop(tile, width) / median / 1e9:.0f}", f"{shares[case]:.2f}"]
            rows.append(row)
            print("  ".join(row), flush=True)
        judged += verdicts(mode, shares)
    report.write_section(
        "growth",
        "Growth",
        [
            timing.machine(THREADS),
            f"share: of the GFLOP/s at 572 pixels, width 64, {THREADS} threads. All cases take "
            "turns, the smaller ones with more iterations a turn; the median of the ratios of each "
            "turn.",
            "\n".join(f"- {sentence}" for sentence in judged),
            "Small tiles and narrow networks are bound by memory: a small tile streams all "
            "weights, transformed they are four or seven times as many, for few pixels; a network "
            "of width 16 moves a quarter of the activations of width 64 for a sixteenth of the "
            "operations.",
        ],
        ["mode", "tile", "width", "threads", "median ms", "GFLOP/s", "share"],
        rows,
    )


if __name__ == "__main__":
    main()

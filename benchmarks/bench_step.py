"""Training step and inference of the whole network, with peak memory, against all peers.

``python -m benchmarks.bench_step [--tile 572] [--base-width 64] [--threads N] [--repeats 7]``
Every competitor lives in its own process and they take turns, iteration by iteration. The peers
come with ``pip install ".[bench]"``; those that are not installed are left out.
"""

from __future__ import annotations

import argparse

from benchmarks import race, report, timing
from unet_native import _core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile", type=int, default=572)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mode", choices=["step", "forward"], help="only this one")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too (slow to start)")
    arguments = parser.parse_args()
    threads = arguments.threads or _core.default_threads()
    shape = (arguments.tile, arguments.base_width, threads, arguments.repeats)
    rows = []
    for mode, names in (("step", race.STEP), ("forward", race.FORWARD)):
        if arguments.mode in (None, mode):
            more = race.COMPILED if arguments.compiled else ()
            rows += race.race(race.installed([*names, *more]), mode, *shape)
    report.write_section(
        f"step-{arguments.tile}-{arguments.base_width}",
        f"Whole network, {arguments.tile} pixels, width {arguments.base_width}",
        [
            timing.machine(threads),
            "step: forward, weighted loss, backward, momentum update, with dropout; forward: "
            "inference. One process each, taking turns; MB = 10^6 bytes, resident, whole process.",
        ],
        ["mode", "competitor", "median ms", "min - max ms", "time / ours", "peak MB"],
        rows,
    )


if __name__ == "__main__":
    main()

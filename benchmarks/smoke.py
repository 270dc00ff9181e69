"""The short form, under two minutes: step and inference against every peer, ratios only.

``python -m benchmarks.smoke`` prints one row a competitor; a later change is judged by whether the
ratios got smaller. Nothing is written.
"""

from __future__ import annotations

from benchmarks import race, timing
from unet_native import _core

TILE, WIDTH, REPEATS = 380, 64, 3


def main() -> None:
    threads = _core.default_threads()
    print(timing.machine(threads))
    print("mode  competitor  median ms  min - max ms  time / ours  peak MB")
    for mode, names in (("step", race.STEP), ("forward", race.FORWARD)):
        race.race(race.installed(names), mode, TILE, WIDTH, threads, REPEATS)


if __name__ == "__main__":
    main()

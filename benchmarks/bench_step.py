"""Training step and inference of the whole network, with peak memory, against PyTorch.

``python -m benchmarks.bench_step [--tile 572] [--base-width 64] [--threads N] [--repeats 7]``
Every competitor lives in its own process and they take turns, iteration by iteration.
"""

from __future__ import annotations

import argparse

from benchmarks import report, timing
from benchmarks.worker import Worker
from unet_native import _core

COMPETITORS = ("unet_native", "torch", "torch_channels_last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tile", type=int, default=572)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compiled", action="store_true", help="torch.compile too (slow to start)")
    arguments = parser.parse_args()
    threads = arguments.threads or _core.default_threads()
    names = list(COMPETITORS)
    if arguments.compiled:
        names += ["torch_compiled", "torch_channels_last_compiled"]

    rows = []
    for mode in ("step", "forward"):
        workers = {
            name: Worker(name, mode, arguments.tile, arguments.base_width, threads)
            for name in names
        }
        for _ in range(2):  # warm-up: allocations, autotuning
            for worker in workers.values():
                worker.run()
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(arguments.repeats):
            for name, worker in workers.items():
                seconds[name].append(worker.run())
        ours = timing.median(seconds["unet_native"])
        for name, worker in workers.items():
            worker.close()
            value = timing.median(seconds[name])
            row = [mode, name, f"{value * 1e3:.0f}", timing.spread(seconds[name])]
            rows.append([*row, f"{value / ours:.2f}", f"{worker.peak_rss_mb:.0f}"])
            print("  ".join(rows[-1]), flush=True)
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

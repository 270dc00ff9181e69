"""How the speed grows: tiles from 316 to 1532 pixels, fewer channels, one thread.

``python -m benchmarks.bench_growth`` writes its table. GFLOP/s count the operations of the direct
sums, so that they can be compared across sizes.
"""

from __future__ import annotations

from benchmarks import peers, report, timing
from benchmarks.peers.problem import Problem
from unet_native import _core

# tile, width, threads; the second is what the others are compared with
CASES = ((316, 64, 0), (572, 64, 0), (1020, 64, 0), (1532, 64, 0))
CASES += ((572, 32, 0), (572, 16, 0), (572, 64, 1))
REFERENCE = (572, 64, 0)


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


def main() -> None:
    threads = _core.default_threads()
    rows = []
    for mode, passes in (("forward", 1), ("step", 3)):
        speeds, medians = {}, {}
        for case in (REFERENCE, *(case for case in CASES if case != REFERENCE)):
            tile, width, wanted = case
            iterate = peers.make("unet_native", mode, tile, width, wanted or threads)
            repeats = 3 if tile > 600 else 7
            seconds = timing.alternate({"": iterate}, repeats=repeats, warm_up=2)[""]
            medians[case] = timing.median(seconds)
            speeds[case] = passes * flop(tile, width) / medians[case]
            share = speeds[case] / speeds[REFERENCE]
            row = [mode, f"{tile}", f"{width}", f"{wanted or threads}"]
            row += [f"{medians[case] * 1e3:.0f}", f"{speeds[case] / 1e9:.0f}", f"{share:.2f}"]
            rows.append(row)
            print("  ".join(row), flush=True)
    report.write_section(
        "growth",
        "Growth",
        [timing.machine(threads), "share: of the speed at 572 pixels, width 64, all threads."],
        ["mode", "tile", "width", "threads", "median ms", "GFLOP/s", "share"],
        rows,
    )


if __name__ == "__main__":
    main()

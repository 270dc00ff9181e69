"""3x3 convolution, every layer of the 572-pixel network, three passes, against oneDNN in PyTorch.

``python -m benchmarks.bench_conv3x3 [--base-width 64] [--threads N] [--repeats 5]``
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from benchmarks import report, timing
from benchmarks.unet_shapes import Conv3x3, conv3x3_layers
from unet_native import ops

PASSES = ("forward", "backward_data", "backward_weights")


def bench_layer(layer: Conv3x3, context: ops.Context, repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds by pass and competitor; equality is checked before anything is timed."""
    import torch

    rng = np.random.default_rng(0)
    bottom = ops.channels_last(
        rng.standard_normal((1, layer.ic, layer.size, layer.size), dtype=np.float32)
    )
    weight = ops.empty_filter((layer.oc, layer.ic, 3, 3))
    weight[...] = rng.standard_normal(weight.shape, dtype=np.float32) / np.sqrt(9 * layer.ic)
    bias = np.zeros(layer.oc, np.float32)
    top = ops.conv3x3_forward(bottom, weight, bias, context=context)
    top_diff = ops.channels_last(rng.standard_normal(top.shape, dtype=np.float32))
    bottom_diff, weight_diff = ops.empty(bottom.shape), ops.empty_filter(weight.shape)
    workspace = ops.empty_workspace(
        max(ops.conv3x3_workspace_bytes(bottom.shape, layer.oc, p, context=context) for p in PASSES)
    )
    common = {"workspace": workspace, "context": context}
    ours = {
        "forward": partial(ops.conv3x3_forward, bottom, weight, bias, out=top, **common),
        "backward_data": partial(
            ops.conv3x3_backward_data, top_diff, weight, out=bottom_diff, **common
        ),
        "backward_weights": partial(
            ops.conv3x3_backward_weights,
            bottom,
            top_diff,
            weight_diff=weight_diff,
            accumulate=False,
            **common,
        ),
    }

    def to_torch(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).contiguous(memory_format=torch.channels_last)

    x, w, dy = to_torch(bottom), to_torch(np.ascontiguousarray(weight)), to_torch(top_diff)
    backward = torch.ops.aten.convolution_backward

    def torch_backward(mask: list[bool]) -> tuple[torch.Tensor, ...]:
        return backward(dy, x, w, [layer.oc], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask)

    peer = {
        "forward": lambda: torch.nn.functional.conv2d(x, w, torch.from_numpy(bias)),
        "backward_data": lambda: torch_backward([True, False, False])[0],
        "backward_weights": lambda: torch_backward([False, True, False])[1],
    }
    medians: dict[str, dict[str, float]] = {}
    with torch.no_grad():
        for name in PASSES:
            result, expected = ours[name](), peer[name]().numpy()
            result = result[0] if name == "backward_weights" else result
            error = np.abs(result - expected).max() / np.abs(expected).max()
            if not error < 1e-4:
                raise SystemExit(f"{layer.name} {name} differs from PyTorch by {error:.1e}")
            seconds = timing.alternate(
                {"unet_native": ours[name], "torch": peer[name]}, repeats=repeats
            )
            medians[name] = {who: timing.median(values) for who, values in seconds.items()}
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-width", type=int, default=64)
    parser.add_argument("--tile", type=int, default=572)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    context = ops.Context(threads=arguments.threads)

    import torch

    torch.set_num_threads(context.threads)
    header = ["layer", "shape"]
    for name in PASSES:
        header += [f"{name} ms", "GFLOP/s", "of peak", "x PyTorch"]
    rows, totals = (
        [],
        dict.fromkeys(((p, who) for p in PASSES for who in ("unet_native", "torch")), 0.0),
    )
    peaks: list[float] = []
    with torch.no_grad():
        for layer in conv3x3_layers(arguments.tile, arguments.base_width):
            peak = ops.fma_peak(context=context)
            peaks.append(peak)
            medians = bench_layer(layer, context, arguments.repeats)
            row = [layer.name, f"{layer.ic} -> {layer.oc}, {layer.size}"]
            for name in PASSES:
                seconds, peer = medians[name]["unet_native"], medians[name]["torch"]
                totals[name, "unet_native"] += seconds
                totals[name, "torch"] += peer
                row += [
                    f"{seconds * 1e3:.1f}",
                    f"{layer.flop / seconds / 1e9:.0f}",
                    f"{layer.flop / seconds / peak:.1f}",
                    f"{peer / seconds:.1f}",
                ]
            rows.append(row)
            print("  ".join(row), flush=True)
    flop = sum(layer.flop for layer in conv3x3_layers(arguments.tile, arguments.base_width))
    row = ["all", ""]
    for name in PASSES:
        seconds = totals[name, "unet_native"]
        row += [
            f"{seconds * 1e3:.0f}",
            f"{flop / seconds / 1e9:.0f}",
            f"{flop / seconds / timing.median(peaks):.1f}",
            f"{totals[name, 'torch'] / seconds:.1f}",
        ]
    rows.append(row)
    report.write_section(
        f"conv3x3-{arguments.base_width}",
        f"3x3 convolutions of the {arguments.tile}-pixel network, width {arguments.base_width}",
        [
            timing.machine(context.threads),
            "GFLOP/s count the operations of the direct sum; of peak: times the machine's peak of "
            f"multiply-adds, {timing.median(peaks) / 1e9:.0f} GFLOP/s, measured before each layer, "
            "of which F(4x4,3x3) could reach 4 and F(6x6,3x3) 5.1; x PyTorch is PyTorch's time "
            f"(oneDNN, channels last, torch {torch.__version__}) over ours; medians of "
            f"{arguments.repeats} alternating runs, operands in memory.",
        ],
        header,
        rows,
    )


if __name__ == "__main__":
    main()

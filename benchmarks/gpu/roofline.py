"""The page benchmarks/roofline.md: what the network costs at least, by arithmetic.

``python -m benchmarks.gpu.roofline`` writes the page and its figure.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.gpus import GPUS, MATHS, Gpu
from benchmarks.gpu.network import PASSES, convolutions, movements, parameters, step_passes
from benchmarks.report import table
from unet_native.files import write_atomically, write_text

TILE, WIDTH = 572, 64
PAGE = Path(__file__).parents[1] / "roofline.md"
FIGURE = PAGE.with_suffix(".svg")

PARTS = (*PASSES, "the rest")


def part_seconds(gpu: Gpu, math: str) -> dict[str, float]:
    """The least time of a step of training, by part: the passes of all layers with filters, the rest.

    Layers follow each other: each is as slow as its own limit, math or memory.
    """
    seconds = dict.fromkeys(PARTS, 0.0)
    for layer, pass_name in step_passes(TILE, WIDTH):
        seconds[pass_name] += gpu.ideal_seconds(layer.flop, layer.traffic, math)
    for move in movements(TILE, WIDTH):
        seconds["the rest"] += gpu.memory_seconds(move.traffic)
    return seconds


def memory_share(gpu: Gpu, math: str) -> float:
    """The share of the step's least time in which the memory is the limit."""
    bound = sum(
        gpu.memory_seconds(layer.traffic)
        for layer, _ in step_passes(TILE, WIDTH)
        if gpu.is_bound_by_memory(layer.flop, layer.traffic, math)
    )
    parts = part_seconds(gpu, math)
    return (bound + parts["the rest"]) / sum(parts.values())


def _share_of_rest(gpu: Gpu, math: str) -> float:
    parts = part_seconds(gpu, math)
    return parts["the rest"] / sum(parts.values())


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.{1 if seconds >= 1e-2 else 2}f}"


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}"


def _triple(gpu: Gpu, flop: float, traffic: float) -> str:
    """Microseconds in each math, in italics where the memory is the limit."""
    cells = []
    for math in MATHS:
        cell = _us(gpu.ideal_seconds(flop, traffic, math))
        cells.append(f"*{cell}*" if gpu.is_bound_by_memory(flop, traffic, math) else cell)
    return " / ".join(cells)


def _gpu_rows() -> list[list[str]]:
    return [
        [
            gpu.name,
            *(f"{getattr(gpu, math):g}" for math in MATHS),
            f"{gpu.bandwidth:g}",
            " / ".join(f"{gpu.ridge(math):.0f}" for math in MATHS),
            gpu.source,
        ]
        for gpu in GPUS
    ]


def _step_rows() -> list[list[str]]:
    rows = []
    for gpu in GPUS:
        for math in MATHS:
            seconds = part_seconds(gpu, math)
            cells = [_ms(seconds[part]) for part in PARTS]
            total = f"**{_ms(sum(seconds.values()))}**"
            rows.append([gpu.name, math, *cells, total, f"{memory_share(gpu, math):.0%}"])
    return rows


def _layer_rows() -> list[list[str]]:
    return [
        [
            layer.name,
            layer.shape,
            f"{layer.flop / 1e9:.2f}",
            f"{layer.traffic / 1e6:.1f}",
            f"{layer.flop / layer.traffic:.0f}",
            *(_triple(gpu, layer.flop, layer.traffic) for gpu in GPUS),
        ]
        for layer in convolutions(TILE, WIDTH)
    ]


def _movement_rows() -> list[list[str]]:
    return [
        [
            f"{move.name} {move.pass_name}" if move.op != "sgd" else "update (sgd)",
            f"{move.traffic / 1e6:.1f}",
            *(_us(gpu.memory_seconds(move.traffic)) for gpu in GPUS),
        ]
        for move in movements(TILE, WIDTH)
    ]


def page() -> str:
    """The whole page, computed anew."""
    a100, h100, rtx, l4 = GPUS
    layers = convolutions(TILE, WIDTH)
    threes = [layer for layer in layers if layer.op == "conv3x3"]
    forward = sum(layer.flop for layer in layers)
    moves = sum(move.traffic for move in movements(TILE, WIDTH))
    names = [gpu.name for gpu in GPUS]
    low, high = threes[1], max(threes, key=lambda layer: layer.flop / layer.traffic)
    rest = {math: _share_of_rest(a100, math) for math in MATHS}
    return f"""# Roofline of the {TILE}-pixel network

**This page is arithmetic. Nothing on it was measured**, on these GPUs or on any other;
`python -m benchmarks.gpu` measures, on a machine that has one. It says how fast a step of training
could be at best, and why it could not be faster.

A layer takes at least the time that its multiplications and additions take at the GPU's peak, and at
least the time that its operands and results take on their way from and to memory. Both go on at the
same time, so the longer one is the limit. Operations for each byte, the *intensity*, decide which:
a layer beyond the GPU's ridge is bound by math, below it by memory.

![Roofs of four GPUs, and where the layers of the network stand below them]({FIGURE.name})

## What is counted

- Batch 1, {WIDTH} channels in the first level, {parameters(TILE, WIDTH) / 1e6:.1f} million parameters.
- Operations of the direct sums: {sum(layer.flop for layer in threes) / 1e9:.1f} GFLOP for the 3x3
  convolutions forward, {forward / 1e9:.1f} with the up-convolutions and the last layer, {3 * forward / 1e9:.1f}
  for all three passes. The gradient of the image is among them, though no step needs it; the times
  below are without.
- Bytes: each operand read once and each result written once, float32, as this project stores blobs in
  every math. What a cache keeps from one layer to the next is not taken off.
- Everything else that a step does moves {moves / 1e9:.2f} GB and computes next to nothing.

## The GPUs

{table(["GPU", "fp32 TFLOP/s", "tf32", "bf16", "GB/s", "ridge, FLOP/byte: fp32 / tf32 / bf16", "source"], _gpu_rows())}

Dense matrices, sums in float32, boost clock. A GPU under load runs slower than that.

## The least time of a step, ms

{table(["GPU", "math", *PARTS, "step", "bound by memory"], _step_rows())}

## What limits what

- **In fp32 math is the limit nearly everywhere**: {memory_share(a100, "fp32"):.0%} of the A100's step
  are bound by memory, mostly outside the convolutions. There Winograd's transforms, which do with a
  quarter to a half of the multiplications, are the one way to go below these times.
- **Tensor cores make the large maps a matter of traffic.** The second layer, {low.name}, has
  {low.flop / low.traffic:.0f} operations for each byte, less than the ridge of an H100 in tf32
  ({h100.ridge("tf32"):.0f}): there a faster kernel gains nothing, a fused one does. Deep down it is
  up to {high.flop / high.traffic:.0f} ({high.name}).
- **The first layer is traffic**: one channel in, {WIDTH} out, {layers[0].flop / layers[0].traffic:.0f}
  operations for each byte. Fusing its bias and ReLU is all there is to win.
- **What is not a convolution grows in weight**: {rest["fp32"]:.0%} of the step on an A100 in fp32,
  {rest["bf16"]:.0%} in bf16. The update of the parameters alone moves {movements(TILE, WIDTH)[-1].traffic / 1e6:.0f} MB,
  whatever the tile.
- **On GeForce TF32 is no faster than float32** (RTX 4090: {rtx.tf32:g} TFLOP/s either way): there bf16
  is what tensor cores are for. The L4 has the least bandwidth for its math: {memory_share(l4, "bf16"):.0%}
  of its step in bf16 are bound by memory.
- **bf16 rounds the operands of the products only**; blobs stay float32. Stored in 16 bits they would
  halve the times in italics: a peer that stores them so has half the traffic.

What to expect (a judgement): small layers do not fill a large GPU, tiles are cut at the borders, the
clock falls under load, and no kernel issues a multiply-add in every cycle. A step within one and a
half times of these figures is fast.

## Each layer with filters

One pass; forward, backward_data and backward_weights cost the same in this count. Least time in µs:
fp32 / tf32 / bf16, *in italics where memory is the limit*.

{table(["layer", "shape", "GFLOP", "MB", "FLOP/byte", *names], _layer_rows())}

## The rest

Bound by memory throughout; least time in µs. ReLU goes forward within the convolutions; where a skip
connection leaves, max pooling, crop and ReLU go back in one pass.

{table(["pass", "MB", *names], _movement_rows())}
"""


def main() -> None:
    from benchmarks.gpu.roofline_figure import draw

    write_text(PAGE, page())
    write_atomically(FIGURE, draw)
    print(f"{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()

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
TEMPLATE = Path(__file__).with_name("roofline_template.md")

PARTS = (*PASSES, "the rest")


def part_seconds(gpu: Gpu, math: str) -> dict[str, float]:
    """The least time of a step of training: each pass of all layers with filters, and the rest.

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
            f"{layer.intensity:.0f}",
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
    layers, moves = convolutions(TILE, WIDTH), movements(TILE, WIDTH)
    threes = [layer for layer in layers if layer.op == "conv3x3"]
    forward = sum(layer.flop for layer in layers) / 1e9
    names = [gpu.name for gpu in GPUS]
    gpu_header = ["GPU", "fp32 TFLOP/s", "tf32", "bf16", "GB/s", "ridge, FLOP/byte", "source"]
    step_header = ["GPU", "math", *PARTS, "step", "bound by memory"]
    layer_header = ["layer", "shape", "GFLOP", "MB", "FLOP/byte", *names]
    return TEMPLATE.read_text(encoding="utf-8").format(
        tile=TILE,
        width=WIDTH,
        figure=FIGURE.name,
        parameters=parameters(TILE, WIDTH) / 1e6,
        threes=sum(layer.flop for layer in threes) / 1e9,
        forward=forward,
        step=3 * forward,
        moves=sum(move.traffic for move in moves) / 1e9,
        update=moves[-1].traffic / 1e6,
        first=threes[0],
        second=threes[1],
        deep=max(threes, key=lambda layer: layer.intensity),
        h100_ridge=h100.ridge("tf32"),
        rtx_tf32=rtx.tf32,
        a100_memory=memory_share(a100, "fp32"),
        l4_memory=memory_share(l4, "bf16"),
        rest_fp32=_share_of_rest(a100, "fp32"),
        rest_bf16=_share_of_rest(a100, "bf16"),
        gpus_table=table(gpu_header, _gpu_rows()),
        step_table=table(step_header, _step_rows()),
        layers_table=table(layer_header, _layer_rows()),
        movements_table=table(["pass", "MB", *names], _movement_rows()),
    )


def main() -> None:
    from benchmarks.gpu.roofline_figure import draw

    write_text(PAGE, page())
    write_atomically(FIGURE, draw)
    print(f"{PAGE}\n{FIGURE}")


if __name__ == "__main__":
    main()

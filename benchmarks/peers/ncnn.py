"""The network in ncnn, CPU, float32; its files are written here, layer by layer."""

from __future__ import annotations

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers.problem import Problem


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "net.param", Path(folder) / "net.bin"
        _write(problem, param, weights)
        assert net.load_param(str(param)) == 0
        assert net.load_model(str(weights)) == 0
        assert not os.path.exists("net.param")
    data = problem.data[0]

    def forward() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(data))
        _, score = extractor.extract("score")
        return np.array(score)[None]

    return forward


def _write(problem: Problem, param: Path, weights: Path) -> None:
    arrays = {name: blobs for name, _, blobs in problem.layers()}
    layers = [layer for _, layer in problem.spec.for_phase("TEST")]
    readers = Counter(
        bottom
        for layer in layers
        for bottom in layer.bottom[: 1 if layer.type == "Crop" else None]
        if layer.type != "ReLU"
    )
    copies: defaultdict[str, list[str]] = defaultdict(list)
    lines, blobs = [], 0

    def bottom_name(name: str) -> str:
        return copies[name].pop(0) if copies[name] else name

    def line(kind: str, name: str, bottoms: list[str], tops: list[str], text: str = "") -> None:
        nonlocal blobs
        blobs += len(tops)
        names = " ".join([*bottoms, *tops])
        lines.append(f"{kind} {name} {len(bottoms)} {len(tops)} {names} {text}".rstrip())

    sizes = {"data": problem.tile}
    with weights.open("wb") as file:
        line("Input", "data", [], ["data"], f"0={problem.tile} 1={problem.tile} 2=1")
        for layer in layers:
            if layer.type in ("Input", "ReLU"):
                continue
            top = layer.top[0]
            size = sizes[layer.bottom[0]]
            if layer.type in ("Convolution", "Deconvolution"):
                weight, bias = arrays[layer.name]
                up = layer.type == "Deconvolution"
                if up:
                    weight = weight.transpose(1, 0, 2, 3)
                relu = any(x.type == "ReLU" and x.top[0] == top for x in layers)
                kernel = weight.shape[2]
                line(
                    layer.type,
                    layer.name,
                    [bottom_name(layer.bottom[0])],
                    [top],
                    f"0={len(bias)} 1={kernel} 3={2 if up else 1} 5=1 6={weight.size} "
                    f"9={1 if relu else 0}",
                )
                file.write(np.zeros(1, np.int32).tobytes())  # a tag: plain float32
                file.write(np.ascontiguousarray(weight).tobytes())
                file.write(bias.tobytes())
                sizes[top] = 2 * size if up else size - kernel + 1
            elif layer.type == "Pooling":
                line("Pooling", layer.name, [bottom_name(layer.bottom[0])], [top], "1=2 2=2 5=1")
                sizes[top] = size // 2
            elif layer.type == "Crop":
                start, length = layer.crop_param.offset[0], sizes[layer.bottom[1]]
                line(
                    "Crop",
                    layer.name,
                    [bottom_name(layer.bottom[0])],
                    [top],
                    f"0={start} 1={start} 2=0 3={length} 4={length} 5=-233",
                )
                sizes[top] = length
            elif layer.type == "Concat":
                line("Concat", layer.name, [bottom_name(name) for name in layer.bottom], [top])
                sizes[top] = size
            if readers[top] > 1:
                names = [f"{top}_{i}" for i in range(readers[top])]
                line("Split", f"split_{top}", [top], names)
                copies[top] = names
    param.write_text(f"7767517\n{len(lines)} {blobs}\n" + "\n".join(lines) + "\n")

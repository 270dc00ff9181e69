"""``unet-native time``: how long a forward pass and a training step take here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unet_native.cli import options
from unet_native.cli.resident import MEGABYTE, resident


def time(
    net: Annotated[
        str,
        typer.Option(
            "--net",
            metavar="fig1|phseg_v5|FILE",
            help="Network; of a prototxt, every layer is timed, as `caffe time` does.",
        ),
    ] = "fig1",
    tile: Annotated[int, typer.Option("--tile", help="Side of the input tile, px.")] = 572,
    base_width: Annotated[
        int, typer.Option("--base-width", min=1, help="Channels of the first level.")
    ] = 64,
    depth: Annotated[int, typer.Option("--depth", min=1, max=8, help="Levels.")] = 5,
    iterations: Annotated[
        int, typer.Option("--iterations", min=1, help="Timed iterations, after one to warm up.")
    ] = 5,
    device: options.Device = "auto",
    gpu: options.Gpu = 0,
    math: options.Math = "fp32",
    threads: options.Threads = 0,
    algorithm: Annotated[
        str,
        typer.Option("--algorithm", metavar="auto|direct", help="Of the 3x3 convolutions."),
    ] = "auto",
    phase: Annotated[
        str, typer.Option("--phase", metavar="TRAIN|TEST", help="Of a prototxt.")
    ] = "TRAIN",
    as_json: options.Json = False,
) -> None:
    """Time the network: forward pass, backward pass, whole training step; and peak memory.

    forward: inference, phase TEST, nothing kept. backward: of a training pass. step: all that
    training does in an iteration, with dropout, weight map and momentum, but for making the tile.
    """
    from unet_native import models
    from unet_native.cli.device import context_of

    if net not in models.MODELS:
        from unet_native.cli.time_layers import time_layers
        from unet_native.errors import UserError

        if not Path(net).exists():
            raise UserError(f"--net {net}: use fig1 or phseg_v5, or a prototxt that exists")
        return time_layers(
            Path(net),
            phase=phase,
            iterations=iterations,
            context=context_of(device, gpu, threads, math),
            algorithm=algorithm,
            as_json=as_json,
        )
    from unet_native.train.settings import TrainSettings

    settings = TrainSettings(
        net=net, tile=tile, base_width=base_width, depth=depth, algorithm=algorithm, seed=1
    )
    context = context_of(device, gpu, threads, math)
    result: dict[str, object] = {}
    result["forward_s"], forward_peak = _time_forward(settings, context, iterations)
    result["backward_s"], result["step_s"], step_peak = _time_training(
        settings, context, iterations
    )
    result["predicted_rss_mb"] = round(max(forward_peak, step_peak) / MEGABYTE, 1)
    result["peak_rss_mb"] = round(resident("VmHWM") / MEGABYTE, 1)
    result["threads"] = context.threads
    result["isa"] = context.isa
    result["device"] = context.device
    result["math"] = context.math
    if as_json:
        import json

        print(json.dumps(result))
    else:
        _print_table(result, f"{net}, tile {tile}, base width {base_width}, depth {depth}")
    return None


def _time_forward(settings, context, iterations: int) -> tuple[list[float], float]:
    """Seconds of each pass, and the resident size in bytes that was predicted before the first."""
    from time import perf_counter

    from unet_native.net import Net

    network, before = settings.network(channels=1, classes=2), resident("VmRSS")
    net = Net(network, "TEST", seed=1, plan="lean", algorithm=settings.algorithm, context=context)
    inputs = {"data": _tile(settings)["data"]}
    predicted = before + sum(net.memory().values())
    seconds = []
    for _ in range(1 + iterations):
        start = perf_counter()
        net.forward(**inputs)
        seconds.append(perf_counter() - start)
    return _rounded(seconds[1:]), predicted


def _time_training(settings, context, iterations: int) -> tuple[list[float], list[float], float]:
    """Seconds of each backward pass and of each step, and the predicted resident size in bytes."""
    from time import perf_counter

    from unet_native.solver import SGDSolver

    before = resident("VmRSS")
    network, inputs = settings.network(channels=1, classes=2), _tile(settings)
    solver = SGDSolver(
        settings.solver(),
        network,
        feed=lambda iteration: inputs,
        plan="lean",
        algorithm=settings.algorithm,
        context=context,
    )
    predicted = before + sum(solver.memory().values())
    backward, step = [], []
    for _ in range(1 + iterations):
        solver.net.forward(**inputs)
        solver.net.wait()
        start = perf_counter()
        solver.net.backward(on_param_diff=lambda param: None)
        solver.net.wait()
        middle = perf_counter()
        solver.step(1)
        solver.net.wait()
        backward.append(middle - start)
        step.append(perf_counter() - middle)
    return _rounded(backward[1:]), _rounded(step[1:]), predicted


def _tile(settings) -> dict:
    """Inputs of a training pass: random, but like real ones in distribution."""
    import numpy as np

    rng = np.random.default_rng(0)
    shape = (1, 1, settings.tile_out, settings.tile_out)
    data = rng.standard_normal((1, 1, settings.tile, settings.tile), np.float32)
    label = (rng.random(shape) < 0.8).astype(np.float32)
    return {"data": data, "label": label, "weight": 0.5 + rng.random(shape, np.float32)}


def _rounded(seconds: list[float]) -> list[float]:
    return [round(value, 6) for value in seconds]


def _print_table(result: dict, title: str) -> None:
    from statistics import median

    where = f"{result['threads']} threads, {result['isa']}"
    if result["device"] != "cpu":
        where = f"{result['device']}, {result['math']}"
    print(f"{title}; {where}")
    for name in ("forward", "backward", "step"):
        seconds = result[f"{name}_s"]
        print(
            f"{name:8}  {median(seconds):8.3f} s   "
            f"({min(seconds):.3f} to {max(seconds):.3f}, {len(seconds)} iterations)"
        )
    print(
        f"peak memory of the process {result['peak_rss_mb']:.0f} MB "
        f"({result['predicted_rss_mb']:.0f} MB predicted)"
    )

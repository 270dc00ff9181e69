"""``unet-native time --net FILE``: the time of each layer of a prototxt, like ``caffe time``."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unet_native.ops import Context

SOURCE = "caffe.cpp"


def time_layers(
    file: Path, *, phase: str, iterations: int, context: Context, algorithm: str, as_json: bool
) -> None:
    """Times forward and backward of every layer; prints means in milliseconds.

    A ReLU that the convolution before it applies takes no time of its own. phase TEST: forward
    only. Raises UserError for a net that cannot be built.
    """
    from unet_native.caffe.log import CaffeLog, number
    from unet_native.caffe.network import read_net
    from unet_native.errors import UserError
    from unet_native.net import Net

    if phase not in ("TRAIN", "TEST"):
        raise UserError(f"--phase {phase}: use TRAIN or TEST")
    try:
        net = Net(read_net(file), phase, seed=1, plan="lean", algorithm=algorithm, context=context)
    except (ValueError, MemoryError) as error:
        raise error if isinstance(error, UserError) else UserError(f"{file}: {error}") from error
    _fill_inputs(net)
    log = CaffeLog(sys.stdout)
    for notice in net.notices if not as_json else ():
        print(notice)
    net.forward()
    initial = net.loss
    if phase == "TRAIN":
        net.backward()
    seconds: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(layer: str, step: str, took: float) -> None:
        seconds[layer, "forward" if step == "forward" else "backward"] += took

    net.on_step = add
    totals: defaultdict[str, float] = defaultdict(float)
    each = []
    for _ in range(iterations):
        start = perf_counter()
        net.forward()
        net.wait()
        middle = perf_counter()
        if phase == "TRAIN":
            net.backward()
            net.wait()
        end = perf_counter()
        totals["forward"] += middle - start
        totals["backward"] += end - middle
        each.append(end - start)
    mean = {key: 1e3 * took / iterations for key, took in seconds.items()}
    average = {name: 1e3 * total / iterations for name, total in totals.items()}
    if as_json:
        _print_json(net, mean, average, each, context)
        return
    log.write(f"{SOURCE}:397", "Performing Forward")
    log.write(f"{SOURCE}:402", f"Initial loss: {number(initial)}")
    if phase == "TRAIN":
        log.write(f"{SOURCE}:403", "Performing Backward")
    log.write(f"{SOURCE}:411", "*** Benchmark begins ***")
    log.write(f"{SOURCE}:412", f"Testing for {iterations} iterations.")
    for i, took in enumerate(each, 1):
        text = f"Iteration: {i} forward-backward time: {number(1e3 * took)} ms."
        log.write(f"{SOURCE}:440", text)
    log.write(f"{SOURCE}:443", "Average time per layer: ")
    for layer in net.layers:
        for line, step in ((446, "forward"), (449, "backward")):
            took = number(mean.get((layer.name, step), 0))
            log.write(f"{SOURCE}:{line}", f"{layer.name:>10}\t{step}: {took} ms.")
    for line, text, milliseconds in (
        (454, "Average Forward pass", average["forward"]),
        (456, "Average Backward pass", average["backward"]),
        (458, "Average Forward-Backward", sum(average.values())),
        (460, "Total Time", 1e3 * sum(each)),
    ):
        log.write(f"{SOURCE}:{line}", f"{text}: {number(milliseconds)} ms.")
    log.write(f"{SOURCE}:461", "*** Benchmark ends ***")


def _fill_inputs(net) -> None:
    """Random numbers where data go in; labels and the like stay 0."""
    import numpy as np

    rng = np.random.default_rng(0)
    for name in net.inputs:
        readers = [x for x in net.layers if name in x.spec.bottom]
        if all(x.spec.bottom[0] == name for x in readers):
            array = net.blobs[name].data
            array[...] = rng.standard_normal(array.shape, np.float32)


def _print_json(net, mean: dict, average: dict, each: list[float], context) -> None:
    import json

    layers = [
        {
            "layer": layer.name,
            "type": layer.type,
            "forward_ms": round(mean.get((layer.name, "forward"), 0.0), 6),
            "backward_ms": round(mean.get((layer.name, "backward"), 0.0), 6),
        }
        for layer in net.layers
    ]
    result = {
        "layers": layers,
        "forward_ms": round(average["forward"], 6),
        "backward_ms": round(average["backward"], 6),
        "iterations_s": [round(took, 6) for took in each],
        "threads": context.threads,
        "isa": context.isa,
        "device": context.device,
    }
    print(json.dumps(result))

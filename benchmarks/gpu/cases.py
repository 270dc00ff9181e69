"""One pass of one layer with its operands, ready to run on the CPU or a device.

A case is made where it is to run: :meth:`Case.make` takes a context and returns a :class:`Call`,
whose operands lie there and whose results begin as NaN. Running it allocates nothing and waits for
nothing, so that it can be recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.network import PASSES, Convolution, Movement, convolutions, movements, others
from benchmarks.gpu.operands import SEEDS, blob, filters, hashed, placed, workspace
from unet_native import ops

#: By op with filters: [forward, backward_data, backward_weights, workspace_bytes].
_PASSES_OF = {
    "conv3x3": (
        ops.conv3x3_forward,
        ops.conv3x3_backward_data,
        ops.conv3x3_backward_weights,
        ops.conv3x3_workspace_bytes,
    ),
    "conv1x1": (
        ops.conv1x1_forward,
        ops.conv1x1_backward_data,
        ops.conv1x1_backward_weights,
        ops.conv1x1_workspace_bytes,
    ),
    "up_conv2x2": (
        ops.up_conv2x2_forward,
        ops.up_conv2x2_backward_data,
        ops.up_conv2x2_backward_weights,
        ops.up_conv2x2_workspace_bytes,
    ),
}


class Call(NamedTuple):
    """run() fills `results`, which lie where the call runs."""

    run: Callable[[], object]
    results: dict[str, NDArray]


@dataclass(frozen=True)
class Case:
    """traffic: least bytes; convolution: the layer, if it has filters."""

    layer: str
    op: str
    pass_name: str
    shape: str
    flop: int
    traffic: int
    make: Callable[[ops.Context], Call]
    convolution: Convolution | None = None

    @property
    def name(self) -> str:
        return f"{self.layer} {self.pass_name}"

    @property
    def has_math(self) -> bool:
        """Whether it multiplies matrices, so that "tf32" and "bf16" mean anything."""
        return self.convolution is not None


def cases(tile: int = 572, width: int = 64) -> Iterator[Case]:
    """Every pass of every layer, then the ops that the network leaves out."""
    for layer in convolutions(tile, width):
        for pass_name in PASSES:
            make = partial(_convolution, layer, pass_name)
            facts = (layer.shape, layer.flop, layer.traffic)
            yield Case(layer.name, layer.op, pass_name, *facts, make, layer)
    for move in (*movements(tile, width), *others(tile, width)):
        make = partial(_MOVEMENTS[move.op, move.pass_name], move)
        yield Case(move.name, move.op, move.pass_name, move.shape, 0, move.traffic, make)


def _nan(array: NDArray) -> NDArray:
    """An array that lies as `array` does, of NaN."""
    result = np.empty_like(array)  # keeps the order of the memory
    result[...] = np.nan
    return result


def _blob_of_nan(*shape: int) -> NDArray:
    array = ops.empty(shape)
    array[...] = np.nan
    return array


def _convolution(layer: Convolution, pass_name: str, context: ops.Context) -> Call:
    forward, backward_data, backward_weights, workspace_bytes = _PASSES_OF[layer.op]
    transposed = layer.op == "up_conv2x2"
    first = (layer.ic, layer.oc) if transposed else (layer.oc, layer.ic)
    bottom_shape = (1, layer.ic, layer.size, layer.size)
    top_shape = (1, layer.oc, layer.top_size, layer.top_size)
    common = {"context": context}
    if layer.op == "conv3x3" and context.device == "cpu":
        common["algorithm"] = "direct"  # Winograd's transforms would blur the reference
    nbytes = workspace_bytes(bottom_shape, layer.oc, pass_name, **common)
    common["workspace"] = workspace(nbytes, context)

    def put(array: NDArray) -> NDArray:
        return placed(array, context)

    def bottom() -> NDArray:
        return put(blob(bottom_shape, SEEDS["bottom"]))

    def top_diff() -> NDArray:
        return put(blob(top_shape, SEEDS["top_diff"]))

    weight_shape = (*first, layer.kernel, layer.kernel)
    weight = filters(weight_shape, SEEDS["weight"], transposed=transposed)
    if pass_name == "forward":
        bias, top = put(np.zeros(layer.oc, np.float32)), put(_blob_of_nan(*top_shape))
        run = partial(forward, bottom(), put(weight), bias, out=top, **common)
        return Call(run, {"top": top})
    if pass_name == "backward_data":
        bottom_diff = put(_blob_of_nan(*bottom_shape))
        run = partial(backward_data, top_diff(), put(weight), out=bottom_diff, **common)
        return Call(run, {"bottom_diff": bottom_diff})
    results = {
        "weight_diff": put(_nan(weight)),
        "bias_diff": put(np.full(layer.oc, np.nan, np.float32)),
    }
    common["accumulate"] = False
    return Call(partial(backward_weights, bottom(), top_diff(), **results, **common), results)


def _map(move: Movement, seed: int, context: ops.Context) -> NDArray:
    return _blob(move.channels, move.size, seed, context)


def _blob(channels: int, size: int, seed: int, context: ops.Context) -> NDArray:
    return placed(blob((1, channels, size, size), seed), context)


def _new(channels: int, size: int, context: ops.Context) -> NDArray:
    return placed(_blob_of_nan(1, channels, size, size), context)


def _relu_forward(move: Movement, context: ops.Context) -> Call:
    top = _new(move.channels, move.size, context)
    run = partial(ops.relu_forward, _map(move, 1, context), out=top, context=context)
    return Call(run, {"top": top})


def _relu_backward(move: Movement, context: ops.Context) -> Call:
    data, top_diff = _map(move, 1, context), _map(move, 3, context)
    diff = _new(move.channels, move.size, context)
    run = partial(ops.relu_backward, data, top_diff, out=diff, context=context)
    return Call(run, {"bottom_diff": diff})


def _max_pool_forward(move: Movement, context: ops.Context) -> Call:
    top = _new(move.channels, (move.size + 1) // 2, context)
    run = partial(ops.max_pool2x2_forward, _map(move, 1, context), out=top, context=context)
    return Call(run, {"top": top})


def _max_pool_backward(move: Movement, context: ops.Context) -> Call:
    """With what the skip connection brings back, and through the ReLU before it."""
    half = _blob(2 * move.channels, move.skip, 4, context)[:, move.channels :]
    diff, border = _new(move.channels, move.size, context), (move.size - move.skip) // 2
    run = partial(
        ops.max_pool2x2_backward,
        _map(move, 1, context),
        _blob(move.channels, (move.size + 1) // 2, 3, context),
        skip_diff=half,
        skip_offset=(border, border),
        negative_slope=0.0,
        out=diff,
        context=context,
    )
    return Call(run, {"bottom_diff": diff})


def _crop_forward(move: Movement, context: ops.Context) -> Call:
    """Into its half of the concatenation."""
    half = _new(2 * move.channels, move.skip, context)[:, move.channels :]
    size = (move.skip, move.skip)
    run = partial(ops.crop_forward, _map(move, 1, context), size, out=half, context=context)
    return Call(run, {"top": half})


def _crop_backward(move: Movement, context: ops.Context) -> Call:
    half = _blob(2 * move.channels, move.skip, 4, context)[:, move.channels :]
    diff = _new(move.channels, move.size, context)
    run = partial(ops.crop_backward, half, diff.shape, out=diff, context=context)
    return Call(run, {"bottom_diff": diff})


def _dropout_forward(move: Movement, context: ops.Context) -> Call:
    """The mask is drawn on the way, as in a step."""
    bottom, top = _map(move, 1, context), _new(move.channels, move.size, context)
    mask = placed(ops.empty(bottom.shape, np.uint8), context)

    def run() -> None:
        ops.dropout_mask(mask.shape, 0.5, seed=1, layer=7, out=mask, context=context)
        ops.dropout_forward(bottom, mask, 0.5, out=top, context=context)

    return Call(run, {"top": top, "mask": mask})


def _dropout_backward(move: Movement, context: ops.Context) -> Call:
    top_diff, diff = _map(move, 3, context), _new(move.channels, move.size, context)
    mask = placed(ops.dropout_mask(top_diff.shape, 0.5, seed=1, layer=7), context)
    run = partial(ops.dropout_backward, top_diff, mask, 0.5, out=diff, context=context)
    return Call(run, {"bottom_diff": diff})


def _softmax_forward(move: Movement, context: ops.Context) -> Call:
    top = _new(move.channels, move.size, context)
    run = partial(ops.softmax_forward, _map(move, 1, context), out=top, context=context)
    return Call(run, {"top": top})


def _softmax_backward(move: Movement, context: ops.Context) -> Call:
    top = placed(ops.softmax_forward(blob((1, move.channels, move.size, move.size), 1)), context)
    top_diff, diff = _map(move, 3, context), _new(move.channels, move.size, context)
    run = partial(ops.softmax_backward, top, top_diff, out=diff, context=context)
    return Call(run, {"bottom_diff": diff})


def _softmax_loss(move: Movement, context: ops.Context) -> Call:
    """Labels 0 and 1, weights from 0.5 to 2.5; nobody waits for the loss."""
    score = _map(move, 1, context)
    one = (1, 1, move.size, move.size)
    results = {
        "bottom_diff": _new(move.channels, move.size, context),
        "loss": placed(np.full(1, np.nan, np.float32), context),
    }
    run = partial(
        ops.softmax_loss,
        score,
        placed((blob(one, 3) > 0).astype(np.float32), context),
        placed(blob(one, 4) + np.float32(1.5), context),
        normalization="WEIGHT_SUM",
        out=results["bottom_diff"],
        loss_out=results["loss"],
        wait=False,
        workspace=workspace(
            ops.softmax_loss_workspace_bytes(score.shape, context=context), context
        ),
        context=context,
    )
    return Call(run, results)


def _sgd(move: Movement, context: ops.Context) -> Call:
    """Of all parameters at once."""
    weight, diff, history = (placed(hashed(move.channels, seed), context) for seed in (1, 2, 3))
    settings = {"rate": 1e-3, "momentum": 0.5, "weight_decay": 1e-3}
    run = partial(ops.sgd_update, weight, diff, history, **settings, context=context)
    return Call(run, {"weight": weight, "history": history})


def _adam(move: Movement, context: ops.Context) -> Call:
    """Of all parameters at once; the second moments are squares."""
    arrays = [hashed(move.channels, seed) for seed in (1, 2, 3, 4)]
    arrays[3] **= 2
    weight, diff, *histories = (placed(array, context) for array in arrays)
    run = partial(ops.adam_update, weight, diff, *histories, rate=1e-3, step=3, context=context)
    return Call(run, {"weight": weight, "history": histories[0], "history2": histories[1]})


_MOVEMENTS = {
    ("relu", "forward"): _relu_forward,
    ("relu", "backward"): _relu_backward,
    ("max_pool2x2", "forward"): _max_pool_forward,
    ("max_pool2x2", "backward"): _max_pool_backward,
    ("crop_concat", "forward"): _crop_forward,
    ("crop_concat", "backward"): _crop_backward,
    ("dropout", "forward"): _dropout_forward,
    ("dropout", "backward"): _dropout_backward,
    ("softmax", "forward"): _softmax_forward,
    ("softmax", "backward"): _softmax_backward,
    ("softmax_loss", "forward"): _softmax_loss,
    ("sgd", "update"): _sgd,
    ("adam", "update"): _adam,
}

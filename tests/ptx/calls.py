"""Small calls of the ops that have kernels, whose launches are then run from their PTX.

An op is added by its name and a function of a context. Together the calls of an op must reach every
kernel in its files, which tests/test_ptx_ops.py checks: sizes that are multiples of four or not,
wide and narrow blobs, every option that picks another kernel.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ptx.recording import Launch, read_launches
from shapes import BLOBS, LAYERS
from unet_native import _core, ops
from unet_native.ops import Context

#: Kernels that call functions which nvcc and the C++ library compute differently (exp, log): errors
#: relative to the largest magnitude. All others must agree in the bits.
TOLERANCE = {"softmax": 1e-6, "softmax_loss": 2e-6}

#: Ops that have kernels for tensor cores, and a plan that chooses tiles.
ON_TENSOR_CORES = {"conv1x1", "conv3x3", "up_conv2x2"}

Shape = tuple[int, ...]
Call = Callable[..., None]


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape, np.float32)


def _relu(context: Context, shape: Shape) -> None:
    x = _values(*shape)
    ops.relu_forward(x, negative_slope=0.1, context=context)
    ops.relu_backward(x, x, context=context)


def _max_pool2x2(context: Context, shape: Shape) -> None:
    n, c, h, w = shape
    x, top_diff = _values(*shape), _values(n, c, -(-h // 2), -(-w // 2))
    ops.max_pool2x2_forward(x, context=context)
    ops.max_pool2x2_backward(x, top_diff, negative_slope=0.0, context=context)
    if min(h, w) > 2:
        skip = _values(n, c, h - 2, w - 2)
        out = ops.channels_last(x)
        options = {"skip_diff": skip, "skip_offset": (1, 0), "accumulate": True, "out": out}
        ops.max_pool2x2_backward(x, top_diff, context=context, **options)


def _crop_concat(context: Context, shape: Shape) -> None:
    n, c, h, w = shape
    bottoms = [_values(*shape), _values(n, c + 3, h + 2, w + 4)]
    shapes = [bottom.shape for bottom in bottoms]
    top = ops.crop_concat_forward(bottoms, context=context)
    diffs = ops.crop_concat_backward(top, shapes, context=context)
    ops.crop_concat_backward(top, shapes, accumulate=True, outs=diffs, context=context)


def _dropout(context: Context, shape: Shape) -> None:
    mask = ops.dropout_mask(shape, 0.3, seed=7 << 40, iteration=3, layer=2, context=context)
    ops.dropout_forward(_values(*shape), mask, 0.3, context=context)


def _softmax(context: Context, shape: Shape) -> None:
    x = _values(*shape)
    top = ops.softmax_forward(x, context=context)
    ops.softmax_backward(top, x, context=context)


def _softmax_loss(context: Context, shape: Shape) -> None:
    n, c, h, w = shape
    label = np.random.default_rng(shape).integers(0, c + 1, (n, 1, h, w)).astype(np.float32)
    weight = np.abs(_values(n, 1, h, w)) + np.float32(0.5)
    options = {"ignore_label": c, "with_prob": True, "context": context}
    ops.softmax_loss(_values(*shape), label, weight, **options)
    ops.softmax_loss(_values(*shape), label, normalization="NONE", **options)


def _sgd(context: Context, shape: Shape) -> None:
    arrays = [_values(i, *shape) for i in range(1, 4)]
    for regularization in ("L1", "L2"):
        options = {"rate": 0.01, "momentum": 0.99, "weight_decay": 0.05, "scale": 0.5}
        options |= {"regularization": regularization, "keep_update": regularization == "L2"}
        ops.sgd_update(*(array[0] for array in arrays), context=context, **options)


def _adam(context: Context, shape: Shape) -> None:
    arrays = [_values(i, *shape)[0] for i in range(1, 5)]
    arrays[3] = np.abs(arrays[3])
    for step, regularization in enumerate(("L1", "L2"), 1):
        options = {"rate": 0.01, "step": step, "weight_decay": 0.05}
        options |= {"regularization": regularization, "keep_update": regularization == "L2"}
        ops.adam_update(*arrays, context=context, **options)


def _layer(op: str, kernel: int, scale: int, context: Context, shape: Shape) -> None:
    """All passes of an op with weights."""
    n, ic, h, w, oc = shape
    channels = (ic, oc) if op == "up_conv2x2" else (oc, ic)
    bottom, weight, bias = _values(n, ic, h, w), _values(*channels, kernel, kernel), _values(oc)
    shrinks = kernel - scale
    top_diff = _values(n, oc, scale * h - shrinks, scale * w - shrinks)
    forward, backward_data, backward_weights = (
        functools.partial(getattr(ops, f"{op}_{name}"), context=context)
        for name in ("forward", "backward_data", "backward_weights")
    )
    forward(bottom, weight, bias, negative_slope=0.25)
    backward_data(top_diff, weight)
    backward_weights(bottom, top_diff)


_conv3x3 = functools.partial(_layer, "conv3x3", 3, 1)
_conv1x1 = functools.partial(_layer, "conv1x1", 1, 1)
_up_conv2x2 = functools.partial(_layer, "up_conv2x2", 2, 2)


def _fma_peak(context: Context, shape: Shape) -> None:
    _core.fma_peak(context, shape[-1])


# For each op a function, shapes of every run, and shapes for the marker simt_full besides.
_FEW = [(1, 1, 3, 2), (2, 5, 4, 7), (1, 8, 6, 5)]
_FEW_LAYERS = [(1, 3, 6, 7, 5), (1, 8, 8, 7, 8), (1, 4, 5, 6, 72)]
_FEW_LAYERS += [(1, 70, 4, 5, 67), (1, 68, 4, 4, 4)]
_FULL_LAYERS = [shape for shape in LAYERS if min(shape[2:4]) >= 3]
_FULL_LAYERS += [(1, 1, 9, 31, 64), (1, 64, 12, 11, 64), (1, 129, 6, 6, 18), (1, 20, 5, 5, 300)]
# conv1x1 with few outputs has kernels of its own.
_FEW_OUTPUTS = [(1, ic, 3, 5, oc) for ic in (20, 23) for oc in (1, 2, 3, 7, 16)]
_FEW_OUTPUTS += [(1, 12, 4, 5, 20), (1, 11, 4, 5, 21)]
_TILES = [(1, 20, 12, 14, 124), (1, 124, 10, 12, 20), (1, 28, 9, 4, 124)]
CALLS: dict[str, tuple[Call, list[Shape], list[Shape]]] = {
    "adam": (_adam, _FEW, BLOBS),
    "conv1x1": (_conv1x1, [*_FEW_LAYERS[2:], *_FEW_OUTPUTS], _FULL_LAYERS),
    "conv3x3": (_conv3x3, _FEW_LAYERS, _FULL_LAYERS),
    "crop_concat": (_crop_concat, _FEW, BLOBS),
    "fma_peak": (_fma_peak, [(3,)], []),
    "dropout": (_dropout, _FEW, BLOBS),
    "max_pool2x2": (_max_pool2x2, _FEW, BLOBS),
    "relu": (_relu, _FEW, BLOBS),
    "sgd": (_sgd, _FEW, BLOBS),
    "softmax": (_softmax, _FEW, BLOBS),
    "softmax_loss": (_softmax_loss, [(1, 2, 3, 4), (2, 5, 6, 7)], BLOBS),
    "up_conv2x2": (_up_conv2x2, _FEW_LAYERS, _FULL_LAYERS),
}


def _every_case(op: str, full: bool) -> None:
    """On the SIMT runtime with its checker, which knows what was written."""
    call, few, more = CALLS[op]
    for math in ("fp32", "tf32", "bf16") if op in ON_TENSOR_CORES else ("fp32",):
        context = Context(device="cuda-simt-checked", math=math)
        usual = few if math == "fp32" else _FEW_LAYERS
        for shape in [*usual, *more] if full else usual:
            call(context, shape)
        if full and op in ON_TENSOR_CORES:  # each tile is for devices of another size
            for multiprocessors in (1, 2, 4):
                _core.simt_device(multiprocessors=multiprocessors)
                for shape in _TILES:
                    call(context, shape)
            _core.simt_device()


@functools.cache
def launches_of(op: str, full: bool) -> list[Launch]:
    """What the SIMT runtime has recorded of an op's calls."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "launches"
        _core.simt_record(str(record))
        try:
            _every_case(op, full)
        finally:
            _core.simt_record("")
            _core.simt_device()
        return read_launches(record)

"""The solver's update of parameters."""

from __future__ import annotations

from unet_native import _core
from unet_native.ops.arrays import Array, check_dtype, context_or_default, flat_memory


def sgd_update(
    weight: Array,
    diff: Array,
    history: Array,
    *,
    rate: float,
    momentum: float,
    weight_decay: float = 0.0,
    regularization: str = "L2",
    scale: float = 1.0,
    keep_update: bool = False,
    context: _core.Context | None = None,
) -> None:
    """One step of stochastic gradient descent with momentum, in place and in Caffe's order.

        g       = scale * diff + weight_decay * weight      ("L1": weight_decay * sign(weight))
        history = momentum * history + rate * g
        weight  = weight - history

    weight, diff, history: float32 of one shape and one memory order, dense. With `keep_update`,
    diff becomes history, as Caffe leaves it; else it stays. rate and weight_decay come multiplied
    by the parameter's lr_mult and decay_mult; scale is 1/iter_size times the factor of clipping.
    Source: Caffe sgd_solver.cpp.
    """
    arrays = {"weight": weight, "diff": diff, "history": history}
    for name, array in arrays.items():
        check_dtype(array, name)
        if array.shape != weight.shape or _order(array) != _order(weight):
            raise ValueError(
                f"sgd_update: {name} must have the shape and memory order of weight "
                f"({name} {array.shape} strides {array.strides}, "
                f"weight {weight.shape} strides {weight.strides})"
            )
    _core.sgd_update(
        context_or_default(context),
        *(flat_memory(array, name) for name, array in arrays.items()),
        rate,
        momentum,
        weight_decay,
        scale,
        regularization,
        keep_update,
    )


def _order(array: Array) -> tuple[int, ...]:
    """The strides of the axes that have more than one element."""
    return tuple(s for s, size in zip(array.strides, array.shape, strict=True) if size > 1)

"""The solver's update of parameters."""

from __future__ import annotations

from unet_native import _core
from unet_native.ops.arrays import Array, context_or_default, flat_alike


def sgd_update(
    weight: Array,
    diff: Array,
    history: Array,
    *,
    rate: float,
    rate_factor: Array | None = None,
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
    rate_factor: one float32 that multiplies rate, and that a replayed graph reads anew.
    Source: Caffe sgd_solver.cpp.
    """
    arrays = {"weight": weight, "diff": diff, "history": history}
    _core.sgd_update(
        context_or_default(context),
        *flat_alike("sgd_update", arrays),
        rate,
        momentum,
        weight_decay,
        scale,
        regularization,
        keep_update,
        rate_factor,
    )

"""The Adam solver's update of parameters."""

from __future__ import annotations

from math import sqrt

import numpy as np

from unet_native import _core
from unet_native.ops.arrays import Array, context_or_default, flat_alike


def adam_update(
    weight: Array,
    diff: Array,
    history: Array,
    history2: Array,
    *,
    rate: float,
    rate_factor: Array | None = None,
    step: int | None = None,
    momentum: float = 0.9,
    momentum2: float = 0.999,
    delta: float = 1e-8,
    weight_decay: float = 0.0,
    regularization: str = "L2",
    scale: float = 1.0,
    keep_update: bool = False,
    context: _core.Context | None = None,
) -> None:
    """One step of Adam, in place and in Caffe's form; `step` counts from 1.

        g        = scale * diff + weight_decay * weight     ("L1": weight_decay * sign(weight))
        history  = momentum * history + (1 - momentum) * g
        history2 = momentum2 * history2 + (1 - momentum2) * g^2
        update   = rate * sqrt(1 - momentum2^step) / (1 - momentum^step)
                   * history / (sqrt(history2) + delta)
        weight   = weight - update

    weight, diff, history, history2: float32 of one shape and one memory order, dense. With
    `keep_update`, diff becomes the update, as Caffe leaves it; else it stays. rate and weight_decay
    come multiplied by the parameter's lr_mult and decay_mult; scale is 1/iter_size times the factor
    of clipping. rate_factor: one float32 that multiplies rate, and that a replayed graph reads
    anew. step None: rate or rate_factor hold :func:`adam_correction` already. Raises ValueError for
    a step below 1. Source: Caffe adam_solver.cpp.
    """
    correction = 1.0 if step is None else adam_correction(step, momentum, momentum2)
    arrays = {"weight": weight, "diff": diff, "history": history, "history2": history2}
    _core.adam_update(
        context_or_default(context),
        *flat_alike("adam_update", arrays),
        rate * correction,
        momentum,
        momentum2,
        delta,
        weight_decay,
        scale,
        regularization,
        keep_update,
        rate_factor,
    )


def adam_correction(step: int, momentum: float = 0.9, momentum2: float = 0.999) -> float:
    """sqrt(1 - momentum2^step) / (1 - momentum^step): what the histories' start from 0 costs.

    Raises ValueError for a step below 1.
    """
    if step < 1:
        raise ValueError(f"adam_update: step counts from 1, got {step}")
    # As float32 has them: 1 - 0.999 differs from that of the real number in the fifth digit.
    momentum, momentum2 = float(np.float32(momentum)), float(np.float32(momentum2))
    return sqrt(1 - momentum2**step) / (1 - momentum**step)

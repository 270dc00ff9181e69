"""All passes of conv3x3 on random operands, into guarded memory."""

from __future__ import annotations

import numpy as np

from guard import MARGIN, guarded_blob, guarded_dense
from unet_native import ops


def operands(shape, rng=None):
    """bottom, weight, bias, top_diff of the layer (N, IC, IH, IW, OC)."""
    n, ic, ih, iw, oc = shape
    rng = rng or np.random.default_rng(shape)
    return (
        rng.standard_normal((n, ic, ih, iw), np.float32),
        rng.standard_normal((oc, ic, 3, 3), np.float32),
        rng.standard_normal(oc, np.float32),
        rng.standard_normal((n, oc, ih - 2, iw - 2), np.float32),
    )


def run_passes(shape, context, *, algorithm="auto", margin=MARGIN):
    """top, top without bias through a ReLU of slope 0.25, bottom_diff, weight_diff, bias_diff."""
    bottom, weight, bias, top_diff = operands(shape)
    top, rectified = (guarded_blob(top_diff.shape, margin=margin) for _ in range(2))
    bottom_diff = guarded_blob(bottom.shape, margin=margin)
    weight_diff = guarded_dense(np.full_like(ops.empty_filter(weight.shape), np.nan))
    bias_diff = guarded_dense(np.full_like(bias, np.nan))
    options = {"algorithm": algorithm, "context": context}
    ops.conv3x3_forward(bottom, weight, bias, out=top.array, **options)
    ops.conv3x3_forward(bottom, weight, negative_slope=0.25, out=rectified.array, **options)
    ops.conv3x3_backward_data(top_diff, weight, out=bottom_diff.array, **options)
    ops.conv3x3_backward_weights(
        bottom,
        top_diff,
        weight_diff=weight_diff.array,
        bias_diff=bias_diff.array,
        accumulate=False,
        **options,
    )
    outputs = (top, rectified, bottom_diff, weight_diff, bias_diff)
    return tuple(output.checked() for output in outputs)

"""2x2 up-convolution with stride 2."""

from __future__ import annotations

import numpy as np

from unet_native import _core
from unet_native.ops.arrays import (
    Array,
    Context,
    channels_last,
    context_or_default,
    empty,
    empty_filter,
    empty_workspace,
    filter_memory,
)


def up_conv2x2_forward(
    bottom: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    negative_slope: float | None = None,
    out: Array | None = None,
    workspace: Array | None = None,
    context: Context | None = None,
) -> Array:
    """top[n,oc,2y+kh,2x+kw] = relu(bias[oc] + sum_ic weight[ic,oc,kh,kw] bottom[n,ic,y,x]).

    bottom (N, IC, H, W), weight (IC, OC, 2, 2), bias (OC) or None -> top (N, OC, 2H, 2W),
    all float32. `negative_slope` None: no ReLU; a number: Caffe's ReLU fused into the store.
    `out` may be a slice of the channels of a wider blob (one half of a concatenation).
    `out` must not overlap `bottom`. workspace: :func:`up_conv2x2_workspace_bytes`.
    Raises ValueError for shapes that do not fit. Source: Caffe deconv_layer.cpp.
    """
    context = context_or_default(context)
    bottom = channels_last(bottom, "bottom")
    memory = filter_memory(weight, transposed=True)
    n, _, h, w = bottom.shape
    oc = memory.shape[3]
    if workspace is None:
        workspace = empty_workspace(
            up_conv2x2_workspace_bytes(bottom.shape, oc, "forward", context=context)
        )
    top = empty((n, oc, 2 * h, 2 * w)) if out is None else out
    _core.up_conv2x2_forward(context, bottom, memory, bias, negative_slope, workspace, top)
    return top


def up_conv2x2_backward_data(
    top_diff: Array,
    weight: Array,
    *,
    out: Array | None = None,
    workspace: Array | None = None,
    context: Context | None = None,
) -> Array:
    """bottom_diff[n,ic,y,x] = sum_{oc,kh,kw} weight[ic,oc,kh,kw] top_diff[n,oc,2y+kh,2x+kw].

    top_diff (N, OC, 2H, 2W), weight (IC, OC, 2, 2) -> bottom_diff (N, IC, H, W), all float32;
    `out` is overwritten. Errors as in :func:`up_conv2x2_forward`. Source: Caffe deconv_layer.cpp.
    """
    context = context_or_default(context)
    top_diff = channels_last(top_diff, "top_diff")
    memory = filter_memory(weight, transposed=True)
    n, oc, h, w = top_diff.shape
    bottom_shape = (n, memory.shape[2], h // 2, w // 2)
    if workspace is None:
        workspace = empty_workspace(
            up_conv2x2_workspace_bytes(bottom_shape, oc, "backward_data", context=context)
        )
    bottom_diff = empty(bottom_shape) if out is None else out
    _core.up_conv2x2_backward_data(context, top_diff, memory, workspace, bottom_diff)
    return bottom_diff


def up_conv2x2_backward_weights(
    bottom: Array,
    top_diff: Array,
    *,
    weight_diff: Array | None = None,
    bias_diff: Array | None = None,
    accumulate: bool = True,
    workspace: Array | None = None,
    context: Context | None = None,
) -> tuple[Array, Array | None]:
    """weight_diff[ic,oc,kh,kw] += sum_{n,y,x} bottom[n,ic,y,x] top_diff[n,oc,2y+kh,2x+kw].

    bias_diff[oc] += sum_{n,y,x} top_diff[n,oc,y,x].

    bottom (N, IC, H, W), top_diff (N, OC, 2H, 2W) -> weight_diff (IC, OC, 2, 2), bias_diff
    (OC), all float32. Without a `weight_diff` to add to, new arrays are returned; with it but no
    `bias_diff` the bias is left out and None returned for it. `accumulate` False overwrites.
    Errors as in :func:`up_conv2x2_forward`. Source: Caffe deconv_layer.cpp.
    """
    context = context_or_default(context)
    bottom = channels_last(bottom, "bottom")
    top_diff = channels_last(top_diff, "top_diff")
    ic, oc = bottom.shape[1], top_diff.shape[1]
    if weight_diff is None:
        if bias_diff is not None:
            raise ValueError("up_conv2x2_backward_weights: bias_diff needs a weight_diff beside it")
        weight_diff = empty_filter((ic, oc, 2, 2), transposed=True)
        bias_diff = np.empty(oc, np.float32)
        accumulate = False
    if workspace is None:
        workspace = empty_workspace(
            up_conv2x2_workspace_bytes(bottom.shape, oc, "backward_weights", context=context)
        )
    memory = filter_memory(weight_diff, transposed=True, name="weight_diff", in_place=True)
    _core.up_conv2x2_backward_weights(
        context, bottom, top_diff, accumulate, workspace, memory, bias_diff
    )
    return weight_diff, bias_diff


def up_conv2x2_workspace_bytes(
    bottom_shape: tuple[int, int, int, int],
    num_output: int,
    direction: str,
    *,
    context: Context | None = None,
) -> int:
    """Bytes of :func:`empty_workspace` that a pass over a bottom of this shape needs.

    direction: "forward", "backward_data" or "backward_weights".
    """
    return _core.up_conv2x2_workspace_bytes(
        context_or_default(context), *bottom_shape, num_output, direction
    )

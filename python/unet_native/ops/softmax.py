"""Softmax over the channels, alone and fused with the pixel-weighted cross-entropy."""

from __future__ import annotations

from typing import NamedTuple

from unet_native import _core
from unet_native.ops.arrays import (
    Array,
    channels_last,
    context_or_default,
    empty,
    empty_workspace,
)


def softmax_forward(
    bottom: Array, *, out: Array | None = None, context: _core.Context | None = None
) -> Array:
    """top = exp(bottom) / sum over channels of exp(bottom), for each pixel.

    bottom, top: (N, C, H, W) float32; `out` may be `bottom` (in place).
    Source: Caffe softmax_layer.cpp (the maximum is subtracted first).
    """
    bottom = channels_last(bottom, "bottom")
    top = empty(bottom.shape) if out is None else out
    _core.softmax_forward(context_or_default(context), bottom, top)
    return top


def softmax_backward(
    top: Array,
    top_diff: Array,
    *,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """bottom_diff = top * (top_diff - sum over channels of top * top_diff), for each pixel.

    top: what the forward pass gave, (N, C, H, W) float32; `out` may be `top_diff` (in place).
    Source: Caffe softmax_layer.cpp.
    """
    top = channels_last(top, "top")
    top_diff = channels_last(top_diff, "top_diff")
    bottom_diff = empty(top.shape) if out is None else out
    _core.softmax_backward(context_or_default(context), top, top_diff, bottom_diff)
    return bottom_diff


class SoftmaxLoss(NamedTuple):
    """What :func:`softmax_loss` gives. The arrays are None if they were not wanted."""

    loss: float
    bottom_diff: Array | None
    prob: Array | None


def softmax_loss(
    score: Array,
    label: Array,
    weight: Array | None = None,
    *,
    normalization: str = "VALID",
    ignore_label: int | None = None,
    loss_weight: float = 1.0,
    loss_diff: Array | None = None,
    with_diff: bool = True,
    with_prob: bool = False,
    out: Array | None = None,
    prob_out: Array | None = None,
    loss_out: Array | None = None,
    wait: bool = True,
    workspace: Array | None = None,
    context: _core.Context | None = None,
) -> SoftmaxLoss:
    """The pixel-weighted softmax cross-entropy and its gradient, in one pass over the scores.

        loss        = 1/Z * sum_x weight(x) * -log p_label(x)(x),    p = softmax(score)
        bottom_diff = loss_weight/Z * weight(x) * (p - onehot(label(x)))

    over the pixels x whose label is not `ignore_label`; elsewhere bottom_diff is 0.

    score: (N, C, H, W) float32. label, weight: (N, 1, H, W) float32; labels are whole numbers in
    [0, C). Without weight, -log p is at most -log(FLT_MIN) = 87.34, as in Caffe; with it there is
    no such bound. normalization names Z: "FULL" N*H*W, "VALID" the number of pixels not ignored,
    "BATCH_SIZE" N, "NONE" 1, each at least 1; "WEIGHT_SUM" the exact sum of the weights of the
    pixels not ignored, where a sum of 0 gives a loss and a gradient of 0. `loss` is not yet
    multiplied by `loss_weight`. Without weight it is summed as Caffe does, in float32 pixel after
    pixel, else in double precision (on a GPU always).

    with_diff, with_prob: whether bottom_diff and p are wanted; out, prob_out: arrays for them, of
    which one may be `score` (in place). workspace: :func:`softmax_loss_workspace_bytes`.

    loss_out: one float32 for the loss. loss_diff: one float32 that multiplies loss_weight. wait:
    False, on a device, does not wait for the loss, and returns 0; a label that is none then makes
    loss_out NaN instead of raising.

    Raises ValueError for any other label, with the place of the first one.
    Source: Caffe softmax_loss_layer.cpp; Ronneberger et al. 2015, section 3 (E = sum w log p there
    lacks its minus).
    """
    context = context_or_default(context)
    score = channels_last(score, "score")
    label = channels_last(label, "label")
    if weight is not None:
        weight = channels_last(weight, "weight")
    bottom_diff = empty(score.shape) if with_diff and out is None else out
    prob = empty(score.shape) if with_prob and prob_out is None else prob_out
    needed = softmax_loss_workspace_bytes(score.shape, context=context)
    loss = _core.softmax_loss(
        context,
        score,
        label,
        weight,
        normalization,
        ignore_label,
        loss_weight,
        loss_diff,
        empty_workspace(needed) if workspace is None else workspace,
        loss_out,
        wait,
        bottom_diff,
        prob,
    )
    return SoftmaxLoss(loss, bottom_diff, prob)


def softmax_loss_workspace_bytes(
    shape: tuple[int, int, int, int], *, context: _core.Context | None = None
) -> int:
    """Bytes of :func:`empty_workspace` that :func:`softmax_loss` needs for scores of `shape`."""
    return _core.softmax_loss_workspace_bytes(context_or_default(context), shape[0], *shape[2:])

"""Unpadded 3x3 convolution."""

from __future__ import annotations

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

Bottom = Array | tuple[Array, Array]


def conv3x3_forward(
    bottom: Bottom,
    weight: Array,
    bias: Array | None = None,
    *,
    negative_slope: float | None = None,
    algorithm: str = "auto",
    out: Array | None = None,
    workspace: Array | None = None,
    context: Context | None = None,
) -> Array:
    """top[n,oc,y,x] = relu(bias[oc] + sum_{ic,kh,kw} weight[oc,ic,kh,kw] bottom[n,ic,y+kh,x+kw]).

    bottom (N, IC, IH, IW), weight (OC, IC, 3, 3), bias (OC) or None -> top (N, OC, IH-2, IW-2),
    all float32. `negative_slope` None: no ReLU; a number: Caffe's ReLU fused into the store.
    On the CPU the bottom may come in two parts, (N, C, IH, IW) and (N, IC-C, IH, IW), of any
    strides: the sums, to the bit, are those of their concatenation, which nobody has to write.

    algorithm: "direct" sums in one fixed order per element, whatever the tile position;
    "winograd-4x4" and "winograd-6x6" are F(4x4,3x3) and F(6x6,3x3), with smaller tiles where those
    would stick out, several times faster, and err by about 1e-5 and 2e-5 of the largest magnitude;
    "winograd" takes what is faster for the shape, "auto" does so from 16 channels on. A GPU
    multiplies matrices in the context's `math` whatever the algorithm; all but "direct" may split a
    sum there, by shape and device.
    `out` must not overlap `bottom`.
    Raises ValueError for shapes that do not fit, a bottom below 3x3 pixels, or two parts on a GPU.
    Source: Caffe conv_layer.cpp; Lavin and Gray 2015 (Winograd).
    """
    context = context_or_default(context)
    first, second, (n, ic, ih, iw) = _parts(bottom)
    weight = filter_memory(weight)
    oc = weight.shape[3]
    if workspace is None:
        workspace = empty_workspace(
            _core.conv3x3_workspace_bytes(context, n, ic, ih, iw, oc, "forward", algorithm)
        )
    top = empty((n, oc, ih - 2, iw - 2)) if out is None else out
    _core.conv3x3_forward(
        context, first, second, weight, bias, negative_slope, algorithm, workspace, top
    )
    return top


def conv3x3_backward_data(
    top_diff: Array,
    weight: Array,
    *,
    bottom: Array | None = None,
    negative_slope: float = 0.0,
    algorithm: str = "auto",
    out: Array | None = None,
    workspace: Array | None = None,
    context: Context | None = None,
) -> Array:
    """bottom_diff[n,ic,y,x] = sum_{oc,kh,kw} weight[oc,ic,kh,kw] top_diff[n,oc,y-kh,x-kw].

    top_diff (N, OC, OH, OW), weight (OC, IC, 3, 3) -> bottom_diff (N, IC, OH+2, OW+2), all
    float32; `out` is overwritten. With a `bottom`, which a ReLU in place has left, that
    ReLU's diff: times `negative_slope` where bottom <= 0. `algorithm` and errors as in
    :func:`conv3x3_forward`.
    Source: Caffe conv_layer.cpp.
    """
    context = context_or_default(context)
    top_diff = channels_last(top_diff, "top_diff")
    weight = filter_memory(weight)
    n, oc, oh, ow = top_diff.shape
    ic = weight.shape[2]
    if workspace is None:
        workspace = empty_workspace(
            _core.conv3x3_workspace_bytes(
                context, n, ic, oh + 2, ow + 2, oc, "backward_data", algorithm
            )
        )
    bottom_diff = empty((n, ic, oh + 2, ow + 2)) if out is None else out
    if bottom is not None:
        bottom = channels_last(bottom, "bottom")
    _core.conv3x3_backward_data(
        context, top_diff, weight, bottom, negative_slope, algorithm, workspace, bottom_diff
    )
    return bottom_diff


def conv3x3_backward_weights(
    bottom: Bottom,
    top_diff: Array,
    *,
    algorithm: str = "auto",
    weight_diff: Array | None = None,
    bias_diff: Array | None = None,
    accumulate: bool = True,
    workspace: Array | None = None,
    context: Context | None = None,
) -> tuple[Array, Array | None]:
    """weight_diff[oc,ic,kh,kw] += sum_{n,y,x} top_diff[n,oc,y,x] bottom[n,ic,y+kh,x+kw].

    bias_diff[oc] += sum_{n,y,x} top_diff[n,oc,y,x].

    bottom (N, IC, IH, IW), top_diff (N, OC, IH-2, IW-2) -> weight_diff (OC, IC, 3, 3), bias_diff
    (OC), all float32. Without arrays to add to, new ones are returned; with a `weight_diff` but no
    `bias_diff` the bias is left out and None returned for it. `accumulate` False overwrites.
    Two parts of a bottom, `algorithm` and errors as in :func:`conv3x3_forward`.
    Source: Caffe conv_layer.cpp.
    """
    context = context_or_default(context)
    first, second, (n, ic, ih, iw) = _parts(bottom)
    top_diff = channels_last(top_diff, "top_diff")
    oc = top_diff.shape[1]
    if weight_diff is None:
        weight_diff = empty_filter((oc, ic, 3, 3))
        bias_diff = empty((1, oc, 1, 1)).reshape(oc) if bias_diff is None else bias_diff
        accumulate = False
    if workspace is None:
        workspace = empty_workspace(
            _core.conv3x3_workspace_bytes(context, n, ic, ih, iw, oc, "backward_weights", algorithm)
        )
    memory = filter_memory(weight_diff, name="weight_diff", in_place=True)
    _core.conv3x3_backward_weights(
        context, first, second, top_diff, algorithm, accumulate, workspace, memory, bias_diff
    )
    return weight_diff, bias_diff


def conv3x3_workspace_bytes(
    bottom_shape: tuple[int, int, int, int],
    num_output: int,
    direction: str,
    *,
    algorithm: str = "auto",
    context: Context | None = None,
) -> int:
    """Bytes of :func:`empty_workspace` that a pass over a bottom of this shape needs.

    direction: "forward", "backward_data" or "backward_weights".
    """
    return _core.conv3x3_workspace_bytes(
        context_or_default(context), *bottom_shape, num_output, direction, algorithm
    )


def _parts(bottom: Bottom) -> tuple[Array, Array | None, tuple[int, int, int, int]]:
    """Both parts of a bottom, the second None if it is whole, and their shape together."""
    if not isinstance(bottom, tuple):
        whole = channels_last(bottom, "bottom")
        return whole, None, whole.shape
    if len(bottom) != 2:
        raise ValueError(f"bottom: one array or two parts are wanted, got {len(bottom)} parts")
    first, second = (channels_last(part, "bottom") for part in bottom)
    n, c, h, w = first.shape
    return first, second, (n, c + second.shape[1], h, w)

"""Cropping and concatenation along the channels, in one copy."""

from __future__ import annotations

from collections.abc import Sequence

from unet_native import _core
from unet_native.ops.arrays import Array, channels_last, context_or_default, empty

Offset = tuple[int, int]
Shape = tuple[int, int, int, int]


def crop_forward(
    bottom: Array,
    size: tuple[int, int],
    *,
    offset: Offset | None = None,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """top[n, c, h, w] = bottom[n, c, offset_h + h, offset_w + w].

    bottom: (N, C, IH, IW) float32; size: (OH, OW) of the top; offset: (offset_h, offset_w), None
    for the centre, which needs even differences. Source: Caffe crop_layer.cpp, whose own default
    is offset 0.
    """
    bottom = channels_last(bottom, "bottom")
    top = empty((*bottom.shape[:2], *size)) if out is None else out
    offset = _offset(bottom.shape, size, offset, "crop_forward")
    _core.crop_concat_forward(context_or_default(context), bottom, *offset, 0, top)
    return top


def crop_backward(
    top_diff: Array,
    bottom_shape: Shape,
    *,
    offset: Offset | None = None,
    accumulate: bool = False,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """bottom_diff = top_diff inside the window, 0 outside; with `accumulate`, added to `out`.

    top_diff: (N, C, OH, OW) float32; bottom_shape: (N, C, IH, IW); offset as in the forward pass.
    Source: Caffe crop_layer.cpp.
    """
    top_diff = channels_last(top_diff, "top_diff")
    if accumulate and out is None:
        raise ValueError("crop_backward: accumulate needs an array to add to: pass out")
    bottom_diff = empty(bottom_shape) if out is None else out
    offset = _offset(bottom_shape, top_diff.shape[2:], offset, "crop_backward")
    _core.crop_concat_backward(
        context_or_default(context), top_diff, *offset, 0, accumulate, bottom_diff
    )
    return bottom_diff


def crop_concat_forward(
    bottoms: Sequence[Array],
    *,
    offsets: Sequence[Offset | None] | None = None,
    out: Array | None = None,
    context: _core.Context | None = None,
) -> Array:
    """The bottoms side by side along the channels, the later ones cropped to the first one's size.

        top[n, C_0 + ... + C_(i-1) + c, h, w] = bottoms[i][n, c, offset_h + h, offset_w + w]

    bottoms: (N, C_i, H_i, W_i) float32, at least as large as the first; top: (N, sum C_i, H_0,
    W_0). offsets: one (offset_h, offset_w) per bottom; None, for all or for one, means the centre,
    which needs even differences (else ValueError). Source: Caffe crop_layer.cpp, concat_layer.cpp
    and the 2019 U-Net fork's Concat, which crops like this.
    """
    if not bottoms:
        raise ValueError("crop_concat_forward: no bottoms: pass at least one array")
    bottoms = [channels_last(bottom, f"bottoms[{i}]") for i, bottom in enumerate(bottoms)]
    n, _, height, width = bottoms[0].shape
    channels = sum(bottom.shape[1] for bottom in bottoms)
    top = empty((n, channels, height, width)) if out is None else out
    if top.shape[1] != channels:
        raise ValueError(
            f"crop_concat_forward: out must have {channels} channels, the sum of the bottoms' "
            f"(out {top.shape})"
        )
    channel = 0
    for bottom, offset in zip(bottoms, _per_bottom(offsets, len(bottoms)), strict=True):
        offset = _offset(bottom.shape, (height, width), offset, "crop_concat_forward")
        _core.crop_concat_forward(context_or_default(context), bottom, *offset, channel, top)
        channel += bottom.shape[1]
    return top


def crop_concat_backward(
    top_diff: Array,
    bottom_shapes: Sequence[Shape],
    *,
    offsets: Sequence[Offset | None] | None = None,
    accumulate: bool = False,
    outs: Sequence[Array] | None = None,
    context: _core.Context | None = None,
) -> list[Array]:
    """The bottom_diff of each bottom: its slice of top_diff inside its window, 0 outside.

    top_diff: (N, sum C_i, H_0, W_0) float32; bottom_shapes: (N, C_i, H_i, W_i); offsets as in the
    forward pass. `outs`: arrays to write, one per bottom, or to add to with `accumulate`.
    """
    top_diff = channels_last(top_diff, "top_diff")
    if accumulate and outs is None:
        raise ValueError("crop_concat_backward: accumulate needs arrays to add to: pass outs")
    channels = sum(shape[1] for shape in bottom_shapes)
    if top_diff.shape[1] != channels:
        raise ValueError(
            f"crop_concat_backward: top_diff must have {channels} channels, the sum of the "
            f"bottoms' (top_diff {top_diff.shape})"
        )
    diffs = [empty(shape) for shape in bottom_shapes] if outs is None else list(outs)
    channel = 0
    all_offsets = _per_bottom(offsets, len(bottom_shapes))
    for shape, offset, diff in zip(bottom_shapes, all_offsets, diffs, strict=True):
        offset = _offset(shape, top_diff.shape[2:], offset, "crop_concat_backward")
        _core.crop_concat_backward(
            context_or_default(context), top_diff, *offset, channel, accumulate, diff
        )
        channel += shape[1]
    return diffs


def _per_bottom(offsets: Sequence[Offset | None] | None, count: int) -> Sequence[Offset | None]:
    if offsets is None:
        return [None] * count
    if len(offsets) != count:
        raise ValueError(f"crop_concat: {len(offsets)} offsets for {count} bottoms")
    return offsets


def _offset(shape: Shape, size: Sequence[int], offset: Offset | None, op: str) -> Offset:
    """`offset`, or for None the one that centres a window of `size` (H, W) in `shape`."""
    if offset is not None:
        return offset
    differences = [shape[2] - size[0], shape[3] - size[1]]
    if any(difference % 2 for difference in differences):
        raise ValueError(
            f"{op}: a window of {size[0]}x{size[1]} has no centre in {shape[2]}x{shape[3]}: the "
            "differences must be even, or give the offset"
        )
    return differences[0] // 2, differences[1] // 2

"""The launches that test_race_freedom.py has proved: each kernel's arguments at small sizes."""

from __future__ import annotations

from dataclasses import dataclass

from race_freedom import (
    Argument,
    Launch,
    filters,
    no_view,
    numbers,
    pointer,
    span,
    structure,
    view,
    view_with_strides,
)


def up(count: int, size: int) -> int:
    return -(-count // size)


def boolean(value: bool) -> str:
    return str(value).lower()


@dataclass(frozen=True)
class Op:
    """How many taps a side one convolution has, and pixels of the top for each of the bottom."""

    kernel: int
    scale: int = 1

    def of_top(self, size: int) -> int:
        return self.scale * size - (self.kernel - self.scale)


CONV1X1, CONV3X3, UP_CONV2X2 = Op(1), Op(3), Op(2, scale=2)


def multiply_taps(op: Op, warps: int, is_backward: bool, has_quads: bool, *shape: int) -> Launch:
    """multiply_taps of convolution.cu; shape N, IC, IH, IW, OC."""
    kernel = f"multiply_taps<{warps}, {boolean(is_backward)}, {boolean(has_quads)}>"
    return convolution(op, "convolution", kernel, (128, 64 * warps, 8), is_backward, *shape)


def multiply_taps_tensor(
    op: Op, math: str, groups: tuple[int, int], is_backward: bool, *shape: int
) -> Launch:
    """The same of convolution_tensor.cu; a tile has 64 times `groups` rows and columns."""
    tiling = "TensorTiling<{}, {}>".format(*groups)
    kernel = f"multiply_taps<{math}, {tiling}, {boolean(is_backward)}>"
    tile = (64 * groups[0], 64 * groups[1], 16)
    return convolution(op, "convolution_tensor", kernel, tile, is_backward, *shape)


def convolution(
    op: Op,
    file: str,
    kernel: str,
    tile: tuple[int, int, int],
    is_backward: bool,
    *shape: int,
) -> Launch:
    """forward or backward_data, in one split; tile: rows, columns, depth of a step."""
    n, ic, ih, iw, oc = shape
    oh, ow = op.of_top(ih), op.of_top(iw)
    bottom, top = (n, ic, ih, iw), (n, oc, oh, ow)
    source, result = (top, bottom) if is_backward else (bottom, top)
    side, scale = (1, op.scale) if op.scale > 1 and not is_backward else (op.kernel, 1)
    backwards = is_backward and op.scale == 1
    way = [(-1 if backwards else 1) * stride for stride in (source[3] * source[1], source[1])]
    of_source = every("source", source, op.scale if is_backward else 1)
    of_result = every("to", result, scale)
    rows = n * (result[2] // scale) * (result[3] // scale)
    bias, relu = span(None if is_backward else "bias", oc), numbers("?3xf", not is_backward, 0.1)
    pointers = {0: "to"} if is_backward else {0: "to", 48: "bias"}
    return Launch(
        file,
        kernel,
        (up(rows, tile[0]), up(result[1], tile[1]), scale * scale),
        [
            of_source,
            numbers("i4x2q?7x", side, *way, backwards and op.kernel > 1),
            filters("weight", oc, ic, op.kernel),
            Argument(of_result.data + bias.data + relu.data, pointers),  # PixelStore
            blocks(side * side * up(source[1], tile[2]), 0, scale, ic * oc, result),
        ],
    )


def every(name: str, shape: tuple[int, ...], scale: int) -> Argument:
    """A view of each scale-th pixel of a dense blob."""
    n, c, h, w = shape
    strides = (h * w * c, scale * w * c, scale * c)
    return view_with_strides(name, (n, c, h // scale, w // scale), strides)


def blocks(
    steps: int, split: int, scale: int, weights: int, large: tuple[int, ...], splits: int = 1
) -> Argument:
    """Blocks (cuda/convolution_products.h)."""
    _, c, _, w = large
    return numbers("2iqi4x3q", splits, steps, split, scale, weights, w * c, c)


def sum_outer_products(op: Op, warps: int, has_quads: bool, split: int, *shape: int) -> Launch:
    """sum_outer_products of convolution.cu, over splits of so many pixels."""
    kernel = f"sum_outer_products<{warps}, {boolean(has_quads)}>"
    return correlation(op, "convolution", kernel, (128, 64 * warps, 8), split, *shape)


def sum_outer_products_tensor(
    op: Op, math: str, groups: tuple[int, int], split: int, *shape: int
) -> Launch:
    """The same of convolution_tensor.cu."""
    tiling = "TensorTiling<{}, {}>".format(*groups)
    kernel = f"sum_outer_products<{math}, {tiling} >"  # as demangled
    tile = (64 * groups[0], 64 * groups[1], 16)
    return correlation(op, "convolution_tensor", kernel, tile, split, *shape)


def correlation(
    op: Op, file: str, kernel: str, tile: tuple[int, int, int], split: int, *shape: int
) -> Launch:
    n, ic, ih, iw, oc = shape
    top = (n, oc, op.of_top(ih), op.of_top(iw))
    side = op.kernel if op.scale == 1 else 1
    rows, pixels = side * side * 4 * up(ic, 4), n * (top[2] // op.scale) * (top[3] // op.scale)
    weights, splits = ic * oc, up(pixels, split)
    return Launch(
        file,
        kernel,
        (up(rows, tile[0]), up(oc, tile[1]), op.scale**2 * splits),
        [
            view("bottom", n, ic, ih, iw),
            numbers("i4x2q?7x", side, iw * ic, ic, False),
            every("top_diff", top, op.scale),
            blocks(split // tile[2], op.kernel**2 * weights, op.scale, weights, top, splits),
            pointer("partial"),
        ],
    )


def few(kernel: str, run: int, n: int, ic: int, h: int, w: int, oc: int) -> Launch:
    """A kernel of conv1x1_few.cu on two blocks of 16 groups, each with runs of `run` pixels."""
    per_row = up(w, run)
    runs = numbers("4i", n * h * per_row, per_row, h, w)
    bottom, top, weight = (n, ic, h, w), (n, oc, h, w), filters("weight", oc, ic, 1)
    arguments = {
        "dot_products": [
            view("bottom", *bottom),
            weight,
            span("bias", oc),
            RELU,
            view("top", *top),
        ],
        "spread_diffs": [view("top_diff", *top), weight, view("bottom_diff", *bottom)],
        "correlate_few": [view("bottom", *bottom), view("top_diff", *top), pointer("partial")],
    }[kernel.split("<")[0]]
    tiles = 1 if kernel.startswith("dot") else up(ic, 64)
    return Launch("conv1x1_few", f"conv1x1_few::{kernel}", (2, tiles, 1), [runs, *arguments])


def first_layer(kernel: str, lanes: int, n: int, ic: int, h: int, w: int, oc: int) -> Launch:
    """direct_sums or direct_products of conv3x3_few.cu, of tiles of 16 columns; (h, w): top."""
    across, down = up(w, 16), up(h, 128 // lanes)
    grid = numbers("3i", across, down, n * down * across)
    bottom, top, quads = (n, ic, h + 2, w + 2), (n, oc, h, w), numbers("?", oc % 4 == 0)
    tiles = up(oc, 4 * lanes)
    if kernel == "direct_sums":
        weight, bias = filters("weight", oc, ic, 3), span("bias", oc)
        arguments = [weight, bias, RELU, quads, view("top", *top)]
        blocks = (n * down * across, tiles, 1)
    else:
        partials = [pointer("partial"), pointer("partial_bias")]
        arguments = [view("top_diff", *top), quads, *partials]
        blocks = (ic, tiles, 2)
    arguments = [grid, view("bottom", *bottom), *arguments]
    return Launch("conv3x3_few", f"conv3x3_few::{kernel}<{lanes}>", blocks, arguments)


def softmax_loss(kernel: str, blocks: int, *outputs: Argument) -> Launch:
    """A kernel of softmax_loss.cu, of 300 pixels with three classes."""
    setting = numbers("i?3xif?7x", 1, True, 2, 1.0, False)
    blobs = [view("score", 1, 3, 20, 15), view("label", 1, 1, 20, 15), view("weight", 1, 1, 20, 15)]
    problem = structure(setting, *blobs, pointer("loss_diff"), numbers("q", 300))
    workspace = [pointer("result"), pointer("sums"), pointer("losses"), numbers("i4x", 2)]
    arguments = [problem, structure(*workspace), *outputs]
    return Launch("softmax_loss", kernel, (blocks, 1, 1), arguments, rows=256)


def elementwise(source: str, kernel: str, shape: tuple[int, ...], *arguments: Argument) -> Launch:
    """A thread for each element of `shape`, (N, C, H, W)."""
    n, c, h, w = shape
    grid = (up(w * c, 256), n * h, 1)
    return Launch(source, kernel, grid, [numbers("4I", *shape), *arguments])


def flat(source: str, kernel: str, size: int, *arguments: Argument) -> Launch:
    return Launch(source, kernel, (up(size, 256), 1, 1), [numbers("q", size), *arguments])


BLOB, POOLED = (2, 3, 5, 4), (2, 3, 3, 2)
CROPPED, CONCAT = (2, 3, 3, 2), (2, 7, 3, 2)
SKIP = structure(view("skip", 2, 3, 3, 2), numbers("2i", 1, 1))
SLICE = numbers("3i", 1, 1, 4)
RELU = numbers("?3xf", True, 0.1)
SGD = structure(numbers("4fi?3x", 0.1, 0.9, 0.01, 1, 0, True), pointer("rate_factor"))
ADAM = structure(numbers("6fi?3x", 0.1, 0.9, 0.999, 1e-8, 0.01, 1, 0, True), pointer("rate_factor"))
MASK_KEY = structure(numbers("2QI4x", 1, 2, 3), pointer("further"))

# At least three steps, so that both buffers of a product are filled again; several blocks.
ALWAYS = [
    multiply_taps(CONV3X3, 1, False, True, 1, 4, 5, 5, 8),
    sum_outer_products(CONV3X3, 1, True, 24, 1, 4, 7, 8, 8),
    multiply_taps(UP_CONV2X2, 1, False, True, 1, 20, 2, 3, 8),
    multiply_taps(UP_CONV2X2, 1, True, True, 1, 8, 2, 3, 8),
    sum_outer_products(UP_CONV2X2, 1, True, 24, 1, 8, 5, 6, 8),
    few("correlate_few<2, true>", 8, 1, 8, 9, 10, 2),
    first_layer("direct_sums", 16, 1, 1, 9, 5, 8),
    first_layer("direct_products", 16, 1, 2, 17, 5, 8),
    Launch("reduce", "add_splits", (3, 1, 1), [
        *(numbers("q", 70), pointer("partial"), numbers("i", 40), numbers("?", True)),
        pointer("to"),
    ], rows=8),
    Launch("reduce", "sum_channels", (1, 4, 1), [
        *(view("top_diff", 1, 5, 6, 7), pointer("partial")),
    ], rows=32),
    elementwise("crop_concat", "crop", CROPPED, view("bottom", *BLOB), SLICE, view("top", *CONCAT)),
    elementwise("crop_concat", "uncrop", BLOB, view("top_diff", *CONCAT), SLICE,
                numbers("?", True), view("bottom_diff", *BLOB)),
    flat("dropout", "draw", 300, MASK_KEY, numbers("I", 1 << 31),
         span("mask", 1200)),
    elementwise("dropout", "drop", BLOB, view("bottom", *BLOB), view("mask", *BLOB),
                numbers("f", 2), view("top", *BLOB)),
    elementwise("max_pool2x2", "pool", POOLED, view("bottom", *BLOB), view("top", *POOLED)),
    elementwise("max_pool2x2", "unpool", POOLED, view("bottom", *BLOB), view("top_diff", *POOLED),
                numbers("?", True), SKIP, RELU, view("bottom_diff", *BLOB)),
    elementwise("relu", "scale_negative", BLOB, view("sign", *BLOB), view("source", *BLOB),
                numbers("f", 0.1), view("to", *BLOB)),
    elementwise("softmax", "exponentials", (2, 1, 5, 4), numbers("i", 3), view("bottom", *BLOB),
                view("top", *BLOB)),
    elementwise("softmax", "jacobian", (2, 1, 5, 4), numbers("i", 3), view("top", *BLOB),
                view("top_diff", *BLOB), view("bottom_diff", *BLOB)),
    flat("sgd", "update", 300, SGD, *map(pointer, ("weight", "diff", "history"))),
    flat("adam", "update", 300, ADAM, *map(pointer, ("weight", "diff", "history", "history2"))),
]  # fmt: skip
FULL = [
    multiply_taps(CONV3X3, 1, False, False, 1, 3, 7, 8, 5),
    multiply_taps(CONV3X3, 1, False, True, 1, 8, 14, 14, 68),
    multiply_taps(CONV3X3, 2, False, True, 1, 8, 7, 8, 68),
    multiply_taps(CONV3X3, 1, True, False, 1, 3, 5, 5, 5),
    multiply_taps(CONV3X3, 1, True, True, 1, 8, 5, 5, 8),
    multiply_taps(CONV3X3, 2, True, True, 1, 68, 4, 4, 12),
    sum_outer_products(CONV3X3, 1, False, 8, 1, 3, 5, 5, 5),
    sum_outer_products(CONV3X3, 1, False, 24, 1, 3, 7, 7, 5),
    sum_outer_products(CONV3X3, 2, True, 24, 1, 4, 8, 9, 132),
    multiply_taps(CONV1X1, 1, False, False, 1, 20, 3, 5, 65),
    multiply_taps(CONV1X1, 1, True, True, 1, 8, 3, 5, 20),
    multiply_taps(UP_CONV2X2, 2, False, True, 1, 20, 3, 3, 68),
    multiply_taps(UP_CONV2X2, 1, True, False, 1, 65, 3, 2, 5),
    sum_outer_products(CONV1X1, 2, True, 24, 1, 4, 5, 6, 68),
    sum_outer_products(UP_CONV2X2, 1, False, 24, 1, 3, 5, 6, 17),
    few("dot_products<2, true>", 8, 1, 8, 9, 10, 2),
    few("spread_diffs<2, true>", 8, 1, 68, 9, 10, 2),
    few("dot_products<4, false>", 4, 1, 3, 9, 10, 3),
    few("dot_products<16, false>", 1, 1, 70, 3, 10, 13),
    few("spread_diffs<16, false>", 8, 1, 70, 9, 10, 13),
    few("correlate_few<16, false>", 8, 1, 70, 9, 10, 13),
]
TILES = ((2, 2), (2, 1), (1, 1))
for math in ("Tf32", "Bf16"):
    FULL += [
        multiply_taps_tensor(UP_CONV2X2, math, (1, 1), False, 1, 20, 2, 3, 8),
        multiply_taps_tensor(UP_CONV2X2, math, (1, 1), True, 1, 8, 2, 3, 20),
        sum_outer_products_tensor(UP_CONV2X2, math, (1, 1), 48, 1, 8, 7, 8, 8),
    ]
    for groups in TILES:
        FULL += [
            multiply_taps_tensor(CONV3X3, math, groups, False, 1, 4, 4, 5, 8),
            multiply_taps_tensor(CONV3X3, math, groups, True, 1, 8, 3, 4, 4),
            sum_outer_products_tensor(CONV3X3, math, groups, 96, 1, 4, 14, 12, 8),
        ]
STORE = structure(view("to", *BLOB), span("bias", 3), RELU)
FULL.append(
    elementwise("convolution", "finish_splits", BLOB, pointer("partial"), numbers("i", 3), STORE)
)
# What branches on data, here on labels, is beyond SentryWard; the checker of csrc/simt runs them.
UNSUPPORTED = [
    softmax_loss("count_labels", 2),
    softmax_loss("weighted_losses", 2, view("bottom_diff", 1, 3, 20, 15), no_view()),
    softmax_loss("finish", 1, pointer("loss")),
]
# fma_peak's only store never happens.
WITHOUT_MEMORY = {"multiply_add"}

"""The launches that test_race_freedom.py has proved: each kernel's arguments at small sizes."""

from __future__ import annotations

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
)


def up(count: int, size: int) -> int:
    return -(-count // size)


def boolean(value: bool) -> str:
    return str(value).lower()


def convolve(warps: int, is_backward: bool, has_quads: bool, *shape: int) -> Launch:
    """convolve of conv3x3.cu; shape N, IC, IH, IW, OC."""
    kernel = f"convolve<{warps}, {boolean(is_backward)}, {boolean(has_quads)}>"
    return convolution("conv3x3", kernel, (128, 64 * warps, 8), is_backward, *shape)


def convolve_tensor(
    math: str, groups: tuple[int, int], is_backward: bool, has_quads: bool, *shape: int
) -> Launch:
    """convolve of conv3x3_tensor.cu; a tile has 64 times `groups` rows and columns."""
    tiling = "TensorTiling<{}, {}>".format(*groups)
    kernel = f"convolve<{math}, {tiling}, {boolean(is_backward)}, {boolean(has_quads)}>"
    tile = (64 * groups[0], 64 * groups[1], 16)
    return convolution("conv3x3_tensor", kernel, tile, is_backward, *shape)


def convolution(
    file: str, kernel: str, tile: tuple[int, int, int], is_backward: bool, *shape: int
) -> Launch:
    """forward or backward_data, in one split; tile: rows, columns, depth of a step."""
    n, ic, ih, iw, oc = shape
    bottom, top = (n, ic, ih, iw), (n, oc, ih - 2, iw - 2)
    source, result = (top, bottom) if is_backward else (bottom, top)
    bias, relu = span(None if is_backward else "bias", oc), numbers("?3xf", not is_backward, 0.1)
    pointers = {0: "to"} if is_backward else {0: "to", 48: "bias"}
    pixels = result[0] * result[2] * result[3]
    return Launch(
        file,
        kernel,
        (up(pixels, tile[0]), up(result[1], tile[1]), 1),
        [
            *(view("source", *source), filters("weight", oc, ic, 3)),
            Argument(view("to", *result).data + bias.data + relu.data, pointers),  # PixelStore
            numbers("i4xq", 9 * up(source[1], tile[2]), 0),
        ],
    )


def correlate(warps: int, has_quads: bool, split: int, *shape: int) -> Launch:
    """correlate of conv3x3.cu, over splits of so many pixels."""
    kernel = f"correlate<{warps}, {boolean(has_quads)}>"
    return correlation("conv3x3", kernel, (128, 64 * warps, 8), split, *shape)


def correlate_tensor(
    math: str, groups: tuple[int, int], has_quads: bool, split: int, *shape: int
) -> Launch:
    """correlate of conv3x3_tensor.cu."""
    kernel = "correlate<{}, TensorTiling<{}, {}>, {}>".format(math, *groups, boolean(has_quads))
    tile = (64 * groups[0], 64 * groups[1], 16)
    return correlation("conv3x3_tensor", kernel, tile, split, *shape)


def correlation(
    file: str, kernel: str, tile: tuple[int, int, int], split: int, *shape: int
) -> Launch:
    n, ic, ih, iw, oc = shape
    return Launch(
        file,
        kernel,
        (up(36 * up(ic, 4), tile[0]), up(oc, tile[1]), up(n * (ih - 2) * (iw - 2), split)),
        [
            *(view("bottom", n, ic, ih, iw), view("top_diff", n, oc, ih - 2, iw - 2)),
            *(numbers("i", split // tile[2]), pointer("partial")),
        ],
    )


def multiply_pixels(
    scale: int, warps: int, is_backward: bool, has_quads: bool, *shape: int
) -> Launch:
    """multiply_pixels of conv1x1.cu (scale 1) or up_conv2x2.cu (2); N, IC, IH, IW, OC."""
    n, ic, ih, iw, oc = shape
    small, large = (n, ic, ih, iw), (n, oc, scale * ih, scale * iw)
    source, result = (large, small) if is_backward else (small, large)
    columns = ic if is_backward else scale * scale * oc
    bias, relu = span(None if is_backward else "bias", oc), numbers("?3xf", not is_backward, 0.1)
    booleans = [str(one).lower() for one in (is_backward, has_quads)]
    return Launch(
        OF_SCALE[scale],
        f"multiply_pixels<{scale}, {warps}, {', '.join(booleans)}>",
        (up(n * ih * iw, 128), up(columns, 64 * warps), 1),
        [
            view("source", *source),
            filters("weight", oc, ic, scale),
            bias,
            relu,
            view("to", *result),
        ],
    )


def sum_outer_products(scale: int, warps: int, has_quads: bool, split: int, *shape: int) -> Launch:
    """sum_outer_products of the same, over splits of so many pixels."""
    n, ic, ih, iw, oc = shape
    return Launch(
        OF_SCALE[scale],
        f"sum_outer_products<{scale}, {warps}, {str(has_quads).lower()}>",
        (up(ic, 128), up(scale * scale * oc, 64 * warps), up(n * ih * iw, split)),
        [
            *(view("bottom", n, ic, ih, iw), view("top_diff", n, oc, scale * ih, scale * iw)),
            *(numbers("i", split), pointer("partial")),
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


OF_SCALE = {1: "conv1x1", 2: "up_conv2x2"}
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
    convolve(1, False, True, 1, 4, 5, 5, 8),
    correlate(1, True, 24, 1, 4, 7, 8, 8),
    multiply_pixels(1, 1, False, True, 1, 20, 2, 3, 8),
    sum_outer_products(1, 1, True, 24, 1, 8, 5, 6, 8),
    few("correlate_few<2, true>", 8, 1, 8, 9, 10, 2),
    first_layer("direct_sums", 16, 1, 1, 9, 5, 8),
    first_layer("direct_products", 16, 1, 2, 17, 5, 8),
    Launch("conv3x3", "add_splits", (3, 1, 1), [
        *(numbers("q", 70), pointer("partial"), numbers("i", 40), numbers("?", True)),
        pointer("to"),
    ], rows=8),
    Launch("conv3x3", "sum_channels", (1, 4, 1), [
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
    convolve(1, False, False, 1, 3, 7, 8, 5),
    convolve(1, False, True, 1, 8, 14, 14, 68),
    convolve(2, False, True, 1, 8, 7, 8, 68),
    convolve(2, False, False, 1, 3, 5, 5, 65),
    convolve(1, True, False, 1, 3, 5, 5, 5),
    convolve(1, True, True, 1, 8, 5, 5, 8),
    convolve(2, True, False, 1, 66, 4, 4, 3),
    convolve(2, True, True, 1, 68, 4, 4, 12),
    correlate(1, False, 8, 1, 3, 5, 5, 5),
    correlate(1, False, 24, 1, 3, 7, 7, 5),
    correlate(2, False, 24, 1, 3, 7, 7, 65),
    correlate(2, True, 24, 1, 4, 8, 9, 132),
    multiply_pixels(1, 2, False, False, 1, 20, 3, 5, 65),
    multiply_pixels(1, 1, True, True, 1, 8, 3, 5, 20),
    multiply_pixels(2, 1, False, True, 1, 20, 3, 3, 8),
    multiply_pixels(2, 2, True, False, 1, 65, 3, 2, 5),
    sum_outer_products(1, 2, False, 24, 1, 3, 5, 6, 65),
    sum_outer_products(2, 1, True, 24, 1, 8, 5, 6, 8),
    sum_outer_products(2, 2, False, 24, 1, 3, 5, 6, 17),
    few("dot_products<2, true>", 8, 1, 8, 9, 10, 2),
    few("spread_diffs<2, true>", 8, 1, 68, 9, 10, 2),
    few("dot_products<1, false>", 16, 1, 3, 9, 10, 1),
    few("dot_products<16, false>", 1, 1, 70, 3, 10, 13),
    few("spread_diffs<16, false>", 8, 1, 70, 9, 10, 13),
    few("correlate_few<16, false>", 8, 1, 70, 9, 10, 13),
]
TILES = ((2, 2), (2, 1), (1, 1))
for math in ("Tf32", "Bf16"):
    FULL += [
        convolve_tensor(math, (1, 1), False, False, 1, 3, 4, 5, 5),
        convolve_tensor(math, (1, 1), True, False, 1, 3, 3, 4, 5),
        correlate_tensor(math, (1, 1), False, 96, 1, 3, 14, 12, 5),
    ]
    for groups in TILES:
        FULL += [
            convolve_tensor(math, groups, False, True, 1, 4, 4, 5, 8),
            convolve_tensor(math, groups, True, True, 1, 8, 3, 4, 4),
            correlate_tensor(math, groups, True, 96, 1, 4, 14, 12, 8),
        ]
STORE = structure(view("to", *BLOB), span("bias", 3), RELU)
FULL.append(
    elementwise("conv3x3", "finish_splits", BLOB, pointer("partial"), numbers("i", 3), STORE)
)
# What branches on data, here on labels, is beyond SentryWard; the checker of csrc/simt runs them.
UNSUPPORTED = [
    softmax_loss("count_labels", 2),
    softmax_loss("weighted_losses", 2, view("bottom_diff", 1, 3, 20, 15), no_view()),
    softmax_loss("finish", 1, pointer("loss")),
]
# fma_peak's only store never happens.
WITHOUT_MEMORY = {"multiply_add"}

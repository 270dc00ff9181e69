"""conv3x3: values of all passes and algorithms, tile positions, adjoint identity, errors."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import reference
from closeness import assert_close
from convolution_passes import CONV3X3
from gradcheck import check_gradient
from places import context_of, devices, instruction_sets
from shapes import shape_id
from unet_native import ops

# (N, IC, IH, IW, OC): one channel, channels around every vector and panel width, tiles that stick
# out of the image, images below one Winograd tile, several images, several chunks of channels.
SHAPES = [
    (1, 1, 3, 3, 1),
    (2, 1, 4, 3, 2),
    (1, 1, 9, 31, 64),
    (1, 2, 3, 7, 5),
    (2, 3, 5, 4, 3),
    (1, 3, 12, 6, 17),
    (1, 4, 6, 6, 1),
    (1, 5, 8, 5, 32),
    (2, 7, 3, 3, 8),
    (1, 8, 7, 18, 8),
    (1, 9, 6, 7, 31),
    (3, 11, 4, 5, 2),
    (1, 13, 10, 3, 15),
    (1, 15, 7, 7, 16),
    (1, 16, 18, 16, 16),
    (2, 16, 5, 9, 33),
    (1, 17, 9, 30, 20),
    (1, 20, 3, 40, 24),
    (1, 23, 11, 12, 7),
    (2, 24, 6, 5, 40),
    (1, 31, 14, 13, 32),
    (1, 32, 10, 10, 64),
    (1, 33, 8, 9, 47),
    (1, 40, 20, 33, 12),
    (1, 47, 5, 6, 48),
    (3, 48, 4, 7, 16),
    (1, 49, 6, 3, 65),
    (1, 64, 30, 29, 64),
    (2, 64, 9, 8, 70),
    (1, 65, 7, 11, 31),
    (1, 70, 16, 5, 33),
    (1, 129, 6, 6, 18),  # two chunks of input channels
    (1, 20, 5, 5, 300),  # many panels
    (1, 300, 9, 10, 260),  # transformed filters and sums that are not kept whole
]
# What the kernels of a GPU distinguish for few input channels (csrc/cuda/conv3x3_few.cu): up to 16
# and more output channels, which come four at a time or not; nothing is a multiple of a tile.
FEW_INPUTS = [
    (1, 1, 37, 20, 16),
    (2, 3, 35, 19, 13),
    (1, 4, 11, 37, 68),
    (1, 2, 19, 21, 20),
    (2, 4, 45, 36, 130),  # more tiles than splits in backward_weights
    (3, 1, 12, 18, 64),
]
operands = CONV3X3.operands
ALGORITHMS = ["direct", "winograd-4x4", "winograd-6x6"]
# Relative to the largest magnitude. The direct sums are as good as float32 additions of this
# length; Winograd's transforms lose an order of magnitude, with either size of tiles.
TOLERANCE = {"direct": 4e-6, "winograd-4x4": 4e-5, "winograd-6x6": 4e-5}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
def test_values(shape, algorithm, on_threads):
    results = on_threads(partial(CONV3X3.run_passes, shape, algorithm=algorithm))
    CONV3X3.check(shape, results, TOLERANCE[algorithm])


@pytest.mark.parametrize("tile", [4, 6])
@pytest.mark.parametrize("tile_rows", [2, 5, 8])
@pytest.mark.parametrize("isa_of_cpu", instruction_sets())
def test_wide_layers_on_small_images(isa_of_cpu, tile_rows, tile):
    """4, 30 and 64 tiles meet four panels of filters at a time, two and one, the 4 with filters
    that are transformed on the way; neither the panels nor the channels are whole such groups."""
    algorithm = f"winograd-{tile}x{tile}"
    shape = (1, 300, tile * tile_rows + 1, tile * (tile_rows + tile_rows % 2), 292)
    blobs = operands(shape)
    context = context_of(isa_of_cpu, threads=2)
    options = {"algorithm": algorithm, "context": context}
    top = ops.conv3x3_forward(*blobs[:3], **options)
    assert_close(top, reference.conv_forward(*blobs[:3]), TOLERANCE[algorithm])
    bottom_diff = ops.conv3x3_backward_data(blobs[3], blobs[1], **options)
    expected = reference.conv_backward_data(blobs[3], blobs[1])
    assert_close(bottom_diff, expected, TOLERANCE[algorithm])


@pytest.mark.parametrize("pass_", ["forward", "backward_data", "backward_weights"])
@pytest.mark.parametrize(("size", "same_as"), [(8, "winograd-4x4"), (24, "winograd-6x6")])
def test_the_size_of_tiles_follows_from_the_shape(size, same_as, pass_):
    """Outputs of 8 pixels are whole 4x4 tiles, those of 24 are large enough for 6x6."""
    side = size if pass_ == "backward_data" else size + 2
    bottom, weight, bias, top_diff = operands((1, 20, side, side, 24))
    run = {
        "forward": partial(ops.conv3x3_forward, bottom, weight, bias),
        "backward_data": partial(ops.conv3x3_backward_data, top_diff, weight),
        "backward_weights": lambda **how: ops.conv3x3_backward_weights(bottom, top_diff, **how)[0],
    }[pass_]
    chosen = run(algorithm="winograd")
    np.testing.assert_array_equal(chosen, run(algorithm=same_as))
    other = {"winograd-4x4": "winograd-6x6", "winograd-6x6": "winograd-4x4"}[same_as]
    assert (chosen != run(algorithm=other)).any()


@pytest.mark.parametrize("shape", FEW_INPUTS, ids=shape_id)
def test_few_inputs(shape, isa):
    """Blobs begin at a cache line, so that a GPU's kernels take four channels at a time."""
    bottom, weight, bias, top_diff = operands(shape)
    top_diff = ops.channels_last(top_diff)
    options = {"algorithm": "direct", "context": context_of(isa, threads=0)}
    top = ops.empty(top_diff.shape)
    top[...] = np.nan
    ops.conv3x3_forward(bottom, weight, bias, negative_slope=0.5, out=top, **options)
    weight_diff, bias_diff = ops.conv3x3_backward_weights(bottom, top_diff, **options)
    assert_close(top, reference.relu(reference.conv_forward(bottom, weight, bias), 0.5))
    expected_weight, expected_bias = reference.conv_backward_weights(bottom, top_diff)
    assert_close(weight_diff, expected_weight, TOLERANCE["direct"])
    assert_close(bias_diff, expected_bias, floor=float(np.abs(top_diff).max()))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(1, 3, 6, 7, 5), (2, 33, 9, 10, 18)], ids=shape_id)
def test_integers_are_exact(shape, algorithm, isa):
    """Direct sums of small integers have no rounding: whatever the order, the result is exact.

    Winograd's transforms divide by 24, so there only the direct algorithm can promise it.
    """
    rng = np.random.default_rng(shape)
    bottom, weight, bias, top_diff = (
        rng.integers(-4, 5, x.shape).astype(np.float32) for x in operands(shape)
    )
    options = {"algorithm": algorithm, "context": context_of(isa, threads=0)}
    top = ops.conv3x3_forward(bottom, weight, bias, **options)
    diffs = ops.conv3x3_backward_weights(bottom, top_diff, **options)
    bottom_diff = ops.conv3x3_backward_data(top_diff, weight, **options)
    expected = reference.conv_forward(bottom, weight, bias)
    if algorithm != "direct":
        assert_close(top, expected, 1e-5)
        return
    np.testing.assert_array_equal(top, expected)
    np.testing.assert_array_equal(bottom_diff, reference.conv_backward_data(top_diff, weight))
    for diff, value in zip(diffs, reference.conv_backward_weights(bottom, top_diff), strict=True):
        np.testing.assert_array_equal(diff, value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_parameter_gradients_accumulate(algorithm, on_threads):
    """Caffe adds to the diffs of parameters; without a bias_diff the bias is left out."""
    bottom, weight, bias, top_diff = operands((2, 18, 9, 7, 21))

    def run(context):
        weight_diff = ops.empty_filter(weight.shape)
        weight_diff[...] = weight
        bias_diff = bias.copy()
        ops.conv3x3_backward_weights(
            bottom,
            top_diff,
            weight_diff=weight_diff,
            bias_diff=bias_diff,
            algorithm=algorithm,
            context=context,
        )
        alone, none = ops.conv3x3_backward_weights(
            bottom,
            top_diff,
            weight_diff=ops.zeros_filter(weight.shape),
            algorithm=algorithm,
            context=context,
        )
        assert none is None
        return weight_diff, bias_diff, alone

    weight_diff, bias_diff, alone = on_threads(run)
    expected, expected_bias = reference.conv_backward_weights(bottom, top_diff)
    assert_close(weight_diff, weight + expected, TOLERANCE[algorithm])
    assert_close(bias_diff, bias + expected_bias, 2e-6, floor=float(np.abs(top_diff).max()))
    assert_close(alone, expected, TOLERANCE[algorithm])


@pytest.mark.parametrize("channels", [(1, 16), (24, 20)])
def test_direct_does_not_see_where_a_tile_lies(channels, isa):
    """The direct forward pass of any window equals that window of the whole, bit for bit."""
    ic, oc = channels
    bottom, weight, bias, _ = operands((1, ic, 23, 41, oc))
    options = {"algorithm": "direct", "context": context_of(isa, threads=0)}
    whole = ops.conv3x3_forward(bottom, weight, bias, **options)
    for y, x, h, w in [(0, 0, 3, 3), (1, 5, 9, 20), (16, 16, 7, 25), (3, 0, 20, 41)]:
        part = ops.conv3x3_forward(bottom[:, :, y : y + h, x : x + w], weight, bias, **options)
        np.testing.assert_array_equal(part, whole[:, :, y : y + h - 2, x : x + w - 2])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(1, 16, 20, 21, 32), (2, 40, 9, 12, 19)], ids=shape_id)
def test_adjoint_identity(shape, algorithm, isa):
    """<conv(x, w), dy> = <x, backward_data(dy, w)> = <w, backward_weights(x, dy)>."""
    bottom, weight, _, top_diff = operands(shape)
    options = {"algorithm": algorithm, "context": context_of(isa, threads=0)}
    top = ops.conv3x3_forward(bottom, weight, **options)
    bottom_diff = ops.conv3x3_backward_data(top_diff, weight, **options)
    weight_diff, _ = ops.conv3x3_backward_weights(bottom, top_diff, **options)
    products = [
        float((a.astype(np.float64) * b).sum())
        for a, b in ((top, top_diff), (bottom, bottom_diff), (weight, weight_diff))
    ]
    size = float(np.abs(top.astype(np.float64) * top_diff).sum())
    assert max(products) - min(products) <= 1e-6 * size


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", SHAPES[:30], ids=shape_id)
def test_gradient(shape, algorithm):
    """The convolution is linear in each argument: central differences are exact at any step."""
    bottom, weight, bias, coefficients = operands(shape)

    def objective(*arguments):
        top = ops.conv3x3_forward(*arguments, algorithm=algorithm)
        return float((top.astype(np.float64) * coefficients).sum())

    bottom_diff = ops.conv3x3_backward_data(coefficients, weight, algorithm=algorithm)
    weight_diff, bias_diff = ops.conv3x3_backward_weights(bottom, coefficients, algorithm=algorithm)
    # Float32 tops of magnitude m err by up to 4e-5 m in each of their sum's terms; over a step of
    # 100 that is far below the threshold.
    options = {"step": 100.0, "elements": 8}
    check_gradient(lambda x: objective(x, weight, bias), bottom, bottom_diff, **options)
    check_gradient(lambda w: objective(bottom, w, bias), weight, weight_diff, **options)
    check_gradient(lambda b: objective(bottom, weight, b), bias, bias_diff, **options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("channels", "others", "num_output", "size"),
    [(16, 9, 20, 9), (64, 64, 64, 13), (128, 70, 33, 7), (144, 300, 40, 10), (512, 512, 64, 8)],
)
def test_two_parts_of_a_bottom_are_as_good_as_their_concat(
    channels, others, num_output, size, algorithm, isa
):
    """To the bit; the first part is a window of a larger blob."""
    if isa not in instruction_sets():
        pytest.skip("a device takes its bottom in one piece")
    bottom, weight, bias, top_diff = operands((2, channels + others, size, size + 1, num_output))
    skip = ops.zeros((2, channels, size + 5, size + 3))
    window = skip[:, :, 3 : 3 + size, 1 : 2 + size]
    window[...] = bottom[:, :channels]
    parts = window, ops.channels_last(np.ascontiguousarray(bottom[:, channels:]))
    how = {"algorithm": algorithm, "context": context_of(isa, threads=2)}
    np.testing.assert_array_equal(
        ops.conv3x3_forward(parts, weight, bias, negative_slope=0.0, **how),
        ops.conv3x3_forward(bottom, weight, bias, negative_slope=0.0, **how),
    )
    of_parts = ops.conv3x3_backward_weights(parts, top_diff, **how)
    for one, two in zip(
        of_parts, ops.conv3x3_backward_weights(bottom, top_diff, **how), strict=True
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(2, 40, 9, 13, 24), (1, 5, 8, 5, 32), (1, 300, 9, 10, 260)])
@pytest.mark.parametrize("negative_slope", [0.0, 0.25])
def test_backward_data_through_the_relu_that_made_the_bottom(shape, algorithm, negative_slope, isa):
    bottom, weight, _, top_diff = operands(shape)
    bottom[:, :, ::3] = 0.0
    how = {"algorithm": algorithm, "context": context_of(isa, threads=2)}
    bottom_diff = ops.conv3x3_backward_data(top_diff, weight, **how)
    expected = ops.relu_backward(bottom, bottom_diff, negative_slope=negative_slope)
    actual = ops.conv3x3_backward_data(
        top_diff, weight, bottom=bottom, negative_slope=negative_slope, **how
    )
    np.testing.assert_array_equal(actual, expected)


def test_auto_takes_winograd_where_there_are_channels():
    bottom, weight, bias, _ = operands((1, 32, 20, 20, 32))
    auto = ops.conv3x3_forward(bottom, weight, bias)
    np.testing.assert_array_equal(
        auto, ops.conv3x3_forward(bottom, weight, bias, algorithm="winograd")
    )
    assert (auto != ops.conv3x3_forward(bottom, weight, bias, algorithm="direct")).any()
    bottom, weight, bias, _ = operands((1, 3, 20, 20, 32))
    np.testing.assert_array_equal(
        ops.conv3x3_forward(bottom, weight, bias),
        ops.conv3x3_forward(bottom, weight, bias, algorithm="direct"),
    )


def test_nan_reaches_every_window_that_sees_it():
    bottom, weight, bias, _ = operands((1, 20, 12, 12, 20))
    bottom[0, 7, 5, 6] = np.nan
    for algorithm in ALGORITHMS:
        top = ops.conv3x3_forward(bottom, weight, bias, negative_slope=0.0, algorithm=algorithm)
        assert np.isnan(top[:, :, 3:6, 4:7]).all()


def test_bad_input():
    bottom, weight, bias, top_diff = operands((1, 2, 6, 5, 4))
    with pytest.raises(ValueError, match="conv3x3_forward: weight has 3 input channels, bottom"):
        ops.conv3x3_forward(bottom, np.zeros((4, 3, 3, 3), np.float32), bias)
    with pytest.raises(
        ValueError, match=r"bias has 3 elements for 4 output channels \(bottom 1x2x6x5"
    ):
        ops.conv3x3_forward(bottom, weight, bias[:3])
    with pytest.raises(ValueError, match="weight must be 3x3"):
        ops.conv3x3_forward(bottom, np.zeros((4, 2, 1, 1), np.float32), bias)
    with pytest.raises(ValueError, match="at least one channel and 3x3 pixels"):
        ops.conv3x3_forward(bottom[:, :, :2], weight, bias)
    with pytest.raises(ValueError, match="top must be 1x4x4x3"):
        ops.conv3x3_forward(bottom, weight, bias, out=ops.empty((1, 4, 5, 3)))
    with pytest.raises(ValueError, match="top_diff must be 1x4x4x3"):
        ops.conv3x3_backward_weights(bottom, np.zeros((1, 4, 4, 4), np.float32))
    with pytest.raises(ValueError, match="top_diff must be 1x4x4x4"):
        ops.conv3x3_backward_data(top_diff, weight, out=ops.empty((1, 2, 6, 6)))
    with pytest.raises(ValueError, match='unknown algorithm "fft"'):
        ops.conv3x3_forward(bottom, weight, bias, algorithm="fft")
    with pytest.raises(ValueError, match="workspace has 3 floats, needs"):
        ops.conv3x3_forward(bottom, weight, bias, workspace=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="bottom: expected a float32 array, got float64"):
        ops.conv3x3_forward(bottom.astype(np.float64), weight, bias)
    with pytest.raises(ValueError, match=r"same images and pixels \(1x2x6x5 and 1x2x6x4\)"):
        ops.conv3x3_forward((bottom, bottom[..., :4]), np.zeros((4, 4, 3, 3), np.float32), bias)
    with pytest.raises(ValueError, match="one array or two parts are wanted, got 3 parts"):
        ops.conv3x3_forward((bottom,) * 3, weight, bias)
    with pytest.raises(
        ValueError, match="bottom 1x2x6x4 must have the shape of bottom_diff 1x2x6x5"
    ):
        ops.conv3x3_backward_data(top_diff, weight, bottom=bottom[..., :4])
    for device in devices():
        with pytest.raises(ValueError, match="a device takes its bottom in one piece"):
            ops.conv3x3_backward_weights((bottom, bottom), top_diff, context=context_of(device))
    with pytest.raises(ValueError, match="weight_diff: written in place"):
        ops.conv3x3_backward_weights(
            bottom, top_diff, weight_diff=np.zeros((4, 2, 3, 3), np.float32)
        )


@pytest.mark.slow
@pytest.mark.parametrize("base_width", [16, 64])
def test_accuracy_on_the_real_layers(base_width):
    """On every layer of the 572-pixel network, Winograd stays within 1e-4 of the direct sums."""
    size, ic, layers = 572, 1, []
    for level in range(5):  # contracting path
        oc = base_width << level
        layers += [(ic, size, oc), (oc, size - 2, oc)]
        size, ic = (size - 4) // 2 if level < 4 else size - 4, oc
    for level in reversed(range(4)):  # expanding path
        oc, size = base_width << level, 2 * size
        layers += [(2 * oc, size, oc), (oc, size - 2, oc)]
        size -= 4
    assert size == 388
    for ic, size, oc in layers:
        bottom, weight, bias, top_diff = operands((1, ic, size, size, oc))
        weight *= np.float32(np.sqrt(2 / (9 * ic)))
        bottom, top_diff = ops.channels_last(bottom), ops.channels_last(top_diff)
        direct, winograd = (
            (
                ops.conv3x3_forward(bottom, weight, bias, algorithm=algorithm),
                ops.conv3x3_backward_data(top_diff, weight, algorithm=algorithm),
                ops.conv3x3_backward_weights(bottom, top_diff, algorithm=algorithm)[0],
            )
            for algorithm in ("direct", "winograd")
        )
        for one, two in zip(direct, winograd, strict=True):
            assert_close(two, one.astype(np.float64), 1e-4)

"""The published networks: names, parameter counts, shapes, tile sizes."""

from __future__ import annotations

import numpy as np
import pytest

from unet_native import models
from unet_native.net import Net
from unet_native.spec import NetSpec

# Layer: output channels and size for a tile of 572 pixels, as the release's own file has them.
PHSEG_V5 = {
    "d0b": (64, 570), "d0c": (64, 568), "d1a": (64, 284), "d1b": (128, 282), "d1c": (128, 280),
    "d2a": (128, 140), "d2b": (256, 138), "d2c": (256, 136), "d3a": (256, 68), "d3b": (512, 66),
    "d3c": (512, 64), "d4a": (512, 32), "d4b": (1024, 30), "d4c": (1024, 28), "u3a": (512, 56),
    "d3cc": (512, 56), "u3b": (1024, 56), "u3c": (512, 54), "u3d": (512, 52), "u2a": (256, 104),
    "d2cc": (256, 104), "u2b": (512, 104), "u2c": (256, 102), "u2d": (256, 100), "u1a": (128, 200),
    "d1cc": (128, 200), "u1b": (256, 200), "u1c": (128, 198), "u1d": (128, 196),
    "u0a": (128, 392), "d0cc": (64, 392), "u0b": (192, 392), "u0c": (64, 390), "u0d": (64, 388),
    "score": (2, 388),
}  # fmt: skip
LAYERS = [
    "conv_d0a-b", "relu_d0b", "conv_d0b-c", "relu_d0c", "pool_d0c-1a", "conv_d1a-b", "relu_d1b",
    "conv_d1b-c", "relu_d1c", "pool_d1c-2a", "conv_d2a-b", "relu_d2b", "conv_d2b-c", "relu_d2c",
    "pool_d2c-3a", "conv_d3a-b", "relu_d3b", "conv_d3b-c", "relu_d3c", "dropout_d3c",
    "pool_d3c-4a", "conv_d4a-b", "relu_d4b", "conv_d4b-c", "relu_d4c", "dropout_d4c",
    "upconv_d4c_u3a", "relu_u3a", "crop_d3c-d3cc", "concat_d3cc_u3a-b", "conv_u3b-c",
    "relu_u3c", "conv_u3c-d", "relu_u3d", "upconv_u3d_u2a", "relu_u2a", "crop_d2c-d2cc",
    "concat_d2cc_u2a-b", "conv_u2b-c", "relu_u2c", "conv_u2c-d", "relu_u2d", "upconv_u2d_u1a",
    "relu_u1a", "crop_d1c-d1cc", "concat_d1cc_u1a-b", "conv_u1b-c", "relu_u1c", "conv_u1c-d",
    "relu_u1d", "upconv_u1d_u0a", "relu_u0a", "crop_d0c-d0cc", "concat_d0cc_u0a-b",
    "conv_u0b-c", "relu_u0c", "conv_u0c-d", "relu_u0d", "conv_u0d-score", "loss",
]  # fmt: skip


def shapes_of(spec: NetSpec, phase: str = "TRAIN", **shapes) -> dict[str, tuple[int, ...]]:
    net = Net(spec, phase, seed=0, fill=False, **shapes)
    return {name: blob.shape for name, blob in net.blobs.items()}


def count(spec: NetSpec) -> int:
    return sum(param.blob.count for param in Net(spec, "TEST", seed=0, fill=False).parameters)


def test_published_parameter_counts():
    assert count(models.fig1()) == 31_030_658
    assert count(models.phseg_v5()) == 31_100_354


def test_phseg_v5_has_the_layers_and_sizes_of_the_release():
    spec = models.phseg_v5()
    assert [layer.name for layer in spec.layers if layer.type != "Input"] == LAYERS
    shapes = shapes_of(spec)
    for blob, (channels, size) in PHSEG_V5.items():
        assert shapes[blob] == (1, channels, size, size), blob
    assert shapes["label"] == shapes["weight"] == (1, 1, 388, 388)
    assert shapes["loss"] == ()


def test_phseg_v5_joins_the_upsampled_map_first():
    concats = [layer for layer in models.phseg_v5().layers if layer.type == "Concat"]
    assert [c.bottom for c in concats] == [(f"u{i}a", f"d{i}cc") for i in (3, 2, 1, 0)]


def test_fig1_differs_from_phseg_v5_in_width_and_rectifiers_only():
    fig1, v5 = models.fig1(), models.phseg_v5()
    without = [
        layer.name for layer in v5.layers if layer.name not in {f"relu_u{i}a" for i in range(4)}
    ]
    assert [layer.name for layer in fig1.layers] == without
    shapes, shapes_v5 = shapes_of(fig1), shapes_of(v5)
    assert {k for k in shapes if shapes[k] != shapes_v5[k]} == {"u0a", "u0b"}
    assert shapes["u0a"] == (1, 64, 392, 392)
    assert shapes["u0b"] == (1, 128, 392, 392)


def test_learning_rate_multipliers():
    for layer in models.phseg_v5().layers:
        if layer.type in ("Convolution", "Deconvolution"):
            weight, bias = layer.param
            assert (weight.lr_mult, weight.decay_mult) == (1, 1)
            assert (bias.lr_mult, bias.decay_mult) == (2, 0)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("model", [models.fig1, models.phseg_v5])
def test_every_depth_gives_the_size_it_says(model, depth):
    smallest = models.input_size(1, depth)
    for size in (smallest, smallest + 2 ** (depth - 1)):
        spec = model(depth=depth, base_width=2, channels=3, classes=4, tile=size, batch=2)
        shapes = shapes_of(spec)
        out = models.output_size(size, depth)
        assert shapes["data"] == (2, 3, size, size)
        assert shapes["score"] == (2, 4, out, out)
        assert shapes["label"] == (2, 1, out, out)
    drops = [layer.bottom[0] for layer in spec.layers if layer.type == "Dropout"]
    assert drops == [f"d{i}c" for i in range(max(0, depth - 2), depth)]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_crops_are_centred(depth):
    spec = models.fig1(depth=depth, base_width=1, tile=models.input_size(9, depth))
    shapes = shapes_of(spec)
    for layer in spec.layers:
        if layer.type == "Crop":
            whole, part = (shapes[name][2] for name in layer.bottom)
            assert layer.crop_param.offset == ((whole - part) // 2,)


def test_tile_sizes_of_the_published_depth():
    assert models.border() == 92
    assert models.output_size(572) == 388
    for k in range(8, 60):
        assert models.output_size(16 * k + 60) == 16 * k - 124
    assert models.input_size(388) == 572
    assert models.input_size(389) == 588
    assert models.input_size(1) == 188
    valid = {16 * k + 60 for k in range(8, 60)}
    for size in range(1, 1000):
        if size not in valid:
            with pytest.raises(ValueError, match="a network of 5 levels takes"):
                models.output_size(size)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_input_size_is_the_smallest_that_suffices(depth):
    step = 2 ** (depth - 1)
    for size in range(1, 70):
        tile = models.input_size(size, depth)
        assert models.output_size(tile, depth) >= size
        if tile > models.input_size(1, depth):
            assert models.output_size(tile - step, depth) < size


def test_rectangular_tiles():
    spec = models.fig1(depth=2, base_width=1, tile=(24, 40))
    assert shapes_of(spec)["score"] == (1, 2, 8, 24)
    assert shapes_of(spec, "TEST", data=(1, 1, 40, 24))["score"] == (1, 2, 24, 8)


def test_initial_weights_are_those_of_paper_and_release():
    tile = models.input_size(1, 3)
    for model, up_connections in (
        (models.fig1, lambda s: s[0]),
        (models.phseg_v5, lambda s: 4 * s[1]),
    ):
        net = Net(model(depth=3, base_width=32, tile=tile), "TEST", seed=3)
        for name, (weight, bias) in net.params.items():
            shape = weight.shape
            n = up_connections(shape) if name.startswith("upconv") else np.prod(shape[1:])
            assert not bias.data.any()
            deviations = 4 / np.sqrt(2 * weight.count)
            assert weight.data.std() == pytest.approx(np.sqrt(2 / n), rel=deviations), name
            assert abs(weight.data.mean()) < 4 * np.sqrt(2 / n / weight.count), name


def test_spec_survives_json():
    for model in (models.fig1, models.phseg_v5):
        spec = model(channels=3, weighted=False)
        assert NetSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "network is no message"),
        ('{"layers": []}', "network lacks a field"),
        ('{"name": "a", "layers": [{"name": "x"}]}', "lacks a field"),
        (
            '{"name": "a", "layers": [{"name": "x", "type": "ReLU", "colour": 1}]}',
            "no field 'colour'",
        ),
        ('{"name": "a", "layers": 3}', "layers is no list"),
        ('{"name": 3}', "name cannot be 3"),
        ('{"name": "a", "force_backward": 1}', "force_backward cannot be 1"),
    ],
)
def test_bad_descriptions_are_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        NetSpec.from_json(text)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"depth": 0}, "depth"),
        ({"base_width": 0}, "base_width"),
        ({"tile": 570}, "tile of 570 pixels: a network of 5 levels takes 556 or 572"),
        ({"tile": 100}, "takes 188"),
    ],
)
def test_impossible_models_are_refused(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        models.fig1(**arguments)

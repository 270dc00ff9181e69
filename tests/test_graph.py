"""Nets other than the published ones: several readers, frozen layers, crops, mistakes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import reference
from small_layers import conv, data
from small_net import inputs_of, reference_of, relative_l2, small_spec
from unet_native import models
from unet_native.net import Net
from unet_native.spec import (
    ConvolutionParameter,
    CropParameter,
    LayerSpec,
    NetSpec,
    ReLUParameter,
)


@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_a_blob_with_three_readers_gets_the_sum_of_their_diffs(plan):
    layers = (
        data(2, 3, 9, 8),
        data(2, 1, 5, 4, name="label"),
        conv("a", "data", "a"),
        LayerSpec("relu", "ReLU", ("a",), ("b",), relu_param=ReLUParameter(0.1)),
        conv("c", "a", "c"),
        conv("d", "a", "d"),
        LayerSpec("crop", "Crop", ("b", "c"), ("e",), crop_param=CropParameter(offset=(1, 0))),
        LayerSpec("concat", "Concat", ("c", "d", "e"), ("f",)),
        LayerSpec("loss", "SoftmaxWithLoss", ("f", "label"), ("loss",), loss_weight=(2.5,)),
    )
    net = Net(NetSpec("readers", layers), plan=plan, seed=3)
    inputs = {"data": np.random.default_rng(0).standard_normal((2, 3, 9, 8), np.float32)}
    inputs["label"] = np.random.default_rng(1).integers(0, 9, (2, 1, 5, 4)).astype(np.float32)
    net.forward(**inputs)
    net.clear_param_diffs()
    net.backward()
    reference = reference_of(net)
    loss = reference.forward(**inputs)["loss"]
    assert net.loss == pytest.approx(2.5 * float(loss), rel=1e-6)
    gradients, _ = reference.backward()
    for name, expected in gradients.items():
        for blob, gradient in zip(net.params[name], expected, strict=True):
            assert relative_l2(blob.diff, gradient) < 1e-5, name


def test_layers_without_a_learning_parameter_below_do_not_run_backward():
    frozen = models.fig1().layers[3].param[0]
    frozen = (replace(frozen, lr_mult=0),) * 2
    layers = (
        data(1, 2, 9, 9),
        data(1, 1, 5, 5, name="label"),
        conv("a", "data", "a", param=frozen),
        conv("b", "a", "b"),
        LayerSpec("loss", "SoftmaxWithLoss", ("b", "label"), ("loss",)),
    )
    inputs = {"data": np.ones((1, 2, 9, 9)), "label": np.zeros((1, 1, 5, 5))}
    for force in (False, True):
        net = Net(NetSpec("frozen", layers, force_backward=force), seed=1)
        net.forward(**inputs)
        net.backward()
        assert net.params["b"][0].diff.any()
        assert net.params["a"][0].diff.any() == force
        assert net.blobs["data"].diff.any() == force


def test_coordinate_crop_keeps_every_pixel_in_place():
    """The release's own form, without offsets, cuts where the explicit offsets of fig1 do."""
    given = small_spec("phseg_v5")
    layers = tuple(
        replace(layer, crop_param=CropParameter(alignment="coordinates"))
        if layer.type == "Crop"
        else layer
        for layer in given.layers
    )
    aligned = Net(replace(given, layers=layers), "TEST", seed=1)
    explicit = Net(given, "TEST", seed=1)
    inputs = inputs_of(aligned)
    assert np.array_equal(aligned.forward(**inputs)["score"], explicit.forward(**inputs)["score"])
    offsets = [layer.offsets for layer in aligned.layers if layer.type == "Crop"]
    assert offsets == [(0, 0, 4, 4), (0, 0, 16, 16)]


def test_concat_crops_larger_bottoms_to_their_centre():
    layers = (
        data(1, 2, 6, 5, name="x"),
        data(1, 3, 8, 9, name="y"),
        LayerSpec("concat", "Concat", ("x", "y"), ("z",)),
    )
    net = Net(NetSpec("crops", layers, force_backward=True))
    rng = np.random.default_rng(0)
    x, y, diff = (
        rng.standard_normal(s, np.float32) for s in ((1, 2, 6, 5), (1, 3, 8, 9), (1, 5, 6, 5))
    )
    z = net.forward(x=x, y=y)["z"]
    assert np.array_equal(z, np.concatenate([x, y[:, :, 1:7, 2:7]], axis=1))
    net.blobs["y"].diff[...] = np.nan
    diffs = net.backward(z=diff)
    assert np.array_equal(diffs["x"], diff[:, :2])
    assert np.array_equal(diffs["y"], np.pad(diff[:, 2:], ((0, 0), (0, 0), (1, 1), (2, 2))))


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        ([conv("a", "data", "a")], "no earlier layer has a top named 'data'"),
        ([data(1, 1, 9, 9), conv("a", "data", "a"), conv("b", "data", "a")], "a top named 'a' too"),
        ([data(1, 1, 9, 9), conv("a", "data", "a"), conv("a", "data", "b")], "of that name"),
        ([data(1, 1, 9, 9), conv("a", "data", "data")], "does not work in place"),
        ([data(1, 1, 2, 9), conv("a", "data", "a")], "too small"),
        (
            [data(1, 1, 9, 9), LayerSpec("l", "LRN", ("data",), ("a",))],
            "not supported: .*of type 'LRN'",
        ),
        ([data(1, 1, 9, 9), LayerSpec("r", "ReLU", (), ("a",))], "1 bottom blobs wanted, 0 given"),
        (
            [
                data(1, 1, 6, 6, name="x"),
                data(1, 1, 7, 6, name="y"),
                LayerSpec("c", "Concat", ("x", "y"), ("z",)),
            ],
            "nor cropped evenly",
        ),
        (
            [
                data(1, 1, 6, 6, name="x"),
                data(1, 1, 5, 5, name="y"),
                LayerSpec("c", "Crop", ("x", "y"), ("z",), crop_param=CropParameter(offset=(2,))),
            ],
            "a window of 5 from 2 on does not fit into 6",
        ),
        (
            [
                data(1, 1, 9, 9),
                conv("a", "data", "a"),
                conv("b", "a", "b"),
                LayerSpec("r", "ReLU", ("a",), ("a",)),
            ],
            "works in place on 'a', which an earlier layer has read",
        ),
        (
            [
                data(1, 1, 9, 9),
                LayerSpec(
                    "c",
                    "Convolution",
                    ("data",),
                    ("a",),
                    convolution_param=ConvolutionParameter(num_output=1, kernel_size=5),
                ),
            ],
            "kernel_size 5 with stride 1 is not .*there are: 3 with stride 1, 1 with stride 1",
        ),
    ],
)
def test_nets_that_do_not_hang_together_are_refused(layers, problem):
    with pytest.raises(ValueError, match=problem):
        Net(NetSpec("bad", tuple(layers)))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no input named 'image'"):
        Net(small_spec("fig1"), image=(1, 1, 44, 44))
    net = Net(small_spec("fig1"), fill=False)
    with pytest.raises(ValueError, match="no layer named 'conv'"):
        net.forward(end="conv")
    with pytest.raises(ValueError, match="no blob named 'x'"):
        net.forward(blobs=["x"])
    with pytest.raises(ValueError, match="phase"):
        Net(small_spec("fig1"), "train")
    with pytest.raises(ValueError, match="plan"):
        Net(small_spec("fig1"), plan="small")


@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_a_branch_without_a_loss_learns_nothing(plan):
    layers = (
        data(1, 2, 9, 9),
        data(1, 1, 7, 7, name="label"),
        conv("a", "data", "a"),
        conv("b", "a", "b"),
        LayerSpec("accuracy", "Accuracy", ("a", "label"), ("accuracy",)),
        LayerSpec("loss", "SoftmaxWithLoss", ("a", "label"), ("loss",)),
    )
    net = Net(NetSpec("branch", layers), plan=plan, seed=1)
    assert net.outputs == ["accuracy", "b", "loss"]
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (1, 1, 7, 7)).astype(np.float32)
    image = rng.standard_normal((1, 2, 9, 9), np.float32)
    outputs = net.forward(data=image, label=label)
    net.clear_param_diffs()
    for blob in net.params["b"]:
        blob.diff[...] = 7
    net.backward()
    assert all((blob.diff == 7).all() for blob in net.params["b"])
    scores = reference.conv_forward(image, *(blob.data for blob in net.params["a"]))
    _, score_diff, _ = reference.softmax_loss(scores, label, None, "VALID", None, 1.0)
    gradients = reference.conv_backward_weights(image, score_diff)
    for blob, expected in zip(net.params["a"], gradients, strict=True):
        assert relative_l2(blob.diff, expected) < 1e-5
    hits = scores.argmax(1) == label[:, 0]
    assert float(outputs["accuracy"]) == pytest.approx(hits.mean())


def test_crop_also_cuts_channels():
    layers = (
        data(2, 5, 6, 6, name="x"),
        data(2, 3, 4, 3, name="reference"),
        LayerSpec(
            "crop",
            "Crop",
            ("x", "reference"),
            ("y",),
            crop_param=CropParameter(axis=1, offset=(2, 1, 3)),
        ),
    )
    net = Net(NetSpec("crop", layers, force_backward=True))
    rng = np.random.default_rng(0)
    x, diff = rng.standard_normal((2, 5, 6, 6), np.float32), rng.standard_normal((2, 3, 4, 3))
    y = net.forward(x=x, reference=np.zeros((2, 3, 4, 3)))["y"]
    assert np.array_equal(y, x[:, 2:5, 1:5, 3:6])
    net.blobs["x"].diff[...] = np.nan
    expected = np.zeros_like(x)
    expected[:, 2:5, 1:5, 3:6] = diff
    assert np.array_equal(net.backward(y=diff)["x"], expected)

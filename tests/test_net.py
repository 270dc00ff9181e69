"""Net: whole networks against float64 numpy and against Caffe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared import golden
from small_net import MODELS, inputs_of, random_biases, reference_of, relative_l2, small_spec
from unet_native import models
from unet_native.net import Net
from unet_native.spec import LossParameter, NetSpec

# --- against float64 ---


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
@pytest.mark.parametrize("model", MODELS)
def test_every_gradient_equals_the_float64_network(model, algorithm):
    net = Net(small_spec(model), seed=4, algorithm=algorithm)
    random_biases(net)
    inputs = inputs_of(net)
    net.forward(**inputs)
    net.clear_param_diffs()
    net.backward()
    assert any(0 < layer.kept["mask"].mean() < 1 for layer in net.layers if "mask" in layer.kept)

    reference = reference_of(net)
    blobs = reference.forward(**inputs)
    gradients, diffs = reference.backward()
    assert float(net.blobs["loss"].data) == pytest.approx(float(blobs["loss"]), rel=1e-6)
    for name, blob in net.blobs.items():
        if name not in net.inputs:
            assert relative_l2(blob.data, blobs[name]) < 1e-5, name
    for name, blob in net.blobs.items():
        if name in diffs and name not in net.inputs:
            assert relative_l2(blob.diff, diffs[name]) < 1e-5, name
    for name, expected in gradients.items():
        for blob, gradient in zip(net.params[name], expected, strict=True):
            assert relative_l2(blob.diff, gradient) < 1e-5, name


@pytest.mark.parametrize("model", MODELS)
def test_the_float64_network_passes_a_central_difference_check(model):
    net = Net(small_spec(model, tile=44, batch=1, base_width=2), seed=4)
    random_biases(net)
    inputs = inputs_of(net)
    net.forward(**inputs)
    reference = reference_of(net)
    reference.forward(**inputs)
    gradients, _ = reference.backward()
    rng, step = np.random.default_rng(1), 1e-6
    for name, params in reference.params.items():
        for param, gradient in zip(params, gradients[name], strict=True):
            for _ in range(2):
                index = tuple(rng.integers(0, n) for n in param.shape)
                value, losses = param[index], []
                for sign in (1, -1):
                    param[index] = value + sign * step
                    losses.append(float(reference.forward(**inputs)["loss"]))
                param[index] = value
                estimate = (losses[0] - losses[1]) / (2 * step)
                assert gradient[index] == pytest.approx(estimate, rel=1e-5, abs=1e-8), name


def test_phase_test_has_neither_dropout_nor_loss():
    train = Net(small_spec("fig1"), "TRAIN", seed=1)
    net = Net(small_spec("fig1"), "TEST", params_of=train)
    assert net.inputs == ["data"]
    assert net.outputs == ["score"]
    assert not [layer for layer in net.layers if layer.type == "Dropout"]
    data = inputs_of(net)["data"]
    expected = reference_of(net).forward(data=data)["score"]
    assert relative_l2(net.forward(data=data)["score"], expected) < 1e-5


# --- against Caffe ---


def golden_spec(case: str) -> NetSpec:
    """The network of golden/unet/<case>.prototxt."""
    if case == "unet_w4_188":
        spec = models.phseg_v5(base_width=4, tile=188, weighted=False, dropout_ratio=0.0)
    elif case == "unet_w8_204":
        spec = models.phseg_v5(base_width=8, tile=204, weighted=False, dropout_ratio=0.0)
    else:  # last up-convolution halves its channels; no mean over pixels; some are ignored
        spec = models.phseg_v5(
            base_width=4, tile=(188, 220), batch=2, weighted=False, dropout_ratio=0.0
        )
        layers = []
        for layer in spec.layers:
            if layer.name == "upconv_u1d_u0a":
                parameter = replace(layer.convolution_param, num_output=4)
                layer = replace(layer, convolution_param=parameter)
            if layer.name == "loss":
                layer = replace(layer, loss_param=LossParameter(255, "NONE"))
            layers.append(layer)
        spec = replace(spec, layers=tuple(layers))
    return replace(spec, force_backward=True)


@pytest.mark.parametrize(("algorithm", "tolerance"), [("direct", 2e-5), ("auto", 1e-4)])
@pytest.mark.parametrize("case", ["unet_w4_188", "unet_w8_204", "unet_w4_188x220_b2"])
def test_whole_networks_of_caffe(case, algorithm, tolerance):
    with np.load(golden(f"unet/{case}.npz")) as arrays:
        expected = dict(arrays)
    net = Net(golden_spec(case), algorithm=algorithm, fill=False)
    net.load_params({name: [expected[f"w:{name}"], expected[f"b:{name}"]] for name in net.params})
    net.forward(data=expected["data"], label=expected["label"])
    net.backward()
    found = {
        "score": net.blobs["score"].data,
        "loss": net.blobs["loss"].data,
        "d_data": net.blobs["data"].diff,
        "d_score": net.blobs["score"].diff,
        "act:d4c": net.blobs["d4c"].data,
        "act:u3d": net.blobs["u3d"].data,
    }
    for name, (weight, bias) in net.params.items():
        found |= {f"dw:{name}": weight.diff, f"db:{name}": bias.diff}
    for key, array in found.items():
        largest = np.abs(expected[key]).max()
        assert np.abs(array - expected[key]).max() <= tolerance * largest, key


# --- dropout and fillers are functions of the seed ---


def test_dropout_depends_on_seed_and_iteration():
    spec = small_spec("fig1")

    def loss(seed: int, iteration: int) -> float:
        net = Net(spec, seed=7)
        net.seed, net.iteration = seed, iteration
        net.forward(**inputs_of(net))
        assert net.iteration == iteration + 1
        return net.loss

    assert loss(1, 0) == loss(1, 0)
    assert len({loss(1, 0), loss(1, 1), loss(2, 0)}) == 3


def test_a_drawn_seed_can_be_used_again():
    first = Net(small_spec("fig1"))
    second = Net(small_spec("fig1"), seed=first.seed)
    other = Net(small_spec("fig1"))
    weights = [net.params["conv_d1a-b"][0].data for net in (first, second, other)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_values_of_a_layer_do_not_depend_on_the_phase():
    train, test = (Net(small_spec("fig1"), phase, seed=3) for phase in ("TRAIN", "TEST"))
    for name, (weight, _) in train.params.items():
        assert np.array_equal(weight.data, test.params[name][0].data)

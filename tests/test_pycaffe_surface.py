"""What scripts written for pycaffe do with a Net."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from small_net import inputs_of, random_biases, reference_of, relative_l2, small_spec
from unet_native.net import Net


def test_surface_of_pycaffe():
    net = Net(small_spec("fig1"), seed=1)
    assert net.inputs == ["data", "label", "weight"]
    assert net.outputs == ["loss"]
    assert net._layer_names[:5] == ["data", "label", "weight", "conv_d0a-b", "relu_d0b"]
    assert [layer.type for layer in net.layers][3:5] == ["Convolution", "ReLU"]
    assert net.layer_dict["conv_d0a-b"].blobs[0] is net.params["conv_d0a-b"][0]
    blob = net.blobs["d1b"]
    assert (blob.num, blob.channels, blob.height, blob.width) == blob.shape == (2, 8, 18, 20)
    assert blob.count == 2 * 8 * 18 * 20
    assert net.params["conv_d1a-b"][0].data.shape == (8, 4, 3, 3)
    assert net.params["upconv_d2c_u1a"][0].data.shape == (16, 8, 2, 2)
    loss = net.blobs["loss"]
    assert (loss.shape, loss.num, loss.width, loss.count) == ((), 1, 1, 1)


def test_writing_into_arrays_takes_effect():
    net = Net(small_spec("phseg_v5"), "TEST", seed=1)
    data = inputs_of(net)["data"]
    before = net.forward(data=data)["score"].copy()
    net.params["conv_u0d-score"][1].data[...] += 1
    net.params["conv_d0a-b"][0].data[0, 0, 1, 1] += 0.5
    assert not np.array_equal(net.forward()["score"], before)
    net.params["conv_u0d-score"][1].data[...] -= 1
    net.params["conv_d0a-b"][0].data[0, 0, 1, 1] -= 0.5
    assert np.allclose(net.forward()["score"], before, atol=1e-5)
    net.blobs["data"].data[0, :, 10] = 3
    assert not np.allclose(net.forward()["score"], before, atol=1e-5)


def test_net_surgery():
    """The idioms of Caffe's notebook net_surgery and of scripts that make bilinear filters."""
    net, full = (Net(small_spec("phseg_v5"), "TEST", seed=seed) for seed in (1, 2))
    for name, blobs in net.params.items():
        full.params[name][0].data.flat = blobs[0].data.flat
        full.params[name][1].data[...] = blobs[1].data
    image = inputs_of(net)["data"]
    net.blobs["data"].data[...] = image
    full.blobs["data"].data.reshape(-1)[:] = image.ravel()
    score = net.forward()["score"]
    assert np.array_equal(full.forward()["score"], score)
    kept = full.blobs["d0b"].data
    filters = net.params["conv_d0a-b"][0].data.reshape(4, -1)
    net.params["conv_d0a-b"][0].data.reshape(4, -1)[...] = filters[::-1].copy()
    assert np.array_equal(net.forward(blobs=["d0b"])["d0b"], kept[:, ::-1])


def test_running_some_layers():
    net = Net(small_spec("fig1"), "TEST", seed=1)
    random_biases(net)
    data = inputs_of(net)["data"]
    whole = net.forward(data=data)["score"].copy()
    out = net.forward(blobs=["d0b"], end="pool_d0c-1a", data=data)
    assert set(out) == {"d1a", "d0b"}
    assert np.array_equal(net.forward(start="conv_d1a-b")["score"], whole)
    before_relu = net.forward(end="conv_d0a-b")["d0b"].copy()
    assert (before_relu < 0).any()
    assert np.array_equal(
        net.forward(start="relu_d0b", end="relu_d0b")["d0b"], np.maximum(before_relu, 0)
    )
    net.blobs["u0d"].data[...] = 0
    score = net.forward(start="conv_u0d-score")["score"]
    assert np.array_equal(score, np.broadcast_to(score[:1, :, :1, :1], score.shape))


def test_backward_through_some_layers_from_a_given_diff():
    spec = replace(small_spec("fig1", weighted=False), force_backward=True)
    net = Net(spec, "TEST", seed=1)
    net.forward(data=inputs_of(net)["data"])
    diff = np.random.default_rng(2).standard_normal(net.blobs["score"].shape, np.float32)
    whole = net.backward(diffs=["d1c"], score=diff)
    assert set(whole) == {"data", "d1c"}
    whole = {name: array.copy() for name, array in whole.items()}
    assert whole["data"].any()
    for name in ("data", "d1c", "u0c"):
        net.blobs[name].diff[...] = np.nan
    part = net.backward(end="concat_d0cc_u0a-b", score=diff)
    assert set(part) == {"u0a", "d0cc"}
    assert np.isnan(net.blobs["data"].diff).all()
    rest = net.backward(start="crop_d0c-d0cc", diffs=["d1c"])
    assert all(np.array_equal(rest[name], whole[name]) for name in whole)


def test_gradients_of_parameters_accumulate_until_cleared():
    net = Net(small_spec("fig1"), seed=1)
    net.forward(**inputs_of(net))
    net.clear_param_diffs()
    net.backward()
    once = {p.name: p.blob.diff.copy() for p in net.parameters}
    net.backward()
    for param in net.parameters:
        assert relative_l2(param.blob.diff, 2 * once[param.name]) < 1e-6
    net.clear_param_diffs()
    assert not any(param.blob.diff.any() for param in net.parameters)


def test_reshaping_an_input_reshapes_the_net():
    net = Net(small_spec("fig1"), "TEST", seed=1)
    net.forward(data=inputs_of(net)["data"])
    blob = net.blobs["data"]
    blob.reshape(1, 2, 52, 44)
    data = blob.data
    data[...] = np.random.default_rng(0).standard_normal(blob.shape, np.float32)
    score = net.forward()["score"]
    assert blob.data is data
    assert score.shape == net.blobs["score"].shape == (1, 3, 12, 4)
    assert relative_l2(score, reference_of(net).forward(data=data)["score"]) < 1e-5
    assert net.spec.layers[0].input_param.shape == ((2, 2, 44, 48),)
    fresh = Net(small_spec("fig1"), "TEST", params_of=net, data=(1, 2, 52, 44))
    assert np.array_equal(fresh.forward(data=data)["score"], score)
    with pytest.raises(ValueError, match="only inputs can be reshaped"):
        net.blobs["d0c"].reshape(1, 4, 8, 8)
    net.blobs["data"].reshape(1, 3, 52, 44)
    with pytest.raises(ValueError, match=r"conv_d0a-b.*do not fit"):
        net.forward()


def test_copying_and_sharing_parameters():
    source = Net(small_spec("phseg_v5"), seed=1)
    target = Net(small_spec("phseg_v5"), seed=2)
    assert target.copy_from(source) == []
    for mine, theirs in zip(target.parameters, source.parameters, strict=True):
        assert np.array_equal(mine.blob.data, theirs.blob.data)
    source.params["conv_d0a-b"][1].data[...] = 5
    assert not (target.params["conv_d0a-b"][1].data == 5).any()
    target.share_with(source)
    source.params["conv_d0a-b"][1].data[...] = 6
    assert (target.params["conv_d0a-b"][1].data == 6).all()

    shallow = Net(small_spec("phseg_v5", depth=2, tile=40), seed=3)
    kept = shallow.params["upconv_d1c_u0a"][0].data.copy()
    ignored = shallow.copy_from(source)
    assert "conv_d2a-b" in ignored
    assert "conv_d0a-b" not in ignored
    assert np.array_equal(shallow.params["conv_d1b-c"][0].data, source.params["conv_d1b-c"][0].data)
    assert np.array_equal(shallow.params["upconv_d1c_u0a"][0].data, kept)
    wide = Net(small_spec("phseg_v5", base_width=5), seed=3)
    before = wide.params["conv_d0a-b"][0].data.copy()
    with pytest.raises(ValueError, match=r"'conv_d0a-b'.*do not fit"):
        wide.copy_from(source)
    assert np.array_equal(wide.params["conv_d0a-b"][0].data, before)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({"data": np.zeros((2, 2, 44, 48))}, "wanted"),
        ({"data": 0, "label": np.zeros((3, 1)), "weight": 1}, "'label' wants shape"),
        ({"data": 0, "label": 0, "weights": 1}, "wanted"),
    ],
)
def test_wrong_inputs_are_refused(inputs, problem):
    net = Net(small_spec("fig1"), fill=False)
    with pytest.raises(ValueError, match=problem):
        net.forward(**inputs)


def test_labels_out_of_range_are_refused():
    net = Net(small_spec("fig1"), seed=0)
    inputs = inputs_of(net)
    inputs["label"][0, 0, 1, 2] = 3
    with pytest.raises(ValueError, match="label"):
        net.forward(**inputs)

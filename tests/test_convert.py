"""``unet-native convert`` and ``inspect``, and what they are made of."""

from __future__ import annotations

import numpy as np
import pytest

import unet_native as caffe
from shared import shared
from small_net import small_spec
from unet_native import cli, models
from unet_native.caffe import network, schema, text
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.stored import CaffeModel, StoredBlob, StoredLayer


@pytest.fixture
def v1_model(tmp_path):
    """A V1 model file of a convolution with legacy blobs."""
    rng = np.random.default_rng(0)
    message = schema.new("V1LayerParameter")
    message.bottom.append("data")
    message.top.append("c")
    blobs = [
        StoredBlob(rng.standard_normal((2, 1, 3, 3)).astype(np.float32), legacy=True),
        StoredBlob(rng.standard_normal((1, 1, 1, 2)).astype(np.float32), legacy=True),
    ]
    tail = schema.new("V1LayerParameter")
    tail.blobs_lr.extend([1, 2])
    tail.weight_decay.extend([1, 0])
    tail.convolution_param.num_output = 2
    tail.convolution_param.kernel_size.append(3)
    layer = StoredLayer("c", 4, blobs, message.SerializeToString(), tail.SerializeToString())
    path = tmp_path / "old.caffemodel"
    write_caffemodel(path, CaffeModel("old", [layer], v1=True))
    return path


def run(*arguments):
    return cli.run([str(argument) for argument in arguments])


def test_v1_models_come_into_the_current_form(v1_model, tmp_path):
    assert run("convert", v1_model, tmp_path / "new.caffemodel") == 0
    old, new = read_caffemodel(v1_model), read_caffemodel(tmp_path / "new.caffemodel")
    assert (new.v1, new.name, new.layers[0].type) == (False, "old", "Convolution")
    message = schema.new("NetParameter")
    message.ParseFromString((tmp_path / "new.caffemodel").read_bytes())
    assert [p.lr_mult for p in message.layer[0].param] == [1, 2]
    assert [p.decay_mult for p in message.layer[0].param] == [1, 0]
    assert list(message.layer[0].convolution_param.kernel_size) == [3]
    for one, other in zip(old.layers[0].blobs, new.layers[0].blobs, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_hdf5_gets_the_axes_of_a_net(v1_model, tmp_path):
    assert run("convert", v1_model, tmp_path / "new.caffemodel.h5") == 0
    shapes = [
        blob.shape for blob in read_caffemodel(tmp_path / "new.caffemodel.h5").layers[0].blobs
    ]
    assert shapes == [(2, 1, 3, 3), (2,)]


def test_a_trained_model_becomes_caffes(tmp_path):
    """Network and weights of a .safetensors file, read again, compute the same."""
    spec = small_spec("phseg_v5")
    net = caffe.Net(spec, "TEST", seed=4)
    net.save(tmp_path / "a.safetensors")
    for target in ("a.caffemodel", "a.caffemodel.h5", "a.prototxt"):
        assert run("convert", tmp_path / "a.safetensors", tmp_path / target) == 0
    data = np.random.default_rng(0).standard_normal(net.blobs["data"].shape, np.float32)
    expected = net.forward(data=data)["score"]
    for weights in ("a.caffemodel", "a.caffemodel.h5"):
        other = caffe.Net(tmp_path / "a.prototxt", tmp_path / weights, caffe.TEST)
        np.testing.assert_array_equal(other.forward(data=data)["score"], expected)


def test_a_run_folder_is_a_model(trained, tmp_path, capsys):
    assert run("convert", trained, tmp_path / "run.caffemodel") == 0
    assert run("inspect", trained) == 0
    out = capsys.readouterr().out
    assert "conv_d0a-b" in out
    assert "weights only" in out


def test_old_prototxt_comes_into_the_current_form(tmp_path):
    (tmp_path / "old.prototxt").write_text(
        'name: "n" input: "data" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8\n'
        'layers { name: "r" type: RELU bottom: "data" top: "r" }'
    )
    assert run("convert", tmp_path / "old.prototxt", tmp_path / "new.prototxt") == 0
    message = text.read(tmp_path / "new.prototxt", "NetParameter")
    assert [layer.type for layer in message.layer] == ["Input", "ReLU"]
    assert not message.layers
    assert caffe.Net(tmp_path / "new.prototxt", caffe.TEST).outputs == ["r"]


def test_convert_refuses(v1_model, tmp_path, complaint):
    new = tmp_path / "new.prototxt"
    for arguments, problem in [
        ((v1_model, v1_model), "exists already"),
        ((v1_model, new), "hold no whole network"),
        ((v1_model, tmp_path / "new.txt"), "cannot become"),
        ((tmp_path / "none.prototxt", new), "none.prototxt: cannot be read"),
        ((tmp_path, tmp_path / "x.caffemodel"), "model.safetensors"),
    ]:
        assert problem in complaint("convert", *arguments)
    assert not new.exists()


def test_a_damaged_layer_is_refused(v1_model, tmp_path, complaint):
    model = read_caffemodel(v1_model)
    model.layers[0].tail = b"\x52\x03abc"  # convolution_param, and no message in it
    bad = tmp_path / "bad.caffemodel"
    write_caffemodel(bad, model)
    assert "layer 'c' is damaged" in complaint("convert", bad, tmp_path / "new.caffemodel")
    assert not (tmp_path / "new.caffemodel").exists()


def test_inspect_shows_every_kind_of_file(v1_model, tmp_path, capsys):
    network.write_net(tmp_path / "net.prototxt", models.fig1(depth=2, base_width=3, tile=24))
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.5 type: "SGD"')
    solver = caffe.get_solver(tmp_path / "solver.prototxt")
    state = solver.snapshot()
    for file, words in [
        (v1_model, ("V1 form", "Convolution", "2x1x3x3", "20 parameters")),
        (tmp_path / "net.prototxt", ("'fig1'", "SoftmaxWithLoss", "(TRAIN only)")),
        (tmp_path / "solver.prototxt", ("a solver", "base_lr: 0.5")),
        (state, ("iteration 0", "history 0: 3x1x3x3")),
        (state.with_suffix(".caffemodel"), ("current form", "conv_d0a-b")),
    ]:
        assert run("inspect", file) == 0
        out = capsys.readouterr().out
        for word in words:
            assert word in out, (file, out)


def test_inspect_names_layers_that_do_not_run_here(tmp_path, capsys, complaint):
    (tmp_path / "a.prototxt").write_text(
        'layer { name: "l" type: "LRN" bottom: "a" top: "b" }\n'
        'layer { name: "d" type: "CreateDeformation" top: "def" }\n'
        'layer { name: "c" type: "Convolution" convolution_param { pad_h: 1 pad_w: 2 } }'
    )
    assert run("inspect", tmp_path / "a.prototxt") == 0
    out = capsys.readouterr().out
    assert "unknown type" in out
    assert "the trainer's work" in out
    assert "pad: must be the same for both axes" in out
    (tmp_path / "b.prototxt").write_text("nonsense { }")
    assert 'no field named "nonsense"' in complaint("inspect", tmp_path / "b.prototxt")


def test_models_from_elsewhere_are_converted(tmp_path):
    """Real files: every blob is kept, in either form."""
    files = sorted(shared("data/caffemodels").glob("*/*.caffemodel"))
    assert files
    for i, file in enumerate(files):
        before = {layer.name: layer.blobs for layer in read_caffemodel(file).layers}
        for ending in (".caffemodel", ".caffemodel.h5"):
            target = tmp_path / f"{i}{ending}"
            assert run("convert", file, target) == 0
            for layer in read_caffemodel(target).layers:
                for one, other in zip(layer.blobs, before[layer.name], strict=True):
                    np.testing.assert_array_equal(one.data.ravel(), other.data.ravel())

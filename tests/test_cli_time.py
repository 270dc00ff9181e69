"""``unet-native time --net FILE``: each layer of a prototxt, as ``caffe time`` does."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest

import small_caffe
from command_line import contents
from conformance.test_log import STAMP
from unet_native import cli
from unet_native.net import Net

INPUTS = """
layer { name: "in" type: "Input" top: "data" top: "label" input_param {
  shape { dim: 2 dim: 1 dim: 96 dim: 96 } shape { dim: 2 dim: 1 dim: 90 dim: 90 } } }
"""
LAYERS = ["conv_d0a-b", "relu_d0b", "pool_d0b-1a", "conv_d1a-b", "relu_d1b", "upconv_d1b_u0a"]
LAYERS += ["crop_d0b", "concat_u0b", "conv_u0c-score", "loss"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Caffe's files; input.prototxt has inputs of 96x96 pixels in place of its data layer."""
    small_caffe.write_all(tmp_path)
    network = small_caffe.train_net(width=8).replace(small_caffe.DATA, INPUTS)
    (tmp_path / "input.prototxt").write_text(network)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def timed(capsys):
    """What the command prints, after the notice of the Crop."""

    def run(*arguments):
        capsys.readouterr()
        assert cli.run(["time", "--net", *arguments, "--iterations", "3"]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run


def milliseconds(log, pattern):
    return [float(value) for value in re.findall(pattern + r": (\S+) ms\.$", log, flags=re.M)]


@pytest.mark.parametrize(("phase", "layers"), [("TRAIN", LAYERS), ("TEST", [*LAYERS, "accuracy"])])
@pytest.mark.parametrize("file", ["net.prototxt", "input.prototxt"])
def test_lines_are_those_of_caffe(timed, file, phase, layers):
    notice, *lines = timed(file, "--phase", phase).splitlines()
    assert notice.startswith("Crop is BVLC Caffe's")
    assert all(STAMP.match(line) for line in lines)
    first = "loaddata" if file == "net.prototxt" else "in"
    number = r"[\d.]+(?:e-\d+)?"
    backward = [(403, "Performing Backward")] if phase == "TRAIN" else []
    expected = [
        (397, "Performing Forward"),
        (402, f"Initial loss: {number}"),
        *backward,
        (411, r"\*\*\* Benchmark begins \*\*\*"),
        (412, r"Testing for 3 iterations\."),
        *[(440, rf"Iteration: {i} forward-backward time: {number} ms\.") for i in (1, 2, 3)],
        (443, "Average time per layer: "),
    ]
    for layer in [first, *layers]:
        expected.append((446, rf"{layer:>10}\tforward: {number} ms\."))
        expected.append((449, rf"{layer:>10}\tbackward: {number} ms\."))
    expected += [
        (454, rf"Average Forward pass: {number} ms\."),
        (456, rf"Average Backward pass: {number} ms\."),
        (458, rf"Average Forward-Backward: {number} ms\."),
        (460, rf"Total Time: {number} ms\."),
        (461, r"\*\*\* Benchmark ends \*\*\*"),
    ]
    for line, (place, text) in zip(lines, expected, strict=True):
        assert re.fullmatch(rf"I\S+ \S+ +\d+ caffe\.cpp:{place}\] {text}", line), line


def test_the_initial_loss_is_that_of_valid_labels(timed):
    """Labels that no data layer gives are 0: the loss is what any net starts from, about log 2."""
    for phase in ("TRAIN", "TEST"):
        loss = float(re.search("Initial loss: (.*)", timed("input.prototxt", "--phase", phase))[1])
        assert 0.1 < loss < 3


def test_sums_are_close_to_the_totals(timed):
    """What is between the layers' passes is Python, some microseconds each: 1 ms is generous."""
    log = timed("input.prototxt")
    forward, backward = (milliseconds(log, rf"\t{step}") for step in ("forward", "backward"))
    assert len(forward) == len(backward) == 11
    totals = [milliseconds(log, f"Average {name}")[0] for name in ("Forward pass", "Backward pass")]
    for each, total in zip((forward, backward), totals, strict=True):
        assert 0.3 * total < sum(each) <= total * 1.0001
        assert total - sum(each) < max(1, total / 2)
    assert milliseconds(log, "Average Forward-Backward")[0] == pytest.approx(sum(totals), rel=1e-4)
    iterations = milliseconds(log, "forward-backward time")
    assert milliseconds(log, "Total Time")[0] == pytest.approx(sum(iterations), rel=1e-4)
    assert np.mean(iterations) == pytest.approx(sum(totals), rel=1e-4)
    names = re.findall(r"(\S+)\tforward: 0 ms", log)
    assert names == ["relu_d0b", "relu_d1b"], "the convolutions before apply them"


def test_phase_test_runs_forward_only(timed, monkeypatch):
    def never(*_, **__):
        raise AssertionError("backward in phase TEST")

    monkeypatch.setattr(Net, "backward", never)
    assert not any(milliseconds(timed("input.prototxt", "--phase", "TEST"), r"\tbackward"))


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_json(timed, phase):
    result = json.loads(timed("input.prototxt", "--phase", phase, "--json", "--threads", "1"))
    layers = result["layers"]
    assert [layer["layer"] for layer in layers][1:11] == LAYERS
    assert {layer["layer"]: layer["type"] for layer in layers}["upconv_d1b_u0a"] == "Deconvolution"
    assert result["threads"] == 1
    assert len(result["iterations_s"]) == 3
    for step in ("forward", "backward"):
        total = sum(layer[f"{step}_ms"] for layer in layers)
        assert total <= result[f"{step}_ms"] + 1e-4
        assert (total > 0) == (step == "forward" or phase == "TRAIN")
    mean = np.mean(result["iterations_s"]) * 1e3
    assert mean == pytest.approx(result["forward_ms"] + result["backward_ms"], abs=2e-3)


def test_a_networks_name_is_no_file(capsys):
    arguments = ["--tile", "60", "--base-width", "2", "--depth", "2", "--iterations", "1"]
    assert cli.run(["time", "--net", "phseg_v5", *arguments]) == 0
    assert "step " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["gone.prototxt"], "--net gone.prototxt: use fig1 or phseg_v5, or a prototxt that exists"),
        (["."], "cannot be read (Is a directory)"),
        (["data.h5"], "data.h5: not a text file"),
        (["solver.prototxt"], 'solver.prototxt, line 1: Message type "NetParameter" has no field'),
        (["empty.prototxt"], "has no layers"),
        (["odd.prototxt"], "not supported: 'relu_d0b' of type 'Swish' (odd.prototxt, line "),
        (["lost.prototxt"], "lost.txt: the list of HDF5 files cannot be read"),
        (["net.prototxt", "--phase", "train"], "--phase train: use TRAIN or TEST"),
        (["net.prototxt", "--algorithm", "fast"], "fast"),
        (["labels.prototxt"], "label[0, 0, 0, 0] is 0.9"),
        (["labels.prototxt", "--phase", "TEST"], "label"),
    ],
)
def test_mistakes_get_a_line(complaint, folder, arguments, problem):
    (folder / "empty.prototxt").write_text("# nothing\n")
    (folder / "odd.prototxt").write_text(small_caffe.train_net().replace("ReLU", "Swish", 1))
    (folder / "lost.prototxt").write_text(small_caffe.train_net().replace("files.txt", "lost.txt"))
    random = """layer { name: "in" type: "DummyData" top: "data" top: "label" dummy_data_param {
      shape { dim: 2 dim: 1 dim: 16 dim: 16 } shape { dim: 2 dim: 1 dim: 10 dim: 10 }
      data_filler { type: "gaussian" } data_filler { type: "uniform" } } }"""
    network = small_caffe.train_net().replace(small_caffe.DATA, random)
    (folder / "labels.prototxt").write_text(network)
    before = contents(folder)
    assert problem in complaint("time", "--net", *arguments, "--iterations", "1")
    assert contents(folder) == before


@pytest.mark.parametrize("fields", [{"test_iter": None}, {}], ids=["training", "testing"])
def test_labels_out_of_range_are_the_users_mistake(complaint, folder, fields):
    """Also where a solver meets them: in training, and in a test, whose accuracy comes later."""
    small_caffe.write_all(folder, **fields)
    with h5py.File("data.h5", "a") as file:
        file["label"][2, 0, 3, 3] = 7
    for command in (["train", "--solver", "solver.prototxt"], ["time", "--net", "net.prototxt"]):
        line = complaint(*command)
        assert "layer 'loss' (SoftmaxWithLoss): softmax_loss: label[0, 0, 3, 3] is 7" in line
        assert "net.prototxt, line " in line

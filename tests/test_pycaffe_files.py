"""Nets and solvers from files: every form of the constructors, what is copied, what is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import small_caffe
import unet_native as caffe
from unet_native.caffe import pycaffe
from unet_native.errors import UserError
from unet_native.proto import caffe_pb2

SCORE = "conv_u0c-score"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Caffe's files and a trained w.caffemodel and w.caffemodel.h5, in the working directory."""
    small_caffe.write_all(tmp_path, display=0, snapshot=0, test_interval=1000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pycaffe, "_seed", [])
    net = caffe.Net("net.prototxt", caffe.TRAIN, seed=3)
    for _, bias in net.params.values():
        bias.data[...] = np.linspace(-0.2, 0.3, bias.count)
    net.save("w.caffemodel")
    net.save("w.caffemodel.h5")
    net.save("w.safetensors")
    return tmp_path


def bits(net_or_solver) -> list[bytes]:
    """All weights, and of a solver its history and where it is."""
    net = getattr(net_or_solver, "net", net_or_solver)
    found = [blob.data.tobytes() for blobs in net.params.values() for blob in blobs]
    if net is not net_or_solver:
        found += [np.ascontiguousarray(array).tobytes() for array in net_or_solver.history]
        found.append(f"{net_or_solver.iter} {net_or_solver.current_step}".encode())
    return found


def equal(net, other) -> bool:
    return bits(net) == bits(other)


def rewritten(change, source="w.caffemodel", target="changed.caffemodel"):
    """A model file whose message `change` has changed."""
    message = caffe_pb2.NetParameter()
    with open(source, "rb") as file:
        message.ParseFromString(file.read())
    change(message, {layer.name: layer for layer in message.layer})
    with open(target, "wb") as file:
        file.write(message.SerializeToString())
    return target


# --- the constructor of Net ---


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("w.caffemodel", caffe.TEST), {}),
        ((caffe.TEST, 0, None, "w.caffemodel"), {}),
        ((caffe.TEST, 0, ["deploy"], "w.caffemodel.h5"), {}),
        ((caffe.TEST,), {"weights": "w.caffemodel"}),
        ((), {"weights": "w.caffemodel", "phase": caffe.TEST, "level": 0, "stages": ["a", "b"]}),
        ((caffe.TEST, 0), {"stages": [], "weights": "w.safetensors"}),
    ],
)
def test_forms_of_the_constructor(args, named):
    net = caffe.Net("deploy.prototxt", *args, **named)
    assert (net.phase, net.outputs) == ("TEST", ["prob"])
    assert equal(net, caffe.Net("net.prototxt", "w.caffemodel", caffe.TRAIN))
    assert not equal(net, caffe.Net("deploy.prototxt", caffe.TEST))
    if not args:
        assert equal(net, caffe.Net(network_file="deploy.prototxt", **named))


def test_level_and_stages_choose_layers(folder):
    rules = """include { phase: TEST stage: "fine" } include { phase: TEST min_level: 2 } }"""
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" '
    text = small_caffe.deploy_net().rpartition("layer {")[0] + softmax + rules
    (folder / "staged.prototxt").write_text(text)
    for args, named, output in [
        ((caffe.TEST,), {}, "score"),
        ((caffe.TRAIN,), {"stages": ["fine"]}, "score"),
        ((caffe.TEST, 1), {}, "score"),
        ((caffe.TEST, 2), {}, "prob"),
        ((caffe.TEST, 0, ["coarse", "fine"]), {}, "prob"),
        ((caffe.TEST,), {"stages": ["fine"], "weights": "w.caffemodel"}, "prob"),
    ]:
        assert caffe.Net("staged.prototxt", *args, **named).outputs == [output]


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("none.prototxt", caffe.TEST), "none.prototxt: cannot be read"),
        ((".", caffe.TEST), "cannot be read"),
        (("w.caffemodel", caffe.TEST), "w.caffemodel: not a text file; give a prototxt"),
        (("solver.prototxt", caffe.TEST), 'solver.prototxt, line 1: .* no field named "net"'),
        (("net.prototxt",), "give the phase, caffe.TRAIN or caffe.TEST"),
        (("net.prototxt", "w.caffemodel"), "give the phase"),
        (("net.prototxt", 2), "phase 2: use caffe.TRAIN or caffe.TEST"),
        (("net.prototxt", -1), "phase -1: use"),
        (("net.prototxt", caffe.TEST, 0, 1), "1 would be a second level"),
        (("net.prototxt", "w.caffemodel", "w.caffemodel", 1), "a second weights"),
        (("deploy.prototxt", "none.caffemodel", caffe.TEST), "none.caffemodel: cannot be read"),
        (("deploy.prototxt", "net.prototxt", caffe.TEST), "net.prototxt: is text, not a"),
        (("wide.prototxt", "w.caffemodel", caffe.TEST), "3x1x3x3 and 3, the net wants 4x1x3x3"),
        (("odd.prototxt", caffe.TRAIN), r"'odd' of type 'LRN' \(odd.prototxt, line 2\)"),
    ],
)
def test_mistakes_get_a_sentence(folder, args, problem):
    (folder / "wide.prototxt").write_text(small_caffe.deploy_net(width=4))
    odd = small_caffe.INPUT.strip().replace("\n", " ")
    (folder / "odd.prototxt").write_text(
        odd + '\nlayer { name: "odd" type: "LRN" bottom: "data" top: "odd" }'
    )
    with pytest.raises(ValueError, match=problem) as caught:
        caffe.Net(*args)
    assert "\n" not in str(caught.value)


def test_forward_all_wants_the_inputs():
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    for inputs in ({}, {"image": np.zeros((1, 1, 16, 16))}):
        with pytest.raises(ValueError, match=r"forward_all: give .* \['data'\]"):
            net.forward_all(**inputs)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.prototxt", "none.prototxt: cannot be read"),
        ("net.prototxt", 'net.prototxt, line 1: .* no field named "name"'),
        ("nesterov.prototxt", "type 'Nesterov' is not supported; use SGD or Adam"),
        ("lost.prototxt", "lost_net.prototxt: cannot be read"),
        ("empty.prototxt", "must name one network"),
    ],
)
def test_mistakes_in_solvers_get_a_sentence(folder, name, problem):
    (folder / "nesterov.prototxt").write_text(small_caffe.solver_text(type='"Nesterov"'))
    (folder / "lost.prototxt").write_text(small_caffe.solver_text(net='"lost_net.prototxt"'))
    (folder / "empty.prototxt").write_text("")
    for make in (caffe.get_solver, caffe.SGDSolver, caffe.AdamSolver):
        with pytest.raises(UserError, match=problem):
            make(name)


# --- copy_from ---


@pytest.mark.parametrize("ending", ["caffemodel", "caffemodel.h5", "safetensors"])
def test_names_decide_what_is_copied(folder, ending):
    """Unknown layers are ignored, layers that the file has not keep their filling."""
    (folder / "three.prototxt").write_text(small_caffe.deploy_net(classes=3, score="score-three"))
    net = caffe.Net("three.prototxt", caffe.TEST, seed=7)
    filled = bits(net)
    ignored = net.copy_from(f"w.{ending}")
    assert SCORE in ignored
    assert not {"conv_d0a-b", "relu_d0b", "score-three"} & set(ignored)
    whole = caffe.Net("net.prototxt", "w.caffemodel", caffe.TRAIN)
    assert bits(net)[:6] == bits(whole)[:6] != filled[:6]
    assert bits(net)[6:] == filled[6:]


def test_old_shapes_of_four_axes_are_taken(folder):
    """(1, 1, 1, C) for a bias, as Caffe wrote it before autumn 2014; (C, 1, 1, 1) is no such."""

    def with_legacy_biases(axes):
        def change(message, layers):
            for layer in layers.values():
                for blob in layer.blobs[1:]:
                    count = len(blob.data)
                    blob.ClearField("shape")
                    sizes = [count if i == axes else 1 for i in range(4)]
                    blob.num, blob.channels, blob.height, blob.width = sizes

        return rewritten(change)

    net = caffe.Net("deploy.prototxt", with_legacy_biases(3), caffe.TEST)
    assert equal(net, caffe.Net("deploy.prototxt", "w.caffemodel", caffe.TEST))
    before = bits(net)
    with pytest.raises(UserError, match=r"'conv_d0a-b' has .* and 3x1x1x1, the net wants .* and 3"):
        net.copy_from(with_legacy_biases(0))
    assert bits(net) == before


def test_of_two_layers_of_one_name_the_later_counts():
    """Caffe net.cpp, CopyTrainedLayersFrom, copies the one and then the other over it."""

    def twice(message, layers):
        message.layer.add().CopyFrom(layers[SCORE])
        message.layer[-1].blobs[1].data[:] = [8, 9]

    net = caffe.Net("deploy.prototxt", rewritten(twice), caffe.TEST)
    assert net.params[SCORE][1].data.tolist() == [8, 9]

    def misfit(message, layers):
        twice(message, layers)
        del layers[SCORE].blobs[1]

    with pytest.raises(UserError, match=f"{SCORE}.*has parameters of shapes 2x6x1x1, the net"):
        net.copy_from(rewritten(misfit))


def _wider(message, layers):
    blob = layers[SCORE].blobs[0]
    blob.data.extend([0] * 6)
    blob.shape.dim[0] = 3


def _no_bias(message, layers):
    del layers[SCORE].blobs[1]


def _empty(message, layers):
    del layers[SCORE].blobs[:]


def _not_a_number(message, layers):
    layers[SCORE].blobs[1].data[1] = np.nan


def _infinite(message, layers):
    layers["upconv_d1b_u0a"].blobs[0].data[5] = np.inf


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_wider, f"changed.*: layer '{SCORE}' has .* 3x6x1x1 and 2, the net wants 2x6x1x1 and 2"),
        (_no_bias, f"changed.*: layer '{SCORE}' has .* 2x6x1x1, the net wants"),
        (_empty, f"changed.*: layer '{SCORE}' has parameters of shapes none"),
        (_not_a_number, f"blob 1 of layer '{SCORE}' has values that are not finite"),
        (_infinite, "blob 0 of layer 'upconv_d1b_u0a' has values that are not finite"),
    ],
)
@pytest.mark.parametrize("ending", ["caffemodel", "caffemodel.h5"])
def test_what_does_not_fit_changes_nothing(change, problem, ending):
    name = rewritten(change)
    if ending.endswith("h5"):
        name = _as_hdf5(name)
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    before = bits(net)
    with pytest.raises(UserError, match=problem) as caught:
        net.copy_from(name)
    assert "\n" not in str(caught.value)
    assert bits(net) == before
    with pytest.raises(UserError, match=problem):
        caffe.Net("deploy.prototxt", name, caffe.TEST)


def _as_hdf5(name):
    message = caffe_pb2.NetParameter()
    with open(name, "rb") as file:
        message.ParseFromString(file.read())
    with h5py.File(f"{name}.h5", "w") as file:
        for layer in message.layer:
            group = file.create_group(f"data/{layer.name}")
            for i, blob in enumerate(layer.blobs):
                group[str(i)] = np.array(blob.data, np.float32).reshape(blob.shape.dim)
    return f"{name}.h5"


def test_sharing_with_a_net_that_does_not_fit_changes_nothing(folder):
    (folder / "three.prototxt").write_text(small_caffe.deploy_net(classes=3))
    net = caffe.Net("deploy.prototxt", caffe.TEST)
    other = caffe.Net("three.prototxt", caffe.TEST)
    before = bits(net)
    for attempt in (net.share_with, net.copy_from):
        with pytest.raises(ValueError, match=f"'{SCORE}'"):
            attempt(other)
        other.params["conv_d0a-b"][0].data[...] += 1
        assert bits(net) == before


# --- restore ---


def trained(name="solver.prototxt", steps=2, **fields):
    """A solver after some steps, and the state that it has written."""
    with open(name, "w") as file:
        file.write(small_caffe.solver_text(display=0, test_interval=1000, **fields))
    solver = caffe.get_solver(name)
    solver.step(steps)
    solver.snapshot()
    ending = ".h5" if fields.get("snapshot_format") == "HDF5" else ""
    return solver, f"{solver.settings.snapshot_prefix}_iter_{steps}.solverstate{ending}"


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_restored_solver_goes_on_alike(kind, form):
    solver, state = trained(type=f'"{kind}"', snapshot_format=form)
    solver.step(2)
    other = caffe.get_solver("solver.prototxt")
    other.restore(state)
    assert other.iter == 2
    other.step(2)  # two passes of two of the four samples: the same ones again
    assert bits(other) == bits(solver)


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize(("writer", "reader"), [("Adam", "SGD"), ("SGD", "Adam")])
def test_the_state_of_another_solver_is_refused(writer, reader, form):
    _, state = trained(type=f'"{writer}"', snapshot_format=form)
    solver, _ = trained("other.prototxt", 1, type=f'"{reader}"', snapshot_prefix='"other"')
    before = bits(solver)
    with pytest.raises(UserError, match=rf"{state}: holds \d+ arrays .* it was made by {writer}"):
        solver.restore(state)
    assert bits(solver) == before


def test_the_state_of_another_net_is_refused(folder):
    solver, _ = trained("other.prototxt", 1, snapshot_prefix='"other"')
    before = bits(solver)
    three = small_caffe.train_net(classes=3)
    (folder / "three.prototxt").write_text(three)
    _, state = trained("three_solver.prototxt", net='"three.prototxt"')
    with pytest.raises(UserError, match=f"{state}: history 6 has .* 3x6x1x1, the net wants 2x6"):
        solver.restore(state)
    assert bits(solver) == before


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_state_whose_model_is_missing_or_another_is_refused(folder, form):
    _, state = trained(snapshot_format=form)
    solver, _ = trained("other.prototxt", 1, snapshot_prefix='"other"')
    before = bits(solver)
    model = folder / state.replace("solverstate", "caffemodel")
    kept = model.read_bytes()
    model.unlink()
    with pytest.raises(UserError, match=f"{state}: its weights, {model.name}, are missing"):
        solver.restore(state)
    assert bits(solver) == before
    model.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(UserError, match=model.name):
        solver.restore(state)
    assert bits(solver) == before
    moved = folder / "moved"
    moved.mkdir()
    (moved / state).write_bytes((folder / state).read_bytes())
    (moved / model.name).write_bytes(kept)
    model.unlink()
    solver.restore(moved / state)  # the model lies beside the state
    assert solver.iter == 2


def test_a_snapshot_of_our_own_that_does_not_fit_changes_nothing(folder):
    (folder / "three.prototxt").write_text(small_caffe.train_net(classes=3))
    three, _ = trained("three_solver.prototxt", net='"three.prototxt"')
    three.snapshot("three.safetensors")
    solver, _ = trained("other.prototxt", 1, snapshot_prefix='"other"')
    before = bits(solver)
    with pytest.raises(UserError, match=r"three.safetensors: conv_u0c-score.0 has shape"):
        solver.restore("three.safetensors")
    assert bits(solver) == before
    bad, _ = trained("bad.prototxt", 1, snapshot_prefix='"bad"')
    bad.history[-1][...] = np.nan
    bad.snapshot("bad.safetensors")
    with pytest.raises(UserError, match="not finite"):
        solver.restore("bad.safetensors")
    assert bits(solver) == before

"""Solver prototxts: settings, the networks that they name, and both ways round."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unet_native as caffe
from unet_native.caffe import solverfile, text
from unet_native.errors import UserError
from unet_native.learning_rate import REQUIRED
from unet_native.solver_settings import SolverSettings

NET = """name: '%s'
input: 'data' input_dim: [1, 1, 5, 5]
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'y'
  convolution_param { num_output: 1 kernel_size: 3 } }
layer { name: 'train' type: 'ReLU' bottom: 'y' top: 'y' include { phase: TRAIN } }
layer { name: 'deep' type: 'ReLU' bottom: 'y' top: 'z' include { min_level: 2 } }
layer { name: 'staged' type: 'ReLU' bottom: 'y' top: 'w' include { stage: 'a' } }
"""


@pytest.fixture
def solver_of(tmp_path):
    """Reads a solver from its text; beside it lie the networks one, two and three.prototxt."""
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.prototxt").write_text(NET % name)

    def read(content: str, name: str = "solver.prototxt") -> solverfile.SolverFile:
        (tmp_path / name).write_text(content)
        return solverfile.read_solver(tmp_path / name)

    return read


# --- settings ---

FIELDS = {
    "type: 'Adam'": {"type": "Adam"},
    "base_lr: 0.25": {"base_lr": 0.25},
    "lr_policy: 'step' gamma: 0.5 stepsize: 3": {"lr_policy": "step", "gamma": 0.5, "stepsize": 3},
    "lr_policy: 'exp' gamma: 0.75": {"lr_policy": "exp", "gamma": 0.75},
    "lr_policy: 'inv' gamma: 0.5 power: 0.75": {"lr_policy": "inv", "gamma": 0.5, "power": 0.75},
    "lr_policy: 'multistep' gamma: 0.5 stepvalue: 3 stepvalue: 7": {
        "lr_policy": "multistep",
        "gamma": 0.5,
        "stepvalue": (3, 7),
    },
    "lr_policy: 'poly' power: 2 max_iter: 9": {"lr_policy": "poly", "power": 2, "max_iter": 9},
    "lr_policy: 'sigmoid' gamma: -0.5 stepsize: 4": {
        "lr_policy": "sigmoid",
        "gamma": -0.5,
        "stepsize": 4,
    },
    "max_iter: 7": {"max_iter": 7},
    "momentum: 0.5": {"momentum": 0.5},
    "momentum2: 0.5": {"momentum2": 0.5},
    "delta: 0.125": {"delta": 0.125},
    "weight_decay: 0.125": {"weight_decay": 0.125},
    "regularization_type: 'L1'": {"regularization_type": "L1"},
    "clip_gradients: 2": {"clip_gradients": 2},
    "iter_size: 3": {"iter_size": 3},
    "average_loss: 3": {"average_loss": 3},
    "random_seed: 9223372036854775807": {"random_seed": 9223372036854775807},
    "display: 3": {"display": 3},
    "test_iter: 3 test_interval: 5": {"test_iter": (3,), "test_interval": 5},
    "test_initialization: false": {"test_initialization": False},
    "snapshot: 3": {"snapshot": 3},
    "snapshot_prefix: 'a/b'": {"snapshot_prefix": "a/b"},
    "snapshot_after_train: false": {"snapshot_after_train": False},
    "snapshot_diff: true": {"snapshot_diff": True},
    "snapshot_format: HDF5": {"snapshot_format": "HDF5"},
}


@pytest.mark.parametrize(("content", "expected"), FIELDS.items())
def test_fields(solver_of, tmp_path, content, expected):
    found = solver_of(f"net: 'one.prototxt' {content}").settings
    defaults = {"snapshot_format": "BINARYPROTO", "snapshot_prefix": str(tmp_path / "solver")}
    assert found == SolverSettings(**defaults | expected)


def test_every_setting_is_tried_above():
    tried = {name for expected in FIELDS.values() for name in expected}
    assert tried == {field.name for field in dataclasses.fields(SolverSettings)}


def test_fields_that_play_no_part_are_taken(solver_of):
    file = solver_of(
        "net: 'one.prototxt' solver_mode: GPU device_id: 3 debug_info: true rms_decay: 0.5 "
        "test_compute_loss: true layer_wise_reduce: false weights: 'a.caffemodel,b' weights: 'c'"
    )
    assert file.weights == ("a.caffemodel,b", "c")
    assert file.message.solver_mode == 1


@pytest.mark.parametrize(
    ("older", "type"), [("SGD", "SGD"), ("ADAM", "Adam"), ("0", "SGD"), ("5", "Adam")]
)
def test_older_solver_type(solver_of, older, type):
    file = solver_of(f"net: 'one.prototxt' solver_type: {older}")
    assert file.settings.type == file.message.type == type
    assert not file.message.HasField("solver_type")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("type: 'Nesterov'", "type 'Nesterov' is not supported; use SGD or Adam"),
        ("type: 'sgd'", "type 'sgd' is not supported"),
        ("solver_type: ADADELTA", "type 'AdaDelta' is not supported"),
        ("solver_type: SGD type: 'SGD'", "both `solver_type` .older. and `type`; use `type` alone"),
        ("lr_policy: 'cosine'", "lr_policy 'cosine': use fixed, step"),
        *(
            (f"lr_policy: '{p}'", f"{p!r} needs {needs[0]}")
            for p, needs in REQUIRED.items()
            if needs
        ),
        ("regularization_type: 'L0'", "regularization_type 'L0': use L2 or L1"),
        ("iter_size: 0", "iter_size must be at least 1, got 0"),
        ("average_loss: -1", "average_loss must be at least 1, got -1"),
        ("max_iter: -1", "max_iter must be at least 0, got -1"),
        ("display: -1", "display must be at least 0"),
        ("snapshot: -5", "snapshot must be at least 0"),
        ("test_interval: -5", "test_interval must be at least 0"),
        ("test_iter: 0 test_interval: 1", "test_iter must be at least 1, got 0"),
        ("base_lr: 'x'", "Couldn't parse float"),
        ("snapshot_format: SAFETENSORS", "no value named SAFETENSORS"),
        ("learning_rate: 1", 'SolverParameter" has no field named "learning_rate"'),
    ],
)
def test_settings_that_cannot_be(solver_of, content, problem):
    with pytest.raises(UserError, match=rf"solver\.prototxt(, line 1)?: .*{problem}"):
        solver_of(f"net: 'one.prototxt' {content}")


# --- networks ---

INLINE = "{ name: 'inside' layer { name: 'x' type: 'Input' top: 'x' input_param { shape { } } } }"
NETS = [
    ("net: 'one.prototxt'", "one", []),
    ("net: 'one.prototxt' test_iter: 1", "one", ["one"]),
    ("net: 'one.prototxt' test_iter: 1 test_iter: 2", "one", ["one", "one"]),
    ("train_net: 'two.prototxt'", "two", []),
    ("train_net: 'two.prototxt' test_net: 'one.prototxt' test_iter: 4", "two", ["one"]),
    ("net: 'one.prototxt' test_net: 'two.prototxt' test_iter: 1", "one", ["two"]),
    ("net: 'one.prototxt' test_net: 'two.prototxt' test_iter: [1, 1]", "one", ["two", "one"]),
    (f"net_param {INLINE}", "inside", []),
    (f"net_param {INLINE} test_iter: 1", "inside", ["inside"]),
    (f"train_net_param {INLINE}", "inside", []),
    (
        f"net: 'one.prototxt' test_net: 'two.prototxt' test_net: 'three.prototxt' "
        f"test_net_param {INLINE} test_iter: [1, 1, 1, 1, 1]",
        "one",
        ["inside", "two", "three", "one", "one"],
    ),
    (
        f"train_net_param {INLINE} test_net: 'two.prototxt' test_iter: 1",
        "inside",
        ["two"],
    ),
]


@pytest.mark.parametrize(("content", "train", "tests"), NETS)
def test_ways_to_name_networks(solver_of, tmp_path, content, train, tests):
    file = solver_of(f"{content} test_interval: 10")
    assert file.train.name == train
    assert [spec.name for spec in file.tests] == tests

    def where(name: str) -> str:
        return str(tmp_path / "solver.prototxt") if name == "inside" else f"{name}.prototxt"

    assert file.train_name == where(train)
    assert list(file.test_names) == [where(name) for name in tests]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("base_lr: 1", r"must name one network to train \(net or train_net\), has none"),
        ("net: 'one.prototxt' train_net: 'two.prototxt'", "has train_net and net$"),
        (f"net: 'one.prototxt' net_param {INLINE}", "has net_param and net$"),
        (f"train_net_param {INLINE} train_net: 'o'", "has train_net_param and train_net$"),
        ("test_net: 'one.prototxt' test_iter: 1", "has none"),
        ("train_net: 'one.prototxt' test_iter: 1", "0 test nets, but 1 test_iter"),
        ("net: 'one.prototxt' test_net: 'two.prototxt'", "1 test nets, but 0 test_iter"),
        ("train_net: 'one.prototxt' test_net: 'two.prototxt' test_iter: [1, 1]", "1 test nets"),
        ("net: 'one.prototxt' test_iter: [1, 1] test_state { }", "2 test nets, but 1 test_state"),
        ("net: 'one.prototxt' test_state { }", "0 test nets, but 1 test_state"),
    ],
)
def test_networks_that_do_not_fit(solver_of, content, problem):
    with pytest.raises(UserError, match=rf"solver\.prototxt: .*{problem}"):
        solver_of(f"{content} test_interval: 10")


def test_a_test_needs_its_interval(solver_of):
    with pytest.raises(UserError, match="has test nets; say with test_interval how often to test"):
        solver_of("net: 'one.prototxt' test_iter: 1")


def test_a_missing_or_broken_network_is_named(solver_of, tmp_path):
    with pytest.raises(UserError, match=r"^none\.prototxt: cannot be read"):
        solver_of("net: 'none.prototxt'")
    (tmp_path / "bad.prototxt").write_text("\nnme: 'x'")
    with pytest.raises(UserError, match=r"bad\.prototxt, line 2: .*\"nme\""):
        solver_of("net: 'bad.prototxt'")
    with pytest.raises(UserError, match=r"solver\.prototxt: names a file 'a\\x00', which cannot"):
        solver_of(r"net: 'a\0'")
    with pytest.raises(UserError, match="cannot be read"):
        solver_of("net: ''")
    with pytest.raises(UserError, match=r"solver\.prototxt: has 1 inputs, but shapes for 0"):
        solver_of("net_param { input: 'x' }")
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        solverfile.read_solver(tmp_path / "none.prototxt")


def names_of(spec) -> set[str]:
    return {layer.name for layer in spec.layers} - {"data", "conv", "train"}


def test_states_of_the_solver(solver_of):
    file = solver_of(
        "net: 'one.prototxt' test_iter: [1, 1] test_interval: 1 train_state { stage: 'a' } "
        "test_state { level: 2 } test_state { level: 3 stage: 'a' stage: 'b' }"
    )
    assert names_of(file.train) == {"staged"}
    assert [names_of(spec) for spec in file.tests] == [{"deep"}, {"deep", "staged"}]


def test_states_of_the_nets_are_merged(solver_of, tmp_path):
    """Stages come together; a level of the solver takes the place of the net's own."""
    content = (NET % "own") + "state { level: 2 stage: 'a' }"
    (tmp_path / "own.prototxt").write_text(content)
    file = solver_of(
        "net: 'own.prototxt' test_iter: 1 test_interval: 1 test_state { level: 1 stage: 'c' }"
    )
    assert names_of(file.train) == {"deep", "staged"}
    assert names_of(file.tests[0]) == {"staged"}
    file = solver_of(f"net_param {{ {content} }}")
    assert names_of(file.train) == {"deep", "staged"}


# --- names of files ---


def test_the_prefix_of_snapshots(solver_of, tmp_path):
    def prefix(content: str, name: str = "solver.prototxt") -> str:
        file = solver_of(f"net: 'one.prototxt' {content}", name)
        assert file.settings.snapshot_prefix == file.message.snapshot_prefix
        return file.settings.snapshot_prefix

    assert prefix("") == str(tmp_path / "solver")
    assert prefix("snapshot_prefix: ''", "my.solver.txt") == str(tmp_path / "my.solver")
    assert prefix("", "solver") == str(tmp_path / "solver")
    assert prefix("snapshot_prefix: 'a/b.c'") == "a/b.c"
    assert prefix(f"snapshot_prefix: '{tmp_path}'") == str(tmp_path / "solver")
    assert prefix(f"snapshot_prefix: '{tmp_path}/'", "s.prototxt") == str(tmp_path / "s")
    assert prefix(r"snapshot_prefix: 'a\0'") == "a\0", "no folder, and no file either, later"


def test_relative_names_from_another_folder(solver_of, tmp_path, monkeypatch):
    """In the working folder, as in Caffe, or else beside the solver."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert solver_of("net: 'one.prototxt'").train.name == "one"
    (other / "one.prototxt").write_text(NET % "nearer")
    file = solver_of("net: 'one.prototxt' test_net: 'two.prototxt' test_iter: 1 test_interval: 1")
    assert file.train.name == "nearer"
    assert file.tests[0].name == "two"
    assert file.train.layers[1].where == "one.prototxt, line 3"
    assert file.tests[0].layers[1].where == f"{tmp_path / 'two.prototxt'}, line 3"
    assert solver_of(f"net: '{tmp_path / 'one.prototxt'}'").train.name == "one"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "solver.prototxt").write_text("net: 'three.prototxt'")
    file = solverfile.read_solver("solver.prototxt")
    assert (file.train.name, file.settings.snapshot_prefix) == ("three", "solver")


# --- there and back ---

FLOATS = st.floats(width=32, allow_nan=False)
COUNTS = st.integers(0, (1 << 31) - 1)
POSITIVE = st.integers(1, (1 << 31) - 1)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["SGD", "Adam"]),
        **dict.fromkeys(
            ("base_lr", "power", "momentum", "momentum2", "delta", "weight_decay"), FLOATS
        ),
        **dict.fromkeys(("max_iter", "display", "snapshot", "test_interval"), COUNTS),
        **dict.fromkeys(("iter_size", "average_loss"), POSITIVE),
        "clip_gradients": FLOATS,
        "regularization_type": st.sampled_from(["L1", "L2"]),
        "random_seed": st.integers(-1, (1 << 63) - 1),
        "stepvalue": st.lists(COUNTS, max_size=3).map(tuple),
        "test_iter": st.lists(POSITIVE, max_size=3).map(tuple),
        **dict.fromkeys(
            ("test_initialization", "snapshot_after_train", "snapshot_diff"), st.booleans()
        ),
        "snapshot_prefix": st.text("abc/._- ", min_size=1, max_size=8).map("p".__add__),
        "snapshot_format": st.sampled_from(["BINARYPROTO", "HDF5"]),
    },
)


@settings(deadline=None, max_examples=100)
@given(SETTINGS, st.sampled_from([("fixed", {}), ("step", {"gamma": 0.5, "stepsize": 2})]))
def test_any_settings(given_settings, policy):
    """Through the text, and the same text from what was read."""
    name, needs = policy
    given_settings.setdefault("snapshot_format", "BINARYPROTO")
    before = SolverSettings(lr_policy=name, **needs, **given_settings)
    message = solverfile.to_message(before, "net.prototxt")
    again = text.parse(text.to_text(message), "SolverParameter", "f")
    assert again == message
    assert solverfile._settings(again) == before
    assert solverfile.to_message(solverfile._settings(again), "net.prototxt") == message


def test_files_written_and_read(solver_of, tmp_path):
    before = SolverSettings(
        type="Adam",
        base_lr=0.01,
        lr_policy="multistep",
        gamma=0.1,
        stepvalue=(5, 7),
        snapshot_prefix="p",
        snapshot_format="HDF5",
        random_seed=3,
    )
    path = solverfile.write_solver(tmp_path / "again.prototxt", before, "two.prototxt")
    assert "base_lr: 0.01\n" in path.read_text()
    file = solverfile.read_solver(path)
    assert file.train.name == "two"
    rates = {name: float(np.float32(getattr(before, name))) for name in ("base_lr", "gamma")}
    assert file.settings == replace(before, **rates), (
        "in Caffe, and in its files, rates are float32"
    )
    own = solverfile.to_message(replace(before, snapshot_format="SAFETENSORS"))
    assert not own.HasField("snapshot_format"), "of which Caffe knows nothing"
    assert not own.HasField("net")


def test_pycaffes_solver_from_a_file(solver_of, tmp_path, monkeypatch):
    net = tmp_path / "start.caffemodel"
    solver_of("net: 'one.prototxt' solver_type: ADAM random_seed: 2")
    solver = caffe.get_solver(tmp_path / "solver.prototxt")
    assert type(solver) is caffe.AdamSolver
    solver.net.params["conv"][0].data[...] = 7
    solver.net.save(net)
    monkeypatch.chdir(tmp_path)
    solver_of("net: 'one.prototxt' weights: 'start.caffemodel, start.caffemodel'")
    solver = caffe.get_solver("solver.prototxt")
    assert type(solver) is caffe.SGDSolver
    assert (solver.net.params["conv"][0].data == 7).all()
    assert solver.param.net == "one.prototxt"

"""``unet-native train --solver``: Caffe's training from Caffe's files."""

from __future__ import annotations

import re

import numpy as np
import pytest

import small_caffe
import unet_native as caffe
from command_line import contents
from conformance.test_log import STAMP, check_parsers
from unet_native import cli
from unet_native.caffe import pycaffe, text
from unet_native.caffe.caffemodel import read_caffemodel
from unet_native.caffe.solverstate import read_solverstate


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pycaffe, "_seed", [])
    return tmp_path


@pytest.fixture
def train(folder, capsys):
    """Writes the files with these fields, trains, and returns the log."""

    def run(*arguments, network=None, **fields):
        small_caffe.write_all(folder, network=network, **fields)
        capsys.readouterr()
        assert cli.run(["train", "--solver", "solver.prototxt", *map(str, arguments)]) == 0
        captured = capsys.readouterr()
        assert captured.out == run.notice
        return captured.err

    run.notice = "Crop is BVLC Caffe's, at the file's offsets: 2 (crop_d0b) pixels\n"
    return run


def snapshots(folder):
    return sorted(path.name for path in folder.glob("run_iter_*"))


def losses(log):
    """The displayed losses by iteration, and those of the train net's last pass."""
    shown = {int(i): float(x) for i, x in re.findall(r"Iteration (\d+) \(.*, loss = (\S+)", log)}
    return shown, [float(x) for x in re.findall(r"Train net output #0: loss = (\S+)", log)]


# --- what it writes ---


def test_files_and_log(train, folder):
    log = train()
    assert snapshots(folder) == [
        f"run_iter_{i}.{kind}" for i in (4, 6) for kind in ("caffemodel", "solverstate")
    ]
    check_parsers(log)
    stamped = re.split(r"^(?=I\d{4} )", log, flags=re.M)
    assert stamped[0] == ""
    for entry in stamped[1:]:
        assert STAMP.match(entry)
        head, _, rest = entry.partition("\n")
        if rest:  # settings and nets are messages of Caffe's, over many lines
            kind = "SolverParameter" if "Initializing solver" in head else "NetParameter"
            assert "from parameters:" in head
            text.parse(rest, kind, "log")
    shown, outputs = losses(log)
    assert list(shown) == list(range(6))
    assert list(shown.values()) == outputs
    assert outputs[-1] < outputs[0]
    assert len(re.findall(r"Test net output #\d+: (?:accuracy|loss) = 0\.\d+", log)) == 6
    assert [line[STAMP.match(line).end() :] for line in log.splitlines()[-2:]] == [
        "Optimization Done.",
        "Optimization Done.",
    ]


def test_a_crop_without_offset_is_warned_of(train):
    net = small_caffe.train_net().replace("axis: 2 offset: 2", "axis: 2")
    train.notice = (
        "Crop is BVLC Caffe's, at the file's offsets: 0 (crop_d0b) pixels\n"
        "warning: layer 'crop_d0b' gives no offset, so BVLC Caffe's Crop cuts at the top left "
        "corner; aligned by coordinates, as in the 2015 release, 'crop_d0b' would cut at 2: say so "
        "with crop_param { offset: ... }\n"
    )
    assert "Crop is" not in train(network=net)


def test_pycaffe_trains_to_the_same_bits(train, folder):
    """Which computes in another plan and sees the arrays."""
    train()
    solver = caffe.get_solver("solver.prototxt")
    solver.step(6)
    solver.net.save("script.caffemodel")
    assert (folder / "script.caffemodel").read_bytes() == (
        folder / "run_iter_6.caffemodel"
    ).read_bytes()


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_a_resumed_run_equals_the_unbroken_one(train, folder, kind, form):
    """At iteration 4 the data come round, whose position is in no snapshot, as in Caffe."""
    fields = {"type": f'"{kind}"', "snapshot_format": form, "average_loss": 2}
    end = ".h5" if form == "HDF5" else ""
    train(max_iter=7, **fields)
    names = [f"run_iter_7.{what}{end}" for what in ("caffemodel", "solverstate")]
    whole = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()
    log = train("--snapshot", f"run_iter_4.solverstate{end}", max_iter=7, **fields)
    assert [(folder / name).read_bytes() for name in names] == whole
    assert list(losses(log)[0]) == [4, 5, 6]
    assert f"Resuming from run_iter_4.solverstate{end}\n" in log
    history = read_solverstate(names[1]).history
    assert len(history) == {"SGD": 8, "Adam": 16}[kind]


def test_the_number_of_threads_changes_no_bit(train, folder):
    found = []
    for threads in (1, 2):
        train("--threads", threads, iter_size=2, clip_gradients=0.5)
        found.append([(folder / name).read_bytes() for name in snapshots(folder)])
    assert found[0] == found[1]


# --- weights ---


def constant(value, name, **how):
    """A model file whose parameters are all `value`."""
    with open("constant.prototxt", "w") as file:
        file.write(small_caffe.deploy_net(**how))
    net = caffe.Net("constant.prototxt", caffe.TEST, fill=False)
    for param in net.parameters:
        param.blob.data[...] = value
    net.save(name)
    return net


def test_weights_are_loaded_one_after_the_other(train, folder):
    constant(1, "a.caffemodel")
    constant(2, "b.caffemodel", classes=3, score="another")
    log = train("--weights=a.caffemodel, b.caffemodel", max_iter=0, snapshot=0, test_iter=None)
    model = {layer.name: layer.blobs for layer in read_caffemodel("run_iter_0.caffemodel").layers}
    assert (model["conv_d0a-b"][0].data == 2).all()
    assert (model["conv_u0c-score"][0].data == 1).all(), "which b.caffemodel has not"
    assert log.index("Finetuning from a.caffemodel") < log.index("Finetuning from b.caffemodel")
    assert log.count("Ignoring source layer another\n") == 1
    assert "_split" not in "".join(re.findall("Ignoring.*", log))


def test_weights_of_the_solver_file_come_first(train):
    constant(1, "a.caffemodel")
    constant(2, "b.caffemodel")
    train("--weights=b.caffemodel", weights='"a.caffemodel"', max_iter=0, snapshot=0)
    model = read_caffemodel("run_iter_0.caffemodel")
    assert all((b.data == 2).all() for layer in model.layers for b in layer.blobs)
    train(weights='"a.caffemodel"', max_iter=0, snapshot=0)
    model = read_caffemodel("run_iter_0.caffemodel")
    assert all((b.data == 1).all() for layer in model.layers for b in layer.blobs)


def test_weights_of_layers_that_only_a_test_net_has(train, folder):
    """Scores that are all alike: a loss of log 2."""
    other = small_caffe.train_net(score="test-score")
    (folder / "other.prototxt").write_text(other)
    constant(0, "zero.caffemodel", score="test-score")
    fields = {"test_net": '"other.prototxt"', "weights": '"zero.caffemodel"'}
    log = train(**fields)
    told = [float(x) for x in re.findall(r"Test net output #1: loss = (\S+)", log)]
    assert told == pytest.approx([np.log(2)] * 3, rel=1e-5)  # a sum of 200 terms in float32
    test_net = caffe.get_solver("solver.prototxt").test_nets[0]
    assert not test_net.params["test-score"][0].data.any()


# --- the settings of a solver ---


def test_snapshot_diff_stores_the_update(train):
    train(snapshot_diff="true")
    blobs = [b for layer in read_caffemodel("run_iter_6.caffemodel").layers for b in layer.blobs]
    history = read_solverstate("run_iter_6.solverstate").history
    for blob, momentum in zip(blobs, history, strict=True):
        assert blob.diff.any()
        np.testing.assert_array_equal(blob.diff, momentum.data)


def test_several_test_nets(train, folder):
    (folder / "other.prototxt").write_text(small_caffe.train_net().replace("accuracy", "hits"))
    log = train(
        test_net=['"other.prototxt"'],
        test_iter=[3, 1],
        test_interval=4,
        test_state=['{ stage: "odd" }', "{ }"],
    )
    order = re.findall(r"Testing net \((#\d)\)|Test net output #\d: (\w+)", log)
    once = ["#0", "hits", "loss", "#1", "accuracy", "loss"]
    assert ["".join(pair) for pair in order] == 2 * once  # at 0 and 4
    assert 'stage: "odd"' in log


def test_nothing_is_displayed_with_display_0(train):
    log = train(display=0)
    assert not losses(log)[0]
    assert "lr = " not in log
    assert "Testing net" in log
    assert "loss = " in log.partition("Testing net")[2]


def test_no_snapshot_after_training(train, folder):
    train(snapshot_after_train="false")
    assert {name[:10] for name in snapshots(folder)} == {"run_iter_4"}
    train(snapshot_after_train="false", snapshot=0, max_iter=3, snapshot_prefix='"never"')
    assert not list(folder.glob("never*"))


def test_a_run_that_has_been_done_already(train, folder):
    train()
    before = contents(folder)
    log = train("--snapshot", "run_iter_6.solverstate", test_initialization="false")
    assert not losses(log)[0]
    assert "Iteration 6, loss = " in log
    assert log.count("Optimization Done.") == 2
    after = contents(folder)
    assert all(after[path] == data for path, data in before.items() if "run_iter" in path.name)


def test_average_loss_is_the_mean_of_the_last_ones(train):
    """Each displayed loss is rounded to six digits."""
    shown, each = losses(train(average_loss=3))
    for i, loss in shown.items():
        assert loss == pytest.approx(np.mean(each[max(0, i - 2) : i + 1]), rel=2e-5)
    assert shown[5] != each[5]


def test_the_prefix_without_a_name(train, folder):
    train(snapshot_prefix=None, max_iter=1)
    assert (folder / "solver_iter_1.caffemodel").exists()
    (folder / "runs").mkdir()
    train(snapshot_prefix='"runs"', max_iter=1)
    assert (folder / "runs" / "solver_iter_1.caffemodel").exists()


# --- mistakes ---

ODD = small_caffe.train_net().replace('type: "ReLU"', 'type: "TanH"', 1)
ODD_LINE = 1 + ODD[: ODD.index("TanH")].count("\n")


@pytest.mark.parametrize(
    ("arguments", "fields", "problem"),
    [
        (["--weights=w.caffemodel", "--snapshot=s.solverstate"], {}, "give one of them"),
        (["-o", "out"], {}, "--output does not go with --solver"),
        (["--images=."], {}, "--images does not go with --solver"),
        (["--labels=."], {}, "--labels does not"),
        (["--validation=0.5"], {}, "--validation does not"),
        (["--iterations=5"], {}, "--iterations does not"),
        (["--seed=0"], {}, "--seed does not"),
        (["--base-lr=0.1"], {}, "--base-lr does not"),
        (["--resume"], {}, "--resume does not"),
        (["--sigint-effect=quit"], {}, "--sigint-effect quit: use stop, snapshot, none"),
        (["--sighup-effect=quit"], {}, "--sighup-effect quit: use"),
        (["--algorithm=fast"], {}, "fast"),
        ([], {"type": '"Nesterov"'}, "type 'Nesterov' is not supported; use SGD or Adam"),
        ([], {"lr_policy": '"cosine"'}, "lr_policy 'cosine'"),
        ([], {"lr_policy": '"step"'}, "'step' needs"),
        ([], {"iter_size": 0}, "iter_size must be at least 1"),
        ([], {"speed": 3}, 'solver.prototxt, line 13: Message type "SolverParameter" has no field'),
        ([], {"snapshot_prefix": '"none/run"'}, "there is no folder none; make it first"),
        ([], {"snapshot_prefix": '"files.txt/run"'}, "there is no folder files.txt"),
        ([], {"train_net": '"gone.prototxt"', "net": None}, "gone.prototxt: cannot be read"),
        ([], {"net": '"gone.prototxt"'}, "gone.prototxt: cannot be read"),
        ([], {"test_iter": None, "test_net": '"net.prototxt"'}, "1 test nets, but 0 test_iter"),
        ([], {"test_interval": None}, "say with test_interval"),
        (
            [],
            {"net": '"odd.prototxt"'},
            f"'relu_d0b' of type 'TanH' (odd.prototxt, line {ODD_LINE})",
        ),
        ([], {"net": '"deploy.prototxt"', "test_iter": None}, "deploy.prototxt: has no loss"),
        ([], {"train_net": '"net.prototxt"', "net": None}, "0 test nets, but 1 test_iter"),
        (["--weights=gone.caffemodel"], {}, "gone.caffemodel: cannot be read"),
        (["--weights=w.caffemodel,gone.caffemodel"], {}, "gone.caffemodel: cannot be read"),
        (["--weights=data.h5"], {}, "data.h5: "),
        (["--weights=half.caffemodel"], {}, "half.caffemodel: is no .caffemodel, or damaged"),
        (["--weights=wide.caffemodel"], {}, "wide.caffemodel: layer 'conv_d0a-b' has parameters"),
        (["--weights="], {}, "--weights '': the name of a file is empty"),
        (["--weights=w.caffemodel,"], {}, "the name of a file is empty"),
        (["--snapshot="], {}, "--snapshot '': the name of a file is empty"),
        (["--snapshot=gone.solverstate"], {}, "gone.solverstate: cannot be read"),
        (["--snapshot=w.caffemodel"], {}, "w.caffemodel: is no .solverstate"),
        (["--snapshot=s.solverstate"], {"type": '"Adam"'}, "it was made by SGD"),
        (["--snapshot=lost.solverstate"], {}, "its weights, run_iter_0.caffemodel, are missing"),
    ],
)
def test_mistakes_get_a_line_and_nothing_is_written(complaint, folder, arguments, fields, problem):
    small_caffe.write_all(folder, **fields)
    (folder / "odd.prototxt").write_text(ODD)
    constant(1, "w.caffemodel")
    constant(1, "wide.caffemodel", width=5)
    whole = (folder / "w.caffemodel").read_bytes()
    (folder / "half.caffemodel").write_bytes(whole[: len(whole) // 2])
    if any("solverstate" in argument for argument in arguments):
        (folder / "plain.prototxt").write_text(small_caffe.solver_text())
        solver = caffe.get_solver("plain.prototxt")
        state = solver.snapshot()
        state.rename("s.solverstate")
        (folder / "run_iter_0.caffemodel").unlink()
        (folder / "lost.solverstate").write_bytes((folder / "s.solverstate").read_bytes())
    before = contents(folder)
    line = complaint("train", "--solver", "solver.prototxt", *arguments)
    assert problem in line
    assert contents(folder) == before
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("solver.prototxt", None, "solver.prototxt: cannot be read"),
        ("solver.prototxt", b"\x80\xff\x00", "solver.prototxt: not a text file"),
        ("solver.prototxt", b"net: {", "solver.prototxt, line 1"),
        ("net.prototxt", None, "net.prototxt: cannot be read"),
        ("net.prototxt", b'layer { name: "a" ', "net.prototxt, line 1"),
        ("net.prototxt", b"", "has no layers"),
        ("files.txt", None, "files.txt: the list of HDF5 files cannot be read"),
        ("files.txt", b"\n", "files.txt: names no HDF5 file"),
        ("files.txt", b"gone.h5\n", "gone.h5: cannot be read"),
        ("data.h5", b"", "data.h5: is empty"),
        ("data.h5", b"no such thing", "data.h5: "),
    ],
)
def test_missing_and_damaged_files_get_a_line(complaint, folder, name, content, problem):
    small_caffe.write_all(folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    before = contents(folder)
    assert problem in complaint("train", "--solver", "solver.prototxt")
    assert contents(folder) == before

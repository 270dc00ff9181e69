"""The command line: every command, and every mistake answered by one sentence and status 2."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from test_train import discs
from unet_native import cli
from unet_native.cli.app import build_app
from unet_native.model_file import Model
from unet_native.train import TrainSettings

FAST = ["--depth", "2", "--base-width", "4", "--tile", "76"]
FAST += ["--iterations", "6", "--snapshot", "3", "--test-interval", "3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders images and labels with 0.tif .. 3.tif; labels 0 and 255."""
    folder = tmp_path_factory.mktemp("data")
    write_folders(folder, *discs(4))
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with a run, trained for a moment on `data`."""
    run = tmp_path_factory.mktemp("trained") / "run"
    status = cli.run(["train", *sources(data), "-o", str(run), "--validation", "3", *FAST])
    assert status == 0
    return run


def write_folders(folder, images, labels):
    for name, stack in (("images", images), ("labels", 255 * labels)):
        (folder / name).mkdir(parents=True)
        for index, plane in enumerate(stack):
            tifffile.imwrite(folder / name / f"{index}.tif", plane)


def sources(data):
    return ["--images", str(data / "images"), "--labels", str(data / "labels")]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def complaint(capsys):
    """Runs a command that must fail with status 2 and one sentence on stderr; returns it."""

    def run(*arguments):
        capsys.readouterr()
        assert cli.run([str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("unet-native: ")]
        assert len(lines) == 1, error
        assert "Traceback" not in error
        return lines[0]

    return run


def outside(*arguments, **environment):
    """The program as a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from unet_native.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


# --- the program as such ---


def test_help_is_quick_and_names_every_command():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = outside("--help", COLUMNS="80")
        seconds.append(time.perf_counter() - start)
    assert result.returncode == 0
    for name in ("train", "segment", "evaluate", "weight-map", "time", "info"):
        assert f" {name} " in result.stdout
    assert min(seconds) < 0.5


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from unet_native.cli import run; run(['train', '--help']); "
        "print(sorted(sys.modules.keys() & set(sys.argv[1:])))"
    )
    heavy = ["numpy", "scipy", "matplotlib", "PIL", "tifffile", "safetensors"]
    result = subprocess.run(
        [sys.executable, "-c", program, *heavy],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_defaults_in_the_help_are_those_of_training():
    import typer

    settings = TrainSettings().to_dict()
    command = typer.main.get_command(build_app()).commands["train"]
    checked = 0
    for option in command.params:
        if option.name in settings and isinstance(option.show_default, str):
            shown = type(settings[option.name])(option.show_default)
            assert shown == settings[option.name], option.name
            checked += 1
    assert checked >= 9


def test_status_of_a_process(data):
    assert outside("info").returncode == 0
    result = outside("segment", data / "nothing", data / "images", "-o", data / "out")
    assert result.returncode == 2
    assert result.stderr.startswith("unet-native: ")
    assert result.stderr.count("\n") == 1


def test_a_reader_that_leaves_gets_no_complaint():
    process = subprocess.Popen(
        [sys.executable, "-c", "from unet_native.cli import main; main()", "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device", "x.tif")])
def test_the_machine_s_limits_are_told_in_a_sentence(monkeypatch, complaint, error, tmp_path):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Model, "load", fail)
    text = complaint("segment", tmp_path, tmp_path, "-o", tmp_path / "out")
    assert ("memory" if isinstance(error, MemoryError) else "x.tif: No space left") in text


def test_a_fault_of_the_program_has_status_1(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(Model, "load", fail)
    arguments = ["segment", str(tmp_path), str(tmp_path), "-o", str(tmp_path / "out")]
    assert cli.run(arguments) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: two lines" in error
    assert error.count("\n") == 1
    monkeypatch.setenv(cli.DEBUG, "1")
    with pytest.raises(RuntimeError):
        cli.run(arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trian"], "'train'"),
        (["train"], "--output"),
        (["train", "-o", "x", "--tiel", "3"], "--tiel"),
        (["train", "-o", "x", "--tile", "big"], "--tile"),
        (["train", "-o", "x"], "--images is missing"),
        (["segment", "x"], "images"),
        (["time", "--iterations", "0"], "--iterations"),
        (["time", "--tile", "571"], "556 or 572"),
        (["time", "--net", "lenet"], "fig1 or phseg_v5"),
        (["time", "--algorithm", "fft", "--tile", "188"], "fft"),
    ],
)
def test_mistyped_commands(complaint, arguments, text):
    assert text in complaint(*arguments)


# --- info, time ---


def test_info(capsys):
    assert cli.run(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["threads"] >= 1
    assert facts["isa"] in ("baseline", "avx2", "avx512", "neon")
    assert cli.run(["info"]) == 0
    assert facts["version"] in capsys.readouterr().out


def test_time(capsys):
    options = ["--tile", "92", "--depth", "3", "--base-width", "8", "--iterations", "3"]
    assert cli.run(["time", *options, "--threads", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"forward_s", "backward_s", "step_s", "peak_rss_mb", "threads", "isa"}
    for name in ("forward_s", "backward_s", "step_s"):
        assert len(result[name]) == 3
        assert all(0 < seconds < 10 for seconds in result[name])
    assert sum(result["step_s"]) > sum(result["forward_s"])
    assert 20 < result["peak_rss_mb"] < 2000
    assert result["threads"] == 1
    assert cli.run(["time", *options, "--algorithm", "direct"]) == 0
    assert "backward" in capsys.readouterr().out


# --- train ---


def test_train_says_what_it_understood(data, tmp_path, capsys):
    status = cli.run(
        ["train", *sources(data), "-o", str(tmp_path / "run"), "--validation", "0.5", *FAST]
    )
    assert status == 0
    captured = capsys.readouterr()
    for text in ("uint8", "foreground", "zscore", "2 to train on, 2 to validate on", "parameters"):
        assert text in captured.out
    assert "v_rand" in captured.err
    assert captured.err.count("\n") < 10, "no flood of progress where nobody watches"


def test_train_resumes_with_what_it_was_given(data, tmp_path, capsys):
    run = tmp_path / "run"
    start = ["train", *sources(data), "-o", str(run), "--validation", "0-1", *FAST]
    assert cli.run(start) == 0
    assert cli.run(["train", "-o", str(run), "--resume", "--iterations", "9"]) == 0
    assert "resumed at iteration 6" in capsys.readouterr().out
    whole = tmp_path / "whole"
    assert cli.run([*start, "-o", str(whole), "--iterations", "9"]) == 0
    name = "snapshots/iter_9.safetensors"
    assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_train_on_pairs_in_one_folder_and_validate_on_another(data, tmp_path, capsys):
    for index in range(3):
        for source, target in (("images", f"{index}.tif"), ("labels", f"{index}_masks.tif")):
            folder = tmp_path / ("held" if index == 2 else "set")
            folder.mkdir(exist_ok=True)
            (folder / target).write_bytes((data / source / f"{index}.tif").read_bytes())
    status = cli.run(
        [
            "train",
            *("--images", str(tmp_path / "set")),
            *("--validation", str(tmp_path / "held")),
            *("-o", str(tmp_path / "run")),
            *FAST,
        ]
    )
    assert status == 0
    assert "2 to train on, 1 to validate on" in capsys.readouterr().out


def test_train_fine_tunes(data, trained, tmp_path, capsys):
    short = FAST[4:]  # the size of the network is that of the weights
    status = cli.run(
        ["train", *sources(data), "-o", str(tmp_path / "run"), *short, "--weights", str(trained)]
    )
    assert status == 0
    assert "2 levels, base width 4" in capsys.readouterr().out


def test_train_refuses_and_destroys_nothing(data, trained, tmp_path, complaint):
    before = contents(trained)
    new = tmp_path / "new"
    images, labels = data / "images", data / "labels"
    empty, lone = tmp_path / "empty", tmp_path / "lone"
    empty.mkdir()
    lone.mkdir()
    tifffile.imwrite(lone / "0.tif", np.ones((72, 72), np.uint8))
    broken = tmp_path / "broken"
    broken.mkdir()
    for index in range(4):
        whole = (images / f"{index}.tif").read_bytes()
        (broken / f"{index}.tif").write_bytes(whole[: len(whole) - 900 * (index == 2)])
    for arguments, text in [
        ((*sources(data), "-o", trained), "holds a run already"),
        ((*sources(data), "-o", trained / "log.csv"), "is a file"),
        (("--images", tmp_path / "none", "--labels", labels, "-o", new), "none"),
        (("--images", empty, "--labels", labels, "-o", new), "empty: holds no image"),
        (("--images", images, "--labels", lone, "-o", new), "in pairs"),
        (("--images", lone, "--labels", labels / "0.tif", "-o", new), "constant"),
        (("--images", broken, "--labels", labels, "-o", new), "2.tif"),
        (("--images", images, "-o", new), "_masks"),
        ((*sources(data), "-o", new, "--validation", "7-9"), "0-3"),
        ((*sources(data), "-o", new, "--validation", "some"), "some"),
        ((*sources(data), "-o", new, "--foreground", "13"), "--foreground"),
        ((*sources(data), "-o", new, "--axes", "QQ"), "--axes"),
        ((*sources(data), "-o", new, "--tile", "571"), "--tile"),
        ((*sources(data), "-o", new, "--normaliser", "x"), "normaliser"),
        ((*sources(data), "-o", new, "--algorithm", "x", "--tile", "188"), "x"),
        ((*sources(data), "-o", new, "--resume"), "no run to resume"),
        ((*sources(data), "-o", trained, "--resume", "--seed", "4"), "seed (0 in the run)"),
        ((*sources(data), "-o", new, "--weights", tmp_path), "model.safetensors"),
        ((*sources(data), "-o", new, "--weights", trained, "--base-width", "6"), "do not fit"),
    ]:
        assert text in complaint("train", *arguments)
    assert contents(trained) == before
    assert not new.exists()


# --- segment ---


def test_segment_folder(data, trained, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["segment", str(trained), str(data / "images"), "-o", str(out)]
    assert cli.run(command) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(
        name for i in range(4) for name in (f"{i}.tif", f"{i}_prob.tif")
    )
    model = Model.load(trained)
    for index in range(4):
        image = tifffile.imread(data / "images" / f"{index}.tif")
        labels = tifffile.imread(out / f"{index}.tif")
        probability = tifffile.imread(out / f"{index}_prob.tif")
        np.testing.assert_array_equal(probability, model.segment(image)[1])
        assert probability.dtype == np.float32
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, np.where(probability > 0.5, 255, 0))
    before = contents(out)
    assert cli.run(command) == 0, "its own results may be made again"
    assert contents(out).keys() == before.keys()


def test_segment_keeps_axes_and_resolution(data, trained, tmp_path):
    stack = np.stack([tifffile.imread(data / "images" / f"{i}.tif") for i in range(3)])
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path,
        stack[:, :40, :50],
        imagej=True,
        resolution=(2.5, 2.5),
        metadata={"axes": "ZYX", "spacing": 0.3, "unit": "um"},
    )
    assert cli.run(["segment", str(trained), str(path), "-o", str(tmp_path / "out")]) == 0
    for name, dtype in (("stack.tif", np.uint8), ("stack_prob.tif", np.float32)):
        with tifffile.TiffFile(tmp_path / "out" / name) as file:
            assert file.series[0].axes == "ZYX"
            assert file.series[0].shape == (3, 40, 50)
            assert file.series[0].dtype == dtype
            assert file.imagej_metadata["spacing"] == 0.3
            numerator, denominator = file.pages[0].tags["XResolution"].value
            assert numerator / denominator == pytest.approx(2.5)


def test_segment_refuses_and_destroys_nothing(data, trained, tmp_path, complaint):
    before = contents(data)
    images, out = data / "images", tmp_path / "out"
    colour = tmp_path / "colour.tif"
    tifffile.imwrite(colour, np.zeros((9, 9, 3), np.uint8), photometric="rgb")
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.zeros((9, 9), np.uint16))
    for arguments, text in [
        ((trained, images, "-o", images), "-o"),
        ((trained, images, "-o", data / "labels"), "has not written"),
        ((trained, images, "-o", images / "0.tif"), "is a file"),
        ((data, images, "-o", out), "model.safetensors"),
        ((images / "0.tif", images, "-o", out), "0.tif"),
        ((trained, tmp_path / "none", "-o", out), "none"),
        ((trained, colour, "-o", out), "3 channels"),
        ((trained, deep, "-o", out), "uint16"),
        ((trained, images, "-o", out, "--axes", "ZYX"), "--axes"),
    ]:
        assert text in complaint("segment", *arguments)
    assert contents(data) == before
    assert not out.exists()


# --- evaluate ---


def evaluated(capsys, *arguments):
    capsys.readouterr()
    assert cli.run(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_scores_the_probabilities(data, trained, tmp_path, capsys):
    from unet_native.metrics import iou, isbi_scores

    out = tmp_path / "out"
    assert cli.run(["segment", str(trained), str(data / "images"), "-o", str(out)]) == 0
    result = evaluated(capsys, out, data / "labels")
    probability = np.stack([tifffile.imread(out / f"{i}_prob.tif") for i in range(4)])
    labels = np.stack([tifffile.imread(out / f"{i}.tif") for i in range(4)]) > 0
    truth = np.stack([tifffile.imread(data / "labels" / f"{i}.tif") for i in range(4)]) > 0
    scores = isbi_scores(probability, truth)
    assert result["v_rand"] == pytest.approx(scores.v_rand, abs=1e-12)
    assert result["v_info"] == pytest.approx(scores.v_info, abs=1e-12)
    assert result["pixel_error"] == pytest.approx(scores.pixel_error, abs=1e-12)
    assert result["rand_error"] == pytest.approx(scores.rand_error, abs=1e-12)
    assert result["iou"] == iou(labels, truth).per_class[1]
    assert list(result["per_slice"]) == ["0", "1", "2", "3"]
    assert cli.run(["evaluate", str(out), str(data / "labels")]) == 0
    assert "V_Rand" in capsys.readouterr().out


def test_evaluate_perfect_predictions(data, tmp_path, capsys):
    labels = data / "labels"
    assert evaluated(capsys, labels, labels)["v_rand"] == 1
    one = evaluated(capsys, labels / "1.tif", labels / "1.tif", "--metric", "iou")
    assert one["iou"] == 1
    assert "v_rand" not in one
    stack = np.stack([tifffile.imread(labels / f"{i}.tif") for i in range(4)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "other.tif", stack // 255, photometric="minisblack")
    assert evaluated(capsys, tmp_path / "stack.tif", tmp_path / "other.tif")["pixel_error"] == 0
    inverted = evaluated(
        capsys, tmp_path / "stack.tif", tmp_path / "other.tif", "--foreground", "zero"
    )
    assert inverted["iou"] == 0


def test_evaluate_part_of_the_truth(data, tmp_path, capsys):
    part = tmp_path / "part"
    part.mkdir()
    (part / "2_prob.tif").write_bytes((data / "labels" / "2.tif").read_bytes())
    assert cli.run(["evaluate", str(part), str(data / "labels"), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["slices"] == 1
    assert "3 label files" in captured.err


def test_evaluate_classes(tmp_path, capsys):
    truth = np.repeat(np.arange(3, dtype=np.uint8), 24).reshape(6, 12)
    tifffile.imwrite(tmp_path / "truth.tif", truth)
    prediction = truth.copy()
    prediction[0] = 1
    tifffile.imwrite(tmp_path / "labels.tif", prediction)
    probabilities = np.eye(3, dtype=np.float32)[prediction].transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "prob.tif", probabilities, photometric="minisblack", metadata={"axes": "CYX"}
    )
    for name in ("labels.tif", "prob.tif"):
        result = evaluated(capsys, tmp_path / name, tmp_path / "truth.tif")
        assert result["pixel_error"] == pytest.approx(12 / 72)
        assert result["iou_per_class"] == {"0": 0.5, "1": pytest.approx(24 / 36), "2": 1}
        assert result["iou"] == pytest.approx((24 / 36 + 1) / 2)


def test_evaluate_undefined_scores_are_null(tmp_path, capsys):
    truth = np.zeros((9, 9), np.uint8)
    truth[4] = 255
    tifffile.imwrite(tmp_path / "0.tif", truth)
    tifffile.imwrite(tmp_path / "1.tif", np.zeros((9, 9), np.uint8))
    result = evaluated(capsys, tmp_path, tmp_path)
    assert result["per_slice"]["1"]["v_rand"] is None
    assert result["v_rand"] == 1


def test_evaluate_refuses(data, tmp_path, complaint):
    labels = data / "labels"
    wild, small = tmp_path / "wild.tif", tmp_path / "small.tif"
    tifffile.imwrite(wild, np.linspace(-1, 3, 72 * 72, dtype=np.float32).reshape(72, 72))
    tifffile.imwrite(small, np.zeros((5, 5), np.uint8))
    for arguments, text in [
        ((labels, labels, "--metric", "dice"), "isbi or iou"),
        ((tmp_path / "none", labels), "none"),
        ((wild, labels / "0.tif"), "from 0 to 1"),
        ((small, labels / "0.tif"), "must agree"),
        ((tmp_path, labels), "no labels of the same name"),
    ]:
        assert text in complaint("evaluate", *arguments)


# --- weight-map ---


def test_weight_map(data, tmp_path, capsys):
    from unet_native.data.load import load_training_set
    from unet_native.data.weight_map import weight_map

    out = tmp_path / "maps"
    assert cli.run(["weight-map", str(data / "labels"), "-o", str(out), "--w0", "6"]) == 0
    dataset = load_training_set(data / "images", data / "labels")
    for item in dataset:
        expected = weight_map(
            item.instances, item.labels, w0=6, class_weights=dataset.class_weights()
        )
        found = tifffile.imread(out / f"{item.name}_weights.tif")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)
    one = tmp_path / "one.tif"
    assert cli.run(["weight-map", str(data / "labels" / "1.tif"), "-o", str(one)]) == 0
    assert one.exists()
    assert "foreground" in capsys.readouterr().out


def test_weight_map_refuses(data, tmp_path, complaint):
    labels = data / "labels"
    before = contents(data)
    for arguments, text in [
        ((labels, "-o", tmp_path / "all.tif"), "give a folder"),
        ((labels / "1.tif", "-o", labels / "1.tif"), "-o"),
        ((labels, "-o", tmp_path / "x", "--sigma", "0"), "sigma"),
        ((tmp_path, "-o", tmp_path / "x"), "holds no image"),
    ]:
        assert text in complaint("weight-map", *arguments)
    assert contents(data) == before

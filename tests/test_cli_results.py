"""``unet-native segment``, ``evaluate`` and ``weight-map``."""

import json
import re
import sys

import numpy as np
import pytest
import tifffile

from command_line import contents, evaluated, python_outside
from unet_native import cli, models
from unet_native.data.normaliser import Normaliser
from unet_native.model_file import Model
from unet_native.net import Net

# --- segment ---


def said(capsys) -> str:
    """What a command wrote to stderr, in one line."""
    return " ".join(capsys.readouterr().err.split())


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


def test_segment_says_what_it_will_take(data, trained, tmp_path, capsys):
    """Tiles, memory and, for many of them, time; within a limit that is given."""
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.tile(tifffile.imread(data / "images" / "0.tif"), (12, 11)))
    height, width = tifffile.imread(path).shape
    command = ["segment", str(trained), str(path), "-o", str(tmp_path / "out")]
    assert cli.run(command) == 0
    found = re.search(
        r"large.tif: (\d+) tiles? of (\d+)x(\d+) pixels a slice, about (\d+) MB", said(capsys)
    )
    assert found, "no estimate"
    whole = tifffile.imread(tmp_path / "out" / "large_prob.tif")
    assert cli.run([*command, "--memory", str(int(found[4]) - 20)]) == 0
    smaller = re.search(r"(\d+) tiles of (\d+)x(\d+) pixels a slice, about (\d+) MB", said(capsys))
    assert int(smaller[4]) <= int(found[4]) - 20
    assert int(smaller[2]) * int(smaller[3]) < int(found[2]) * int(found[3])
    np.testing.assert_allclose(
        tifffile.imread(tmp_path / "out" / "large_prob.tif"), whole, atol=1e-4
    )
    assert cli.run([*command, "--tile", "44"]) == 0
    assert re.search(r"\d+ tiles of 44x44 pixels a slice, about \d+ MB and \d+ s", said(capsys))
    assert cli.run([*command, "--memory", "30"]) == 2
    assert re.search(
        r"large.tif: needs \d+ MB with tiles of \d+x\d+ pixels, --memory allows 30", said(capsys)
    )
    assert cli.run([*command, "--tile", "45"]) == 2
    assert "tile" in said(capsys)
    assert (height, width) == whole.shape


@pytest.fixture
def wide(tmp_path):
    """Saves an image of some size and an untrained network; returns both paths."""

    def save(size, **network):
        image = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
        tifffile.imwrite(tmp_path / "image.tif", image)
        net = Net(models.fig1(**network), "TEST", seed=1, plan="lean")
        model = Model(net, Normaliser.fit([image[None]], "zscore"), {})
        return model.save(tmp_path / "model.safetensors"), tmp_path / "image.tif"

    return save


def test_segment_exactly(wide, tmp_path, capsys):
    """With --exact, whatever the tiles and threads: the bits of the whole image in one pass."""
    paths = [str(path) for path in wide((75, 91), base_width=16, depth=3)]

    def probabilities(name, *how):
        out = tmp_path / name
        assert cli.run(["segment", *paths, "-o", str(out), *how]) == 0
        return tifffile.imread(out / "image_prob.tif")

    whole = probabilities("whole", "--exact")
    assert "image.tif: 1 tile " in said(capsys)
    assert whole.shape == (75, 91)
    for i, how in enumerate((["--tile", "76"], ["--tile", "92", "--threads", "1"])):
        np.testing.assert_array_equal(probabilities(f"exact{i}", "--exact", *how), whole)
    assert (probabilities("fast", "--tile", "76") != whole).any(), "--exact changes nothing"


_RUN_AND_SAY_PEAK = """
import sys
from unet_native import cli
from unet_native.cli.resident import resident
code = cli.run(sys.argv[1:])
print("peak", resident("VmHWM") / 1e6, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_segment_takes_the_memory_that_it_says(wide, tmp_path):
    """Within a tenth, measured in a process of its own."""
    paths = wide((700, 900), base_width=32)
    result = python_outside(
        _RUN_AND_SAY_PEAK, "segment", *paths, "-o", tmp_path / "out", "--tile", "572"
    )
    assert result.returncode == 0, result.stderr
    said_mb = int(re.search(r"about (\d+) MB", result.stderr)[1])
    took_mb = float(re.search(r"peak ([\d.]+)", result.stderr)[1])
    assert said_mb == pytest.approx(took_mb, rel=0.1)


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
        ((labels, labels, "--metric", "dice"), "isbi, iou, ctc"),
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

"""--device: the commands on the SIMT runtime, and what they say where there is no GPU."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

import small_caffe
import unet_native as caffe
from command_line import FAST, sources
from places import assert_no_findings, devices
from unet_native import _core, cli
from unet_native.cli import device
from unet_native.errors import UserError

on_simt = pytest.mark.skipif("cuda-simt" not in devices(), reason="needs the SIMT runtime")
GPU = ["--device", "cuda-simt"]


def losses(run):
    rows = (run / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("loss")
    return [float(row.split(",")[column]) for row in rows[1:]]


@pytest.fixture(scope="module")
def on_both(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    for name, options in (("cpu", ["--device", "cpu"]), ("gpu", GPU)):
        arguments = [*sources(data), "-o", str(folder / name), "--validation", "3", *FAST]
        assert cli.run(["train", *arguments, *options]) == 0
    return folder


@on_simt
def test_train_takes_the_same_course(on_both):
    assert losses(on_both / "gpu") == pytest.approx(losses(on_both / "cpu"), rel=1e-4)
    assert_no_findings()


@on_simt
def test_a_solver_file_takes_the_same_course(tmp_path, monkeypatch):
    """Its data layer works on the host: steps are not replayed, and their inputs arrive."""
    weights = []
    for place in ("cpu", "cuda-simt"):
        folder = tmp_path / place
        folder.mkdir()
        monkeypatch.chdir(folder)
        small_caffe.write_all(folder)
        assert cli.run(["train", "--solver", "solver.prototxt", "--device", place]) == 0
        last = max(folder.glob("run_iter_*.caffemodel"), key=lambda path: path.stat().st_mtime)
        net = caffe.Net("net.prototxt", str(last), caffe.TRAIN)
        weights.append([param.blob.data.copy() for param in net.parameters])
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    assert_no_findings()


@on_simt
def test_segment_gives_the_same_probabilities(on_both, data, tmp_path):
    for name, options in (("cpu", ["--device", "cpu"]), ("gpu", GPU)):
        given = [str(on_both / "gpu"), str(data / "images" / "0.tif"), "-o", str(tmp_path / name)]
        assert cli.run(["segment", *given, *options]) == 0
    one, two = (tifffile.imread(tmp_path / name / "0_prob.tif") for name in ("cpu", "gpu"))
    assert one.std() > 0
    np.testing.assert_allclose(two, one, atol=1e-4)
    assert_no_findings()


@on_simt
def test_too_small_a_device_says_which_tile_fits(data, tmp_path, complaint):
    free, before = _core.device_room(_core.Context(device="cuda-simt"))
    tile = FAST[FAST.index("--tile") + 1]
    given = [*sources(data), "--validation", "3", *FAST, *GPU]
    given[given.index("--tile") + 1] = str(int(tile) + 64)
    _core.simt_memory(before - free + 2_000_000)
    try:
        said = complaint("train", *given, "-o", tmp_path / "run")
        assert "GB of the device's memory" in said
        fitting = said.rpartition("--tile ")[2].split()[0]
        given[given.index("--tile") + 1] = fitting
        assert cli.run(["train", *map(str, given), "-o", str(tmp_path / "run")]) == 0
    finally:
        _core.simt_memory(before)
    assert int(fitting) < int(tile) + 64


@pytest.mark.parametrize("command", ["train", "segment"])
def test_an_unusable_device_is_refused(command, data, trained, tmp_path, complaint):
    if command == "train":
        given = [*sources(data), "-o", tmp_path / "run", *FAST]
    else:
        given = [trained, data / "images", "-o", tmp_path / "out"]
    assert "unknown device" in complaint(command, *given, "--device", "tpu")
    if "cuda" not in devices():
        assert "--device cuda: " in complaint(command, *given, "--device", "cuda")
    assert not (tmp_path / "run").exists()


@on_simt
def test_a_device_that_computes_something_else_is_not_used(data, tmp_path, monkeypatch, capsys):
    def off(*arguments):
        forward(*arguments)
        arguments[-1][...] *= 1.01

    forward = _core.max_pool2x2_forward
    assert device.computes_what_the_cpu_does(_core.Context(device="cuda-simt"))
    on_cpu = _core.Context(threads=1)
    monkeypatch.setattr(_core, "max_pool2x2_forward", lambda ctx, *more: off(ctx, *more))
    assert device.computes_what_the_cpu_does(on_cpu)
    monkeypatch.setattr(
        _core,
        "max_pool2x2_forward",
        lambda ctx, *more: (off if ctx.device != "cpu" else forward)(ctx, *more),
    )
    with pytest.raises(UserError, match="does not compute what the CPU does"):
        device.context_of("cuda-simt", 0, 1)
    monkeypatch.setattr(device, "devices", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(
        device,
        "Context",
        lambda device="cpu", **how: (
            _core.Context("cuda-simt") if device == "cuda" else _core.Context()
        ),
    )
    assert device.context_of("auto", 0, 1).device == "cpu"
    assert "the CPU computes instead" in capsys.readouterr().err


@on_simt
def test_a_gpu_that_is_not_there_is_refused(data, tmp_path, complaint):
    given = [*sources(data), "-o", tmp_path / "run", *FAST, *GPU, "--gpu", "3"]
    assert "--gpu 3: there is no GPU 3" in complaint("train", *given)


@on_simt
def test_time_waits_for_the_device(capsys, tmp_path):
    small = ["--iterations", "1", "--json", "--device"]
    spent = {}
    for place in ("cpu", "cuda-simt"):
        given = ["time", "--depth", "2", "--base-width", "4", "--tile", "76", *small, place]
        capsys.readouterr()
        assert cli.run(given) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["device"] == place
        spent[place] = found["backward_s"][0]
    assert (
        spent["cuda-simt"] > 5 * spent["cpu"]
    )  # where nothing is waited for, launches take no time
    assert_no_findings()


def test_the_cpu_multiplies_exactly(data, tmp_path, complaint):
    given = [*sources(data), "-o", tmp_path / "run", *FAST, "--device", "cpu"]
    assert "--math tf32: " in complaint("train", *given, "--math", "tf32")


@on_simt
@pytest.mark.parametrize("math", ["tf32", "bf16"])
def test_rounded_operands_pass_the_check_of_a_device(math):
    assert device.context_of("cuda-simt", 0, 1, math).math == math
    assert_no_findings()


def test_auto_takes_the_cpu_where_there_is_no_gpu(data, tmp_path, capsys):
    if "cuda" in devices():
        pytest.skip("there is a GPU")
    assert cli.run(["info", "--json"]) == 0
    assert "cpu" in json.loads(capsys.readouterr().out)["devices"]
    assert cli.run(["train", *sources(data), "-o", str(tmp_path / "run"), *FAST]) == 0

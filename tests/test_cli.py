"""The command line as such; info and time. Every mistake gets one sentence and status 2."""

import json
import os
import subprocess
import sys
import time

import pytest

from command_line import outside
from unet_native import cli
from unet_native.cli.app import build_app
from unet_native.cli.info import cuda_lines
from unet_native.model_file import Model
from unet_native.train import TrainSettings


def test_help_is_quick_and_names_every_command():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = outside("--help", COLUMNS="80")
        seconds.append(time.perf_counter() - start)
    assert result.returncode == 0
    for name in ("train", "segment", "evaluate", "weight-map", "time", "info", "demo"):
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
    cuda = facts["cuda"]
    assert ("cuda" in facts["devices"]) == (cuda["obstacle"] == "")
    assert cli.run(["info"]) == 0
    text = capsys.readouterr().out
    assert facts["version"] in text
    assert cuda["obstacle"] in text
    assert all(architecture in text for architecture in cuda["architectures"])


def test_info_of_a_gpu():
    gpu = {"name": "T", "compute_capability": (8, 6), "memory_bytes": 3 << 30}
    status = {
        "obstacle": "",
        "architectures": ["86-real"],
        "devices": [gpu | {"multiprocessors": 5}],
    }
    assert cuda_lines(status) == [
        "GPU 0            T, compute capability 8.6, 3.0 GiB, 5 multiprocessors",
        "kernels for      86-real",
    ]


def test_time(capsys):
    options = ["--tile", "92", "--depth", "3", "--base-width", "8", "--iterations", "3"]
    assert cli.run(["time", *options, "--threads", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    where, memory = {"device", "math", "threads", "isa"}, {"peak_rss_mb", "predicted_rss_mb"}
    assert set(result) == {"forward_s", "backward_s", "step_s"} | where | memory
    for name in ("forward_s", "backward_s", "step_s"):
        assert len(result[name]) == 3
        assert all(0 < seconds < 10 for seconds in result[name])
    assert sum(result["step_s"]) > sum(result["forward_s"])
    assert 20 < result["peak_rss_mb"] < 2000
    assert result["threads"] == 1
    assert cli.run(["time", *options, "--algorithm", "direct"]) == 0
    assert "backward" in capsys.readouterr().out


@pytest.mark.parametrize(("tile", "base_width"), [(316, 16), (572, 8), (220, 32)])
def test_memory_is_predicted(tile, base_width):
    options = ["--tile", str(tile), "--base-width", str(base_width), "--iterations", "1", "--json"]
    result = json.loads(outside("time", *options).stdout)
    assert result["predicted_rss_mb"] == pytest.approx(result["peak_rss_mb"], rel=0.1)

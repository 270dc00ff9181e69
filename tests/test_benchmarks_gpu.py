"""python -m benchmarks.gpu where there is no GPU.

The command, the checks on the SIMT runtime, the race without time, and the peer that compiles.
"""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import check, cudnn, machine, network, race, whole
from benchmarks.gpu.cases import Call, cases
from benchmarks.gpu.clock import Clock, Recorded
from benchmarks.gpu.gpus import MATHS
from benchmarks.gpu.operands import blob, filters, hashed, memory
from benchmarks.peers.problem import Problem
from places import assert_no_findings, devices
from unet_native import ops

on_simt = pytest.mark.skipif("cuda-simt" not in devices(), reason="needs the SIMT runtime")
SMALL = ["--device", "cuda-simt", "--tile", "188", "--width", "1", "--math", "fp32"]


def named(name):
    return next(case for case in cases(188, 2) if case.name == name)


# --- the command ---


@on_simt
def test_checks_run_without_a_gpu_and_nothing_is_timed(tmp_path, capsys):
    report = tmp_path / "measured.json"
    page_file = tmp_path / "gpu.md"
    assert command.main([*SMALL, "--json", str(report), "--output", str(page_file)]) == 0
    said = capsys.readouterr().out
    assert "nothing was timed: cuda-simt is no GPU" in said
    assert not page_file.exists()
    checks = json.loads(report.read_text())["checks"]
    assert f"all {len(checks)} checks passed" in said
    assert {"network scores", "conv_u0d-score backward_weights", "adam update"} <= {
        found["case"] for found in checks
    }
    assert all(found["repeats"] for found in checks)
    assert_no_findings()


def test_without_a_gpu_one_sentence_says_how_to_get_there(capsys):
    if "cuda" in devices() and not machine.obstacle("cuda", 0):
        pytest.skip("there is a GPU")
    assert command.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err == f"python -m benchmarks.gpu: {machine.obstacle('cuda', 0)}\n"
    assert any(word in said.err for word in ("UNET_NATIVE_CUDA", "driver"))


def test_a_device_that_is_none_is_refused(capsys):
    assert command.main(["--device", "tpu"]) == 2
    assert 'unknown device "tpu"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ([], "device", "cuda"),
        (["--quick"], "quick", True),
        (["--math", "tf32", "--math", "fp32"], "math", ["tf32", "fp32"]),
        (["--gpu", "1"], "gpu", 1),
        (["--no-cudnn"], "no_cudnn", True),
    ],
)
def test_options(given, name, value):
    assert getattr(command.parser().parse_args(given), name) == value


def test_an_unknown_math_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        command.parser().parse_args(["--math", "fp8"])
    assert stopped.value.code == 2
    assert "fp8" in capsys.readouterr().err


# --- checks ---


def test_relative_error():
    assert check.relative_error(np.array([1.0, 2.5]), np.array([1.0, 2.0])) == 0.25
    assert check.relative_error(np.array([1.0, 2.5]), np.array([1.0, 2.0]), floor=5) == 0.1
    assert check.relative_error(np.zeros(2), np.zeros(2)) == 0
    assert check.relative_error(np.array([np.nan, 2.0]), np.array([1.0, 2.0])) == math.inf
    assert check.relative_error(np.ones(2), np.zeros(2)) == math.inf


@on_simt
def test_every_math_that_concerns_a_case_is_checked():
    contexts, left_out = check.contexts("cuda-simt", 0, MATHS)
    assert list(contexts) == list(MATHS)
    assert left_out == []
    one, other = (named(name) for name in ("conv_d4a-b forward", "relu_d4b backward"))
    *found, relu = check.check([one, other], contexts, lambda _: None)
    assert [finding.math for finding in found] == list(MATHS)
    assert all(finding.is_good for finding in found)
    errors = [finding.error for finding in found]
    assert errors[0] < 1e-6 < 1e-5 < errors[1] < errors[2]  # operands were rounded
    assert (relu.case, relu.math) == ("relu_d4b backward", "fp32")


def test_a_math_that_is_not_there_is_named():
    contexts, left_out = check.contexts("cpu", 0, MATHS)
    assert list(contexts) == ["fp32"]
    assert [line.split(":")[0] for line in left_out] == ["tf32 left out", "bf16 left out"]


def _spoilt(case, spoil):
    """The same case, with `spoil(results)` done after it where it does not run on the CPU."""

    def make(context):
        call = case.make(context)
        if context.device == "cpu":
            return call

        def run():
            call.run()
            spoil(call.results)

        return Call(run, call.results)

    return replace(case, make=make)


@on_simt
def test_a_wrong_result_is_found():
    contexts = {"fp32": ops.Context(device="cuda-simt")}

    def spoil(results):  # a launch, so that it is recorded as well
        top = results["top"]
        ops.relu_forward(top, negative_slope=1.001, out=top, context=contexts["fp32"])

    case = named("conv_d1a-b forward")
    (good,) = check.check([case], contexts, lambda _: None)
    (wrong,) = check.check([_spoilt(case, spoil)], contexts, lambda _: None)
    assert good.is_good
    assert not wrong.is_good
    assert 1e-4 < wrong.error < 2e-3
    assert str(wrong).startswith("WRONG: conv_d1a-b forward, fp32")


@on_simt
def test_a_result_that_does_not_repeat_is_found():
    contexts, made = {"fp32": ops.Context(device="cuda-simt")}, []

    def spoil(results):
        made.append(results)
        slope = 1 + 2.0**-20 * len(made)
        ops.relu_forward(
            results["top"], negative_slope=slope, out=results["top"], context=contexts["fp32"]
        )

    (found,) = check.check([_spoilt(named("conv_d1a-b forward"), spoil)], contexts, lambda _: None)
    assert found.error < 1e-4
    assert not found.repeats
    assert not found.is_good


def test_a_failed_check_ends_the_command_before_anything_is_timed(monkeypatch, capsys):
    wrong = check.Finding("conv", "fp32", 1.0, True)
    monkeypatch.setattr(check, "check", lambda *_: [wrong])
    monkeypatch.setattr(command.whole, "check", lambda *_: [])
    monkeypatch.setattr(machine, "obstacle", lambda *_: "")
    monkeypatch.setattr(check, "contexts", lambda *_: ({"fp32": ops.Context()}, []))
    monkeypatch.setattr(command, "_timed", lambda *_: pytest.fail("timed"))
    assert command.main([]) == 1
    assert "1 of 1 checks failed; nothing was timed" in capsys.readouterr().err


# --- the race, without time ---


@on_simt
def test_the_clock_counts_repetitions_and_launches_what_was_recorded():
    context = ops.Context(device="cuda-simt")
    case = named("sgd update")
    once, more = case.make(context), case.make(context)
    once.run()
    seconds = Clock(context, flushed=1 << 10).seconds(Recorded(more.run, context), 3)
    assert len(seconds) == 3
    assert all(map(math.isnan, seconds))  # no time passes on the SIMT runtime
    reference = case.make(ops.Context())
    for _ in range(4):  # one to warm up
        reference.run()
    np.testing.assert_allclose(
        more.results["history"].copy(), reference.results["history"], rtol=1e-5, atol=1e-6
    )


class Peer:
    """Takes a second for everything, and computes what the CPU does times `factor`."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def prepare(self, case, _):
        call = case.make(ops.Context())
        call.run()
        result = next(iter(call.results.values())) * self.factor
        sample = cudnn.sampled(memory(result).reshape(-1)).tolist()
        return {
            "sample": sample, "layout": "NHWC", "algorithm": 1, "workspace": 0, "repeats": True
        }  # fmt: skip

    def seconds(self, repeats):
        return [1.0] * repeats


@on_simt
@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_peer_that_computes_something_else_is_not_raced(factor, monkeypatch):
    monkeypatch.setattr(race, "Clock", partial(Clock, flushed=1 << 10))
    contexts = {"fp32": ops.Context(device="cuda-simt")}
    options = {"repeats": 2, "turns": 2, "say": lambda _: None}
    for name in ("conv_d1a-b backward_weights", "upconv_u1d_u0a forward"):
        (row,) = race.race([named(name)], contexts, Peer(factor), None, **options)
        assert (race.CUDNN in row["seconds"]) == (factor == 1.0)
        assert ("computes something else" in row["notes"][race.CUDNN]) == (factor != 1.0)
    (row,) = race.race([named("relu_d0b backward")], contexts, Peer(factor), None, **options)
    assert list(row["seconds"]) == [race.OURS]


class WholePeer:
    """In PyTorch's place: what this project does on the CPU."""

    def set_math(self, _):
        pass

    def step(self, problem, _):
        return whole.step(problem, ops.Context())

    def forward(self, problem, _):
        return whole.forward(problem, ops.Context())


@on_simt
def test_the_whole_network_is_run_in_every_mode(monkeypatch):
    monkeypatch.setattr(whole, "IMAGE", 8)
    contexts = {"fp32": ops.Context(device="cuda-simt")}
    rows = whole.race(Problem(188, 1), contexts, WholePeer(), repeats=1, say=lambda _: None)
    step, forward, segmentation = rows
    assert list(step["seconds"]) == ["unet_native", "unet_native, not replayed", "PyTorch"]
    assert list(forward["seconds"]) == ["unet_native", "PyTorch"]
    assert segmentation["mode"] == "segmentation of 8x8"
    assert [row["notes"] for row in rows] == [{}, {}, {}]
    assert_no_findings()


@pytest.mark.parametrize(("factor", "differs"), [(1.0001, False), (1.001, True)])
def test_a_whole_network_with_other_scores_is_not_raced(factor, differs):
    scores = hashed(100, 1)
    runs = {race.OURS: lambda: scores, race.PYTORCH: lambda: factor * scores}
    notes = whole.leave_out_what_differs(runs, "fp32")
    assert (race.PYTORCH in notes) == differs
    assert (race.PYTORCH not in runs) == differs


# --- cuDNN's program ---


def test_up_convolutions_are_asked_for_as_convolutions():
    layers = {layer.name: layer for layer in network.convolutions()}
    plain, up = layers["conv_d1a-b"], layers["upconv_u1d_u0a"]
    wanted = "prepare tf32 backward_data 1 64 284 284 128 3 1 plain"
    assert cudnn.request(plain, "backward_data", "tf32") == wanted
    wanted = "prepare fp32 backward_data 1 64 392 392 128 2 2 transposed"
    assert cudnn.request(up, "forward", "fp32") == wanted


@pytest.fixture(scope="module")
def headers():
    try:
        return cudnn.cuda_runtime()
    except cudnn.CudnnError as error:
        pytest.skip(str(error))


def test_its_operands_are_ours(headers, tmp_path):
    """The hash, bfloat16 and the orders of the axes, compiled and compared with numpy."""
    source = tmp_path / "operands.cpp"
    source.write_text(
        """#include "cudnn_operand.h"
        #include <cstdio>
        int main() {
          for (int i = 0; i < 100; ++i) std::printf("%.9g %.9g\\n", hashed(i, 3),
                                                    from_bf16(to_bf16(hashed(i, 3))));
          for_each_element({2, 3, 4, 5}, "2310", "0231", [](std::size_t kept, std::size_t there) {
            std::printf("%zu %zu\\n", kept, there);
          });
        }"""
    )
    program = tmp_path / "operands"
    include, runtime = headers
    command = ["g++", "-std=c++17", f"-I{cudnn.SOURCE.parent}", f"-I{include}", str(source)]
    subprocess.run([*command, "-o", program, runtime, "-ldl", "-lpthread", "-lrt"], check=True)
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split("\n")
    numbers = np.array([line.split() for line in lines[:100]], np.float32)
    mine = hashed(100, 3)
    np.testing.assert_array_equal(numbers[:, 0], mine)
    error = np.abs(numbers[:, 1] - mine) / np.abs(mine)
    assert 0 < error.max() <= 2.0**-8
    places = np.array([line.split() for line in lines[100:220]], int)
    order = np.arange(120).reshape(2, 4, 5, 3).transpose(0, 3, 1, 2)  # by K, C, R, S
    np.testing.assert_array_equal(places[:, 0], np.arange(120))
    np.testing.assert_array_equal(places[:, 1], order.transpose(2, 3, 1, 0).ravel())


def test_it_compiles_for_the_library_and_says_that_there_is_no_gpu(tmp_path):
    try:
        cudnn.library()
    except cudnn.CudnnError as error:
        pytest.skip(str(error))
    program = cudnn.compile_program(tmp_path)
    library, _ = cudnn.library()
    asked = subprocess.run([program, library, "version"], capture_output=True, text=True)
    assert int(asked.stdout) >= 90000
    if machine.obstacle("cuda", 0):
        with pytest.raises(cudnn.CudnnError, match="cudaSetDevice"):
            cudnn.Cudnn(program, 0)


def test_versions_are_told_as_people_write_them():
    peer = object.__new__(cudnn.Cudnn)  # without a program
    peer.facts = {"cudnn": 92801, "runtime": 13000, "driver": 12090}
    assert peer.version == "9.28.1, CUDA runtime 13.0, driver for CUDA 12.9"


def test_without_cudnn_a_sentence_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDNN_HOME", raising=False)
    monkeypatch.setattr(cudnn, "_PACKAGES", tmp_path)
    monkeypatch.setattr(cudnn, "_cuda_homes", lambda: iter([tmp_path]))
    with pytest.raises(cudnn.CudnnError, match="--install-cudnn"):
        cudnn.library()


def test_operands_lie_as_the_project_keeps_them():
    np.testing.assert_array_equal(memory(blob((1, 3, 4, 5), 1)).ravel(), hashed(60, 1))
    for transposed in (False, True):
        weight = filters((3, 4, 2, 2), 2, transposed=transposed)
        flat = memory(weight)
        np.testing.assert_array_equal(flat.ravel(), hashed(48, 2))
        assert flat.shape == ((2, 2, 3, 4) if transposed else (2, 2, 4, 3))
    assert -1 <= hashed(10000, 1).min() < -0.99 < 0.99 < hashed(10000, 1).max() < 1
    assert abs(hashed(10000, 1).mean()) < 0.02

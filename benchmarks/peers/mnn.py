"""The network in MNN, CPU, float32 (`precision` high)."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.peers import onnx_model
from benchmarks.peers.problem import Problem


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    with contextlib.redirect_stdout(io.StringIO()):
        import MNN

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "net.onnx", Path(folder) / "net.mnn"
        # Converted in a process of its own: its memory is not MNN's at work.
        code = (
            "import sys; from pathlib import Path; from benchmarks.peers import onnx_model; "
            "from benchmarks.peers.problem import Problem; "
            f"onnx_model.write(Problem({problem.tile}, {problem.width}), Path(sys.argv[1]))"
        )
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([sys.executable, "-c", code, str(source)], **quiet)
        converter = Path(sys.executable).with_name("mnnconvert")
        convert = [converter, "-f", "ONNX", "--modelFile", source, "--MNNModel", target]
        subprocess.run([*map(str, convert), "--bizCode", "x"], **quiet)
        interpreter = MNN.Interpreter(str(target))
        session = interpreter.createSession(
            {"backend": "CPU", "numThread": threads, "precision": "high"}
        )
    bottom = interpreter.getSessionInput(session)
    top = interpreter.getSessionOutput(session)
    kind = MNN.Tensor_DimensionType_Caffe
    host_in = MNN.Tensor(problem.data.shape, MNN.Halide_Type_Float, problem.data.copy(), kind)
    shape = (1, 2, problem.tile - 184, problem.tile - 184)
    host_out = MNN.Tensor(shape, MNN.Halide_Type_Float, np.empty(shape, np.float32), kind)

    def forward() -> np.ndarray:
        bottom.copyFrom(host_in)
        interpreter.runSession(session)
        top.copyToHostTensor(host_out)
        return np.array(host_out.getData(), np.float32).reshape(shape)

    return forward


assert onnx_model  # used by the converting process

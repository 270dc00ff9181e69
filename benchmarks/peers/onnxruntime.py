"""The network in ONNX Runtime, CPU."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import onnx_model
from benchmarks.peers.problem import Problem


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = onnx_model.write(problem, Path(folder) / "net.onnx")
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"data": problem.data})[0]

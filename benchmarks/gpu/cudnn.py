"""The peer cuDNN: finds the library, compiles cudnn.cpp for it, and talks to that program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.gpu.cases import Case
from benchmarks.gpu.network import Convolution
from unet_native.ops.arrays import Array

PACKAGE = "nvidia-cudnn-cu13"
SAMPLED = 256  # elements, as cudnn.cpp
SOURCE = Path(__file__).with_name("cudnn.cpp")
_PACKAGES = Path(sysconfig.get_path("platlib")) / "nvidia"


class CudnnError(Exception):
    """cuDNN cannot be raced, in one sentence."""


def install() -> None:
    """Installs cuDNN, some 500 MB, and what it needs into the running environment."""
    subprocess.run([sys.executable, "-m", "pip", "install", PACKAGE], check=True)


def library() -> tuple[Path, Path]:
    """libcudnn.so.9, and the folder of its headers; raises CudnnError if there is none."""
    prefixes = [os.environ.get("CUDNN_HOME"), _PACKAGES / "cudnn", *_cuda_homes()]
    for prefix in (Path(prefix) for prefix in prefixes if prefix):
        for lib in ("lib", "lib64"):
            found = prefix / lib / "libcudnn.so.9"
            if found.exists() and (prefix / "include" / "cudnn.h").exists():
                return found, prefix / "include"
    raise CudnnError(
        f"no cuDNN 9 with its headers was found: --install-cudnn installs {PACKAGE}, or CUDNN_HOME "
        "says where it is"
    )


def compile_program(folder: Path) -> Path:
    """The program, in `folder`; raises CudnnError where it cannot be made."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise CudnnError("no C++ compiler was found: install g++, or name one in CXX")
    _, headers = library()
    cuda_headers, runtime = cuda_runtime()
    program = folder / "cudnn"
    command = [compiler, "-std=c++17", "-O2", "-Wno-deprecated-declarations", str(SOURCE)]
    command += [f"-I{headers}", f"-I{cuda_headers}", "-o", str(program), str(runtime)]
    command += [f"-Wl,-rpath,{runtime.parent}", "-ldl", "-lpthread", "-lrt"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CudnnError(f"{SOURCE.name} does not compile: {done.stderr.strip()}")
    return program


def cuda_runtime() -> tuple[Path, Path]:
    """The folder of cuda_runtime.h and the runtime to link, static where there is one."""
    for home in _cuda_homes():
        for lib in ("lib64", "lib", "targets/x86_64-linux/lib"):
            for name in ("libcudart_static.a", "libcudart.so.13", "libcudart.so"):
                runtime = home / lib / name
                if runtime.exists() and (home / "include" / "cuda_runtime.h").exists():
                    return home / "include", runtime
    raise CudnnError(
        "no CUDA runtime with its headers was found: set CUDA_HOME, or install nvidia-cuda-runtime"
    )


def _cuda_homes() -> Iterator[Path]:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if variable in os.environ:
            yield Path(os.environ[variable])
    if nvcc := shutil.which("nvcc"):
        yield Path(nvcc).resolve().parents[1]
    yield Path("/usr/local/cuda")
    yield _PACKAGES / "cu13"


class Cudnn:
    """The running program; see cudnn.cpp for what it answers."""

    def __init__(self, program: Path, gpu: int):
        found, _ = library()
        # It loads cuBLAS and NVRTC by name, which packages keep in a folder of their own.
        folders = [str(_PACKAGES / "cu13" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        self._process = subprocess.Popen(
            [program, found, str(gpu)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, folders))},
        )
        try:
            self.facts = self._ask("facts")
        except CudnnError:
            self.close()
            raise

    @property
    def version(self) -> str:
        """Of cuDNN, and of CUDA in the program and in the driver."""
        number, runtime, driver = (self.facts[key] for key in ("cudnn", "runtime", "driver"))
        cudnn = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        runtime, driver = (f"{cuda // 1000}.{cuda // 10 % 100}" for cuda in (runtime, driver))
        return f"{cudnn}, CUDA runtime {runtime}, driver for CUDA {driver}"

    def prepare(self, case: Case, math: str) -> dict:
        """The best algorithm for a case: {algorithm, layout, workspace, repeats, sample}."""
        assert case.convolution is not None
        return self._ask(request(case.convolution, case.pass_name, math))

    def seconds(self, repeats: int) -> list[float]:
        """Of each repetition of what was prepared last."""
        return [milliseconds * 1e-3 for milliseconds in self._ask(f"time {repeats}")]

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # of a question that it did not live to read
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, question: str):
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has said why
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise CudnnError("the program that runs cuDNN has ended without an answer")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise CudnnError(answer["error"])
        return answer


@contextmanager
def running(gpu: int) -> Iterator[Cudnn]:
    """Compiles the program, starts it, and ends it; raises CudnnError where it does not run."""
    with TemporaryDirectory() as folder:
        peer = Cudnn(compile_program(Path(folder)), gpu)
        try:
            yield peer
        finally:
            peer.close()


#: A pass of an up-convolution is this pass of the convolution whose bottom is its top.
_EXCHANGED = {
    "forward": "backward_data",
    "backward_data": "forward",
    "backward_weights": "backward_weights",
}


def request(layer: Convolution, pass_name: str, math: str) -> str:
    """The line that asks for a pass of a layer: a convolution, whatever the layer is."""
    if layer.op == "up_conv2x2":
        size = layer.top_size
        shape = f"1 {layer.oc} {size} {size} {layer.ic} 2 2 transposed"
        return f"prepare {math} {_EXCHANGED[pass_name]} {shape}"
    shape = f"1 {layer.ic} {layer.size} {layer.size} {layer.oc} {layer.kernel} 1 plain"
    return f"prepare {math} {pass_name} {shape}"


def sampled(flat: Array) -> Array:
    """The elements of a result, in the order of its memory, that the program shows."""
    step = max(1, flat.size // SAMPLED)
    return flat[::step][:SAMPLED]


def difference(result: Array, sample: list[float]) -> float:
    """How far cuDNN's sample is from a result (flat), relative to the largest in it."""
    mine = sampled(result).astype(np.float64)
    if len(sample) != mine.size:
        return float("inf")
    return float(np.abs(mine - np.array(sample)).max() / np.abs(mine).max())

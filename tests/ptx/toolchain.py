"""Calls of the compilers: kernels to PTX, and test programs for the SIMT runtime."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ptx.parser import Module
from shared import CHECKOUT

NVCC = shutil.which("nvcc")
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
ARCHITECTURES = (80, 90)  # the two for which the tensor-core instructions of PTX are written


@functools.cache
def ptx_of(source: Path, architecture: int) -> str:
    """The PTX of a file of kernels, by nvcc; once per process."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "kernels.ptx"
        command = [NVCC, "-std=c++17", "-diag-suppress", "554", f"-I{CHECKOUT / 'csrc'}", "-ptx"]
        command += [f"-gencode=arch=compute_{architecture},code=compute_{architecture}"]
        subprocess.run([*command, str(source), "-o", str(output)], check=True)
        return output.read_text()


@functools.cache
def module_of(source: Path, architecture: int) -> Module:
    return Module(ptx_of(source, architecture))


def compile_for_runtime(source: Path, program: Path) -> None:
    """A file of kernels with a main function, together with the SIMT runtime."""
    runtime = sorted((CHECKOUT / "csrc" / "simt").glob("*.cpp"))
    command = [COMPILER, "-std=c++17", "-O1", "-pie", "-fPIE", "-ffp-contract=off"]
    command += ["-Wno-unknown-pragmas", f"-I{CHECKOUT / 'csrc'}", "-x", "c++", str(source)]
    subprocess.run([*command, *map(str, runtime), "-ldl", "-o", str(program)], check=True)

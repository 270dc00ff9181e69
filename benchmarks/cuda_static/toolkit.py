"""nvcc, what lies beside it, and nvdisasm: where they are and how the kernels are compiled here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CUDA = CHECKOUT / "csrc" / "cuda"

#: Those of cmake/cuda.cmake.
ARCHITECTURES = (75, 80, 90, 100, 120)

_HOMES = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
# The packages of the index: a compiler (UNET_NATIVE_CUDA=wheels), nvidia-cuda-nvdisasm.
_HOMES += [f"{sysconfig.get_path('platlib')}/nvidia/cu13"]


@cache
def tool(name: str) -> str | None:
    """The path of a program of the CUDA toolkit, or None."""
    places = [os.environ.get("PATH", ""), *(f"{home}/bin" for home in _HOMES if home)]
    return shutil.which(name, path=os.pathsep.join(places))


@cache
def include_folder() -> Path:
    """Where cuda_occupancy.h lies: nvcc itself says so, whatever scripts wrap it."""
    said = subprocess.run([tool("nvcc"), "--dryrun", "x.cu"], capture_output=True, text=True)
    (top,) = [line[7:] for line in said.stderr.splitlines() if line.startswith("#$ TOP=")]
    return Path(top) / "include"


def command(source: Path, architecture: int, output: Path, *options: str) -> list[str]:
    """As csrc/cuda/CMakeLists.txt compiles a file, for one architecture."""
    return [
        *(tool("nvcc"), "-std=c++17", "-O3", "-diag-suppress", "554", f"-I{CHECKOUT / 'csrc'}"),
        *(f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-Xptxas", "-v"),
        *(*options, "-o", str(output), str(source)),
    ]


def compile_kernels(source: Path, architecture: int, folder: Path) -> tuple[Path, str]:
    """The cubin of a file of kernels, left in `folder`, and what ptxas said."""
    cubin = folder / f"{source.stem}.sm_{architecture}.cubin"
    done = subprocess.run(
        command(source, architecture, cubin, "-cubin"), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"nvcc does not compile {source.name}:\n{done.stdout}{done.stderr}")
    return cubin, done.stdout + done.stderr


def fatbin_bytes(cubins: dict[int, Path], folder: Path) -> int:
    """The size of one file's machine code of several architectures, compressed as in a build."""
    output = folder / "kernels.fatbin"
    images = [f"--image3=kind=elf,sm={arch},file={cubin}" for arch, cubin in cubins.items()]
    packed = ["--create", str(output), "-64", "--compress-all", "--compress-mode=size"]
    fatbinary = include_folder().parent / "bin" / "fatbinary"
    subprocess.run([fatbinary, *packed, *images], check=True)
    return output.stat().st_size


def demangled(names: list[str]) -> list[str]:
    """C++ names without return types, arguments and the namespace that all kernels share."""
    listing = subprocess.run(
        ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
    ).stdout
    short = []
    for name in listing.splitlines():
        name = name.removeprefix("void ").replace("(anonymous namespace)::", "")
        short.append(name.split("(")[0].replace("unet::cuda::", ""))
    return short

"""Blocks on a multiprocessor, and the sizes of a launch as the kernels' own sources state them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.cuda_static.toolkit import CHECKOUT, CUDA, include_folder

COMPILER = os.environ.get("CXX", "g++")


@dataclass(frozen=True)
class Request:
    architecture: int
    registers: int
    threads: int
    static_shared: int
    dynamic_shared: int


@dataclass(frozen=True)
class Occupancy:
    blocks: int  # at a time
    share: float  # of the warps that there is room for


def occupancies(requests: list[Request], folder: Path) -> list[Occupancy]:
    program = folder / "occupancy"
    if not program.exists():
        source = Path(__file__).with_name("occupancy.cpp")
        options = ["-std=c++17", "-O1", f"-isystem{include_folder()}"]
        subprocess.run([COMPILER, *options, str(source), "-o", str(program)], check=True)
    lines = [
        f"{r.architecture} {r.registers} {r.threads} {r.static_shared} {r.dynamic_shared}"
        for r in requests
    ]
    said = subprocess.run(
        [program], input="\n".join(lines), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found = []
    for request, line in zip(requests, said, strict=True):
        blocks, room = map(int, line.split())
        if blocks < 0:
            raise ValueError(f"cuda_occupancy.h cannot answer {request}")
        found.append(Occupancy(blocks, blocks * request.threads / 32 / room))
    return found


@cache
def evaluate(source: str, expressions: tuple[str, ...], folder: Path) -> list[int]:
    """C++ constants of ``cuda/<source>.cu``, such as ``sizeof(Tiling<2>::Shared)``.

    The file is compiled by the C++ compiler for the SIMT runtime, which is not linked: constants
    need nothing of it.
    """
    text = f"""#include "cuda/{source}.cu"
#include <cstdio>
namespace unet::UNET_GPU {{ const std::size_t sizes[] = {{{", ".join(expressions)}}}; }}
int main() {{ for (auto size : unet::UNET_GPU::sizes) std::printf("%zu\\n", size); }}
"""
    file, program = folder / f"sizes_of_{source}.cpp", folder / f"sizes_of_{source}"
    file.write_text(text, encoding="utf-8")
    options = ["-std=c++17", "-O0", "-w", f"-I{CUDA.parent}", "-no-pie"]
    options += ["-Wl,--unresolved-symbols=ignore-all"]
    subprocess.run([COMPILER, *options, str(file), "-o", str(program)], check=True, cwd=CHECKOUT)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in said.split()]

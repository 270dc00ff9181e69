"""Launches that the SIMT runtime has recorded; the format is described in csrc/simt/recording.h."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ptx.memory import Allocation


@dataclass
class Launch:
    source: str  # the file that the kernel was compiled from: "conv3x3.cu"
    kernel: str  # as `plain_name` has it
    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    arguments: list[bytes]
    memory: list[Allocation]  # before
    after: list[np.ndarray]  # the content of each, as the SIMT runtime left it


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self) -> int:
        return int.from_bytes(self._take(8), "little")

    def numbers(self, count: int) -> tuple[int, ...]:
        return tuple(self.number() for _ in range(count))

    def bytes(self) -> bytes:
        return self._take(self.number())

    def array(self) -> np.ndarray:
        return np.frombuffer(self.bytes(), np.uint8)

    def _take(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]


def read_launches(path: Path) -> list[Launch]:
    reader, launches = _Reader(path.read_bytes()), []
    while reader:
        module, offset, name = reader.bytes().decode(), reader.number(), reader.bytes().decode()
        source, kernel = symbols(Path(module))[offset]
        grid, block = reader.numbers(3), reader.numbers(3)
        shared_bytes = reader.number()
        arguments = [reader.bytes() for _ in range(reader.number())]
        memory, after = [], []
        for _ in range(reader.number()):
            address, before, written = reader.number(), reader.array(), reader.array()
            known = written if written.size == before.size else np.ones_like(before)
            memory.append(Allocation(address, before, known))
            after.append(reader.array())
        launches.append(
            Launch(source, kernel, name, grid, block, shared_bytes, arguments, memory, after)
        )
    return launches


@functools.cache
def symbols(module: Path) -> dict[int, tuple[str, str]]:
    """The source file and the name of each function of a module that is local to its file.

    `nm` lists the symbols of a file after that file's own.
    """
    command = ["nm", "--debug-syms", "--no-sort", "--defined-only", "--demangle", str(module)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, source = {}, ""
    for line in listing.splitlines():
        address, kind, name = [*line.split(maxsplit=2), ""][:3]
        if kind == "a":
            source = name
        elif kind == "t":
            found[int(address, 16)] = source, plain_name(name)
    return found


@functools.cache
def plain_names(mangled: tuple[str, ...]) -> list[str]:
    command = ["c++filt", *mangled]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [plain_name(name) for name in listing.splitlines()]


def plain_name(demangled: str) -> str:
    """A kernel's name with its template arguments, as all compilers have it: "convolve<2, true>".

    Compilers call anonymous namespaces, and types that depend on template arguments, differently;
    the kernels of unet::cuda are in a namespace of their own for the SIMT runtime.
    """
    name = demangled.replace("(anonymous namespace)::", "").removeprefix("void ")
    name = re.sub(r"unet::cuda(_simt_checked|_simt)?::", "", name)
    depth = 0
    for at, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:at]
    return name

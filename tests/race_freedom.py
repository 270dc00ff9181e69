"""Proofs by SentryWard that a kernel has no race in any schedule, from the PTX that nvcc emits.

SentryWard (package index, alpha) knows parameters that are numbers or pointers; our kernels take
views, structures of sizes and a pointer. So the PTX is specialised first: where the kernel loads a
size from its parameters it gets the constant that the caller would have passed, and the pointers
become parameters of their own, each its own memory. Nothing else of the PTX is touched.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cuda_static.bounds import bound_of
from benchmarks.cuda_static.occupancy import evaluate
from benchmarks.cuda_static.toolkit import CUDA, command, demangled

ARCHITECTURE = 100  # that SentryWard is made for


# --- arguments: the bytes of a parameter, in which pointers are named by their offset ---


@dataclass(frozen=True)
class Argument:
    data: bytes
    pointers: dict[int, str] = field(default_factory=dict)


def numbers(layout: str, *values: float) -> Argument:
    """A number or a structure of them, as ``struct`` packs it; write padding as x."""
    return Argument(struct.pack("<" + layout, *values))


def pointer(name: str) -> Argument:
    return Argument(bytes(8), {0: name})


def view(name: str, n: int, c: int, h: int, w: int) -> Argument:
    """A dense BasicView (core/view.h)."""
    return view_with_strides(name, (n, c, h, w), (h * w * c, w * c, c))


def view_with_strides(name: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> Argument:
    return Argument(struct.pack("<Q4i3q", 0, *shape, *strides), {0: name})


def no_view() -> Argument:
    return Argument(bytes(48))


def filters(name: str, oc: int, ic: int, size: int) -> Argument:
    return Argument(struct.pack("<Q4i", 0, oc, ic, size, size), {0: name})


def span(name: str | None, size: int) -> Argument:
    return Argument(struct.pack("<Qq", 0, size), {0: name} if name else {})


def structure(*members: Argument) -> Argument:
    """Members one after the other; padding between them is theirs."""
    data, pointers = b"", {}
    for member in members:
        pointers |= {len(data) + offset: name for offset, name in member.pointers.items()}
        data += member.data
    return Argument(data, pointers)


# --- PTX ---


@dataclass(frozen=True)
class Specialised:
    ptx: str
    pointers: list[str]


def entries_of(ptx: str) -> dict[str, str]:
    """The text of each kernel, by mangled name, and what stands before the first, by ""."""
    parts = re.split(r"^(?=(?:\.visible )?\.entry )", ptx, flags=re.MULTILINE)
    found = {"": parts[0]}
    for part in parts[1:]:
        found[re.search(r"\.entry (\w+)\(", part)[1]] = part
    return found


def specialise(head: str, entry: str, arguments: list[Argument]) -> Specialised:
    """The kernel ``entry`` for these arguments; named ``kernel``, its parameters are pointers."""
    signature, body = re.split(r"^(?=\)\n)", entry, maxsplit=1, flags=re.MULTILINE)
    of_pointer = r"(?:\.ptr (?:\.\w+ )*?\.align \d+ )?"
    declared = re.findall(
        rf"\.param (?:\.align \d+ )?\.(\w+) {of_pointer}(\w+)(?:\[(\d+)\])?", signature
    )
    by_name = {}
    for (kind, name, count), argument in zip(declared, arguments, strict=True):
        size = int(count or 1) * int(kind[1:]) // 8
        if size != len(argument.data):
            raise ValueError(f"parameter {name} has {size} bytes, not {len(argument.data)}")
        by_name[name] = argument

    body, addresses = _without_addresses(body)

    def constants(load: re.Match[str]) -> str:
        kind, registers, name, offset = load.groups()
        name = addresses.get(name, name)
        size = int(kind[1:]) // 8
        lines = []
        for i, register in enumerate(registers.strip("{}").split(",")):
            begin, register = int(offset or 0) + i * size, register.strip()
            if begin in by_name[name].pointers:
                lines.append(f"ld.param.u64 {register}, [{by_name[name].pointers[begin]}];")
                continue
            data = by_name[name].data[begin : begin + size]
            bits = int.from_bytes(data, "little")
            number = int.from_bytes(data, "little", signed=True)  # strides may be negative
            value = f"0f{bits:08X}" if kind == "f32" else str(number)
            lines.append(f"mov.{'u16' if size == 1 else kind} {register}, {value};")
        return "\n\t".join(lines)

    load = r"ld\.param(?:\.v\d)?\.(\w+)\s+(\{[^}]*\}|%\w+), \[([\w%]+)(?:\+(\d+))?\];"
    body, count = re.subn(load, constants, body)
    left = "|".join(["_param_", *(rf"{register}\b" for register in addresses)])
    if re.search(left, body) or not count:
        raise ValueError("a parameter is used otherwise than by ld.param")
    pointers = list(dict.fromkeys(p for a in arguments for p in a.pointers.values()))
    parameters = ",\n".join(f"\t.param .u64 {name}" for name in pointers)
    return Specialised(f"{head}.visible .entry kernel(\n{parameters}\n{body}", pointers)


def _without_addresses(body: str) -> tuple[str, dict[str, str]]:
    """Without moves of a parameter's address, and whose address each register was to hold."""
    addresses: dict[str, str] = {}
    for move, register, source in re.findall(r"(mov\.[bu]64\s+(%rd\d+), ([\w%]+);\n)", body):
        name = source if "_param_" in source else addresses.get(source)
        written = re.findall(rf"^\t[\w.]+\s+{register},", body, flags=re.MULTILINE)
        if name and len(written) == 1:
            addresses[register] = name
            body = body.replace(move, "\n")
    return body, addresses


# --- proofs ---


@dataclass(frozen=True)
class Launch:
    """Of a kernel of cuda/<source>.cu; threads and shared memory are those of its bound."""

    source: str
    kernel: str
    grid: tuple[int, int, int]
    arguments: list[Argument]
    rows: int = 1  # of the block: it has threads / rows columns


class Prover:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, dict[str, str]] = {}

    def prove(self, launch: Launch, *, without_barriers: bool = False) -> dict[str, Any]:
        """What SentryWard answers; see its ``result``, ``checks`` and ``counts``."""
        entries = self._kernels(launch.source)
        entry = entries[launch.kernel]
        if without_barriers:
            entry, count = re.subn(r"bar\.sync\s+0;", "", entry)
            assert count, "there is no barrier to leave out"
        kernel = specialise(entries[""], entry, launch.arguments)
        bound = bound_of(launch.source, launch.kernel)
        sizes = bound.sizes(launch.kernel)
        threads, shared = evaluate(launch.source, sizes, self._folder)
        ptx, config = self._folder / "kernel.ptx", self._folder / "kernel.json"
        ptx.write_text(kernel.ptx, encoding="utf-8")
        declarations = [
            {"parameter": i, "type": "pointer", "space": "global"}
            for i in range(len(kernel.pointers))
        ]
        call = {
            "schema": "spverify.kernel-input/v1",
            "entry": "kernel",
            "launch": {
                "grid_dim": launch.grid,
                "block_dim": [threads // launch.rows, launch.rows, 1],
                "dynamic_shared_bytes": shared,
            },
            "declarations": declarations,
            "arguments": [],
        }
        config.write_text(json.dumps(call), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "sentryward", ptx, "--input", config, "--timeout", "300"],
            capture_output=True,
            text=True,
        )
        if not done.stdout.startswith("{"):
            raise RuntimeError(f"SentryWard does not answer: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def kernels(self, source: str) -> set[str]:
        return set(self._kernels(source)) - {""}

    def _kernels(self, source: str) -> dict[str, str]:
        """The PTX of each kernel of a file, by its C++ name, and its head by ""."""
        if source not in self._entries:
            output = self._folder / f"{source}.ptx"
            options = command(CUDA / f"{source}.cu", ARCHITECTURE, output, "-ptx")
            subprocess.run(options, check=True, capture_output=True)
            entries = entries_of(output.read_text(encoding="utf-8"))
            names = demangled([name for name in entries if name])
            self._entries[source] = {"": entries.pop("")} | dict(
                zip(names, entries.values(), strict=True)
            )
        return self._entries[source]

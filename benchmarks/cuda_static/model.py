"""Figures of every kernel and architecture, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cuda_static import ptxas, sass
from benchmarks.cuda_static.bounds import Bound, bound_of
from benchmarks.cuda_static.occupancy import Occupancy, Request, evaluate, occupancies
from benchmarks.cuda_static.toolkit import CUDA, compile_kernels, demangled, tool


@dataclass(frozen=True)
class Compiled:
    """One file for one architecture."""

    source: str
    architecture: int
    cubin: Path
    resources: dict[str, ptxas.Resources]  # by the kernel's name
    loops: dict[str, sass.Loop | None] | None  # None: there is no nvdisasm


@dataclass(frozen=True)
class Figures:
    source: str
    kernel: str
    architecture: int
    resources: ptxas.Resources
    occupancy: Occupancy
    loop: sass.Loop | None
    bound: Bound
    is_disassembled: bool

    def complaints(self) -> list[str]:
        bound, wrong = self.bound, []
        if self.resources.spilled:
            wrong.append(f"spills {self.resources.spilled} bytes")
        if self.resources.stack:
            wrong.append(f"has {self.resources.stack} bytes of local memory a thread")
        if self.resources.registers > bound.registers:
            wrong.append(f"takes {self.resources.registers} registers, over {bound.registers}")
        is_launched = self.architecture >= bound.since
        if is_launched and self.occupancy.blocks < bound.blocks:
            wrong.append(f"has {self.occupancy.blocks} blocks a multiprocessor of {bound.blocks}")
        if is_launched and self.occupancy.share < bound.occupancy:
            wrong.append(f"has {self.occupancy.share:.2f} of the warps, of {bound.occupancy}")
        share = self.loop.share if self.loop else 0.0
        if is_launched and self.is_disassembled and share < bound.share:
            wrong.append(f"has {share:.3f} multiply-adds in its hottest loop, of {bound.share}")
        return [f"{self.kernel} ({self.source}.cu) on sm_{self.architecture} {w}" for w in wrong]


def sources() -> list[str]:
    """The files of kernels, their own or those of a header of cuda/."""

    def has_kernels(path: Path) -> bool:
        text = path.read_text(encoding="utf-8")
        headers = re.findall(r'#include "cuda/(\w+\.h)"', text)
        return "__global__" in text or any(has_kernels(CUDA / header) for header in headers)

    return [path.stem for path in sorted(CUDA.glob("*.cu")) if has_kernels(path)]


def compiled(path: Path, architecture: int, folder: Path) -> Compiled:
    cubin, said = compile_kernels(path, architecture, folder)
    resources = ptxas.read(said)
    names = dict(zip(resources, demangled(list(resources)), strict=True))
    loops = None
    if tool("nvdisasm"):
        found = sass.hottest_loops(sass.disassemble(cubin))
        loops = {names[name]: found[name] for name in names}
    by_name = {names[name]: resources[name] for name in names}
    if len(by_name) != len(names):
        raise ValueError(f"two kernels of {path.name} share a name: {sorted(names.values())}")
    return Compiled(path.stem, architecture, cubin, by_name, loops)


def figures(files: Iterable[Compiled], folder: Path) -> list[Figures]:
    rows = [(file, kernel) for file in files for kernel in file.resources]
    bounds = [bound_of(file.source, kernel) for file, kernel in rows]
    texts = [bound.sizes(kernel) for bound, (_, kernel) in zip(bounds, rows, strict=True)]
    sizes: dict[tuple[str, str], int] = {}
    for source in {file.source for file, _ in rows}:
        of_source = zip(rows, texts, strict=True)
        wanted = {text for (file, _), two in of_source if file.source == source for text in two}
        values = evaluate(source, tuple(sorted(wanted)), folder)
        sizes |= zip([(source, text) for text in sorted(wanted)], values, strict=True)
    requests = [
        Request(
            file.architecture,
            file.resources[kernel].registers,
            sizes[file.source, threads],
            file.resources[kernel].static_shared,
            sizes[file.source, shared],
        )
        for (file, kernel), (threads, shared) in zip(rows, texts, strict=True)
    ]
    return [
        Figures(
            *(file.source, kernel, file.architecture, file.resources[kernel], occupancy),
            loop=file.loops[kernel] if file.loops else None,
            bound=bound,
            is_disassembled=file.loops is not None,
        )
        for (file, kernel), bound, occupancy in zip(
            rows, bounds, occupancies(requests, folder), strict=True
        )
    ]


def table(rows: list[Figures]) -> list[str]:
    """Markdown: a row for each kernel, its figures by architecture."""
    architectures = sorted({row.architecture for row in rows})
    header = ["kernel", *(f"sm_{a}" for a in architectures)]
    lines = [header, ["---"] * len(header)]
    by_kernel: dict[tuple[str, str], dict[int, Figures]] = {}
    for row in rows:
        by_kernel.setdefault((row.source, row.kernel), {})[row.architecture] = row
    for (source, kernel), found in sorted(by_kernel.items()):
        cells = [_cell(found[a]) if a in found else "" for a in architectures]
        lines.append([f"{source}: {kernel}", *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _cell(row: Figures) -> str:
    if row.architecture < row.bound.since:
        return "not launched"
    cell = f"{row.resources.registers} r, {row.occupancy.blocks} b, {row.occupancy.share:.0%}"
    if row.bound.share and row.loop:
        cell += f", {row.loop.operation} {row.loop.share:.0%}"
    return cell

"""Runs launches from their PTX, and compares what they leave in memory."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from ptx import accesses, arithmetic, control, conversions, floats, tensor, warp  # noqa: F401
from ptx.machine import Block
from ptx.memory import GlobalMemory, KernelError
from ptx.parser import Entry, Module, PtxError
from ptx.program import Program
from ptx.recording import Launch, plain_names


def entry_of(module: Module, kernel: str) -> Entry:
    """The entry with a `plain_name`."""
    names = names_of(module)
    if names.count(kernel) != 1:
        raise PtxError(f"{names.count(kernel)} entries named {kernel} among {sorted(names)}")
    return list(module.entries.values())[names.index(kernel)]


def names_of(module: Module) -> list[str]:
    """The `plain_name` of each entry."""
    return plain_names(tuple(module.entries)) if module.entries else []


@functools.lru_cache(maxsize=64)
def program_of(module: Module, kernel: str, block: tuple[int, int, int], fused: bool) -> Program:
    entry = entry_of(module, kernel)
    if np.prod(block) > entry.most_threads:
        raise PtxError(
            f"{kernel} is compiled for {entry.most_threads} threads, launched with {block}"
        )
    return Program(module, entry, block, fused)


#: Of a launch with more blocks, the first, the last and as many in between are run, and what they
#: store is compared: blocks do not depend on each other.
MOST_BLOCKS = 48


@dataclass
class Outcome:
    contents: list[tuple[np.ndarray, np.ndarray]]  # of each allocation: GlobalMemory.content
    is_whole: bool  # whether all blocks were run
    thread_instructions: int


def run(module: Module, launch: Launch, fused: bool = False) -> Outcome:
    """What a launch leaves.

    The blocks run one after the other in the order of their indices. Raises KernelError for what
    the kernel does wrong, PtxError for what the interpreter does not know.
    """
    program = program_of(module, launch.kernel, launch.block, fused)
    memory = GlobalMemory(launch.memory)
    program.load(launch.arguments, memory, launch.grid)
    count = math.prod(launch.grid)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_BLOCKS)).astype(int))
    taken = 0
    with np.errstate(all="ignore"):
        for number in chosen:
            x, y, z = (int(i) for i in np.unravel_index(number, launch.grid, order="F"))
            program.begin_block((x, y, z), launch.shared_bytes)
            block = Block(program)
            try:
                block.run()
            except KernelError as finding:
                thread = "" if finding.thread is None else f" thread {finding.thread}"
                finding.where = f" ({launch.name} block ({x},{y},{z}){thread}{finding.where})"
                raise
            taken += block.thread_instructions
    contents = [memory.content(i) for i in range(len(launch.memory))]
    return Outcome(contents, len(chosen) == count, taken)


def difference(
    found: np.ndarray, expected: np.ndarray, stored: np.ndarray, tolerance: float | None
) -> str:
    """What differs between two contents of an allocation, "" if nothing does.

    With a tolerance, what was stored as a float (`stored`: see GlobalMemory.content) may err by
    that much of the largest magnitude of those floats. All else, and without a tolerance
    everything, must have the same bits, but for those of a NaN.
    """
    differs = found != expected
    for size in (4, 8) if differs.any() else ():
        whole = found.size // size * size
        x, y = (content[:whole].view(f"f{size}") for content in (found, expected))
        is_float = stored[:whole:size] == size
        is_close = np.isnan(x) & np.isnan(y)
        if tolerance is not None:
            scale = np.abs(y[is_float & np.isfinite(y)]).max(initial=0.0)
            with np.errstate(invalid="ignore", over="ignore"):
                is_close |= np.abs(x.astype(np.float64) - y) <= tolerance * scale
        differs[:whole].reshape(-1, size)[is_float & is_close] = False
    if not differs.any():
        return ""
    at = int(np.argmax(differs)) // 4 * 4
    texts = []
    for content in (found, expected):
        word = content[at : at + 4].tobytes()
        number = float(np.frombuffer(word.ljust(4, b"\0"), np.float32)[0])
        texts.append(f"{word.hex()} ({number:.9g})")
    return (
        f"{int(differs.sum())} of {found.size} bytes differ, first in the word at byte {at}: "
        f"{texts[0]} from PTX, {texts[1]} expected"
    )


def disagreement(module: Module, launch: Launch, tolerance: float | None) -> str:
    """How the PTX of a launch disagrees with what the SIMT runtime computed, "" if it does not.

    Without a tolerance in the bits, for which nvcc's contractions of a * b + c are undone; with one
    as the device computes.
    """
    outcome = run(module, launch, fused=tolerance is not None)
    for number, (content, expected) in enumerate(zip(outcome.contents, launch.after, strict=True)):
        found, stored = content
        if not outcome.is_whole:  # what the other blocks store is not known
            found = np.where(stored > 0, found, expected)
        text = difference(found, expected, stored, tolerance)
        if text:
            return f"{launch.kernel}, allocation {number}: {text}"
    return ""

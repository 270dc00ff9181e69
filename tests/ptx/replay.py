"""Runs launches from their PTX, and compares what they leave in memory."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from ptx import accesses, arithmetic, control, conversions, floats, tensor, warp  # noqa: F401
from ptx.machine import Block
from ptx.memory import Finding, GlobalMemory
from ptx.parser import Entry, Module, PtxError
from ptx.program import Program
from ptx.recording import Launch, plain_name


def entry_of(module: Module, kernel: str) -> Entry:
    """The entry with a `plain_name`."""
    found = [entry for name, entry in module.entries.items() if plain_name(name) == kernel]
    if len(found) != 1:
        names = sorted(map(plain_name, module.entries))
        raise PtxError(f"{len(found)} entries named {kernel} among {names}")
    return found[0]


@functools.lru_cache(maxsize=64)
def _program(
    module: Module, kernel: str, block: tuple[int, int, int], fused: bool
) -> Program:
    entry = entry_of(module, kernel)
    if np.prod(block) > entry.most_threads:
        raise PtxError(f"{kernel} is compiled for {entry.most_threads} threads, launched with {block}")
    return Program(module, entry, block, fused)


def run(module: Module, launch: Launch, fused: bool = False) -> tuple[list[np.ndarray], int]:
    """The content of each allocation afterwards, and how many instructions all threads took.

    The blocks run one after the other in the order of their indices. Raises Finding for what the
    kernel does wrong, PtxError for what the interpreter does not know.
    """
    program = _program(module, launch.kernel, launch.block, fused)
    memory = GlobalMemory(launch.memory)
    program.load(launch.arguments, memory, launch.grid)
    taken = 0
    with np.errstate(all="ignore"):
        for z, y, x in itertools.product(*map(range, reversed(launch.grid))):
            program.begin_block((x, y, z), launch.shared_bytes)
            block = Block(program)
            try:
                block.run()
            except Finding as finding:
                thread = "" if finding.thread is None else f" thread {finding.thread}"
                finding.where = f" ({launch.name} block ({x},{y},{z}){thread}{finding.where})"
                raise
            taken += block.thread_instructions
    return [memory.content(i) for i in range(len(launch.memory))], taken


def difference(found: np.ndarray, expected: np.ndarray, tolerance: float | None) -> str:
    """What differs between two contents of an allocation, "" if nothing does.

    With a tolerance, words are floats, whose errors are relative to the largest magnitude; without,
    they must have the same bits, but for those of a NaN.
    """
    if np.array_equal(found, expected):
        return ""
    words = found.size // 4 * 4
    if (found[words:] != expected[words:]).any():
        return "the last bytes differ"
    bits_found, bits_expected = found[:words].view(np.uint32), expected[:words].view(np.uint32)
    x, y = bits_found.view(np.float32), bits_expected.view(np.float32)
    is_same = (bits_found == bits_expected) | (np.isnan(x) & np.isnan(y))
    if tolerance is not None:
        scale = np.abs(y[np.isfinite(y)]).max(initial=0.0)
        with np.errstate(invalid="ignore"):
            is_same |= np.abs(x.astype(np.float64) - y) <= tolerance * scale
    if is_same.all():
        return ""
    at = int(np.argmin(is_same))
    count = int((~is_same).sum())
    return f"{count} of {len(x)} words differ, first at {at}: {x[at]!r} from PTX, {y[at]!r} expected"


def disagreement(module: Module, launch: Launch, tolerance: float | None) -> str:
    """How the PTX of a launch disagrees with what the SIMT runtime computed, "" if it does not.

    Without a tolerance in the bits, for which nvcc's contractions of a * b + c are undone; with one
    as the device computes.
    """
    contents, _ = run(module, launch, fused=tolerance is not None)
    for number, (found, expected) in enumerate(zip(contents, launch.after, strict=True)):
        text = difference(found, expected, tolerance)
        if text:
            return f"{launch.name}, allocation {number}: {text}"
    return ""

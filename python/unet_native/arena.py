"""Placing buffers in one arena by the time they live: what is free gets used again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from unet_native import device_array
from unet_native._core import Context

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


@dataclass
class Buffer:
    """`nbytes` needed from step `first` to step `last`, both included, at `offset` in the arena."""

    name: str
    nbytes: int
    first: int
    last: int
    offset: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.nbytes

    def lives_with(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


def aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


# Orders in which to place buffers. None is best for all nets, and trying them costs milliseconds.
_ORDERS: tuple[Callable[[Buffer], tuple], ...] = (
    lambda b: (-b.nbytes, b.first),
    lambda b: (b.first - b.last, -b.nbytes),
    lambda b: ((b.first - b.last) * b.nbytes, b.first),
    lambda b: (b.first, -b.nbytes),
    lambda b: (-b.last, -b.nbytes),
)


def place(buffers: Iterable[Buffer]) -> int:
    """Sets the offsets so that buffers that live together do not overlap; returns the arena's size.

    Those that live all the time lie one after the other at the begin. Each of the others in turn
    goes to the smallest gap that holds it. Sizes are rounded up to ALIGNMENT.
    """
    buffers = list(buffers)
    begin = min((buffer.first for buffer in buffers), default=0)
    end = max((buffer.last for buffer in buffers), default=0)
    pinned, others, start = [], [], 0
    for buffer in buffers:
        buffer.nbytes = aligned(buffer.nbytes)
        (pinned if (buffer.first, buffer.last) == (begin, end) else others).append(buffer)
    for buffer in pinned:
        buffer.offset, start = start, start + buffer.nbytes
    best_offsets: list[int] = []
    best_size = -1
    for order in _ORDERS:
        placed: list[Buffer] = []
        for buffer in sorted(others, key=order):
            buffer.offset = _best_gap(buffer, placed, start)
            placed.append(buffer)
        size = max((buffer.end for buffer in others), default=start)
        if best_size < 0 or size < best_size:
            best_size, best_offsets = size, [buffer.offset for buffer in others]
    for buffer, offset in zip(others, best_offsets, strict=True):
        buffer.offset = offset
    return best_size


def _best_gap(buffer: Buffer, placed: list[Buffer], start: int) -> int:
    """Where, from `start` on, the smallest gap is among those placed that live with `buffer`."""
    neighbours = sorted((p for p in placed if p.lives_with(buffer)), key=lambda p: p.offset)
    best, smallest, free_from = None, 0, start
    for neighbour in neighbours:
        gap = neighbour.offset - free_from
        if gap >= buffer.nbytes and (best is None or gap < smallest):
            best, smallest = free_from, gap
        free_from = max(free_from, neighbour.end)
    return free_from if best is None else best


def least_bytes(buffers: Iterable[Buffer]) -> int:
    """The most that lives at any one step: no placement can need less."""
    changes: dict[int, int] = {}
    for buffer in buffers:
        changes[buffer.first] = changes.get(buffer.first, 0) + buffer.nbytes
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - buffer.nbytes
    return max(accumulate(change for _, change in sorted(changes.items())), default=0)


def excess(nbytes: int) -> str:
    """A clause that refuses `nbytes` if no arrays of this machine could have them; else nothing.

    A net may well claim more than there is, since not all of it is touched: of one that only runs
    forward, the diffs are not.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if nbytes <= 2 * memory:
        return ""
    return f"takes {nbytes / 1e9:.0f} GB of memory, where this machine has {memory / 1e9:.0f} GB"


def allocate(nbytes: int, context: Context | None = None) -> NDArray[np.uint8]:
    """`nbytes` of zeros, aligned, on the device of `context`.

    On the CPU the system maps their pages when they are first written.
    """
    if context is not None and context.device != "cpu":
        return device_array.zeros(nbytes, context)
    memory = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + nbytes]

"""What each kernel must keep to. Bounds are what the code reaches, with a little room: they are
there so that a change which loses registers, blocks or multiply-adds is seen, not to praise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Bound:
    source: str  # csrc/cuda/<source>.cu
    kernels: str  # a pattern of their names, whole
    registers: int  # of a thread, at most
    threads: str = "kElementThreads"  # of a block: a C++ constant of the source
    shared: str = "0"  # bytes that the launch gives a block: the same
    blocks: int = 1  # on a multiprocessor, at least
    occupancy: float = 0.0  # of the warps that there is room for, at least
    share: float = 0.0  # of multiply-adds in the hottest loop, at least

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.kernels)


def _elementwise(source: str, kernels: str = r"\w+") -> Bound:
    # Bound by memory: half the warps keep enough loads under way.
    return Bound(source, kernels, registers=64, occupancy=0.5)


def _tiled(kernels: str, warps: int, registers: int, share: float) -> Bound:
    # 64 sums and the operands of a step live in registers; three blocks of 4 warps, or one of 8.
    threads, shared = f"Tiling<{warps}>::kThreads", f"sizeof(Tiling<{warps}>::Shared)"
    blocks = {1: 3, 2: 1}[warps]
    return Bound("conv3x3", kernels, registers, threads, shared, blocks, share=share)


BOUNDS = [
    _tiled(r"convolve<1, \w+, true>", 1, 168, 0.75),
    _tiled(r"convolve<1, \w+, false>", 1, 168, 0.70),
    _tiled(r"convolve<2, \w+, true>", 2, 168, 0.80),
    _tiled(r"convolve<2, \w+, false>", 2, 168, 0.75),
    _tiled(r"correlate<1, \w+>", 1, 168, 0.55),
    _tiled(r"correlate<2, \w+>", 2, 168, 0.70),
    Bound("conv3x3", "add_splits|sum_channels", 64, threads="kThreads", occupancy=0.5),
    _elementwise("adam"),
    _elementwise("crop_concat"),
    _elementwise("dropout"),
    _elementwise("max_pool2x2"),
    _elementwise("relu"),
    _elementwise("sgd"),
    _elementwise("softmax"),
]


def bound_of(source: str, kernel: str) -> Bound:
    """The only bound of a kernel; each kernel has one."""
    found = [b for b in BOUNDS if b.source == source and b.pattern.fullmatch(kernel)]
    if len(found) != 1:
        raise LookupError(
            f"{kernel} of {source}.cu has {len(found)} rows in benchmarks/cuda_static/bounds.py: "
            "it needs one"
        )
    return found[0]

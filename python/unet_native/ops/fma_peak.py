"""The peak of the machine's multiply-adds, by which kernels are measured."""

from __future__ import annotations

from time import perf_counter

from unet_native import _core
from unet_native.ops.arrays import context_or_default

_ROUNDS = 200_000  # tens of milliseconds: new threads take some to find a core of their own


def fma_peak(*, context: _core.Context | None = None) -> float:
    """Floating-point operations a second that `context` can do, in registers.

    On the CPU those of its threads, on a GPU those of the whole device. Measured in about 0.1 s;
    the best of three, for whatever else runs on the machine only slows it down. Not part of any
    network.
    """
    context = context_or_default(context)
    best = 0.0
    for _ in range(3):
        start = perf_counter()
        operations = _core.fma_peak(context, _ROUNDS)
        best = max(best, operations / (perf_counter() - start))
    return best

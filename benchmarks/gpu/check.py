"""Every case on a device against the CPU. Nothing is timed before all of them agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.cases import Call, Case
from benchmarks.gpu.clock import Recorded
from unet_native.device_array import on_host
from unet_native.ops import Context

#: Largest error, relative to the largest magnitude of the array, by math.
TOLERANCE = {"fp32": 1e-4, "tf32": 2e-3, "bf16": 2e-2}


@dataclass(frozen=True)
class Finding:
    """What came of a case in one math.

    error: largest one of all results, relative to the largest magnitude of its array
    repeats: whether a recording of the same call, launched, gave the same bits
    """

    case: str
    math: str
    error: float
    repeats: bool

    @property
    def is_good(self) -> bool:
        return self.error <= TOLERANCE[self.math] and self.repeats

    def __str__(self) -> str:
        verdict = "ok" if self.is_good else "WRONG"
        bits = "" if self.repeats else ", and other bits when launched again"
        errors = f"{self.error:.1e} of {TOLERANCE[self.math]:.0e}"
        return f"{verdict}: {self.case}, {self.math}: {errors}{bits}"


def contexts(device: str, gpu: int, maths: Sequence[str]) -> tuple[dict[str, Context], list[str]]:
    """A context for each math that the device has, and why others are left out."""
    found, left_out = {}, []
    for math in maths:
        try:
            found[math] = Context(device=device, gpu=gpu, math=math)
        except ValueError as error:
            left_out.append(f"{math} left out: {error}")
    return found, left_out


def check(
    cases: Iterable[Case], contexts: dict[str, Context], say: Callable[[Finding], object]
) -> list[Finding]:
    """Runs each case on the CPU and, in every math that concerns it, on the device."""
    cpu, findings = Context(), []
    for case in cases:
        expected = _results(case.make(cpu))
        for math, context in contexts.items():
            if math == "fp32" or case.has_math:
                findings.append(_compare(case, math, context, expected))
                say(findings[-1])
    return findings


def _results(call: Call) -> dict[str, NDArray]:
    call.run()
    return {name: on_host(array) for name, array in call.results.items()}


def _compare(case: Case, math: str, context: Context, expected: dict[str, NDArray]) -> Finding:
    results = _results(case.make(context))
    again = case.make(context)
    Recorded(again.run, context)()
    bits = (on_host(array) for array in again.results.values())
    return Finding(
        case.name,
        math,
        max(relative_error(results[name], expected[name]) for name in expected),
        all(np.array_equal(one, two) for one, two in zip(results.values(), bits, strict=True)),
    )


def relative_error(actual: NDArray, expected: NDArray, *, floor: float = 0.0) -> float:
    """Largest difference over the largest magnitude expected; infinite if a NaN is among them.

    floor: the least magnitude that counts, that of what the results were made of
    """
    error = np.abs(actual.astype(np.float64) - expected).max(initial=0.0)
    largest = max(floor, np.abs(expected, dtype=np.float64).max(initial=0.0))
    if error == 0:
        return 0.0
    return float(error / largest) if np.isfinite(error) and largest > 0 else float("inf")

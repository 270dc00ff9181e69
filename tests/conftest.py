"""Fixtures for tests of ops: every instruction set of this machine, several thread counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from unet_native.ops import Context

Run = Callable[[Context], tuple[np.ndarray, ...] | np.ndarray]

THREADS = (1, 2, 3)


def _instruction_sets() -> list[str]:
    offered = []
    for name in ("baseline", "neon", "avx2", "avx512"):
        try:
            Context(isa=name)
        except ValueError:
            continue
        offered.append(name)
    return offered


@pytest.fixture(params=_instruction_sets())
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this machine offers."""
    return request.param


@pytest.fixture
def on_threads(isa: str) -> Callable[[Run], tuple[np.ndarray, ...] | np.ndarray]:
    """Runs a function of a context with 1, 2 and 3 threads; its arrays must agree bit for bit."""

    def run_all(run: Run) -> tuple[np.ndarray, ...] | np.ndarray:
        first, *others = [run(Context(threads=threads, isa=isa)) for threads in THREADS]
        for threads, other in zip(THREADS[1:], others, strict=True):
            for one, two in zip(_as_tuple(first), _as_tuple(other), strict=True):
                one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
                assert one.tobytes() == two.tobytes(), f"1 and {threads} threads differ"
        return first

    return run_all


def _as_tuple(result: tuple[np.ndarray, ...] | np.ndarray) -> tuple[np.ndarray, ...]:
    return result if isinstance(result, tuple) else (result,)

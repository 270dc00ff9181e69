"""fma_peak: what it counts, and that a plausible rate comes out."""

from __future__ import annotations

import pytest

from unet_native import _core, ops


def test_counts_the_operations_of_all_threads(isa):
    one, two = (_core.fma_peak(ops.Context(isa=isa, threads=n), 5) for n in (1, 2))
    assert one > 0
    assert two == 2 * one
    assert _core.fma_peak(ops.Context(isa=isa, threads=1), 10) == 2 * one


def test_is_a_rate(isa):
    """Between a scalar a cycle at 100 MHz and four vectors of 16 a cycle at 10 GHz."""
    assert 1e8 < ops.fma_peak(context=ops.Context(isa=isa, threads=1)) < 2 * 4 * 16 * 10e9


def test_bad_input():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        _core.fma_peak(ops.Context(), 0)

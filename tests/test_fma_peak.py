"""fma_peak: what it counts, and that a plausible rate comes out."""

from __future__ import annotations

import pytest

from places import context_of, devices, instruction_sets
from unet_native import _core, ops


def test_counts_the_operations_of_all_threads(isa):
    one, two = (_core.fma_peak(context_of(isa, n), 5) for n in (1, 2))
    assert one > 0
    assert two == (one if isa in devices() else 2 * one)  # a device takes threads of its own
    assert _core.fma_peak(context_of(isa), 10) == 2 * one


@pytest.mark.parametrize("place", instruction_sets())
def test_is_a_rate(place):
    """Between a scalar a cycle at 100 MHz and four vectors of 16 a cycle at 10 GHz."""
    assert 1e8 < ops.fma_peak(context=context_of(place)) < 2 * 4 * 16 * 10e9


def test_bad_input():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        _core.fma_peak(ops.Context(), 0)

"""The PTX that nvcc makes of every op's kernels does what the SIMT runtime does, bit for bit.

The launches are those of the calls in ``ptx/calls.py``; see ``ptx/replay.py`` for how they compare.
"""

from __future__ import annotations

import shutil

import pytest

from places import ON_DEVICES
from ptx import replay, toolchain
from ptx.calls import CALLS, TOLERANCE, launches_of
from shared import CHECKOUT
from unet_native import _core

KERNELS = CHECKOUT / "csrc" / "cuda"
OPS = sorted(name.removeprefix("test_") for name in ON_DEVICES)

pytestmark = [
    pytest.mark.skipif(not toolchain.NVCC, reason="no nvcc, which makes the PTX"),
    pytest.mark.skipif(not shutil.which("c++filt"), reason="no nm and c++filt (package binutils)"),
    pytest.mark.skipif(not KERNELS.is_dir(), reason="no sources of the core beside these tests"),
    pytest.mark.skipif(
        "cuda-simt-checked" not in _core.devices(), reason="built without the SIMT runtime"
    ),
]


def compare(op, architecture, full):
    """In the bits, or within the op's tolerance; with `full` also rounded as the device does."""
    tolerance = TOLERANCE.get(op)
    for launch in launches_of(op, full):
        module = toolchain.module_of(KERNELS / launch.source, architecture)
        assert replay.disagreement(module, launch, tolerance) == ""
        if full and tolerance is None:
            assert replay.disagreement(module, launch, 4e-6) == ""


@pytest.mark.parametrize("architecture", toolchain.ARCHITECTURES)
@pytest.mark.parametrize("op", OPS)
def test_ptx_agrees_with_the_runtime(op, architecture):
    compare(op, architecture, full=False)


@pytest.mark.simt_full
@pytest.mark.parametrize("architecture", toolchain.ARCHITECTURES)
@pytest.mark.parametrize("op", OPS)
def test_ptx_agrees_over_all_shapes(op, architecture):
    compare(op, architecture, full=True)


@pytest.mark.simt_full
def test_every_kernel_is_run():
    """Calls reach each kernel, in one file if it comes from a header; else it is named here."""
    reached = {launch.kernel for op in OPS for launch in launches_of(op, full=True)}
    missed = [
        (source.name, name)
        for source in sorted(KERNELS.glob("*.cu"))
        for name in replay.names_of(toolchain.module_of(source, toolchain.ARCHITECTURES[0]))
        if name not in reached
    ]
    assert missed == []


def test_every_op_is_called():
    assert set(OPS) <= set(CALLS), "an op with kernels has no call in ptx/calls.py"

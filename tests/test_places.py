"""The kernels of a GPU are tested wherever they can be, and none is forgotten."""

from __future__ import annotations

import pytest

from places import ON_DEVICES, devices
from shared import CHECKOUT

CUDA = CHECKOUT / "csrc" / "cuda"


def test_every_op_with_kernels_is_tested_on_them():
    if not CUDA.is_dir():
        pytest.skip("no sources of the core beside these tests")
    ops = {path.stem for path in (CHECKOUT / "csrc" / "ops").glob("*.cpp")}
    kernels = {path.stem for path in CUDA.glob("*.cu")}
    assert {f"test_{op}" for op in kernels & ops} == ON_DEVICES


def test_the_kernels_run_here():
    if not devices():
        pytest.skip("built without UNET_NATIVE_SIMT: the kernels of a GPU are not tested")
    assert {"cuda-simt", "cuda-simt-checked"} <= set(devices())

"""Where ops run in tests: the CPU's instruction sets, and devices.

A place is the name of an instruction set ("avx2") or of a device ("cuda-simt").
"""

from __future__ import annotations

from unet_native import _core
from unet_native.ops import Context

#: Test files whose ops have kernels for devices.
ON_DEVICES = {
    "test_adam",
    "test_conv1x1",
    "test_conv3x3",
    "test_crop_concat",
    "test_dropout",
    "test_fma_peak",
    "test_max_pool2x2",
    "test_relu",
    "test_sgd",
    "test_softmax",
    "test_softmax_loss",
    "test_up_conv2x2",
}
SCHEDULES = ("first", "last", "reverse", "random")  # of the SIMT runtime


def instruction_sets() -> list[str]:
    offered = []
    for name in ("baseline", "neon", "avx2", "avx512"):
        try:
            Context(isa=name)
        except ValueError:
            continue
        offered.append(name)
    return offered


def devices() -> list[str]:
    return [name for name in _core.devices() if name != "cpu"]


def context_of(place: str, threads: int = 1) -> Context:
    if place in devices():
        return Context(device=place)
    return Context(isa=place, threads=threads)


def assert_no_findings() -> None:
    """Of the SIMT runtime, since the last call."""
    if any(name.startswith("cuda-simt") for name in devices()):
        assert _core.simt_findings() == []

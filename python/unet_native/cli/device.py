"""The context that the options --device, --gpu, --math and --threads ask for.

Before a command uses a GPU, a small network must come out there as it does on the CPU: a driver or
a kernel that computes something else would only show in what was trained with it.
"""

from __future__ import annotations

import numpy as np

from unet_native import models
from unet_native._core import Context, CudaError, devices
from unet_native.cli.console import note
from unet_native.errors import DeviceMemoryError, UserError
from unet_native.net import Net

# Of the largest magnitude. Rounding stays well below; a wrong kernel is off by all of it.
_TOLERANCES = {"fp32": 1e-3, "tf32": 2e-2, "bf16": 1e-1}


def context_of(device: str, gpu: int, threads: int, math: str = "fp32") -> Context:
    """Raises UserError for an unknown device, and for one that cannot be used here or so."""
    if device == "cpu" or (device == "auto" and "cuda" not in devices()):
        try:
            return Context(threads=threads, math=math)
        except ValueError as error:
            raise UserError(f"--math {math}: {error}") from None
    name = "cuda" if device == "auto" else device
    try:
        context = Context(device=name, gpu=gpu, threads=threads, math=math)
        if computes_what_the_cpu_does(context):
            return context
        problem = f"--device {name}: GPU {gpu} does not compute what the CPU does, please report it"
    except (ValueError, RuntimeError, DeviceMemoryError) as error:
        option = f"--gpu {gpu}" if isinstance(error, CudaError) and gpu else f"--device {name}"
        problem = f"{option}: {error}"
    if device != "auto":
        raise UserError(f"{problem}; --device cpu works without")
    note(f"{problem}; the CPU computes instead")
    return Context(threads=threads)


def computes_what_the_cpu_does(context: Context) -> bool:
    """Whether forward and backward pass of a small network come out there as on the CPU."""
    tile, depth = 44, 2
    rng, side = np.random.default_rng(0), models.output_size(tile, depth)
    inputs = {
        "data": rng.standard_normal((1, 1, tile, tile), np.float32),
        "label": rng.integers(0, 2, (1, 1, side, side)).astype(np.float32),
        "weight": np.ones((1, 1, side, side), np.float32),
    }
    diffs = []
    for place in (Context(), context):
        net = Net(models.fig1(depth=depth, base_width=4, tile=tile), seed=1, context=place)
        net.forward(**inputs)
        net.backward()
        diffs.append([param.blob.diff for param in net.parameters])
    return all(
        np.abs(there - here).max() <= _TOLERANCES[context.math] * np.abs(here).max()
        for here, there in zip(*diffs, strict=True)
    )

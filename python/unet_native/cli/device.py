"""The context that the options --device, --gpu and --threads ask for."""

from __future__ import annotations

from unet_native._core import Context, CudaError, devices
from unet_native.errors import UserError


def context_of(device: str, gpu: int, threads: int) -> Context:
    """Raises UserError for an unknown device, and for one that cannot be used here."""
    if device == "auto":
        device = "cuda" if "cuda" in devices() else "cpu"
    if device == "cpu":
        return Context(threads=threads)
    try:
        return Context(device=device, gpu=gpu, threads=threads)
    except (ValueError, RuntimeError) as error:
        option = f"--gpu {gpu}" if isinstance(error, CudaError) and gpu else f"--device {device}"
        raise UserError(f"{option}: {error}") from None

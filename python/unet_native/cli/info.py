"""``unet-native info``: what runs here."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show version, instruction set, threads, devices, and GPUs or why there are none."""
    from unet_native import _core

    context = _core.Context()
    facts = {
        "version": _core.version,
        "isa": context.isa,
        "threads": context.threads,
        "devices": _core.devices(),
        "cuda": _core.cuda_status(),
    }
    if as_json:
        import json

        print(json.dumps(facts))
        return
    print(f"unet_native      {facts['version']}")
    print(f"instruction set  {facts['isa']}")
    print(f"threads          {facts['threads']}")
    print(f"devices          {', '.join(facts['devices'])}")
    for line in cuda_lines(facts["cuda"]):
        print(line)


def cuda_lines(status: dict[str, Any]) -> list[str]:
    """What ``_core.cuda_status()`` found, for people."""
    lines = []
    if status["obstacle"]:
        lines.append(f"CUDA             off: {status['obstacle']}")
    for number, gpu in enumerate(status["devices"]):
        major, minor = gpu["compute_capability"]
        lines.append(
            f"GPU {number:<12} {gpu['name']}, compute capability {major}.{minor}, "
            f"{gpu['memory_bytes'] / 2**30:.1f} GiB, {gpu['multiprocessors']} multiprocessors"
        )
    if status["architectures"]:
        lines.append(f"kernels for      {', '.join(status['architectures'])}")
    return lines

"""``unet-native info``: what runs here."""

from __future__ import annotations

from typing import Annotated

import typer


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show version, instruction set, threads and devices."""
    from unet_native import _core

    context = _core.Context()
    devices = _core.devices()
    facts = {
        "version": _core.version,
        "isa": context.isa,
        "threads": context.threads,
        "devices": devices,
    }
    if as_json:
        import json

        print(json.dumps(facts))
        return
    cuda = "" if "cuda" in devices else " (this build is without CUDA)"
    print(f"unet_native      {facts['version']}")
    print(f"instruction set  {facts['isa']}")
    print(f"threads          {facts['threads']}")
    print(f"devices          {', '.join(devices)}{cuda}")

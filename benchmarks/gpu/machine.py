"""What a reader must know of a GPU to judge a table: clocks, driver, versions."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import subprocess
from typing import Any

from unet_native import _core

#: Asked of nvidia-smi, and what the page calls it.
_QUERIES = {
    "name": "GPU",
    "driver_version": "driver",
    "clocks.sm": "SM clock",
    "clocks.max.sm": "of at most",
    "clocks.mem": "memory clock",
    "power.limit": "power limit",
    "temperature.gpu": "temperature",
    "persistence_mode": "persistence mode",
}


def obstacle(device: str, gpu: int) -> str:
    """Why that GPU cannot be used, and the remedy, in one sentence; or ""."""
    if device == "cuda" and (why := _core.cuda_status()["obstacle"]):
        return why
    try:
        _core.Context(device=device, gpu=gpu)
    except (ValueError, RuntimeError) as error:
        return str(error)
    return ""


def facts(gpu: int) -> dict[str, Any]:
    """By name. Of clocks, those of the moment: ask during the work, not before it."""
    found: dict[str, Any] = {
        "date": datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "NVIDIA_TF32_OVERRIDE": os.environ.get("NVIDIA_TF32_OVERRIDE", "unset"),
    }
    devices = _core.cuda_status()["devices"]
    if gpu < len(devices):
        major, minor = devices[gpu]["compute_capability"]
        found["GPU"] = devices[gpu]["name"]
        found["compute capability"] = f"{major}.{minor}"
        found["multiprocessors"] = devices[gpu]["multiprocessors"]
        found["memory"] = f"{devices[gpu]['memory_bytes'] / 2**30:.1f} GiB"
    return found | nvidia_smi(gpu)


def nvidia_smi(gpu: int) -> dict[str, str]:
    """What nvidia-smi says, with units; nothing where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, f"--id={gpu}", f"--query-gpu={','.join(_QUERIES)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(_QUERIES.values(), values, strict=True)) if len(values) == len(_QUERIES) else {}

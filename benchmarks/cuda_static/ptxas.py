"""What ``ptxas -v`` reports of each kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_\d+\w?'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Resources:
    registers: int  # of a thread
    stack: int  # bytes of local memory of a thread: arrays, spilled registers
    spilled: int  # bytes stored and loaded
    static_shared: int  # bytes of a block, besides what the launch gives it


def read(text: str) -> dict[str, Resources]:
    """By mangled name. A report that lacks one of the figures is an error, not a zero."""
    found = {}
    parts = _ENTRY.split(text)
    for name, report in zip(parts[1::2], parts[2::2], strict=True):
        # Functions that were not inlined are reported too, before or after; the kernel's own lines
        # follow its name, and each device function's frame counts as well.
        frames, used = _FRAME.findall(report), _USED.search(report)
        if not frames or used is None:
            raise ValueError(f"ptxas says nothing of the registers or the frame of {name}")
        shared = _SHARED.search(report)
        found[name] = Resources(
            registers=int(used[1]),
            stack=max(int(stack) for stack, _, _ in frames),
            spilled=sum(int(stores) + int(loads) for _, stores, loads in frames),
            static_shared=int(shared[1]) if shared else 0,
        )
    if not found:
        raise ValueError("ptxas reports no kernel")
    return found

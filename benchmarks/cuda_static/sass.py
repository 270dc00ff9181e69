"""The hottest loop of each kernel, from nvdisasm's listing.

A loop is a branch back: the instructions from its target to the branch. The hottest is, among those
within which no other loop multiplies, the one with the most multiply-adds; the shorter of equals.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cuda_static.toolkit import tool

_FUNCTION = re.compile(r"^//-+ \.text\.(\S+) +-+$", re.MULTILINE)
_LINE = re.compile(r"^(?P<label>\.L_\w+):|^\s+/\*[0-9a-f]{4,}\*/\s+(?P<code>[^;]+?)\s*;")
_BRANCH = re.compile(r"\bBRA(?:\.\w+)*\b.*`\((\.L_\w+)\)")
_PREDICATE = re.compile(r"^@!?U?P[T\d]+\s+")
_MULTIPLY_ADD = ("FFMA", "FFMA2", "HMMA")


@dataclass(frozen=True)
class Loop:
    operations: Counter  # how often each, by name: FFMA, LDS, ..
    operation: str | None  # the multiply-add that the loop is for

    @property
    def instructions(self) -> int:
        return sum(self.operations.values())

    @property
    def share(self) -> float:
        """Of instructions that are multiply-adds: 0 for a kernel without any."""
        return self.operations[self.operation] / self.instructions if self.operation else 0.0


def disassemble(cubin: Path) -> str:
    return subprocess.run(
        [tool("nvdisasm"), "-c", str(cubin)], capture_output=True, text=True, check=True
    ).stdout


def hottest_loops(listing: str) -> dict[str, Loop | None]:
    """By mangled name; None for a kernel that never branches back. Empty code is an error."""
    parts = _FUNCTION.split(listing)
    found = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        operations, labels, branches = [], {}, []
        for line in text.splitlines():
            match = _LINE.match(line)
            if not match:
                continue
            if match["label"]:
                labels[match["label"]] = len(operations)
                continue
            if branch := _BRANCH.search(match["code"]):
                branches.append((len(operations), branch[1]))
            operations.append(_PREDICATE.sub("", match["code"]).split()[0].split(".")[0])
        if not operations:
            raise ValueError(f"no instruction in {name}")
        loops = []
        for end, label in branches:
            if label not in labels:
                raise ValueError(f"a branch to {label}, which {name} lacks")
            # A branch to itself is what pads the end of a kernel.
            if labels[label] < end:
                loops.append((labels[label], end + 1))
        found[name] = _hottest(operations, loops)
    if not found:
        raise ValueError("the listing has no function")
    return found


def _multiply_adds(operations: list[str]) -> int:
    return sum(operation in _MULTIPLY_ADD for operation in operations)


def _hottest(operations: list[str], loops: list[tuple[int, int]]) -> Loop | None:
    def has_work_within(loop: tuple[int, int]) -> bool:
        return any(
            loop[0] <= begin and end <= loop[1] and (begin, end) != loop
            for begin, end in loops
            if _multiply_adds(operations[begin:end])
        )

    innermost = [loop for loop in loops if not has_work_within(loop)]
    if not innermost:
        return None
    begin, end = max(
        innermost, key=lambda loop: (_multiply_adds(operations[slice(*loop)]), loop[0] - loop[1])
    )
    counts = Counter(operations[begin:end])
    # Beside tensor cores the others only round.
    most = "HMMA" if counts["HMMA"] else max(_MULTIPLY_ADD, key=lambda name: counts[name])
    return Loop(counts, most if counts[most] else None)

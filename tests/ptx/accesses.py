"""Loads, stores and asynchronous copies (PTX ISA, 9.7.9)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ptx.memory import Memory
from ptx.parser import Address, Immediate, Operand, PtxError, Symbol
from ptx.program import (
    LOCAL_WINDOW,
    SHARED_WINDOW,
    Array,
    Mask,
    Modifiers,
    Program,
    Step,
    dtype_of,
    instruction,
)

Operands = tuple[Operand, ...]

# Of caches and of what nobody else changes: no matter to a single thread at a time.
_HINTS = ("volatile", "relaxed", "weak", "nc", "ca", "cg", "cs", "cv", "lu", "wb", "wt")
_HINTS += (
    "L1::no_allocate",
    "L1::evict_last",
    "L1::evict_first",
    "L2::128B",
    "L2::64B",
    "L2::256B",
)


def _shape(modifiers: Modifiers) -> tuple[str, str, int]:
    """Space, type and number of elements of a load or a store."""
    kind = modifiers.type()
    count = {"v2": 2, "v4": 4}.get(modifiers.left[-1] if modifiers.left else "", 1)
    if count > 1:
        modifiers.left.pop()
    spaces = ("global", "shared", "shared::cta", "local", "param")
    while modifiers.one_of(*_HINTS, default=None):
        pass
    space = modifiers.one_of(*spaces, default="generic").removesuffix("::cta")
    while modifiers.one_of(*_HINTS, default=None):
        pass
    return space, kind, count


def all_lanes(mask: Mask, program: Program) -> Array:
    return program.everyone if mask is True else np.flatnonzero(mask)


def _spaces(program: Program, space: str) -> Callable[[Array, Array], list]:
    """Which memories the lanes reach: (memory, those lanes, their addresses there)."""
    if space == "shared":
        return lambda lanes, addresses: [(program.shared, lanes, addresses)]
    if space == "global":
        return lambda lanes, addresses: [(program.memory, lanes, addresses)]
    if space in ("local", "param"):
        memory = program.local if space == "local" else program.parameters
        return lambda lanes, addresses: [(memory, lanes, addresses)]

    def split(lanes: Array, addresses: Array) -> list:
        is_local, is_global = addresses >= LOCAL_WINDOW, addresses < SHARED_WINDOW
        parts = [
            (program.memory, is_global, 0),
            (program.shared, ~is_local & ~is_global, SHARED_WINDOW),
            (program.local, is_local, LOCAL_WINDOW),
        ]
        return [
            (memory, lanes[which], addresses[which] - shift)
            for memory, which, shift in parts
            if which.any()
        ]

    return split


def of_lanes(values: Array, lanes: Array, program: Program) -> Array:
    """The values of some threads; one that holds for all, as often."""
    if values.size < program.threads:
        return np.broadcast_to(values, lanes.shape)
    return values if lanes is program.everyone else values[lanes]


def has_fixed_address(operand: Operand) -> bool:
    return isinstance(operand, Address) and isinstance(operand.base, Symbol)


@instruction("ld")
def load(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    space, kind, count = _shape(modifiers)
    to = program.items(operands[0])
    if len(to) != count:
        raise PtxError(f"{len(to)} registers for {count} elements")
    targets = [program.target(item, program.register_kind(item, kind)) for item in to]
    dtype = dtype_of(kind)
    if space == "param" and has_fixed_address(operands[1]):
        values = [program.parameter(operands[1], dtype, i) for i in range(count)]

        def copy(mask: Mask) -> None:
            for target, value in zip(targets, values, strict=True):
                np.copyto(target, value.astype(target.dtype), where=mask)

        return copy

    addresses, reach = program.addresses(operands[1]), _spaces(program, space)
    size = dtype.itemsize * count

    def run(mask: Mask) -> None:
        taking = all_lanes(mask, program)
        for memory, lanes, places in reach(taking, of_lanes(addresses(), taking, program)):
            offsets = memory.place(places, lanes, size, size, "read")
            values = memory.load(offsets, dtype, count, lanes, "read")
            for target, value in zip(targets, values, strict=True):
                target[slice(None) if lanes is program.everyone else lanes] = value

    return run


@instruction("st")
def store(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    space, kind, count = _shape(modifiers)
    values = [program.source(item, kind) for item in program.items(operands[1])]
    if len(values) != count or space == "param":
        raise PtxError(f"unknown store of {len(values)} elements to .{space}")
    addresses, reach = program.addresses(operands[0]), _spaces(program, space)
    size = dtype_of(kind).itemsize * count

    def run(mask: Mask) -> None:
        taking = all_lanes(mask, program)
        for memory, lanes, places in reach(taking, of_lanes(addresses(), taking, program)):
            offsets = memory.place(places, lanes, size, size, "write")
            stored = np.stack([of_lanes(value, lanes, program) for value in values])
            memory.store(offsets, stored, lanes, "write")

    return run


@instruction("cp")
def copy_asynchronously(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    modifiers.one_of("async")
    form = modifiers.one_of("ca", "cg", "commit_group", "wait_group", "wait_all")
    shared = program.shared
    if form == "commit_group":
        return lambda mask: shared.commit(all_lanes(mask, program))
    if form == "wait_all":
        return lambda mask: shared.wait(all_lanes(mask, program), None)
    if form == "wait_group":
        (left,) = operands
        if not isinstance(left, Immediate):
            raise PtxError("a number of groups that is no constant")
        return lambda mask: shared.wait(all_lanes(mask, program), left.bits)
    return _copy(program, modifiers, operands, form)


def _copy(program: Program, modifiers: Modifiers, operands: Operands, cache: str) -> Step:
    """[shared], [global], bytes {, bytes that are read; zeros follow}."""
    modifiers.one_of("shared", "shared::cta")
    modifiers.one_of("global")
    modifiers.one_of("L2::64B", "L2::128B", "L2::256B", default=None)
    to, source, bytes_ = program.addresses(operands[0]), program.addresses(operands[1]), operands[2]
    if not isinstance(bytes_, Immediate) or bytes_.bits not in (
        (16,) if cache == "cg" else (4, 8, 16)
    ):
        raise PtxError("a copy of a number of bytes that .ca or .cg cannot copy")
    size = bytes_.bits
    read = program.source(operands[3] if len(operands) > 3 else bytes_, "u32")

    def run(mask: Mask) -> None:
        lanes = all_lanes(mask, program)
        places = of_lanes(to(), lanes, program)
        places = program.shared.place(places, lanes, size, size, "asynchronous copy")
        there = of_lanes(read, lanes, program).astype(np.int64)
        content = _read(program.memory, of_lanes(source(), lanes, program), lanes, there, size)
        program.shared.begin_copies(places, content, lanes)

    return run


def _read(memory: Memory, addresses: Array, lanes: Array, there: Array, size: int) -> Array:
    """`there` bytes at each address, and zeros after them: a row of `size` for each lane."""
    what = "asynchronous copy"
    if (there > size).any():
        raise PtxError("a copy reads more bytes than it writes")
    content = np.zeros((len(lanes), size), np.uint8)
    some = there > 0
    if not some.any():
        return content
    offsets = memory.place(addresses[some], lanes[some], there[some], size, what)
    row, byte = np.nonzero(np.arange(size) < there[some][:, None])
    (values,) = memory.load(offsets[row] + byte, np.dtype("u1"), 1, lanes[some][row], what)
    content[np.flatnonzero(some)[row], byte] = values
    return content


@instruction("membar", "fence")
def fence(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Nothing: threads see each other's writes at once here."""
    while modifiers.one_of("gl", "cta", "sys", "gpu", "acq_rel", "sc", default=None):
        pass
    return lambda mask: None

"""Tensor cores: mma.sync and ldmatrix (PTX ISA, "Warp-level matrix instructions").

Where the elements of A (16 x K), B (K x 8), C and D (16 x 8) lie is written as the manual has it,
from groupID = lane / 4, threadID_in_group = lane % 4 and the number i of the element in its lane.

In which order a tensor core adds its products is not published. A program that is not `fused` adds
one after the other in float32, as the SIMT runtime does; else the sum is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ptx.accesses import all_lanes, of_lanes
from ptx.parser import Operand, PtxError
from ptx.program import Array, Mask, Modifiers, Program, WarpStep, instruction

Operands = tuple[Operand, ...]

_LANE = np.arange(32)
_GROUP, _IN_GROUP = _LANE // 4, _LANE % 4


@dataclass(frozen=True)
class Fragment:
    """Row and column of element i of every lane."""

    elements: int
    row: Callable[[int], Array]
    column: Callable[[int], Array]


def _lower_if(is_lower: bool) -> Array:
    return _GROUP + 8 if is_lower else _GROUP


_ACCUMULATOR = Fragment(
    4, lambda i: _lower_if(i >= 2), lambda i: _IN_GROUP * 2 + (i & 1)
)  # .m16n8k*: C and D

# (A, B) by shape and type.
_FRAGMENTS = {
    ("m16n8k4", "tf32"): (
        Fragment(2, lambda i: _lower_if(i == 1), lambda i: _IN_GROUP),
        Fragment(1, lambda i: _IN_GROUP, lambda i: _GROUP),
    ),
    ("m16n8k8", "tf32"): (
        Fragment(4, lambda i: _lower_if(i in (1, 3)), lambda i: _IN_GROUP + 4 * (i >= 2)),
        Fragment(2, lambda i: _IN_GROUP + 4 * (i == 1), lambda i: _GROUP),
    ),
    ("m16n8k8", "bf16"): (
        Fragment(4, lambda i: _lower_if(i >= 2), lambda i: _IN_GROUP * 2 + (i & 1)),
        Fragment(2, lambda i: _IN_GROUP * 2 + i, lambda i: _GROUP),
    ),
    ("m16n8k16", "bf16"): (
        Fragment(
            8,
            lambda i: _lower_if(not (0 <= i < 2 or 4 <= i < 6)),
            lambda i: _IN_GROUP * 2 + (i & 1) + 8 * (i >= 4),
        ),
        Fragment(4, lambda i: _IN_GROUP * 2 + (i & 1) + 8 * (i >= 2), lambda i: _GROUP),
    ),
}


def _element(registers: list[Array], kind: str, i: int) -> Array:
    """Element i of every thread as float32; of tf32 the lowest 13 bits are not looked at."""
    if kind == "tf32":
        return (registers[i] & ~np.uint32(0x1FFF)).view(np.float32)
    word = registers[i // 2]
    return (word & np.uint32(0xFFFF0000) if i % 2 else word << np.uint32(16)).view(np.float32)


def _matrices(shape: tuple[int, int], fragment: Fragment, value: Callable[[int], Array]) -> Array:
    """(warps, rows, columns) from the elements of the lanes."""
    matrices = np.empty((len(value(0)) // 32, *shape), np.float32)
    for i in range(fragment.elements):
        matrices[:, fragment.row(i), fragment.column(i)] = value(i).reshape(-1, 32)
    return matrices


@instruction("mma")
def multiply(program: Program, modifiers: Modifiers, operands: Operands) -> WarpStep:
    """D = A B + C: mma.sync.aligned.SHAPE.row.col.f32.KIND.KIND.f32 of whole warps."""
    modifiers.one_of("sync")
    modifiers.one_of("aligned")
    shape = modifiers.one_of("m16n8k4", "m16n8k8", "m16n8k16")
    for name in ("row", "col", "f32"):
        modifiers.one_of(name)
    kind = modifiers.one_of("tf32", "bf16")
    for name in (kind, "f32"):
        modifiers.one_of(name)
    if (shape, kind) not in _FRAGMENTS or program.threads % 32:
        raise PtxError(f"no product of shape {shape} and type {kind} here")
    of_a, of_b = _FRAGMENTS[shape, kind]
    depth = int(shape[len("m16n8k") :])
    d, a, b, c = (program.items(operand) for operand in operands)
    each = 1 if kind == "tf32" else 2
    if [len(d), len(a), len(b), len(c)] != [4, of_a.elements // each, of_b.elements // each, 4]:
        raise PtxError("a wrong number of registers")
    targets = [program.target(item, "f32") for item in d]
    a_registers, b_registers = ([program.source(item, "b32") for item in x] for x in (a, b))
    accumulators = [program.source(item, "f32") for item in c]

    def run(mask: Mask) -> None:
        lanes = all_lanes(mask, program)
        a_lanes, b_lanes, c_lanes = (
            [of_lanes(register, lanes, program) for register in registers]
            for registers in (a_registers, b_registers, accumulators)
        )
        a_matrix = _matrices((16, depth), of_a, lambda i: _element(a_lanes, kind, i))
        b_matrix = _matrices((depth, 8), of_b, lambda i: _element(b_lanes, kind, i))
        result = _matrices((16, 8), _ACCUMULATOR, lambda i: c_lanes[i])
        if program.fused:
            product = a_matrix.astype(np.float64) @ b_matrix.astype(np.float64)
            result = (result + product).astype(np.float32)
        else:
            for k in range(depth):
                result = result + a_matrix[:, :, k, None] * b_matrix[:, k, None, :]
        for i, target in enumerate(targets):
            target[lanes] = result[:, _ACCUMULATOR.row(i), _ACCUMULATOR.column(i)].ravel()

    return WarpStep(run, None)


@instruction("ldmatrix")
def load_matrices(program: Program, modifiers: Modifiers, operands: Operands) -> WarpStep:
    """8x8 matrices of 16-bit elements: lanes 8 m .. 8 m + 7 give the addresses of matrix m's rows.

    Lane l gets of each two neighbouring elements of row l / 4 (with .trans of column l / 4).
    """
    modifiers.one_of("sync")
    modifiers.one_of("aligned")
    modifiers.one_of("m8n8")
    count = int(modifiers.one_of("x1", "x2", "x4")[1:])
    is_transposed = modifiers.flag("trans")
    modifiers.one_of("shared", "shared::cta")
    modifiers.one_of("b16")
    to = program.items(operands[0])
    if len(to) != count or program.threads % 32:
        raise PtxError("a wrong number of registers, or of threads")
    targets = [program.target(item, "b32") for item in to]
    addresses = program.addresses(operands[1])

    def run(mask: Mask) -> None:
        lanes = all_lanes(mask, program)
        giving = lanes.reshape(-1, 32)[:, : 8 * count].ravel()
        rows = np.broadcast_to(addresses(), program.threads)[giving]
        offsets = program.shared.place(rows, giving, 16, 16, "read of a matrix's row")
        what = "read of a matrix's row"
        halves = program.shared.load(offsets, np.dtype("u2"), 8, giving, what).T
        halves = halves.reshape(-1, count, 8, 8)
        if is_transposed:
            halves = halves.swapaxes(2, 3)
        low, high = (halves[:, :, _GROUP, 2 * _IN_GROUP + i].astype(np.uint32) for i in (0, 1))
        words = low | high << np.uint32(16)
        for matrix, target in enumerate(targets):
            target[lanes] = words[:, matrix].ravel()

    return WarpStep(run, None)

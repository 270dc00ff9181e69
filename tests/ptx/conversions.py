"""cvt and cvta (PTX ISA, 9.7.9)."""

from __future__ import annotations

import numpy as np

from ptx import floats
from ptx.parser import Operand, PtxError
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

_TO_INTEGER = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@instruction("cvt")
def convert(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    if "tf32" in modifiers.left:
        return _to_tf32(program, modifiers, operands)
    if "bf16x2" in modifiers.left:
        return _to_pair(program, modifiers, operands)
    source_kind, kind = modifiers.type(), modifiers.type()
    from_float, to_float = source_kind[0] == "f", kind[0] == "f"
    rounding = modifiers.one_of(*_TO_INTEGER, "rn", default=None)
    flush, saturate = modifiers.flag("ftz"), modifiers.flag("sat")
    dtype = dtype_of(kind)
    # A narrow result fills its register: with zeros, or with the sign.
    kept = program.register_kind(operands[0], kind)
    target = program.target(operands[0], kept)
    source = program.source(operands[1], source_kind)
    if from_float and not to_float and rounding not in _TO_INTEGER:
        raise PtxError("a conversion to an integer without .rni, .rzi, .rmi or .rpi")
    if "f16" in (source_kind, kind) or (rounding == "rn" and from_float and kind == source_kind):
        raise PtxError(f"unknown conversion from .{source_kind} to .{kind}")

    def function(values: Array) -> Array:
        if flush and from_float:
            values = floats.flushed(values)
        if rounding in _TO_INTEGER:
            values = _TO_INTEGER[rounding](values)
        if from_float and not to_float:
            return _within(values, dtype)
        if saturate and not to_float:
            limits = np.iinfo(dtype)
            low, high = (_clipped(limit, values.dtype) for limit in (limits.min, limits.max))
            values = np.clip(values, low, high)
        return values.astype(dtype)

    def run(mask: Mask) -> None:
        value = function(source)
        if saturate and to_float:
            value = floats.saturated(value)
        np.copyto(target, value.astype(target.dtype), where=mask)

    return run


def _clipped(limit: int, dtype: np.dtype) -> int:
    info = np.iinfo(dtype)
    return min(max(limit, info.min), info.max)


def _within(values: Array, dtype: np.dtype) -> Array:
    """Integers from floats that have been rounded: what is beyond gets the nearest, NaN gets 0."""
    limits = np.iinfo(dtype)
    # Of 32 and 64 bits the largest is no float: compare with the power of two above it.
    above = values.astype(np.float64) >= float(limits.max) + (dtype.itemsize < 8)
    below = values.astype(np.float64) < float(limits.min)
    safe = np.where(above | below | np.isnan(values), 0, values).astype(dtype)
    return np.where(above, dtype.type(limits.max), np.where(below, dtype.type(limits.min), safe))


def _to_tf32(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """10 bits of mantissa: to nearest, ties away from zero."""
    modifiers.type("f32")
    modifiers.type("tf32")
    modifiers.one_of("rna")
    target, source = program.target(operands[0], "b32"), program.source(operands[1], "f32")

    def run(mask: Mask) -> None:
        bits = source.view(np.uint32)
        # Half of the last place that is kept, carried by the integer sum into the exponent.
        rounded = (bits + np.uint32(1 << 12)) & ~np.uint32((1 << 13) - 1)
        kept = bits & ~np.uint32((1 << 13) - 1)
        np.copyto(target, np.where(np.isfinite(source), rounded, kept), where=mask)

    return run


def _to_pair(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Two bfloat16 in a register, the first operand in its upper half: to nearest, ties to even."""
    modifiers.type("f32")
    modifiers.type("bf16x2")
    modifiers.one_of("rn")
    target = program.target(operands[0], "b32")
    high, low = (program.source(operand, "f32") for operand in operands[1:3])

    def run(mask: Mask) -> None:
        pair = bfloat16_bits(high) << np.uint32(16) | bfloat16_bits(low)
        np.copyto(target, pair, where=mask)

    return run


def bfloat16_bits(values: Array) -> Array:
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint32(0x7FFF), rounded)


@instruction("cvta")
def convert_address(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Between addresses of a space and generic ones, which are the same for global memory."""
    kind = modifiers.type("u64")
    goes_to = modifiers.flag("to")
    space = modifiers.one_of("global", "shared", "local")
    target, source = program.target(operands[0], kind), program.source(operands[1], kind)
    window = {"global": 0, "shared": SHARED_WINDOW, "local": LOCAL_WINDOW}[space]
    shift = np.uint64(-window % (1 << 64) if goes_to else window)
    return lambda mask: np.add(source, shift, out=target, where=mask)

"""Integers, bits, comparisons, selections (PTX ISA, 9.7.1, 9.7.6, 9.7.8)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ptx import floats
from ptx.parser import Immediate, Operand, PtxError, Vector
from ptx.program import Array, Mask, Modifiers, Program, Step, dtype_of, instruction

Operands = tuple[Operand, ...]


def is_float(modifiers: Modifiers) -> bool:
    return bool(modifiers.left) and modifiers.left[-1] in ("f16", "f32", "f64")


def elementwise(
    program: Program, operands: Operands, kind: str, function: Callable, result: str = ""
) -> Step:
    """A step that applies a function to all operands but the first, which it writes."""
    target = program.target(operands[0], result or kind)
    sources = [program.source(operand, kind) for operand in operands[1:]]
    if isinstance(function, np.ufunc):
        return lambda mask: function(*sources, out=target, where=mask)
    return lambda mask: np.copyto(target, function(*sources), where=mask, casting="unsafe")


def wide(kind: str) -> str:
    return kind[0] + str(2 * int(kind[1:]))


def _by_type(opcode: str, integer: Callable, of_floats: Callable) -> None:
    """An opcode that means another thing for floats."""

    @instruction(opcode)
    def build(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
        chosen = of_floats if is_float(modifiers) else integer
        return chosen(opcode, program, modifiers, operands)


def _sum(opcode: str, program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    kind = modifiers.type("s16", "u16", "s32", "u32", "s64", "u64")
    return elementwise(program, operands, kind, np.add if opcode == "add" else np.subtract)


def _product(opcode: str, program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """mul and mad: the lower or upper half of the product, or all of it."""
    kind = modifiers.type("s16", "u16", "s32", "u32", "s64", "u64")
    part = modifiers.one_of("lo", "hi", "wide")
    result = wide(kind) if part == "wide" else kind
    target = program.target(operands[0], result)
    a, b = (program.source(operand, kind) for operand in operands[1:3])
    c = program.source(operands[3], result) if opcode == "mad" else None
    if part == "lo" or (part == "hi" and kind[1:] == "64"):
        function = np.multiply if part == "lo" else _high_product
    else:
        double, shift = dtype_of(wide(kind)), int(kind[1:])

        def function(a: Array, b: Array) -> Array:
            product = a.astype(double) * b.astype(double)
            return product if part == "wide" else (product >> double.type(shift)).astype(a.dtype)

    def run(mask: Mask) -> None:
        product = function(a, b)
        np.copyto(target, product if c is None else product + c, where=mask)

    return run


def _high_product(a: Array, b: Array) -> Array:
    """The upper 64 of the 128 bits of a product, from four products of halves."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    x, y = np.broadcast_arrays(a.view(np.uint64), b.view(np.uint64))
    xl, xh, yl, yh = x & low, x >> half, y & low, y >> half
    middle = xh * yl + (xl * yl >> half)
    high = xh * yh + (middle >> half) + (((middle & low) + xl * yh) >> half)
    if a.dtype.kind == "i":
        high = high - np.where(a < 0, y, np.uint64(0)) - np.where(b < 0, x, np.uint64(0))
    return high.view(a.dtype)


def _divide(opcode: str, program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Towards zero; by zero, whose result is not specified, all bits are ones."""
    kind = modifiers.type("s16", "u16", "s32", "u32", "s64", "u64")
    dtype = dtype_of(kind)
    unsigned = np.dtype(f"u{dtype.itemsize}")

    def function(a: Array, b: Array) -> Array:
        x, y = np.abs(a).view(unsigned), np.abs(b).view(unsigned)
        safe = np.maximum(y, unsigned.type(1))
        result = (x // safe if opcode == "div" else x % safe).view(dtype)
        if dtype.kind == "i":
            is_negative = (a < 0) != (b < 0) if opcode == "div" else a < 0
            result = np.where(is_negative, -result, result)
        return np.where(b == 0, ~dtype.type(0), result)

    return elementwise(program, operands, kind, function)


def _extremum(opcode: str, program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    kind = modifiers.type("s16", "u16", "s32", "u32", "s64", "u64")
    return elementwise(program, operands, kind, np.minimum if opcode == "min" else np.maximum)


def _sign(opcode: str, program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    kind = modifiers.type("s16", "s32", "s64")
    return elementwise(program, operands, kind, np.negative if opcode == "neg" else np.abs)


_by_type("add", _sum, floats.arithmetic)
_by_type("sub", _sum, floats.arithmetic)
_by_type("mul", _product, floats.arithmetic)
_by_type("mad", _product, lambda _, *rest: floats.multiply_add(*rest))
_by_type("div", _divide, lambda _, *rest: floats.divide(*rest))
_by_type("min", _extremum, floats.extremum)
_by_type("max", _extremum, floats.extremum)
_by_type("neg", _sign, floats.sign)
_by_type("abs", _sign, floats.sign)


@instruction("rem")
def remainder(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    return _divide("rem", program, modifiers, operands)


# --- bits ---


def _bitwise(opcode: str, function: np.ufunc) -> None:
    @instruction(opcode)
    def build(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
        kind = modifiers.type("pred", "b16", "b32", "b64")
        return elementwise(program, operands, kind, function)


_bitwise("and", np.bitwise_and)
_bitwise("or", np.bitwise_or)
_bitwise("xor", np.bitwise_xor)
_bitwise("not", np.invert)


def _shift(opcode: str) -> None:
    @instruction(opcode)
    def build(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
        """By more than there are bits: zero, or the sign everywhere."""
        allowed = ("b16", "b32", "b64") if opcode == "shl" else ()
        kind = modifiers.type(*allowed)
        dtype = dtype_of(kind)
        target = program.target(operands[0], kind)
        value, count = program.source(operands[1], kind), program.source(operands[2], "u32")
        bits = 8 * dtype.itemsize
        shift = np.left_shift if opcode == "shl" else np.right_shift
        if isinstance(operands[2], Immediate) and int(count[0]) < bits:
            fixed = count.astype(dtype)
            return lambda mask: shift(value, fixed, out=target, where=mask)

        def run(mask: Mask) -> None:
            shifted = shift(value, np.minimum(count, bits - 1).astype(dtype))
            beyond = value >> dtype.type(bits - 1) if dtype.kind == "i" else dtype.type(0)
            np.copyto(target, np.where(count >= bits, beyond, shifted), where=mask)

        return run


_shift("shl")
_shift("shr")


@instruction("shf")
def funnel_shift(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """The upper (l) or lower (r) half of two words side by side, shifted together."""
    modifiers.type("b32")
    side, mode = modifiers.one_of("l", "r"), modifiers.one_of("wrap", "clamp")

    def function(low: Array, high: Array, count: Array) -> Array:
        both = high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64)
        by = (count & np.uint32(31) if mode == "wrap" else np.minimum(count, 32)).astype(np.uint64)
        return (both << by) >> np.uint64(32) if side == "l" else both >> by

    return elementwise(program, operands, "b32", function)


@instruction("bfe")
def extract(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    modifiers.type("u32")

    def function(value: Array, begin: Array, length: Array) -> Array:
        begin, length = (
            np.minimum(x & np.uint32(0xFF), 63).astype(np.uint64) for x in (begin, length)
        )
        return value.astype(np.uint64) >> begin & (np.uint64(1) << length) - np.uint64(1)

    return elementwise(program, operands, "u32", function)


@instruction("bfi")
def insert(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    modifiers.type("b32")

    def function(field: Array, into: Array, begin: Array, length: Array) -> Array:
        begin, length = (
            np.minimum(x & np.uint32(0xFF), 63).astype(np.uint64) for x in (begin, length)
        )
        place = ((np.uint64(1) << length) - np.uint64(1)) << begin
        return into & ~place | field.astype(np.uint64) << begin & place

    return elementwise(program, operands, "b32", function)


def _count(opcode: str, function: Callable[[int, int], int]) -> None:
    @instruction(opcode)
    def build(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
        kind = modifiers.type("b32", "b64")
        bits = int(kind[1:])

        def count(values: Array) -> Array:
            return np.array([function(int(value), bits) for value in values], np.uint32)

        target, source = program.target(operands[0], "u32"), program.source(operands[1], kind)
        return lambda mask: np.copyto(target, count(source), where=mask)


_count("popc", lambda value, bits: value.bit_count())
_count("clz", lambda value, bits: bits - value.bit_length())


@instruction("brev")
def reverse(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    modifiers.type("b32")

    def function(values: Array) -> Array:
        return np.array([int(f"{int(value):032b}"[::-1], 2) for value in values], np.uint32)

    return elementwise(program, operands, "b32", function)


@instruction("lop3")
def three_inputs(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Any function of three bits: bit 4a + 2b + c of the table."""
    modifiers.type("b32")
    *operands, table = operands
    if not isinstance(table, Immediate):
        raise PtxError("a table that is no constant")

    def function(*inputs: Array) -> Array:
        result = np.zeros(1, np.uint32)
        for row in range(8):
            if table.bits >> row & 1:
                chosen = [x if row >> 2 - i & 1 else ~x for i, x in enumerate(inputs)]
                result = result | (chosen[0] & chosen[1] & chosen[2])
        return result

    return elementwise(program, tuple(operands), "b32", function)


@instruction("prmt")
def permute(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Four of the eight bytes of two words; with bit 3 of a selector, its sign in all bits."""
    modifiers.type("b32")

    def function(a: Array, b: Array, selectors: Array) -> Array:
        both = b.astype(np.uint64) << np.uint64(32) | a.astype(np.uint64)
        result = np.zeros(1, np.uint64)
        for i in range(4):
            selector = (selectors >> np.uint32(4 * i)).astype(np.uint64)
            byte = both >> (selector & np.uint64(7)) * np.uint64(8) & np.uint64(0xFF)
            signs = np.where(byte & np.uint64(0x80), np.uint64(0xFF), np.uint64(0))
            byte = np.where(selector & np.uint64(8), signs, byte)
            result = result | byte << np.uint64(8 * i)
        return result

    return elementwise(program, operands, "b32", function)


# --- comparisons and selections ---


def _or_nan(compare: np.ufunc) -> Callable[[Array, Array], Array]:
    return lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b)


_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": lambda a, b: (a != b) & ~(np.isnan(a) | np.isnan(b)) if a.dtype.kind == "f" else a != b,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
    "equ": _or_nan(np.equal),
    "neu": np.not_equal,
    "ltu": _or_nan(np.less),
    "leu": _or_nan(np.less_equal),
    "gtu": _or_nan(np.greater),
    "geu": _or_nan(np.greater_equal),
    "num": lambda a, b: ~(np.isnan(a) | np.isnan(b)),
    "nan": lambda a, b: np.isnan(a) | np.isnan(b),
}
_COMBINE = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


@instruction("setp")
def set_predicate(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """p = a ? b, or p|q: the comparison and its opposite; each with another predicate."""
    kind = modifiers.type()
    compare = _COMPARE[modifiers.one_of(*_COMPARE)]
    combine = _COMBINE.get(modifiers.one_of(*_COMBINE, default=None))
    flush = modifiers.flag("ftz")
    targets = [program.target(item, "pred") for item in program.items(operands[0])]
    a, b = (program.source(operand, kind) for operand in operands[1:3])
    other = program.source(operands[3], "pred") if combine else None
    if isinstance(compare, np.ufunc) and not combine and not flush and len(targets) == 1:
        (target,) = targets
        return lambda mask: compare(a, b, out=target, where=mask)

    def run(mask: Mask) -> None:
        result = compare(floats.flushed(a), floats.flushed(b)) if flush else compare(a, b)
        for target, value in zip(targets, (result, ~result), strict=False):
            np.copyto(target, combine(value, other) if combine else value, where=mask)

    return run


@instruction("selp")
def select(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    kind = modifiers.type()
    target = program.target(operands[0], kind)
    a, b = (program.source(operand, kind) for operand in operands[1:3])
    predicate = program.source(operands[3], "pred")
    return lambda mask: np.copyto(target, np.where(predicate, a, b), where=mask)


@instruction("mov")
def move(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    """Also of several registers as one, and of one as several: the first is the lowest part."""
    kind = modifiers.type()
    to, source = operands
    if isinstance(source, Vector):
        return _pack(program, kind, to, source.items)
    if isinstance(to, Vector):
        return _unpack(program, kind, to.items, source)
    target, value = program.target(to, kind), program.source(source, kind)
    return lambda mask: np.copyto(target, value, where=mask)


def _pack(program: Program, kind: str, to: Operand, items: Operands) -> Step:
    part = int(kind[1:]) // len(items)
    target = program.target(to, f"b{kind[1:]}")
    values = [program.source(item, f"b{part}") for item in items]

    def run(mask: Mask) -> None:
        whole = np.zeros(1, target.dtype)
        for i, value in enumerate(values):
            whole = whole | value.astype(target.dtype) << target.dtype.type(part * i)
        np.copyto(target, whole, where=mask)

    return run


def _unpack(program: Program, kind: str, items: Operands, source: Operand) -> Step:
    part = int(kind[1:]) // len(items)
    value = program.source(source, f"b{kind[1:]}")
    targets = [program.target(item, f"b{part}") for item in items]

    def run(mask: Mask) -> None:
        whole = value.copy()  # which may be one of the targets
        for i, target in enumerate(targets):
            np.copyto(target, whole >> value.dtype.type(part * i), where=mask, casting="unsafe")

    return run

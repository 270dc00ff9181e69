"""float32 arithmetic: roundings, multiply-adds, and the functions that the device approximates.

A fused multiply-add is computed exactly, with one rounding (`fused_multiply_add`), or, where a
program is not `fused`, as a product and a sum with a rounding each: nvcc contracts a * b + c, which
is undone exactly in this way, and the result has the bits that the SIMT runtime computes.

Approximations (.approx, .full) are computed in float64 and rounded; the device's own may differ in
the last bits.
"""

from __future__ import annotations

import numpy as np

from ptx.parser import Operand
from ptx.program import Array, Mask, Modifiers, Program, Step, dtype_of, instruction

F32, F64 = np.dtype("f4"), np.dtype("f8")


def exact_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b in float64, and what its rounding has lost (Knuth's TwoSum)."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)
    return total, np.where(np.isfinite(total), lost, 0.0)


def fused_multiply_add(a: Array, b: Array, c: Array, rounding: str = "rn") -> Array:
    """a * b + c of float32, rounded once: to nearest, or down ("rm"), up ("rp"), to zero ("rz").

    The product is exact in float64. The sum is rounded to odd there, so that the second rounding,
    to 24 bits, cannot see that there was a first.
    """
    total, lost = exact_sum(a.astype(F64) * b.astype(F64), np.broadcast_to(c, a.shape).astype(F64))
    if rounding == "rn":
        bits = total.view(np.int64)
        # Towards the lost part, if the last bit is even: away from zero it is the next number.
        step = np.where((lost > 0) == (total > 0), 1, -1)
        odd = np.where((lost != 0) & (bits & 1 == 0), bits + step, bits)
        return odd.view(F64).astype(F32)
    nearest = total.astype(F32)
    error = (total - nearest.astype(F64)) + lost  # its sign is right
    if rounding == "rz":
        too_far = np.where(total > 0, error < 0, error > 0)
        return np.where(too_far, np.nextafter(nearest, np.float32(0)), nearest)
    if rounding == "rm":
        return np.where(error < 0, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.where(error > 0, np.nextafter(nearest, np.float32(np.inf)), nearest)


def flushed(x: Array) -> Array:
    """Subnormal numbers as zeros of their sign (.ftz)."""
    tiny = np.abs(x) < np.finfo(F32).tiny
    return np.where(tiny, np.copysign(np.float32(0), x), x) if tiny.any() else x


def saturated(x: Array) -> Array:
    """Within [0, 1], NaN as 0 (.sat)."""
    return np.where(x > 0, np.minimum(x, x.dtype.type(1)), x.dtype.type(0))


def write(target: Array, mask: Mask, value: Array, flush: bool, saturate: bool) -> None:
    if flush:
        value = flushed(value)
    if saturate:
        value = saturated(value)
    np.copyto(target, value, where=mask)


def float_step(
    program: Program,
    operands: tuple[Operand, ...],
    kind: str,
    function: np.ufunc,
    flush: bool = False,
    saturate: bool = False,
) -> Step:
    """A step that applies a function to all operands but the first, which it writes."""
    target = program.target(operands[0], kind)
    sources = [program.source(operand, kind) for operand in operands[1:]]

    if isinstance(function, np.ufunc) and not flush and not saturate:
        return lambda mask: function(*sources, out=target, where=mask)

    def run(mask: Mask) -> None:
        values = [flushed(source) for source in sources] if flush else sources
        write(target, mask, function(*values), flush, saturate)

    return run


@instruction("fma")
def fma(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
    return multiply_add(program, modifiers, operands)


def multiply_add(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
    kind = modifiers.type("f32")
    rounding = modifiers.one_of("rn", "rz", "rm", "rp")
    flush, saturate = modifiers.flag("ftz"), modifiers.flag("sat")
    if rounding == "rn" and not program.fused:
        if not flush and not saturate:
            return _two_roundings(program, operands)

        def function(a: Array, b: Array, c: Array) -> Array:
            return a * b + c
    else:

        def function(a: Array, b: Array, c: Array) -> Array:
            a, b, c = np.broadcast_arrays(a, b, c)
            return fused_multiply_add(a, b, c, rounding)

    return float_step(program, operands, kind, function, flush, saturate)


def _two_roundings(program: Program, operands: tuple[Operand, ...]) -> Step:
    """The instruction that matters most for the time a matrix product takes."""
    target = program.target(operands[0], "f32")
    a, b, c = (program.source(operand, "f32") for operand in operands[1:])
    product = program.scratch

    def run(mask: Mask) -> None:
        np.multiply(a, b, out=product)
        np.add(product, c, out=target, where=mask)

    return run


def _approximate(function: np.ufunc) -> np.ufunc:
    def rounded(*values: Array) -> Array:
        return function(*(value.astype(F64) for value in values)).astype(F32)

    return rounded


_FUNCTIONS = {
    "rcp": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sqrt": np.sqrt,
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}


def _function(opcode: str) -> None:
    @instruction(opcode)
    def build(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
        kind = modifiers.type("f32")
        rounded = ("rn",) if opcode in ("rcp", "sqrt") else ()
        is_exact = modifiers.one_of("approx", *rounded) == "rn"
        flush = modifiers.flag("ftz")
        function = _FUNCTIONS[opcode]
        if is_exact:  # in float32 numpy rounds both correctly
            return float_step(program, operands, kind, lambda x: function(x).astype(F32), flush)
        return float_step(program, operands, kind, _approximate(function), flush)


for _opcode in _FUNCTIONS:
    _function(_opcode)


def divide(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
    kind = modifiers.type("f32", "f64")
    modifiers.one_of("rn", *(("full", "approx") if kind == "f32" else ()))
    return float_step(program, operands, kind, np.divide, modifiers.flag("ftz"))


def arithmetic(
    opcode: str, program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]
) -> Step:
    """add, sub, mul of floats."""
    kind = modifiers.type("f32", "f64")
    modifiers.one_of("rn", default=None)
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[opcode]
    flush, saturate = modifiers.flag("ftz"), modifiers.flag("sat")
    return float_step(program, operands, kind, function, flush, saturate)


def extremum(
    opcode: str, program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]
) -> Step:
    """min, max of floats: a number rather than NaN, unless .NaN; -0 is less than +0."""
    kind = modifiers.type("f32", "f64")
    flush, spreads_nan = modifiers.flag("ftz"), modifiers.flag("NaN")
    whole = f"u{dtype_of(kind).itemsize}"
    if opcode == "max":
        pick, bits = (np.maximum if spreads_nan else np.fmax), np.bitwise_and
    else:
        pick, bits = (np.minimum if spreads_nan else np.fmin), np.bitwise_or

    def function(a: Array, b: Array) -> Array:
        a, b = np.broadcast_arrays(a, b)
        zeros = bits(np.ascontiguousarray(a).view(whole), np.ascontiguousarray(b).view(whole))
        return np.where(a == b, zeros.view(a.dtype), pick(a, b))

    return float_step(program, operands, kind, function, flush)


def sign(
    opcode: str, program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]
) -> Step:
    """neg, abs of floats."""
    kind = modifiers.type("f32", "f64")
    function = {"neg": np.negative, "abs": np.abs}[opcode]
    return float_step(program, operands, kind, function, modifiers.flag("ftz"))


@instruction("copysign")
def copysign(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
    """The sign of the first, the magnitude of the second."""
    kind = modifiers.type("f32", "f64")
    return float_step(program, operands, kind, lambda a, b: np.copysign(b, a))


@instruction("testp")
def testp(program: Program, modifiers: Modifiers, operands: tuple[Operand, ...]) -> Step:
    kind = modifiers.type("f32", "f64")
    tests = {"finite": np.isfinite, "infinite": np.isinf, "notanumber": np.isnan}
    test = tests[modifiers.one_of(*tests)]
    target, source = program.target(operands[0], "pred"), program.source(operands[1], kind)
    return lambda mask: test(source, out=target, where=mask)

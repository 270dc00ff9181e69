"""What single instructions of the PTX interpreter compute: Python's integers and fractions say."""

from __future__ import annotations

import itertools
import shutil
from fractions import Fraction

import numpy as np
import pytest

from ptx import replay
from ptx.memory import Allocation
from ptx.parser import Module
from ptx.recording import Launch

pytestmark = pytest.mark.skipif(not shutil.which("c++filt"), reason="no c++filt (package binutils)")

DTYPES = {"s": "i", "u": "u", "b": "u", "f": "f"}


def dtype_of(kind):
    return np.dtype(DTYPES[kind[0]] + str(int(kind[1:]) // 8))


def execute(text, result, kinds, inputs, fused=True):
    """An instruction, or several, from registers %a, %b, %c to %d: a thread for each element."""
    names = ["a", "b", "c"][: len(kinds)]
    parameters = ", ".join(f".param .u64 p{name}" for name in [*names, "d"])
    lines = [".reg .b32 %t;", ".reg .b64 %i, %p;", ".reg .pred %q, %r;", "mov.u32 %t, %tid.x;"]
    for name, kind in zip([*names, "d"], [*kinds, result], strict=True):
        lines.append(f".reg .{'f' if kind[0] == 'f' else 'b'}{max(16, int(kind[1:]))} %{name};")
    for name, kind in zip(names, kinds, strict=True):
        lines += [f"ld.param.u64 %p, [p{name}];", f"mul.wide.u32 %i, %t, {int(kind[1:]) // 8};"]
        lines += ["add.s64 %p, %p, %i;", f"ld.global.{kind} %{name}, [%p];"]
    lines += [text, "ld.param.u64 %p, [pd];", f"mul.wide.u32 %i, %t, {int(result[1:]) // 8};"]
    lines += ["add.s64 %p, %p, %i;", f"st.global.{result} [%p], %d;", "ret;"]
    module = Module(f".entry kernel({parameters})\n{{\n" + "\n".join(lines) + "\n}\n")
    count = len(inputs[0])
    arrays = [np.array(x, dtype_of(kind)) for x, kind in zip(inputs, kinds, strict=True)]
    arrays.append(np.zeros(count, dtype_of(result)))
    memory = [
        Allocation((i + 1) << 20, x.view(np.uint8), np.ones(x.nbytes, np.uint8))
        for i, x in enumerate(arrays)
    ]
    arguments = [one.address.to_bytes(8, "little") for one in memory]
    launch = Launch("", "kernel", "", (1, 1, 1), (count, 1, 1), 0, arguments, memory, [])
    contents = replay.run(module, launch, fused).contents
    return contents[-1][0].view(dtype_of(result))


def integers(kind):
    """Corners of a type, and a few in between."""
    bits, signed = int(kind[1:]), kind[0] == "s"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = [low, low + 1, -7, -1, 0, 1, 2, 3, 31, 32, 1000, high // 3, high - 1, high]
    return [value for value in values if low <= value <= high]


def wrapped(value, kind):
    bits = int(kind[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if kind[0] == "s" and value >> bits - 1 else value


def truncated(a, b):
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


def unsigned(value, bits=32):
    return value & (1 << bits) - 1


INTEGER = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "div": lambda a, b: truncated(a, b) if b else None,
    "rem": lambda a, b: a - b * truncated(a, b) if b else None,
    "min": min,
    "max": max,
}


@pytest.mark.parametrize("kind", ["s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("name", [*INTEGER, "mul.hi"])
def test_integers(name, kind):
    a, b = zip(*itertools.product(integers(kind), repeat=2), strict=True)
    found = execute(f"{name}.{kind} %d, %a, %b;", kind, [kind, kind], [a, b])
    bits = int(kind[1:])
    reference = INTEGER.get(name, lambda x, y: x * y >> bits)
    for x, y, result in zip(a, b, found, strict=True):
        expected = reference(x, y)
        assert expected is None or int(result) == wrapped(expected, kind), (x, y)


@pytest.mark.parametrize("kind", ["s32", "u32"])
def test_wide_products(kind):
    wide = kind[0] + "64"
    a, b = zip(*itertools.product(integers(kind), repeat=2), strict=True)
    c = np.arange(len(a)) * (1 << 40)
    found = execute(f"mul.wide.{kind} %d, %a, %b;", wide, [kind, kind], [a, b])
    assert [int(x) for x in found] == [x * y for x, y in zip(a, b, strict=True)]
    found = execute(f"mad.wide.{kind} %d, %a, %b, %c;", wide, [kind, kind, wide], [a, b, c])
    expected = [wrapped(x * y + int(z), wide) for x, y, z in zip(a, b, c, strict=True)]
    assert [int(x) for x in found] == expected


def shifted_right(a, n, bits):
    return a >> min(n, bits)


BITS = {
    "shl.b32 %d, %a, %b;": lambda a, b: a << b if b < 32 else 0,
    "shr.u32 %d, %a, %b;": lambda a, b: a >> b,
    "shr.s32 %d, %a, %b;": lambda a, b: wrapped(a, "s32") >> min(b, 31),
    "and.b32 %d, %a, %b;": lambda a, b: a & b,
    "or.b32 %d, %a, %b;": lambda a, b: a | b,
    "xor.b32 %d, %a, %b;": lambda a, b: a ^ b,
    "not.b32 %d, %a;": lambda a, b: ~a,
    "popc.b32 %d, %a;": lambda a, b: bin(a).count("1"),
    "clz.b32 %d, %a;": lambda a, b: 32 - a.bit_length(),
    "brev.b32 %d, %a;": lambda a, b: int(f"{a:032b}"[::-1], 2),
    "bfe.u32 %d, %a, 5, 11;": lambda a, b: a >> 5 & 0x7FF,
    "bfi.b32 %d, %a, %b, 5, 11;": lambda a, b: b & ~(0x7FF << 5) | (a & 0x7FF) << 5,
    "shf.l.wrap.b32 %d, %a, %b, 7;": lambda a, b: b << 7 | a >> 25,
    "shf.r.wrap.b32 %d, %a, %b, 39;": lambda a, b: (b << 32 | a) >> 7,
    "shf.r.clamp.b32 %d, %a, %b, 39;": lambda a, b: b,
    "prmt.b32 %d, %a, %b, 0x5410;": lambda a, b: a & 0xFFFF | (b & 0xFFFF) << 16,
    "prmt.b32 %d, %a, %b, 0x0123;": lambda a, b: int.from_bytes(a.to_bytes(4, "little"), "big"),
    "lop3.b32 %d, %a, %b, 0x0f0f0f0f, 0xe8;": lambda a, b: a & b | (a | b) & 0x0F0F0F0F,
    "{ .reg .b16 %l, %h; mov.b32 {%l, %h}, %a; mov.b32 %d, {%h, %l}; }": (
        lambda a, b: a >> 16 | (a & 0xFFFF) << 16
    ),
    "cvt.s32.s8 %d, %a;": lambda a, b: wrapped(a, "s8"),
    "cvt.u32.u16 %d, %a;": lambda a, b: a & 0xFFFF,
    "cvt.sat.s8.s32 %d, %a;": lambda a, b: max(-128, min(127, wrapped(a, "s32"))),
    "setp.lt.s32 %q, %a, %b; selp.u32 %d, 7, 9, %q;": (
        lambda a, b: 7 if wrapped(a, "s32") < wrapped(b, "s32") else 9
    ),
    "setp.hi.u32 %q|%r, %a, %b; selp.u32 %d, 7, 9, %r;": lambda a, b: 9 if a > b else 7,
    "setp.gt.u32 %q, %a, 5; setp.le.and.u32 %r, %b, 5, %q; selp.u32 %d, 7, 9, %r;": (
        lambda a, b: 7 if a > 5 and b <= 5 else 9
    ),
    "mov.u32 %d, 1; setp.ne.u32 %q, %a, 0; @!%q bra $no; mov.u32 %d, 2; $no: add.u32 %d, %d, %b;": (
        lambda a, b: (2 if a else 1) + b
    ),
}


@pytest.mark.parametrize("text", BITS)
def test_bits(text):
    a, b = zip(*itertools.product(integers("u32"), repeat=2), strict=True)
    found = execute(text, "u32", ["u32", "u32"], [a, b])
    assert [int(x) for x in found] == [
        unsigned(BITS[text](x, y)) for x, y in zip(a, b, strict=True)
    ]


# --- floats ---

FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1 / 3,
    -2.5,
    3.5,
    1e-40,
    -3e-39,
    1e30,
    -3e38,
    16777217.0,
    2147483648.0,
]
FLOATS += [-2147483648.0, 4294967296.0, 127.5, np.inf, -np.inf, np.nan]


def rounded(value, mode):
    """A fraction as float32: nearest ("rn"), towards zero, down or up."""
    nearest = np.float32(float(value))
    below = (
        nearest if Fraction(float(nearest)) <= value else np.nextafter(nearest, np.float32(-np.inf))
    )
    above = below if Fraction(float(below)) == value else np.nextafter(below, np.float32(np.inf))
    if mode == "rn":
        gaps = value - Fraction(float(below)), Fraction(float(above)) - value
        is_even = below.view(np.uint32) % 2 == 0
        return below if gaps[0] < gaps[1] or (gaps[0] == gaps[1] and is_even) else above
    return {"rm": below, "rp": above, "rz": below if value > 0 else above}[mode]


@pytest.mark.parametrize("mode", ["rn", "rm", "rp", "rz"])
def test_multiply_adds_are_rounded_once(mode):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 900)).astype(np.float32)
    c = (-(a * b) * rng.choice([1, 1 + 2**-23, 0.5, 2**-25, 2**24], 900)).astype(np.float32)
    a[:300], b[:300] = (
        1 + rng.integers(0, 8, 300) * 2.0**-12,
        1 + rng.integers(0, 8, 300) * 2.0**-12,
    )
    c[:300] = rng.choice([2.0**-25, -(2.0**-26), 2.0**-40, 0], 300)  # ties, and just beside them
    found = execute(f"fma.{mode}.f32 %d, %a, %b, %c;", "f32", ["f32"] * 3, [a, b, c])
    for x, y, z, result in zip(*(v.tolist() for v in (a, b, c)), found, strict=True):
        assert result == rounded(Fraction(x) * Fraction(y) + Fraction(z), mode), (x, y, z)


def test_contraction_is_undone_unless_fused():
    a, b, c = np.float32([[1 + 2**-12], [1 + 2**-12], [-1]])
    (twice,) = execute("fma.rn.f32 %d, %a, %b, %c;", "f32", ["f32"] * 3, [a, b, c], fused=False)
    (once,) = execute("fma.rn.f32 %d, %a, %b, %c;", "f32", ["f32"] * 3, [a, b, c], fused=True)
    assert (twice, once) == (2.0**-11, 2.0**-11 + 2.0**-24)


def is_nan(*values):
    return any(np.isnan(value) for value in values)


PAIRS = {
    "min.f32 %d, %a, %b;": lambda a, b: b if is_nan(a) else a if is_nan(b) else min(a, b),
    "max.NaN.f32 %d, %a, %b;": lambda a, b: np.nan if is_nan(a, b) else max(a, b),
    "copysign.f32 %d, %a, %b;": lambda a, b: np.copysign(b, a),
    "add.sat.f32 %d, %a, %b;": lambda a, b: 0 if is_nan(a + b) else min(max(a + b, 0), 1),
    "setp.ltu.f32 %q, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %q;": lambda a, b: not a >= b,
    "setp.ne.f32 %q, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %q;": (
        lambda a, b: a != b and not is_nan(a, b)
    ),
    "setp.neu.f32 %q, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %q;": lambda a, b: a != b,
    "setp.num.f32 %q, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %q;": (
        lambda a, b: not is_nan(a, b)
    ),
    "mul.ftz.f32 %d, %a, 0f3F800000;": lambda a, b: 0 * a if abs(a) < 1e-38 else a,
    "cvt.rmi.f32.f32 %d, %a;": lambda a, b: np.floor(a),
    "cvt.rni.f32.f32 %d, %a;": lambda a, b: np.rint(a),
    "cvt.sat.f32.f32 %d, %a;": lambda a, b: 0 if is_nan(a) else min(max(a, 0), 1),
}


@pytest.mark.parametrize("text", PAIRS)
def test_pairs_of_floats(text):
    a, b = zip(*itertools.product(np.float32(FLOATS), repeat=2), strict=True)
    found = execute(text, "f32", ["f32", "f32"], [a, b])
    with np.errstate(all="ignore"):
        expected = np.float32([PAIRS[text](x, y) for x, y in zip(a, b, strict=True)])
    np.testing.assert_array_equal(found, expected)


def test_zeros_have_an_order():
    a, b = [0.0, -0.0], [-0.0, 0.0]
    least = execute("min.f32 %d, %a, %b;", "f32", ["f32"] * 2, [a, b])
    most = execute("max.f32 %d, %a, %b;", "f32", ["f32"] * 2, [a, b])
    assert np.signbit(least).all()
    assert not np.signbit(most).any()


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
@pytest.mark.parametrize(
    ("mode", "function"), [("rzi", np.trunc), ("rni", np.rint), ("rpi", np.ceil)]
)
def test_integers_of_floats(mode, function, kind):
    """What is too large or small gets the nearest there is, NaN 0."""
    x = np.float32(FLOATS)
    found = execute(f"cvt.{mode}.{kind}.f32 %d, %a;", kind, ["f32"], [x])
    limits = np.iinfo(dtype_of(kind))
    for value, result in zip(x.tolist(), found, strict=True):
        whole = 0 if is_nan(value) else function(value)
        expected = (
            limits.max if whole > limits.max else limits.min if whole < limits.min else int(whole)
        )
        assert int(result) == expected, value


@pytest.mark.parametrize("kind", ["s32", "u32", "s64", "u64"])
def test_floats_of_integers(kind):
    values = [*integers(kind), (1 << 24) + 1, (1 << 24) + 3]
    found = execute(f"cvt.rn.f32.{kind} %d, %a;", "f32", [kind], [values])
    assert found.tolist() == [float(rounded(Fraction(value), "rn")) for value in values]


def test_short_floats():
    """TF32: ties away from zero; bfloat16: ties to even."""
    x = np.float32([1, 1 + 2**-11, 1 + 3 * 2**-11, -1 - 2**-11, 1 + 2**-12, np.inf, 3e38])
    found = execute("cvt.rna.tf32.f32 %d, %a;", "b32", ["f32"], [x]).view(np.float32)
    expected = [1, 1 + 2**-10, 1 + 2**-9, -1 - 2**-10, 1, np.inf]
    np.testing.assert_array_equal(found[:6], np.float32(expected))
    np.testing.assert_allclose(found[6], x[6], rtol=2**-11)
    x = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20, np.inf])
    found = execute("cvt.rn.bf16x2.f32 %d, %a, %a;", "b32", ["f32"], [x])
    assert (found >> 16 == found & 0xFFFF).all()
    expected = [1, 1, 1 + 2**-6, -1 - 2**-7, np.inf]
    np.testing.assert_array_equal((found << 16).view(np.float32), np.float32(expected))


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("ex2.approx.ftz.f32 %d, %a;", np.exp2),
        ("lg2.approx.f32 %d, %a;", np.log2),
        ("rcp.approx.ftz.f32 %d, %a;", lambda x: 1 / x),
        ("rsqrt.approx.f32 %d, %a;", lambda x: 1 / np.sqrt(x)),
        ("sqrt.rn.f32 %d, %a;", np.sqrt),
        ("div.rn.f32 %d, %a, 0f40400000;", lambda x: x / 3),
        ("div.full.f32 %d, 0f40400000, %a;", lambda x: 3 / x),
    ],
)
def test_functions(text, function):
    x = np.float32([0.1, 0.5, 1, 3, 17, 100])
    found = execute(text, "f32", ["f32"], [x])
    np.testing.assert_allclose(found, function(x.astype(np.float64)), rtol=1e-7)

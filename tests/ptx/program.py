"""An entry made ready for blocks of a number of threads: registers, and a step per instruction.

A register is one array with an element for each thread of the block; an operand is a view of it in
the type that the instruction reads, so that a step only calls numpy on arrays that it already has.
Immediates, parameters and the block's index are arrays of one element. A step gets a mask of the
threads that take it (True: all), and writes only their elements.

How the steps are made is registered by opcode (``instruction``); each takes the modifiers that it
knows, and what is left over is an error.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptx.memory import GlobalMemory, LocalMemory, ParameterMemory, SharedMemory
from ptx.parser import (
    Address,
    Entry,
    Immediate,
    Instruction,
    Module,
    Operand,
    PtxError,
    Register,
    Symbol,
    Variable,
    Vector,
)

Array = np.ndarray
Mask = Any  # an array of bool, or True
Step = Callable[[Mask], None]

_POOL = 64  # registers that are allocated at once
#: Where the addresses of shared and local memory lie among generic ones; no allocation comes near.
SHARED_WINDOW, LOCAL_WINDOW = 1 << 60, 1 << 61


@functools.cache
def dtype_of(kind: str) -> np.dtype:
    """The dtype of a type of PTX: "f32", "s64", "b16", "pred"."""
    if kind == "pred":
        return np.dtype(bool)
    bits = int(kind[1:]) if kind[1:].isdigit() else 0
    if kind[0] not in "fsub" or bits not in (8, 16, 32, 64):
        raise PtxError(f"unknown type .{kind}")
    return np.dtype({"f": "f", "s": "i"}.get(kind[0], "u") + str(bits // 8))


class Modifiers:
    """What stands after the opcode, taken from the left (the types from the right)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.left = list(names)

    def flag(self, name: str) -> bool:
        return self.one_of(name, default=None) is not None

    def one_of(self, *names: str, default: str | None = "") -> str | None:
        """The first of the rest if it is one of these, else the default; "" stands for an error."""
        if self.left and self.left[0] in names:
            return self.left.pop(0)
        if default == "":
            raise PtxError(f"expected one of .{', .'.join(names)}")
        return default

    def type(self, *allowed: str) -> str:
        kind = self.left.pop() if self.left else ""
        if allowed and kind not in allowed:
            raise PtxError(f"type .{kind} instead of .{', .'.join(allowed)}")
        return kind

    def end(self) -> None:
        if self.left:
            raise PtxError(f"unknown modifier .{self.left[0]}")


_BUILDERS: dict[str, Callable[[Program, Modifiers, tuple[Operand, ...]], Step]] = {}


def instruction(*opcodes: str) -> Callable:
    """Registers a function (program, modifiers, operands) that makes the step of an instruction."""

    def register(build: Callable) -> Callable:
        for opcode in opcodes:
            _BUILDERS[opcode] = build
        return build

    return register


@dataclass
class Branch:
    target: int


class Exit:
    pass


@dataclass
class Barrier:
    """All threads of the block meet; `release` then gives each what they computed together."""

    release: Step | None = None


@dataclass
class WarpStep:
    """Taken by whole warps, or by the lanes of `lanes` (an array of masks); `name` for findings."""

    run: Step
    lanes: Array | None


@dataclass
class Line:
    """An instruction of a program."""

    action: Step | Branch | Exit | Barrier | WarpStep
    guard: Array | None
    is_guard_negated: bool
    text: str

    @property
    def is_control(self) -> bool:
        return isinstance(self.action, Branch | Exit | Barrier | WarpStep)


class Program:
    """`fused`: a multiply-add is rounded once, as on the device; else as if nvcc had contracted
    nothing, which is what the SIMT runtime computes. See floats.py."""

    def __init__(
        self, module: Module, entry: Entry, block: tuple[int, int, int], fused: bool
    ) -> None:
        self.entry, self.block, self.fused = entry, block, fused
        self.threads = math.prod(block)
        self.memory = GlobalMemory([])
        self.everyone = np.arange(self.threads)
        self.scratch = np.empty(self.threads, np.float32)  # for what a step computes on its way
        self._registers: dict[str, Array] = {}
        self._pools: dict[np.dtype, list[Array]] = {}  # (_POOL, threads): where registers lie
        self._used: dict[np.dtype, int] = {}  # registers of each type so far
        self._specials = self._special_registers()
        self._parameters = _placed(entry.parameters)
        self.parameters = ParameterMemory(self._parameters.pop(""))
        fixed = {name: v for name, v in module.shared.items() if name not in module.dynamic}
        self._symbols = _placed({**fixed, **entry.body.shared})
        self.fixed_shared = self._symbols.pop("")
        alignment = max([16] + [module.shared[name].alignment for name in module.dynamic])
        self.dynamic_begin = -(-self.fixed_shared // alignment) * alignment
        local = _placed(entry.body.local)
        self.shared = SharedMemory(self.threads)
        self.local = LocalMemory(self.threads, local.pop(""))
        self._symbols |= dict.fromkeys(module.dynamic, self.dynamic_begin)
        self._symbols |= local | self._parameters
        self.lines = [self._line(one) for one in entry.body.instructions]
        self._straight: dict[int, list[Step]] = {}

    # --- a launch ---

    def load(self, arguments: list[bytes], memory: GlobalMemory, grid: tuple[int, ...]) -> None:
        """Puts in place what a launch brings."""
        sizes = [variable.bytes for variable in self.entry.parameters.values()]
        if [len(argument) for argument in arguments] != sizes:
            given = [len(argument) for argument in arguments]
            raise PtxError(f"parameters of {sizes} bytes, arguments of {given}")
        for name, argument in zip(self.entry.parameters, arguments, strict=True):
            begin = self._parameters[name]
            self.parameters.bytes[begin : begin + len(argument)] = np.frombuffer(argument, np.uint8)
        self.memory = memory
        for axis, count in zip("xyz", grid, strict=True):
            self._specials[f"%nctaid.{axis}"][0] = count

    def begin_block(self, index: tuple[int, ...], dynamic_bytes: int) -> None:
        for axis, number in zip("xyz", index, strict=True):
            self._specials[f"%ctaid.{axis}"][0] = number
        for dtype, pools in self._pools.items():
            for pool in pools:
                pool.view(np.uint8).fill(0 if dtype.kind == "b" else 0xCD)
        self.local.readable.fill(0)
        self.shared.begin(self.fixed_shared, self.dynamic_begin, dynamic_bytes)

    def straight(self, place: int) -> list[Step]:
        """The steps from a place on that all who are there take one after the other."""
        found = self._straight.get(place)
        if found is None:
            end = place
            while not (self.lines[end].guard is not None or self.lines[end].is_control):
                end += 1
            found = self._straight[place] = [line.action for line in self.lines[place:end]]
        return found

    # --- operands, for the functions that make steps ---

    def source(self, operand: Operand, kind: str) -> Array:
        """The values of an operand: an element for each thread, or one for all."""
        dtype = dtype_of(kind)
        if isinstance(operand, Immediate):
            if operand.float_bytes:
                bits = np.array([operand.bits], f"u{operand.float_bytes}")
                if bits.itemsize != dtype.itemsize:
                    raise PtxError(f"a constant of {8 * bits.itemsize} bits as .{kind}")
                return bits.view(dtype)
            if dtype.kind == "f":
                raise PtxError(f"an integer constant as .{kind}")
            if dtype.kind == "b":
                return np.array([operand.bits != 0])
            mask = (1 << 8 * dtype.itemsize) - 1
            return np.array([operand.bits & mask], f"u{dtype.itemsize}").view(dtype)
        if isinstance(operand, Symbol):
            return np.array([self.address_of(operand)], dtype)
        if not isinstance(operand, Register):
            raise PtxError(f"an operand {operand} as a value")
        if operand.type == "special":
            if dtype.itemsize != 4:
                raise PtxError(f"special register {operand.name} as .{kind}")
            return self._specials[operand.name].view(dtype)
        return self._view(operand, dtype)

    def target(self, operand: Operand, kind: str) -> Array:
        """The register that an instruction writes; "_" is one that nobody reads."""
        if operand == Symbol("_"):
            return np.empty(self.threads, dtype_of(kind))
        if not isinstance(operand, Register) or operand.type == "special":
            raise PtxError(f"{operand} cannot be written")
        return self._view(operand, dtype_of(kind))

    def items(self, operand: Operand) -> tuple[Operand, ...]:
        return operand.items if isinstance(operand, Vector) else (operand,)

    def register_kind(self, operand: Operand, kind: str) -> str:
        """The type of a register in which a value of a narrower type is kept."""
        if isinstance(operand, Register) and operand.type not in ("special", "pred"):
            bits = max(int(operand.type[1:]), int(kind[1:]))
            return kind[0] + str(bits)
        return kind

    def address_of(self, symbol: Symbol) -> int:
        if symbol.name not in self._symbols:
            raise PtxError(f"unknown symbol {symbol.name}")
        return self._symbols[symbol.name]

    def addresses(self, operand: Operand) -> Callable[[], Array]:
        """What an address operand says: a number for each thread, of 64 bits."""
        if not isinstance(operand, Address):
            raise PtxError(f"{operand} is no address")
        kind = "u64"
        if isinstance(operand.base, Register) and operand.base.type in ("b32", "u32", "s32"):
            kind = "u32"
        base, offset = self.source(operand.base, kind), operand.offset
        return lambda: base.astype(np.int64) + offset

    def parameter(self, operand: Operand, dtype: np.dtype, index: int) -> Array:
        """One element (which changes with the launch) of the parameter at a fixed address."""
        name, inside = operand.base.name, operand.offset + index * dtype.itemsize
        variable = self.entry.parameters.get(name)
        if variable is None or inside < 0 or inside + dtype.itemsize > variable.bytes:
            raise PtxError(f"no parameter at {name}+{inside}")
        begin = self._parameters[name] + inside
        return self.parameters.bytes[begin : begin + dtype.itemsize].view(dtype)

    # --- inside ---

    def _view(self, register: Register, dtype: np.dtype) -> Array:
        stored = dtype_of(register.type)
        array = self._registers.get(register.name)
        if array is None:
            array = self._registers[register.name] = self._new_register(stored)
        if (stored.kind == "b") != (dtype.kind == "b") or dtype.itemsize > stored.itemsize:
            raise PtxError(f"register {register.name} of .{register.type} as {dtype}")
        # Of a wider register the lowest bytes, which come first.
        return array.view(dtype)[:: stored.itemsize // dtype.itemsize]

    def _new_register(self, dtype: np.dtype) -> Array:
        pools = self._pools.setdefault(dtype, [])
        used = self._used.get(dtype, 0)
        self._used[dtype] = used + 1
        if used == _POOL * len(pools):
            pools.append(np.zeros((_POOL, self.threads), dtype))
        return pools[-1][used % _POOL]

    def _special_registers(self) -> dict[str, Array]:
        thread = np.arange(self.threads, dtype=np.uint32)
        x, y, _ = map(np.uint32, self.block)
        specials = {"%tid.x": thread % x, "%tid.y": thread // x % y, "%tid.z": thread // (x * y)}
        specials |= {"%laneid": thread % np.uint32(32), "%warpid": thread // np.uint32(32)}
        for axis, size in zip("xyz", self.block, strict=True):
            specials[f"%ntid.{axis}"] = np.array([size], np.uint32)
            specials[f"%ctaid.{axis}"] = np.zeros(1, np.uint32)
            specials[f"%nctaid.{axis}"] = np.zeros(1, np.uint32)
        return specials

    def _line(self, one: Instruction) -> Line:
        try:
            build = _BUILDERS.get(one.opcode)
            if build is None:
                raise PtxError(f"unknown instruction {one.opcode}")
            modifiers = Modifiers(one.modifiers)
            action = build(self, modifiers, one.operands)
            modifiers.end()
            guard = self.source(one.guard, "pred") if one.guard else None
        except (PtxError, ValueError, IndexError) as error:
            raise PtxError(f"{error}, in: {one.text}") from error
        return Line(action, guard, one.is_guard_negated, one.text)


def _placed(variables: dict[str, Variable]) -> dict[str, int]:
    """Where variables lie one after the other; under "" the end."""
    places, end = {}, 0
    for name, variable in variables.items():
        begin = -(-end // variable.alignment) * variable.alignment
        places[name], end = begin, begin + variable.bytes
    return {**places, "": end}

"""PTX text as entries, instructions and operands (PTX ISA, chapters 4 and 5).

Read is what nvcc writes for kernels, inline assembly included. Anything else, such as functions and
variables in global or constant memory, is an error that quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property


class PtxError(Exception):
    """PTX that the interpreter does not know."""


@dataclass(frozen=True)
class Register:
    name: str
    type: str  # "pred", "b32", "f32", ..; "special" for %tid.x and its kin


@dataclass(frozen=True)
class Immediate:
    bits: int  # of a float its bits, of an integer its value
    float_bytes: int = 0  # 4 or 8; 0: an integer


@dataclass(frozen=True)
class Symbol:
    name: str


@dataclass(frozen=True)
class Address:
    base: Register | Symbol | Immediate
    offset: int = 0


@dataclass(frozen=True)
class Vector:
    """{a, b, ..}, or a|b, the two results of one instruction."""

    items: tuple[Operand, ...]


Operand = Register | Immediate | Symbol | Address | Vector


@dataclass(frozen=True)
class Instruction:
    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    is_guard_negated: bool
    text: str


@dataclass
class Variable:
    """Bytes of shared or local memory, or of the parameters."""

    bytes: int
    alignment: int


_STATEMENT = re.compile(r"\s*(?:([{}])|([\w$]+)\s*:(?!:)|([^;{}]*(?:\{[^{};]*\}[^;{}]*)*);)")
_GUARD = re.compile(r"@(!?)([%\w]+)\s+")
_OPERAND = re.compile(r"\s*(\{[^}]*\}|\[[^\]]*\]|[^,\s]+)\s*(?:,|$)")
_ADDRESS = re.compile(r"([%\w$.]+)\s*(?:\+\s*(-?\w+))?$")
_VARIABLE = re.compile(r"(?:\.align (\d+)\s+)?\.[busf](\d+)\s+([\w$]+)(?:\[(\d*)\])?$")
_SPECIAL = re.compile(r"%(?:n?tid|n?ctaid)\.[xyz]$|%(?:laneid|warpid)$")
_ENTRY = re.compile(
    r"(?:\.(?:visible|weak)\s+)?\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)(\{.*?^\})", re.S | re.M
)


def _variable(text: str) -> tuple[str, Variable]:
    found = _VARIABLE.match(" ".join(text.split()))
    if not found:
        raise PtxError(f"unknown declaration: {text.strip()}")
    alignment, bits, name, count = found.groups()
    size = int(bits) // 8
    number = 1 if count is None else int(count or 0)
    return name, Variable(size * number, int(alignment or size))


@dataclass
class _Scope:
    """Registers that one pair of braces declares: %r<48> as 48 names, others by name."""

    suffix: str
    names: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, tuple[int, str]] = field(default_factory=dict)

    def declare(self, text: str) -> None:
        kind, *names = text.replace(",", " ").split()
        for name in names:
            many = re.match(r"(.*)<(\d+)>$", name)
            if many:
                self.ranges[many[1]] = (int(many[2]), kind[1:])
            else:
                self.names[name] = kind[1:]

    def find(self, name: str) -> Register | None:
        kind = self.names.get(name)
        if kind is None:
            stem = name.rstrip("0123456789")
            number, range_kind = self.ranges.get(stem, (0, ""))
            if stem != name and int(name[len(stem) :]) < number:
                kind = range_kind
        return Register(name + self.suffix, kind) if kind else None


class _Body:
    """Reads what stands between the braces of an entry."""

    def __init__(self, text: str) -> None:
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.shared: dict[str, Variable] = {}
        self.local: dict[str, Variable] = {}
        self._scopes: list[_Scope] = []
        self._count = 0
        for statement in self._statements(text):
            if statement.startswith("."):
                self._directive(statement)
            else:
                self.instructions.append(self._instruction(statement))

    def _statements(self, text: str) -> Iterator[str]:
        text, position = text.rstrip(), 0
        while position < len(text):
            found = _STATEMENT.match(text, position)
            if not found:
                raise PtxError(f"cannot read: {text[position : position + 80].strip()!r}")
            position = found.end()
            brace, label, statement = found.groups()
            if brace == "{":
                self._scopes.append(_Scope(f"'{self._count}" if self._count else ""))
                self._count += 1
            elif brace:
                self._scopes.pop()
            elif label:
                self.labels[label] = len(self.instructions)
            elif statement.strip():
                yield " ".join(statement.split())

    def _directive(self, text: str) -> None:
        kind, _, rest = text.partition(" ")
        if kind == ".reg":
            self._scopes[-1].declare(rest)
        elif kind in (".shared", ".local"):
            name, variable = _variable(rest)
            (self.shared if kind == ".shared" else self.local)[name] = variable
        elif kind != ".pragma":
            raise PtxError(f"unknown directive: {text}")

    def _instruction(self, text: str) -> Instruction:
        guard = _GUARD.match(text)
        rest = text[guard.end() :] if guard else text
        name, _, operands = rest.partition(" ")
        opcode, *modifiers = name.split(".")
        return Instruction(
            opcode,
            tuple(modifiers),
            tuple(self._operands(operands, text)),
            self._register(guard[2], text) if guard else None,
            bool(guard and guard[1]),
            text,
        )

    def _operands(self, text: str, instruction: str) -> Iterator[Operand]:
        position = 0
        while position < len(text):
            found = _OPERAND.match(text, position)
            if not found:
                raise PtxError(f"cannot read the operands of: {instruction}")
            position = found.end()
            yield self._operand(found[1], instruction)

    def _operand(self, text: str, instruction: str) -> Operand:
        if text[0] == "{":
            items = text[1:-1].split(",")
            return Vector(tuple(self._operand(item.strip(), instruction) for item in items))
        if "|" in text:
            return Vector(tuple(self._operand(item, instruction) for item in text.split("|")))
        if text[0] == "[":
            found = _ADDRESS.match(text[1:-1].strip())
            if not found:
                raise PtxError(f"unknown address {text} in: {instruction}")
            return Address(self._operand(found[1], instruction), int(found[2] or "0", 0))
        if re.match(r"-?\d", text):
            return _immediate(text, instruction)
        if text[0] == "%" or self._find(text) is not None:
            return self._register(text, instruction)
        if re.fullmatch(r"[\w$]+", text):
            return Symbol(text)
        raise PtxError(f"unknown operand {text} in: {instruction}")

    def _find(self, name: str) -> Register | None:
        for scope in reversed(self._scopes):
            register = scope.find(name)
            if register:
                return register
        return None

    def _register(self, name: str, instruction: str) -> Register:
        register = self._find(name)
        if register is None:
            if not _SPECIAL.match(name):
                raise PtxError(f"unknown register {name} in: {instruction}")
            register = Register(name, "special")
        return register


def _immediate(text: str, instruction: str) -> Immediate:
    if text[:2] in ("0f", "0F", "0d", "0D"):
        return Immediate(int(text[2:], 16), (len(text) - 2) // 2)
    try:
        return Immediate(int(text.rstrip("U"), 0))
    except ValueError:
        raise PtxError(f"unknown constant {text} in: {instruction}") from None


class Entry:
    """A kernel. Its body is read when it is first asked for."""

    def __init__(self, name: str, parameters: str, directives: str, body: str) -> None:
        self.name = name
        self.parameters = dict(_variable(_without_hints(text)) for text in _split(parameters))
        self.most_threads = 1024
        self._body_text = body
        for line in filter(None, map(str.strip, directives.splitlines())):
            kind, *numbers = line.replace(",", " ").split()
            if kind in (".maxntid", ".reqntid"):
                self.most_threads = 1
                for number in numbers:
                    self.most_threads *= int(number)
            elif kind not in (".minnctapersm", ".maxnreg"):
                raise PtxError(f"unknown directive: {line}")

    @cached_property
    def body(self) -> _Body:
        return _Body(self._body_text)


def _split(parameters: str) -> list[str]:
    return [text for text in parameters.split(",") if text.strip()]


def _without_hints(parameter: str) -> str:
    return re.sub(r"\.param|\.ptr(\s+\.global)?(\s+\.align \d+)?", "", parameter)


class Module:
    """The entries of a PTX file, and its dynamic shared memory."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)
        self.entries = {found[1]: Entry(*found.groups()) for found in _ENTRY.finditer(text)}
        self.shared: dict[str, Variable] = {}
        self.dynamic: set[str] = set()  # names of the memory whose size the launch gives
        rest = re.sub(
            r"^\s*\.(version|target|address_size)\s.*$", "", _ENTRY.sub("", text), flags=re.M
        )
        for statement in filter(None, (" ".join(part.split()) for part in rest.split(";"))):
            kind, _, declaration = statement.removeprefix(".extern ").partition(" ")
            if kind != ".shared":
                raise PtxError(f"unknown statement: {statement}")
            name, variable = _variable(declaration)
            self.shared[name] = variable
            if statement.startswith(".extern"):
                self.dynamic.add(name)

"""Branches and the end of a thread (PTX ISA, 9.7.12)."""

from __future__ import annotations

from ptx.memory import KernelError
from ptx.parser import Operand, PtxError, Symbol
from ptx.program import Branch, Exit, Mask, Modifiers, Program, Step, instruction

Operands = tuple[Operand, ...]


@instruction("bra")
def branch(program: Program, modifiers: Modifiers, operands: Operands) -> Branch:
    modifiers.flag("uni")
    (target,) = operands
    labels = program.entry.body.labels
    if not isinstance(target, Symbol) or target.name not in labels:
        raise PtxError(f"no label {target}")
    return Branch(labels[target.name])


@instruction("ret", "exit")
def end(program: Program, modifiers: Modifiers, operands: Operands) -> Exit:
    modifiers.flag("uni")
    return Exit()


@instruction("trap")
def trap(program: Program, modifiers: Modifiers, operands: Operands) -> Step:
    def run(mask: Mask) -> None:
        raise KernelError("kernel-failure", "the kernel stops itself")

    return run

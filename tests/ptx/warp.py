"""What the lanes of a warp do together: shuffles, votes, barriers (PTX ISA, 9.7.9, 9.7.13)."""

from __future__ import annotations

import numpy as np

from ptx.memory import KernelError
from ptx.parser import Immediate, Operand, PtxError
from ptx.program import Array, Barrier, Mask, Modifiers, Program, WarpStep, instruction

Operands = tuple[Operand, ...]
WARP = 32


def every_warp(values: Array, threads: int) -> Array:
    """(warps, 32): of all threads of the block; lanes that it lacks in its last warp are 0."""
    padded = np.zeros(-(-threads // WARP) * WARP, values.dtype)
    padded[:threads] = values
    return padded.reshape(-1, WARP)


@instruction("shfl")
def shuffle(program: Program, modifiers: Modifiers, operands: Operands) -> WarpStep:
    """Lane l takes the value of another lane j, if that lies within its segment:

    c holds the segment (its upper half: bits that stay l's own) and the last lane (its lower half).
    """
    modifiers.type("b32")
    modifiers.one_of("sync")
    mode = modifiers.one_of("up", "down", "bfly", "idx")
    to, *inputs = operands
    targets = program.items(to)
    target = program.target(targets[0], "b32")
    moved = program.target(targets[1], "pred") if len(targets) > 1 else None
    value, step, control, lanes = (program.source(operand, "u32") for operand in inputs)
    threads = program.threads
    lane = np.arange(threads) % WARP

    def run(mask: Mask) -> None:
        b, c = step.astype(np.int64) & 31, control.astype(np.int64)
        segment, clamp = c >> 8 & 31, c & 31
        first = lane & segment
        last = first | clamp & ~segment
        from_lane = {
            "up": lane - b,
            "down": lane + b,
            "bfly": lane ^ b,
            "idx": first | b & ~segment & 31,
        }[mode]
        is_inside = from_lane >= last if mode == "up" else from_lane <= last
        chosen = np.where(is_inside, from_lane, lane)
        allowed = np.broadcast_to(lanes, threads).astype(np.int64) >> chosen & 1
        outside = (allowed == 0) & mask
        if outside.any():
            text = "a shuffle from a lane outside its mask"
            raise KernelError("inactive-lane", text, int(np.argmax(outside)))
        source = np.arange(threads) - lane + chosen
        taken = np.broadcast_to(value, threads)[np.minimum(source, threads - 1)]
        np.copyto(target, taken, where=mask)
        if moved is not None:
            np.copyto(moved, is_inside, where=mask)

    return WarpStep(run, lanes)


@instruction("vote")
def vote(program: Program, modifiers: Modifiers, operands: Operands) -> WarpStep:
    result = modifiers.type("pred", "b32")
    modifiers.one_of("sync")
    mode = modifiers.one_of(*(("ballot",) if result == "b32" else ("any", "all", "uni")))
    target = program.target(operands[0], result)
    given, lanes = program.source(operands[1], "pred"), program.source(operands[2], "u32")
    threads = program.threads

    def run(mask: Mask) -> None:
        members = np.broadcast_to(mask, threads)
        yes = every_warp(np.broadcast_to(given, threads) & members, threads)
        no = every_warp(~np.broadcast_to(given, threads) & members, threads)
        if mode == "ballot":
            answer = (yes.astype(np.uint64) << np.arange(WARP, dtype=np.uint64)).sum(1)
        else:
            some, none = yes.any(1), ~no.any(1)
            answer = {"any": some, "all": none, "uni": none | ~some}[mode]
        for_lanes = np.repeat(answer.astype(target.dtype), WARP)[:threads]
        np.copyto(target, for_lanes, where=mask)

    return WarpStep(run, lanes)


# --- barriers of the block ---


@instruction("bar", "barrier")
def barrier(program: Program, modifiers: Modifiers, operands: Operands) -> Barrier | WarpStep:
    if modifiers.flag("warp"):
        modifiers.one_of("sync")
        return WarpStep(lambda mask: None, program.source(operands[0], "u32"))
    modifiers.flag("cta")
    if modifiers.one_of("sync", "red") == "sync":
        modifiers.flag("aligned")
        if len(operands) != 1:
            raise PtxError("a barrier of a part of the block")
        _only_barrier_0(operands[0])
        return Barrier()
    return _reduction(program, modifiers, operands)


def _only_barrier_0(number: Operand) -> None:
    if number != Immediate(0):
        raise PtxError("a barrier that is not the first")


def _reduction(program: Program, modifiers: Modifiers, operands: Operands) -> Barrier:
    """Every thread learns in how many, in any or in all a predicate holds."""
    result = modifiers.type("pred", "u32")
    mode = modifiers.one_of(*(("popc",) if result == "u32" else ("and", "or")))
    modifiers.flag("aligned")
    to, number, predicate = operands
    _only_barrier_0(number)
    target, given = program.target(to, result), program.source(predicate, "pred")
    reduce = {"popc": np.count_nonzero, "and": np.all, "or": np.any}[mode]

    def release(mask: Mask) -> None:
        result = reduce(np.broadcast_to(given, program.threads)[mask])
        np.copyto(target, target.dtype.type(result), where=mask)

    return Barrier(release)

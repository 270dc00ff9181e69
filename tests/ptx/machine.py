"""The threads of a block: who goes on, and who waits for whom.

Every thread has its place in the program. Those at the lowest place go on together until they meet
others, part, or have to wait, so that threads that parted come together again where their paths do.
Warp operations are taken when all lanes that they need are there, barriers when all threads are.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ptx.memory import KernelError
from ptx.program import Array, Barrier, Branch, Exit, Mask, Program, WarpStep

WARP = 32
MOST_STEPS = 5_000_000  # of a block: a kernel that takes more does not end


class State(IntEnum):
    RUNS = 0
    AT_BARRIER = 1
    IN_WARP_STEP = 2
    ENDED = 3


class Block:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._lines = program.lines
        self._place = np.zeros(program.threads, np.int64)
        self._state = np.full(program.threads, State.RUNS, np.uint8)
        self._at: int | None = None  # the place of the instruction that is being taken
        self.thread_instructions = 0

    def run(self) -> None:
        try:
            self._run()
        except KernelError as finding:
            if self._at is not None:
                finding.where += f", in: {self._lines[self._at].text}"
            raise

    def _run(self) -> None:
        end = len(self._lines)
        steps = 0
        while not (self._state == State.ENDED).all():
            places = np.where(self._state == State.RUNS, self._place, end)
            first = int(places.min())
            if first == end:
                self._release_barrier()
                continue
            active = places == first
            limit = int(places[~active].min(initial=end))
            steps += self._advance(first, active, limit)
            if steps > MOST_STEPS:
                raise KernelError("deadlock", "the kernel does not end")
        self._at = None
        self._program.shared.end()

    def _advance(self, place: int, active: Array, limit: int) -> int:
        """Lets threads that are at one place go on together. Returns the number of steps."""
        mask: Mask = True if active.all() else active
        number, steps = int(active.sum()), 0
        while place < limit:
            straight = self._program.straight(place)
            if straight:
                straight = straight[: limit - place]
                for self._at, step in enumerate(straight, place):
                    step(mask)
                place += len(straight)
                steps += len(straight)
                continue
            line, self._at = self._lines[place], place
            steps += 1
            taken = mask
            if line.guard is not None:
                taken = (~line.guard if line.is_guard_negated else line.guard) & mask
            action = line.action
            if isinstance(action, Branch):
                if line.guard is None or (count := int(np.count_nonzero(taken))) == number:
                    place = action.target
                    continue
                if count:
                    self._place[active] = place + 1
                    self._place[taken] = action.target
                    break
            elif isinstance(action, Exit):
                self._place[active] = place + 1
                self._state[active & taken] = State.ENDED
                break
            elif isinstance(action, Barrier):
                if line.guard is not None and np.count_nonzero(taken) != number:
                    self._place[active] = place + 1
                    self._place[taken] = place
                    self._state[taken] = State.AT_BARRIER
                else:
                    self._place[active] = place
                    self._state[active] = State.AT_BARRIER
                break
            elif isinstance(action, WarpStep):
                if not self._take_together(action, place, active, active & taken):
                    break
            elif line.guard is None or taken.any():
                action(taken)
            place += 1
        else:
            self._place[active] = place
        self.thread_instructions += steps * number
        return steps

    # --- barriers ---

    def _release_barrier(self) -> None:
        """Nobody can go on: all have come to one barrier, or something is wrong."""
        waits = self._state == State.AT_BARRIER
        stuck = self._state == State.IN_WARP_STEP
        if stuck.any():
            thread = int(np.argmax(stuck))
            self._at = int(self._place[thread])
            text = "a warp operation that some lanes of its mask never come to"
            raise KernelError("partial-warp", text, thread)
        places = np.unique(self._place[waits])
        self._at = int(places[0])
        if len(places) > 1:
            other = self._lines[int(places[1])].text
            raise KernelError(
                "divergent-barrier", f"threads wait at different barriers, also at {other}"
            )
        if not waits.all():
            ended = int(np.argmax(self._state == State.ENDED))
            raise KernelError(
                "early-exit", "a thread has ended before a barrier of the others", ended
            )
        release = self._lines[self._at].action.release
        if release is not None:
            release(waits)
        self._place[waits] += 1
        self._state[waits] = State.RUNS

    # --- warp operations ---

    def _take_together(self, step: WarpStep, place: int, active: Array, taken: Array) -> bool:
        """Runs the operation for the warps that are complete, lets the others wait here.

        Returns whether it was for all of the active threads, and nobody else, that it was run.
        """
        if taken.all() and (step.lanes is None or (step.lanes == 0xFFFFFFFF).all()):
            step.run(True)
            return True
        here = taken | ((self._state == State.IN_WARP_STEP) & (self._place == place))
        ready = here & self._is_complete(step, here)
        if ready.any():
            step.run(ready)
        waits = here & ~ready
        self._state[ready] = State.RUNS
        self._place[active | ready] = place + 1
        self._place[waits] = place
        self._state[waits] = State.IN_WARP_STEP
        return not waits.any() and not (ready & ~active).any()

    def _is_complete(self, step: WarpStep, here: Array) -> Array:
        """Of each thread that is there, whether the lanes that it needs are as well."""
        threads = self._program.threads
        bits = np.uint64(1) << np.arange(threads, dtype=np.uint64) % np.uint64(WARP)
        starts = np.arange(0, threads, WARP)
        present = np.repeat(np.add.reduceat(np.where(here, bits, 0), starts), WARP)[:threads]
        if step.lanes is None:
            return present == 0xFFFFFFFF
        wanted = np.broadcast_to(step.lanes, threads).astype(np.uint64)
        strange = here & (wanted & bits == 0)
        if strange.any():
            text = "a warp operation whose mask lacks its caller"
            raise KernelError("lane-mask", text, int(np.argmax(strange)))
        ended = self._state == State.ENDED
        gone = np.repeat(np.add.reduceat(np.where(ended, bits, 0), starts), WARP)[:threads]
        strange = here & (wanted & gone != 0)
        if strange.any():
            text = "a warp operation whose mask names a lane that has ended"
            raise KernelError("lane-mask", text, int(np.argmax(strange)))
        return (present & wanted) == wanted

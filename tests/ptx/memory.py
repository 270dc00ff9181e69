"""Global, shared and local memory, parameters, and what is wrong with an access.

Kinds of findings are those of the SIMT runtime (``csrc/simt/finding.h``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


class KernelError(Exception):
    """Something a kernel does wrong, which ends its launch."""

    def __init__(self, kind: str, text: str, thread: int | None = None) -> None:
        super().__init__(kind, text)
        self.kind, self.text, self.thread = kind, text, thread
        self.where = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}{self.where}"


@dataclass
class Allocation:
    """Memory of the device; `written`: for each of its bytes, 1 where somebody has written."""

    address: int
    content: Array
    written: Array


class Memory:
    """Bytes, of which it is known whether they may be read (1: somebody has written them).

    Accesses come as the addresses of all threads, and a mask of those that take part; `place` turns
    them into offsets into `bytes`.
    """

    name = ""

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(size, np.uint8)
        self.readable = np.zeros(size, np.uint8)

    def offsets(
        self, addresses: Array, sizes: Array | int, lanes: Array
    ) -> tuple[Array, Array | None]:
        """Offsets into `bytes`, and which accesses do not lie within what there is (None: none)."""
        raise NotImplementedError

    def describe(self, address: int) -> str:
        raise NotImplementedError

    def place(
        self, addresses: Array, lanes: Array, size: Array | int, alignment: int, what: str
    ) -> Array:
        """`lanes`: the threads that the addresses belong to."""
        wrong = addresses & (alignment - 1)
        if wrong.any():
            self._fault("misaligned", wrong, addresses, lanes, alignment, what)
        offsets, outside = self.offsets(addresses, size, lanes)
        if outside is not None and outside.any():
            self._fault("out-of-bounds", outside, addresses, lanes, size, what)
        return offsets

    def load(self, offsets: Array, dtype: np.dtype, count: int, lanes: Array, what: str) -> Array:
        """(count, lanes): `count` elements that follow each other, for each lane."""
        index = offsets // dtype.itemsize + _rows(count)
        unreadable = self.readable.view(_UNSIGNED[dtype.itemsize])[index] != _ALL[dtype.itemsize]
        if unreadable.any():
            lane = int(np.argmax(unreadable.any(axis=0)))
            self.explain(int(offsets[lane]), count * dtype.itemsize, int(lanes[lane]), what)
        return self.bytes.view(dtype)[index]

    def store(self, offsets: Array, values: Array, lanes: Array, what: str) -> None:
        """`values`: (count, lanes)."""
        index = offsets // values.itemsize + _rows(len(values))
        self.bytes.view(values.dtype)[index] = values
        self.readable.view(_UNSIGNED[values.itemsize])[index] = _ALL[values.itemsize]

    def explain(self, offset: int, size: int, lane: int, what: str) -> None:
        """Raises the finding of a read of bytes that are not readable."""
        raise KernelError(
            "uninitialised", f"{what} of {self.name} memory that nobody has written", lane
        )

    def _fault(
        self, kind: str, wrong: Array, addresses: Array, lanes: Array, size: Array | int, what: str
    ) -> None:
        at = int(np.argmax(wrong != 0))
        size = int(np.broadcast_to(size, wrong.shape)[at])
        where = self.describe(int(addresses[at]))
        raise KernelError(kind, f"{what} of {size} bytes at {where}", int(lanes[at]))


_UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
_ALL = {size: np.array([0x0101010101010101]).astype(kind)[0] for size, kind in _UNSIGNED.items()}


@functools.cache
def _rows(count: int) -> Array:
    return np.arange(count)[:, None]


class GlobalMemory(Memory):
    """The allocations of a launch side by side, each at the address that it was recorded at."""

    name = "global"
    GAP = 64

    def __init__(self, allocations: list[Allocation]) -> None:
        self._allocations = sorted(allocations, key=lambda one: one.address)
        sizes = [one.content.size for one in self._allocations]
        padded = [-(-size // self.GAP) * self.GAP for size in sizes]
        begins = np.cumsum([0, *padded])
        super().__init__(int(begins[-1]))
        self._stored = np.zeros_like(self.bytes)
        # One that no address lies in stands before the first.
        self._addresses = np.array([-1, *(one.address for one in self._allocations)], np.int64)
        self._sizes = np.array([0, *sizes], np.int64)
        self._begins = np.array([0, *begins[:-1]], np.int64)
        for one, begin in zip(self._allocations, begins, strict=False):
            self.bytes[begin : begin + one.content.size] = one.content
            self.readable[begin : begin + one.content.size] = one.written

    def offsets(
        self, addresses: Array, sizes: Array | int, lanes: Array
    ) -> tuple[Array, Array | None]:
        number = np.searchsorted(self._addresses, addresses, side="right") - 1
        number = np.maximum(number, 0)
        inside = addresses - self._addresses[number]
        return self._begins[number] + inside, inside + sizes > self._sizes[number]

    def describe(self, address: int) -> str:
        number = int(np.searchsorted(self._addresses, address, side="right")) - 1
        if number < 1 or address - self._addresses[number] > self._sizes[number] + (1 << 20):
            return f"address {address:#x}, where no allocation is"
        offset = address - int(self._addresses[number])
        return f"byte {offset} of an allocation of {self._sizes[number]} bytes"

    def store(self, offsets: Array, values: Array, lanes: Array, what: str) -> None:
        super().store(offsets, values, lanes, what)
        index = offsets // values.itemsize + _rows(len(values))
        mark = values.itemsize if values.dtype.kind == "f" else 1
        kind = _UNSIGNED[values.itemsize]
        self._stored.view(kind)[index] = _ALL[values.itemsize] * kind.type(mark)

    def content(self, number: int) -> tuple[Array, Array]:
        """Of an allocation, and what was stored in each byte: 0 nothing, 4 or 8 (a part of) a float
        of so many bytes, 1 anything else."""
        begin = int(self._begins[number + 1])
        end = begin + int(self._sizes[number + 1])
        return self.bytes[begin:end], self._stored[begin:end]


class ParameterMemory(Memory):
    """The parameters of a kernel, one after the other."""

    name = "parameter"

    def __init__(self, size: int) -> None:
        super().__init__(-(-size // 16) * 16)
        self.readable[:size] = 1

    def offsets(
        self, addresses: Array, sizes: Array | int, lanes: Array
    ) -> tuple[Array, Array | None]:
        return addresses, (addresses < 0) | (addresses + sizes > self.bytes.size)

    def describe(self, address: int) -> str:
        return f"byte {address} of the parameters"


class LocalMemory(Memory):
    """What each thread has for itself."""

    name = "local"

    def __init__(self, threads: int, size: int) -> None:
        self._size = -(-size // 16) * 16
        super().__init__(threads * self._size)

    def offsets(
        self, addresses: Array, sizes: Array | int, lanes: Array
    ) -> tuple[Array, Array | None]:
        outside = (addresses < 0) | (addresses + sizes > self._size)
        return lanes * self._size + addresses, outside

    def describe(self, address: int) -> str:
        return f"byte {address} of {self._size} bytes of local memory"


class SharedMemory(Memory):
    """Of one block, with the asynchronous copies of its threads.

    A copy arrives as late as it may: when its thread waits for it. Until then its place is neither
    to be read nor to be written.
    """

    name = "shared"

    def __init__(self, threads: int) -> None:
        super().__init__(0)
        self._threads = threads

    def begin(self, fixed: int, dynamic_begin: int, dynamic: int) -> None:
        size = dynamic_begin + dynamic
        self.bytes = np.full(-(-size // 16) * 16, 0xFF, np.uint8)
        self.readable = np.zeros_like(self.bytes)
        self._in_flight = np.zeros_like(self.bytes)
        self._fixed, self._dynamic_begin, self._size = fixed, dynamic_begin, size
        self._copies: list[_Copies] = []
        self._committed = np.zeros(self._threads, np.int64)

    def offsets(
        self, addresses: Array, sizes: Array | int, lanes: Array
    ) -> tuple[Array, Array | None]:
        begin, end = self._dynamic_begin, self._size
        if addresses.min() >= begin and (addresses + sizes).max() <= end:
            return addresses, None
        in_dynamic = (addresses >= begin) & (addresses + sizes <= end)
        in_fixed = (addresses >= 0) & (addresses + sizes <= self._fixed)
        return addresses, ~(in_dynamic | in_fixed)

    def describe(self, address: int) -> str:
        return f"byte {address} of {self._size} bytes of shared memory"

    def explain(self, offset: int, size: int, lane: int, what: str) -> None:
        if self._in_flight[offset : offset + size].any():
            raise _too_early(what, lane)
        super().explain(offset, size, lane, what)

    def store(self, offsets: Array, values: Array, lanes: Array, what: str) -> None:
        self._check_arrived(offsets, len(values) * values.itemsize, lanes, what)
        super().store(offsets, values, lanes, what)

    def _check_arrived(self, offsets: Array, size: int, lanes: Array, what: str) -> None:
        if self._copies:
            early = self._in_flight[offsets + _rows(size)].any(axis=0)
            if early.any():
                raise _too_early(what, int(lanes[int(np.argmax(early))]))

    # --- asynchronous copies ---

    def begin_copies(self, places: Array, content: Array, lanes: Array) -> None:
        """`content`: a row of bytes for each of the lanes, to `places`."""
        index = places[:, None] + np.arange(content.shape[1])
        self._check_arrived(places, content.shape[1], lanes, "asynchronous copy")
        self._in_flight[index] = 1
        self.readable[index] = 0
        self._copies.append(_Copies(index, content, lanes, self._committed[lanes]))

    def commit(self, lanes: Array) -> None:
        self._committed[lanes] += 1

    def wait(self, lanes: Array, groups_left: int | None) -> None:
        """Until at most so many groups are under way; None: all copies, committed or not."""
        waits = np.zeros(self._threads, bool)
        waits[lanes] = True
        left = []
        for copies in self._copies:
            arrives = waits[copies.lanes]
            if groups_left is not None:
                arrives &= copies.groups < self._committed[copies.lanes] - groups_left
            index = copies.index[arrives]
            self.bytes[index] = copies.content[arrives]
            self.readable[index] = 1
            self._in_flight[index] = 0
            if not arrives.all():
                left.append(copies.only(~arrives))
        self._copies = left

    def end(self) -> None:
        if self._copies:
            thread = int(self._copies[0].lanes[0])
            raise KernelError("copy-in-flight", "a copy that nobody waits for", thread)


def _too_early(what: str, lane: int) -> KernelError:
    text = f"{what} of shared memory that an asynchronous copy is on its way to"
    return KernelError("copy-in-flight", text, lane)


@dataclass
class _Copies:
    """Of one instruction: bytes and where they go, a row for each thread, and its group there."""

    index: Array
    content: Array
    lanes: Array
    groups: Array

    def only(self, which: Array) -> _Copies:
        return _Copies(
            *(part[which] for part in (self.index, self.content, self.lanes, self.groups))
        )

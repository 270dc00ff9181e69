"""The groups and arrays of an HDF5 file, as far as Caffe writes them, read without libhdf5.

libhdf5 trusts its files: version 2.0 overflows its stack where the index of a group points to
itself, measures such an index forever, and takes up to 4 GiB for a driver's block. This reader
knows the one layout of HDF5's default, "earliest" (superblock 0, groups with symbol tables, object
headers of version 1, datasets without chunks), and everything in it is bounded: an address is
visited once, all steps count towards a limit, and no claim is believed beyond the file's bytes.

Source: HDF5 File Format Specification, version 3.0 (HDF Group).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Messages, symbols and nodes that one file may have. Each of Caffe's objects has about seven; a
# network of a thousand layers has four thousand objects.
STEP_LIMIT = 1 << 16
MAX_DEPTH = 16  # groups within groups, that is parts of a layer's name
MAX_AXES = 32
_MAX_NAME = 1024  # bytes
_NEWER = 'in a newer form of HDF5 than Caffe\'s, which is called "earliest"'

_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS = 0x1, 0x3, 0x7, 0x8, 0xB
_CONTINUATION, _SYMBOL_TABLE = 0x10, 0x11
_LINKS = {0x2, 0x6, 0xA}
# Nothing, fill values, attributes, comments, times, counts of links: no concern of Caffe's.
_IGNORED = {0x0, 0x4, 0x5, 0xC, 0xD, 0xE, 0x12, 0x16}

# All of a datatype message but its version, for little-endian numbers.
_NUMBERS = {
    bytes.fromhex("01 201f00 04000000 00002000 17080017 7f000000"): "<f4",
    bytes.fromhex("01 203f00 08000000 00004000 340b0034 ff030000"): "<f8",
    bytes.fromhex("00 080000 04000000 00002000"): "<i4",
    bytes.fromhex("00 080000 08000000 00004000"): "<i8",
}
_STRING = 3  # the class; of variable length are those of class 9


class TreeError(ValueError):
    """The bytes are no such file; the text is a clause that says why."""


class Dataset(NamedTuple):
    """An array: its numpy type, shape, and where in the file it begins."""

    dtype: str
    shape: tuple[int, ...]
    start: int


Group = dict[str, "Group | Dataset"]


class Tree:
    """`root` is the file's content by name; TreeError if it is damaged or of another layout."""

    def __init__(self, data: bytes):
        self._data = data
        self._steps_left = STEP_LIMIT
        self._bytes_left = len(data)
        self._visited: set[int] = set()
        if self._number(8, 1) != 0:
            raise TreeError(_NEWER)
        if data[13:15] != b"\x08\x08" or self._number(24, 8) != 0:
            raise TreeError("addresses of another kind than Caffe's")
        if self._number(40, 8) > len(data):
            raise TreeError("it breaks off")
        root = self._object(self._number(64, 8), MAX_DEPTH)
        if isinstance(root, Dataset):
            raise TreeError("its root is no group")
        self.root: Group = root

    def array(self, dataset: Dataset) -> NDArray:
        """A read-only view of the file's bytes, perhaps not aligned."""
        count = prod(dataset.shape)
        array = np.frombuffer(self._data, dataset.dtype, count, dataset.start if count else 0)
        return array.reshape(dataset.shape)

    def _object(self, address: int, depth: int) -> Group | Dataset:
        """The group or dataset whose header is at `address`."""
        if depth < 0:
            raise TreeError("groups are too deep for a layer's name")
        found: dict[int, tuple[int, int]] = {}
        for kind, start, size in self._messages(address):
            if kind in found:
                raise TreeError("an object says the same thing twice")
            found[kind] = start, size
        if _SYMBOL_TABLE in found:
            return self._group(found[_SYMBOL_TABLE], depth)
        if _EXTERNAL in found:
            raise TreeError("a dataset has its values in another file")
        if _FILTERS in found:
            raise TreeError("a dataset is compressed; try h5repack -l CONTI -f NONE")
        if not {_DATASPACE, _DATATYPE, _LAYOUT} <= found.keys():
            raise TreeError("an object is neither group nor dataset")
        shape = self._shape(*found[_DATASPACE])
        dtype = self._dtype(*found[_DATATYPE])
        size = np.dtype(dtype).itemsize * prod(shape)
        self._bytes_left -= size
        if size > len(self._data):
            raise TreeError(f"a dataset claims {size} bytes")
        if self._bytes_left < 0:
            raise TreeError("datasets share their bytes")
        return Dataset(dtype, shape, self._start(found[_LAYOUT][0], size))

    def _messages(self, address: int) -> Iterator[tuple[int, int, int]]:
        """Kind, start and size of the messages of an object header that matter here."""
        self._visit(address)
        if self._number(address, 1) != 1:
            raise TreeError(f"an object is damaged or {_NEWER}")
        left = self._number(address + 2, 2)
        blocks = [(address + 16, self._number(address + 8, 4))]
        for start, size in blocks:
            position, stop = start, start + size
            while left and position + 8 <= stop:
                self._step()
                left -= 1
                kind, length = self._number(position, 2), self._number(position + 2, 2)
                flags = self._number(position + 4, 1)
                position += 8
                if length > stop - position:
                    raise TreeError("a message is longer than its object's header")
                if kind == _CONTINUATION:
                    more = self._number(position, 8)
                    self._visit(more)
                    blocks.append((more, self._number(position + 8, 8)))
                elif kind in _LINKS:
                    raise TreeError(f"a group with links {_NEWER}")
                elif kind not in _IGNORED:
                    if flags & 2 or not 0 < kind <= _SYMBOL_TABLE:
                        raise TreeError("an object is described by a part that Caffe does not use")
                    yield kind, position, length
                position += length

    # --- groups ---

    def _group(self, message: tuple[int, int], depth: int) -> Group:
        start, _ = message
        tree, heap = self._number(start, 8), self._number(start + 8, 8)
        if self._bytes(heap, 4) != b"HEAP":
            raise TreeError("the names of a group are damaged")
        size, names = self._number(heap + 8, 8), self._number(heap + 24, 8)
        group: Group = {}
        for offset, address, cache in self._symbols(tree, None):
            name = self._name(names + offset, names + size)
            if name in group:
                raise TreeError("a group has a name twice")
            if cache == 2:
                raise TreeError("a name is a link to another place")
            group[name] = self._object(address, depth - 1)
        return group

    def _symbols(self, address: int, level: int | None) -> Iterator[tuple[int, int, int]]:
        """Offset of the name, address and kind of cache of the entries below an index node."""
        self._visit(address)
        found = self._number(address + 5, 1)
        if self._bytes(address, 5) != b"TREE\0" or found > 8 or level not in (None, found):
            raise TreeError("the index of a group is damaged")
        for i in range(self._number(address + 6, 2)):
            self._step()
            child = self._number(address + 32 + 16 * i, 8)
            if found:
                yield from self._symbols(child, found - 1)
                continue
            self._visit(child)
            if self._bytes(child, 4) != b"SNOD":
                raise TreeError("the index of a group is damaged")
            for j in range(self._number(child + 6, 2)):
                self._step()
                entry = child + 8 + 40 * j
                numbers = ((entry, 8), (entry + 8, 8), (entry + 16, 4))
                offset, header, cache = (self._number(*number) for number in numbers)
                yield offset, header, cache

    def _name(self, start: int, stop: int) -> str:
        end = self._data.find(b"\0", start, min(stop, start + _MAX_NAME + 1))
        if end <= start:
            raise TreeError("a name is empty, too long or damaged")
        try:
            return self._data[start:end].decode()
        except UnicodeDecodeError as error:
            raise TreeError("a name is not UTF-8") from error

    # --- datasets ---

    def _shape(self, start: int, size: int) -> tuple[int, ...]:
        version, axes, kind = (self._number(start + i, 1) for i in (0, 1, 3))
        if version not in (1, 2) or axes > MAX_AXES or (version == 2 and kind > 1):
            raise TreeError("a dataset has no shape that Caffe knows")
        begin = {1: 8, 2: 4}[version]
        if begin + 8 * axes > size:
            raise TreeError("the shape of a dataset is damaged")
        shape = tuple(self._number(start + begin + 8 * i, 8) for i in range(axes))
        # An axis of 0 makes it empty, yet numpy refuses the others if they are absurd.
        if prod(n or 1 for n in shape) >> 58:
            raise TreeError(f"a dataset claims the shape {shape!s:.60}")
        return shape

    def _dtype(self, start: int, size: int) -> str:
        message = self._bytes(start, size)
        kind = message[0] & 15 if message else 0
        if kind == _STRING and size >= 8:
            length = int.from_bytes(message[4:8], "little")
            if not 0 < length <= len(self._data):
                raise TreeError(f"a string claims {length} bytes")
            return f"S{length}"
        for pattern, dtype in _NUMBERS.items():
            if bytes([kind]) + message[1 : len(pattern)] == pattern:
                return dtype
        raise TreeError("a dataset is of numbers or strings that Caffe does not write")

    def _start(self, message: int, size: int) -> int:
        """Where the `size` bytes of a dataset are."""
        version, kind = self._number(message, 1), self._number(message + 1, 1)
        if version not in (3, 4) or kind > 1:
            raise TreeError(
                "a dataset is in chunks or in other files; try h5repack -l CONTI -f NONE"
            )
        if kind == 0:  # compact: within the message
            start, claimed = message + 4, self._number(message + 2, 2)
        else:
            start, claimed = self._number(message + 2, 8), self._number(message + 10, 8)
        if claimed < size or (size and start + size > len(self._data)):
            raise TreeError(f"a dataset claims {size} bytes that the file does not have")
        return start

    # --- bytes ---

    def _bytes(self, start: int, size: int) -> bytes:
        if start + size > len(self._data):
            raise TreeError("an address is behind its end")
        return self._data[start : start + size]

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(self._bytes(start, size), "little")

    def _step(self) -> None:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TreeError("more groups and datasets than any network has")

    def _visit(self, address: int) -> None:
        self._step()
        if address in self._visited:
            raise TreeError("a part of it is linked to twice")
        self._visited.add(address)

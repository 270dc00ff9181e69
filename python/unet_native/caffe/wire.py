"""The wire format of protocol buffers: a walker that trusts nothing, and the writer's few bytes.

A message is a row of fields, each a tag (number << 3 | kind, as a varint) and a value: a varint,
four or eight bytes, or a length and that many bytes. Nothing here knows what a field means or goes
into a message by itself, so that nesting costs nothing: the reader asks for the fields of those
spans that it knows to be messages.

Source: the encoding as documented at protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_VARINT_BYTES = 10  # what 64 bits need, seven a byte
_LAST_NUMBER = (1 << 29) - 1

# Fields that one file may have in all the messages walked; a run of numbers counts once. The
# largest published networks have a thousand layers of twenty fields. Millions of empty messages,
# the cheap way to keep a reader busy, reach the limit in a quarter of a second.
FIELD_LIMIT = 1 << 16


class WireError(ValueError):
    """The bytes are no message; the text is a clause that says why."""


class Field(NamedTuple):
    """One field, or a run of fields of four or eight bytes each with the same tag of one byte.

    All places are offsets into the walker's bytes.
    """

    number: int
    kind: int
    begin: int  # of the tag
    start: int  # of the value; of its content if its kind is BYTES
    stop: int
    value: int  # of a varint, unsigned; else how many fields the run has


class Walker:
    """Walks messages in `data`, with one account of the fields seen in all of them."""

    def __init__(self, data: bytes, limit: int = FIELD_LIMIT):
        self.data = data
        self._left = limit

    def fields(self, start: int = 0, stop: int | None = None) -> Iterator[Field]:
        """The fields of the message at data[start:stop], in the file's order.

        Raises WireError where a value ends behind `stop`, a tag or varint is none, a group begins
        or ends (Caffe has no groups), or the file has more than `limit` fields.
        """
        data = self.data
        if stop is None:
            stop = len(data)
        position = start
        while position < stop:
            self._left -= 1
            if self._left < 0:
                raise WireError("more fields than any network has")
            begin = position
            tag, position = self._varint(position, stop)
            number, kind = tag >> 3, tag & 7
            if not 0 < number <= _LAST_NUMBER:
                raise WireError(f"no field has number {number}")
            if kind == BYTES:
                length, position = self._varint(position, stop)
                if length > stop - position:
                    raise WireError(
                        f"field {number} claims {length} bytes where {stop - position} are left"
                    )
                yield Field(number, kind, begin, position, position + length, 1)
                position += length
            elif kind == VARINT:
                value, after = self._varint(position, stop)
                yield Field(number, kind, begin, position, after, value)
                position = after
            elif width := _WIDTHS.get(kind):
                if stop - position < width:
                    raise WireError(f"field {number} ends behind its message")
                count = self._run(begin, stop, width) if position == begin + 1 else 1
                after = position + width + (count - 1) * (1 + width)
                yield Field(number, kind, begin, position, after, count)
                position = after
            else:
                raise WireError(f"field {number} is of kind {kind}, which Caffe has not")

    def packed(self, field: Field, most: int) -> list[int]:
        """The varints, unsigned, that a field holds: one, or those packed in its bytes.

        Raises WireError if there are more than `most`.
        """
        if field.kind == VARINT:
            return [field.value]
        if field.kind != BYTES:
            raise WireError(f"field {field.number} holds no whole numbers")
        values: list[int] = []
        position = field.start
        while position < field.stop:
            if len(values) == most:
                raise WireError(f"field {field.number} holds more than {most} numbers")
            value, position = self._varint(position, field.stop)
            values.append(value)
        return values

    def numbers(self, field: Field, dtype: str) -> NDArray:
        """The numbers, "<f4" or "<f8", of a packed field or of a run: a read-only 1-D view.

        The view begins wherever the field does, so it is in general not aligned; numpy reads it
        nevertheless, only C code that is given its address must not. Raises WireError if the field
        is of another kind or ends within a number.
        """
        width = np.dtype(dtype).itemsize
        if field.kind == BYTES:
            if (field.stop - field.start) % width:
                raise WireError(f"field {field.number} ends within a number")
            count = (field.stop - field.start) // width
            return np.frombuffer(self.data, dtype, count, field.start)
        if _WIDTHS.get(field.kind) != width:
            raise WireError(f"field {field.number} holds no numbers of {width} bytes")
        if field.value == 1:
            return np.frombuffer(self.data, dtype, 1, field.start)
        pairs = np.dtype([("tag", "u1"), ("number", dtype)])
        return np.frombuffer(self.data, pairs, field.value, field.begin)["number"]

    def text(self, field: Field) -> str:
        """A string. Raises WireError if the field is none or is not UTF-8."""
        if field.kind != BYTES:
            raise WireError(f"field {field.number} holds no text")
        try:
            return self.data[field.start : field.stop].decode()
        except UnicodeDecodeError as error:
            raise WireError(f"the text of field {field.number} is not UTF-8") from error

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        """Its value and where it ends."""
        data = self.data
        if position < stop and (byte := data[position]) < 0x80:
            return byte, position + 1
        value = 0
        for i in range(min(_VARINT_BYTES, stop - position)):
            byte = data[position + i]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if value >> 64:
                    break
                return value, position + i + 1
        if stop - position < _VARINT_BYTES:
            raise WireError("it breaks off within a number")
        raise WireError("a number is longer than 64 bits")

    def _run(self, begin: int, stop: int, width: int) -> int:
        """How many fields in a row, from `begin` on, have its tag of one byte.

        Looks ahead twice as far each time, so that a long run takes numpy a few calls and a short
        one costs no more than its own length.
        """
        stride = 1 + width
        most = (stop - begin) // stride
        tag = self.data[begin]
        count, ahead = 1, 1
        while count < most and self.data[begin + count * stride] == tag:
            ahead = min(2 * ahead, most - count)
            tags = np.ndarray((ahead,), np.uint8, self.data, begin + count * stride, (stride,))
            other = np.flatnonzero(tags != tag)
            if len(other):
                return count + int(other[0])
            count += ahead
        return count


# --- writing: a message is a list of pieces ---

Piece = bytes | NDArray  # an array stands for its elements as float32 in C order


def varint(value: int) -> bytes:
    """`value` >= 0 in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def length(pieces: Iterable[Piece]) -> int:
    """How many bytes the pieces take in a file."""
    return sum(len(piece) if isinstance(piece, bytes) else 4 * piece.size for piece in pieces)


def number_field(number: int, value: int) -> bytes:
    """A field with a whole number >= 0."""
    return varint(number << 3 | VARINT) + varint(value)


def bytes_field(number: int, content: list[Piece]) -> list[Piece]:
    """A field with text, packed numbers or a message: tag and length, then `content`."""
    return [varint(number << 3 | BYTES) + varint(length(content)), *content]


def text_field(number: int, text: str) -> bytes:
    """A field with a string."""
    content = text.encode()
    return varint(number << 3 | BYTES) + varint(len(content)) + content

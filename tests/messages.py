"""Caffe's messages built byte by byte, without the code under test."""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    """Negative ones in ten bytes, as protocol buffers write them."""
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def inside(number: int, content: bytes) -> bytes:
    """Text, packed numbers or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def claiming(number: int, length: int, content: bytes = b"") -> bytes:
    """As `inside`, but of a length that may be a lie."""
    return varint(number << 3 | 2) + varint(length) + content


def floats(number: int, *values: float) -> bytes:
    return inside(number, struct.pack(f"<{len(values)}f", *values))


def doubles(number: int, *values: float) -> bytes:
    return inside(number, struct.pack(f"<{len(values)}d", *values))


def unpacked(number: int, *values: float) -> bytes:
    return b"".join(varint(number << 3 | 5) + struct.pack("<f", value) for value in values)


def unpacked_doubles(number: int, *values: float) -> bytes:
    return b"".join(varint(number << 3 | 1) + struct.pack("<d", value) for value in values)


def shape(*dims: int) -> bytes:
    """The field of a blob that holds its shape, packed."""
    return inside(7, inside(1, b"".join(map(varint, dims))))


def legacy(*dims: int) -> bytes:
    return b"".join(whole(i + 1, n) for i, n in enumerate(dims))


def layer(*blobs: bytes, name: str = "conv", rest: bytes = b"") -> bytes:
    """A network's field with a current layer."""
    content = inside(1, name.encode()) + inside(2, b"Convolution")
    return inside(100, content + b"".join(inside(7, blob) for blob in blobs) + rest)


def v1_layer(*blobs: bytes, name: str = "conv", rest: bytes = b"") -> bytes:
    """A network's field with a layer of before autumn 2014."""
    content = inside(2, b"data") + inside(3, b"conv") + inside(4, name.encode()) + whole(5, 4)
    return inside(2, content + b"".join(inside(6, blob) for blob in blobs) + rest)


BLOB = floats(5, 1, 2) + shape(2)  # the content of a sound one

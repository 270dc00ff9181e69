"""BlobProto, the message that holds one array, and writing messages to a file.

    num 1, channels 2, height 3, width 4     int32, the shape in files of before autumn 2014
    data 5, diff 6                           float, packed
    shape 7                                  BlobShape: dim 1, int64, packed
    double_data 8, double_diff 9             double, packed, instead of 5 and 6

Source: src/caffe/proto/caffe.proto, Blob::FromProto and Blob::ToProto (src/caffe/blob.cpp).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_native.caffe.stored import Shape, StoredBlob
from unet_native.caffe.whole_file import SIZE_LIMIT
from unet_native.caffe.wire import (
    BYTES,
    VARINT,
    Field,
    Piece,
    Walker,
    WireError,
    bytes_field,
    length,
    number_field,
    varint,
)
from unet_native.device_array import on_host
from unet_native.errors import UserError
from unet_native.files import write_atomically

DATA, DIFF, SHAPE, DOUBLE_DATA, DOUBLE_DIFF = 5, 6, 7, 8, 9
MAX_AXES = 32  # Caffe's kMaxBlobAxes
INT_MAX = (1 << 31) - 1  # Caffe's largest axis and count


def int32(field: Field) -> int:
    """A whole number from 0 to INT_MAX. Raises WireError if the field is none."""
    if field.kind != VARINT or field.value > INT_MAX:
        raise WireError(f"field {field.number} is no whole number from 0 to {INT_MAX}")
    return field.value


def parse_blob(walker: Walker, field: Field) -> StoredBlob:
    """The blob that a field holds; arrays are views of the walker's bytes where these are packed.

    Numbers of 64 bits become float32; fields of no known number are passed over. Raises WireError.
    """
    if field.kind != BYTES:
        raise WireError(f"field {field.number} holds no blob")
    legacy: list[int] | None = None
    dims: list[int] | None = None
    numbers: dict[int, list[NDArray]] = {DATA: [], DIFF: [], DOUBLE_DATA: [], DOUBLE_DIFF: []}
    for part in walker.fields(field.start, field.stop):
        if part.number < DATA:
            legacy = legacy or [0, 0, 0, 0]
            legacy[part.number - 1] = int32(part)
        elif part.number in (DATA, DIFF):
            numbers[part.number].append(walker.numbers(part, "<f4"))
        elif part.number in (DOUBLE_DATA, DOUBLE_DIFF):
            numbers[part.number].append(walker.numbers(part, "<f8"))
        elif part.number == SHAPE:
            dims = (dims or []) + _dims(walker, part)
    if legacy is None and dims is None:
        raise WireError("a blob has no shape")
    shape = tuple(dims if legacy is None else legacy)
    _check_shape(shape)
    data = _joined(numbers[DOUBLE_DATA]) if numbers[DOUBLE_DATA] else _joined(numbers[DATA])
    diff = _joined(numbers[DOUBLE_DIFF]) if numbers[DOUBLE_DIFF] else _joined(numbers[DIFF])
    return StoredBlob(
        _shaped(data, shape), _shaped(diff, shape) if diff.size else None, legacy is not None
    )


def blob_field(number: int, blob: StoredBlob) -> list[Piece]:
    """A field with a blob, to be written, in the order in which Caffe writes."""
    pieces: list[Piece] = []
    if blob.legacy:
        if blob.data.ndim > 4:
            raise ValueError(f"a legacy blob has four axes, not the shape {blob.shape}")
        shape = (1,) * (4 - blob.data.ndim) + blob.shape
        pieces += [number_field(i + 1, n) for i, n in enumerate(shape)]
    for part, array in ((DATA, blob.data), (DIFF, blob.diff)):
        if array is not None and array.size:
            pieces += bytes_field(part, [array])
    if not blob.legacy:
        dims = b"".join(map(varint, blob.shape))
        pieces += bytes_field(SHAPE, bytes_field(1, [dims]) if dims else [])
    return bytes_field(number, pieces)


def write_pieces(path: str | os.PathLike[str], kind: str, pieces: Iterable[Piece]) -> Path:
    """Writes a message, whole or not at all; takes memory for one array at a time."""
    pieces = list(pieces)
    if length(pieces) > SIZE_LIMIT:
        raise UserError(f"{path}: would be over 2 GiB, more than a {kind} can be; write HDF5")

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            for piece in pieces:
                if not isinstance(piece, bytes):
                    piece = np.ascontiguousarray(on_host(piece), "<f4").data
                file.write(piece)

    return write_atomically(path, write)


def _dims(walker: Walker, field: Field) -> list[int]:
    if field.kind != BYTES:
        raise WireError("the shape of a blob is no message")
    dims: list[int] = []
    for part in walker.fields(field.start, field.stop):
        if part.number == 1:
            dims += walker.packed(part, MAX_AXES)
    return dims


def _check_shape(shape: Shape) -> None:
    """Python's whole numbers have no limit: no product of axes can wrap around."""
    if len(shape) > MAX_AXES:
        raise WireError(f"a blob has more than {MAX_AXES} axes")
    # An axis of 0 makes a blob empty, yet numpy refuses the others if they are absurd.
    if max(shape, default=0) > INT_MAX or prod(n or 1 for n in shape) > INT_MAX:
        raise WireError(f"a blob claims the shape {shape!s:.60}")


def _joined(chunks: list[NDArray]) -> NDArray:
    """All chunks as one float32 array; the only chunk itself if it is one already."""
    if not chunks:
        return np.zeros(0, np.float32)
    if len(chunks) == 1 and chunks[0].dtype == np.float32 and chunks[0].flags.c_contiguous:
        return chunks[0]
    joined = np.empty(sum(map(len, chunks)), np.float32)
    begin = 0
    with np.errstate(over="ignore"):  # a double too large becomes infinite, and is then refused
        for chunk in chunks:
            joined[begin : begin + len(chunk)] = chunk
            begin += len(chunk)
    joined.flags.writeable = False
    return joined


def _shaped(flat: NDArray, shape: Shape) -> NDArray:
    if flat.size != prod(shape):
        raise WireError(f"a blob of shape {shape} has {flat.size} numbers")
    return flat.reshape(shape)

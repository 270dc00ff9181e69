"""Getting at a file of Caffe's, and saying what is wrong with it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from unet_native.errors import UserError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
SIZE_LIMIT = (1 << 31) - 1  # bytes; protocol buffers, and so Caffe, read no more
_PICKLE = tuple(b"\x80" + bytes([version]) for version in range(2, 6))
_TEXT = frozenset(range(32, 127)) | frozenset(b"\t\n\r")


def size_of(path: Path) -> int:
    """The size of a regular file in bytes. Raises UserError for all else, and for an empty one."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path}: cannot be read ({reason}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: is no file; give the path of the file itself")
    if status.st_size == 0:
        raise UserError(f"{path}: is empty; copy or download it again")
    return status.st_size


def read_whole(path: Path, kind: str) -> bytes:
    """The content of a file with a message; `kind`: what it should be, for sentences.

    Raises UserError if it cannot be read, is larger than Caffe can read, or plainly something else.
    """
    # Not mapped: the arrays are views of this memory, and a mapped file that somebody cuts short
    # (an interrupted copy over it, a full network disk) would kill the process at their next use.
    size = size_of(path)
    if size > SIZE_LIMIT:
        raise UserError(f"{path}: is over 2 GiB, more than a {kind} can be; convert it to HDF5")
    try:
        data = path.read_bytes()
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "not enough memory"
        raise UserError(f"{path}: cannot be read ({reason}); check the file") from error
    if data.startswith(HDF5_MAGIC):
        raise UserError(f"{path}: is an HDF5 file; rename it to {path.name}.h5")
    if data.startswith((*_PICKLE, b"PK\x03\x04")):
        raise UserError(
            f"{path}: is no {kind} but a pickle or an archive, which are not opened; "
            "convert it with the program that wrote it"
        )
    return data


def damaged(path: Path, kind: str, data: bytes, why: str) -> UserError:
    """The sentence for a file whose bytes are not what they should be."""
    if _TEXT.issuperset(data[:256]):
        return UserError(
            f"{path}: is text, not a {kind}; give the file with the weights or the state itself"
        )
    return UserError(f"{path}: is no {kind}, or damaged ({why}); use another copy or snapshot")

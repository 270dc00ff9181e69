"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from unet_native.errors import UserError

__all__ = ["write_atomically", "write_text"]


def write_atomically(path: str | os.PathLike[str], writer: Callable[[Path], object]) -> Path:
    """Make the file `path` by calling ``writer(temporary)``; returns `path` as a ``Path``.

    `temporary` is a hidden name in the same folder with the suffix of `path` (made if it is
    missing). Once `writer` returns, the file is synced to the disk and renamed to `path`, so that
    `path` is at any moment the complete old file, the complete new file, or absent. Whatever
    `writer` raises is passed on with the temporary file gone, except that an ``OSError`` (disk
    full, no permission) becomes a :class:`UserError` naming `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: cannot be written ({reason})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

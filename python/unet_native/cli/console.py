"""Progress on stderr: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

__all__ = ["duration", "note", "progress", "warn"]

_QUIET_SECONDS = 30.0  # between two lines of a progress that is not watched on a terminal


class Progress(Protocol):
    """How a command says how far it is."""

    def __call__(self, done: float, total: float, text: str = "") -> None: ...


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Shows progress while the block runs: ``update(done, total, text)``."""
    show = _bar(title) if sys.stderr.isatty() else _lines(title)
    with show as update:
        yield update


def note(text: str) -> None:
    """One line about what happens, to stderr; that nobody reads it must not end a training run."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """One line about what looks wrong, to stderr."""
    note(f"unet-native: warning: {text}")


def duration(seconds: float) -> str:
    """ "42 s", "3 min 05 s", "2 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), expand=True) as bar:
        task = bar.add_task(title, total=None, text="")

        def update(done: float, total: float, text: str = "") -> None:
            bar.update(task, completed=done, total=total, text=text)

        yield update


@contextmanager
def _lines(title: str) -> Iterator[Progress]:
    start = said = time.monotonic()

    def update(done: float, total: float, text: str = "") -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < _QUIET_SECONDS and done < total:
            return
        said = now
        took = duration(now - start)
        note(f"{title}: {done:g} of {total:g}, {took}{', ' + text if text else ''}")

    yield update

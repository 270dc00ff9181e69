"""log.csv: one row per iteration."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from unet_native.files import write_text

__all__ = ["SCORES", "Log", "Row", "read_log"]

#: Validation scores that a row may hold, see unet_native.metrics.
SCORES = ("v_rand", "v_info", "pixel_error", "iou", "seg", "f1")

_NUMBERS = ("loss", "smoothed_loss", "lr", "seconds")
_HEADER = ",".join(("iteration", *_NUMBERS, *SCORES))


@dataclass(frozen=True)
class Row:
    """One iteration, counted from 1: `lr` is the rate it used, `seconds` what it took in all.

    smoothed_loss: exponential mean of the losses so far. scores: of the validation right after the
    iteration, by the names in SCORES; empty if there was none.
    """

    iteration: int
    loss: float
    smoothed_loss: float
    lr: float
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        numbers = [repr(getattr(self, name)) for name in _NUMBERS[:-1]]
        scores = [repr(self.scores[name]) if name in self.scores else "" for name in SCORES]
        return ",".join([str(self.iteration), *numbers, f"{self.seconds:.3f}", *scores])


class Log:
    """Appends rows to a file, each in one piece, so that a killed run loses at most the last one.

    keep: what of an earlier log stays: the rows up to this iteration.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self.rows = [row for row in read_log(path) if row.iteration <= keep]
        self._file = self._rewritten()

    def _rewritten(self) -> TextIO:
        lines = [_HEADER, *(row.text() for row in self.rows)]
        write_text(self.path, "\n".join(lines) + "\n")
        return self.path.open("a", encoding="utf-8")

    def append(self, row: Row) -> None:
        self.rows.append(row)
        self._file.write(row.text() + "\n")
        self._file.flush()

    def amend(self, scores: dict[str, float]) -> None:
        """Adds scores to the last row."""
        self.close()
        self.rows[-1] = replace(self.rows[-1], scores=scores)
        self._file = self._rewritten()

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[Row]:
    """The complete rows of a log; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for line in csv.DictReader(file) if (row := _parse(line)) is not None]


def _parse(line: dict[str, str | None]) -> Row | None:
    """A row; None for what a killed process left half written."""
    try:
        numbers = [float(line[name]) for name in _NUMBERS]  # type: ignore[arg-type]
        scores = {name: float(line[name]) for name in SCORES if line.get(name)}  # type: ignore[arg-type]
        return Row(int(line["iteration"]), *numbers, scores)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None

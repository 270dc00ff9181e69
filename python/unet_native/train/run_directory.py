"""The files of a training run."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from unet_native.errors import UserError
from unet_native.files import write_text

__all__ = ["RunDirectory"]


class RunDirectory:
    """Names of the files in a run's folder.

    model.safetensors   weights, network, normaliser, classes, provenance: what `segment` reads
    settings.json       settings and data of the run
    log.csv             one row per iteration
    curves.png          the same as a picture
    report.html         all there is to see about the run
    report.json         what of it no other file holds, for the report of a resumed run
    snapshots/iter_N.safetensors    weights, momentum, iteration: what --resume reads
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.model = self.path / "model.safetensors"
        self.settings = self.path / "settings.json"
        self.log = self.path / "log.csv"
        self.curves = self.path / "curves.png"
        self.report = self.path / "report.html"
        self.report_state = self.path / "report.json"
        self.snapshots = self.path / "snapshots"

    @property
    def exists(self) -> bool:
        """Whether a run has been started here."""
        return self.settings.exists() or self.model.exists() or bool(self.snapshot_paths())

    def refuse_existing(self) -> None:
        """Raises UserError if the folder holds a run, or is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: is a file; give a folder for the run")
        if self.exists:
            raise UserError(
                f"{self.path}: holds a run already; continue it with --resume, or give another "
                "folder"
            )

    def snapshot_path(self, iteration: int) -> Path:
        return self.snapshots / f"iter_{iteration}.safetensors"

    def snapshot_paths(self) -> list[Path]:
        """All snapshots, the newest first."""
        found = []
        if self.snapshots.is_dir():
            for path in self.snapshots.iterdir():
                if match := re.fullmatch(r"iter_(\d+)\.safetensors", path.name):
                    found.append((int(match[1]), path))
        return [path for _, path in sorted(found, reverse=True)]

    def keep_newest(self, count: int) -> None:
        """Deletes all snapshots but the `count` newest, and what a killed process left behind."""
        leftovers = list(self.snapshots.glob(".*.partial.safetensors"))
        for path in [*self.snapshot_paths()[count:], *leftovers]:
            with contextlib.suppress(OSError):
                path.unlink()

    def write_settings(self, settings: dict[str, Any]) -> None:
        write_text(self.settings, json.dumps(settings, indent=2) + "\n")

    def read_settings(self) -> dict[str, Any]:
        """What :meth:`write_settings` wrote. Raises UserError if it is missing or damaged."""
        try:
            return json.loads(self.settings.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{self.path}: holds no run to resume; start one without --resume"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.settings}: is damaged ({error}); start a new run") from error

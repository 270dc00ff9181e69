"""One row: a network trained, chosen and scored, by the commands that a user would give.

    fit      slices it learns from
    choose   slices that choose the network among those of the run (``train --validation``)
    score    slices that are scored, once, at the end

Everything lies in ``work/NAME/``: links to the images of each part, the run, the segmentation and
the report. A row that was cut off goes on where it stopped; one that is complete prints its scores.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_native import _core, cli
from unet_native.files import write_text

__all__ = ["Pair", "Row", "arguments", "data_folder"]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"

Pair = tuple[Path, Path]  # an image and its labels


def data_folder(name: str) -> Path:
    """The folder of a data set: in the folder UNET_NATIVE_DATA, or in ../shared/data."""
    root = Path(os.environ.get("UNET_NATIVE_DATA", HERE.parent.parent / "shared" / "data"))
    if not (root / name).is_dir():
        raise SystemExit(
            f"{root / name}: not found; UNET_NATIVE_DATA must name the folder that holds {name} "
            "(experiments/README.md says where the images come from)"
        )
    return root / name


def arguments(description: str) -> argparse.ArgumentParser:
    """A parser with what every row has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder for runs")
    parser.add_argument("--iterations", type=int, help="another number, to try it out")
    parser.add_argument("--seed", type=int, default=1)
    return parser


@dataclass
class Row:
    """See the top of this module. Options are those of the command line.

    name     of the row, its folder and its result
    labels   options that say what label values mean, for train and evaluate
    train    options of ``train``
    score    options of ``evaluate``
    segment  options of ``segment``
    publish  whether the result may become part of the project
    """

    name: str
    work: Path
    train: Sequence[str]
    score: Sequence[str]
    labels: Sequence[str] = ()
    segment: Sequence[str] = ()
    publish: bool = True

    @property
    def folder(self) -> Path:
        return self.work / self.name

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def part(self, name: str, pairs: Sequence[Pair]) -> Path:
        """A folder with links to some images and labels, of which each pair has one name."""
        for image, label in pairs:
            for kind, path in (("images", image), ("labels", label)):
                link = self.folder / name / kind / f"{image.stem}{path.suffix}"
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(path.resolve())
        return self.folder / name

    def fit(self, fit: Sequence[Pair], choose: Sequence[Pair]) -> None:
        """Trains, or goes on with the training."""
        fitted, chosen = self.part("fit", fit), self.part("choose", choose)
        command = ["train", "-o", str(self.run)]
        command += ["--images", str(fitted / "images"), "--labels", str(fitted / "labels")]
        command += ["--validation", str(chosen), *self.labels, *self.train]
        if (self.run / "settings.json").exists():
            command.append("--resume")
        _command(command)

    def segmented(self, held: Sequence[Pair], *options: str, run: Path | None = None) -> Any:
        """Scores of the held-back slices, segmented with `options`, as ``evaluate`` prints them."""
        part = self.part("score", held)
        output = self.folder / "-".join(["segmentation", *(o.strip("-") for o in options)])
        images, labels = str(part / "images"), str(part / "labels")
        asked = [*self.segment, *options]
        _command(["segment", str(run or self.run), images, "-o", str(output), *asked])
        scoring = [*self.labels, *self.score]
        return json.loads(_printed(["evaluate", str(output), labels, "--json", *scoring]))

    def result(self, **scores: Any) -> dict[str, Any]:
        """Writes and returns what the tables are made of."""
        seconds = [float(row["seconds"]) for row in self._log()]
        result = {
            "row": self.name,
            "version": _core.version,
            "machine": f"{platform.machine()}, {_core.Context().isa}",
            "threads": _core.default_threads(),
            "train": list(self.train),
            "iterations": len(seconds),
            "training_minutes": round(sum(seconds) / 60, 1),
            "seconds_an_iteration": round(statistics.median(seconds), 4) if seconds else None,
            "chosen": self._chosen(),
            "scores": scores,
        }
        text = json.dumps(result, indent=1) + "\n"
        write_text(self.folder / "result.json", text)
        if self.publish:
            write_text(RESULTS / f"{self.name}.json", text)
        print(text)
        return result

    def _log(self) -> list[dict[str, str]]:
        path = self.run / "log.csv"
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _chosen(self) -> dict[str, Any]:
        """Iteration and validation scores of the network that was chosen."""
        from unet_native.model_file import Model

        if not self.run.exists():
            return {}
        provenance = Model.load(self.run).provenance
        return {"iteration": provenance["iteration"], "scores": provenance.get("scores")}


def _command(command: list[str]) -> None:
    print("unet-native", *command, flush=True)
    if status := cli.run(command):
        raise SystemExit(status)


def _printed(command: list[str]) -> str:
    """What a command prints."""
    print("unet-native", *command, flush=True)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        status = cli.run(command)
    if status:
        raise SystemExit(status)
    return text.getvalue()

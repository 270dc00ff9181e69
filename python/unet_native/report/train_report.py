"""The report of a training run: report.html, made anew as the run goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_native.data.sampler import Sampler
from unet_native.evaluate import ScoredObjects, ScoredSlice
from unet_native.files import write_text
from unet_native.report import page
from unet_native.report.curves import loss_charts, score_chart
from unet_native.report.results import Results, score_cards
from unet_native.report.training_data import TrainingPictures

if TYPE_CHECKING:
    from unet_native.train.log import Row

__all__ = ["TrainReport"]

_FORMAT = 1  # of the state
_WARNS = "warning: "  # how a line of the data check begins that is one


class TrainReport:
    """Gathers what a run's report shows, and writes it.

    html    the report
    state   a JSON file with what of it neither log nor settings hold: the pictures of the network
            that is kept, warnings, on what machine it ran. So a resumed run goes on with it
    resume  whether to read `state`; what is missing or damaged is done without

    Nothing is written before :meth:`write`.
    """

    def __init__(self, html: Path, state: Path, *, resume: bool = False) -> None:
        self._html, self._state = html, state
        self._check = ""
        self._warnings: list[str] = []
        self._sessions: list[dict[str, Any]] = []
        self._pictures: TrainingPictures | None = None
        self._validation: tuple[int, Results] | None = None
        self._is_kept = False  # whether the state's file holds all this
        if resume:
            self._read_state()

    def begin(self, sampler: Sampler, iteration: int, check: str, **machine: Any) -> None:
        """A training starts, or goes on after `iteration`.

        check: of the data, in words. machine: on what it runs, names and values.
        """
        self._check = check or self._check
        session = {"iteration": iteration, "training slices": len(sampler.dataset), **machine}
        self._sessions.append(session)
        if self._pictures is None:
            self._pictures = TrainingPictures.of(sampler)
        self._is_kept = False

    def warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)
            self._is_kept = False

    def validated(
        self,
        iteration: int,
        key: str,
        result: dict[str, Any],
        slices: Sequence[ScoredSlice],
        objects: Sequence[ScoredObjects],
        images: Mapping[str, np.ndarray],
    ) -> None:
        """The network that is kept was scored.

        key: of the score that chose it. objects: may be empty. images: (C, H, W) grey values by
        slice name.
        """
        found = Results.of(result, slices, objects, images=images, key=key)
        self._validation = iteration, found
        self._is_kept = False

    def write(
        self,
        state: str,
        rows: Sequence[Row],
        settings: Mapping[str, Any],
        source: Mapping[str, Any] | None,
        parameters: int,
    ) -> None:
        """Writes the report, and what it is made of.

        state: "running", "finished", "stopped" or "diverged". rows: of the log. settings, source:
        as in settings.json. Raises UserError if a file cannot be written.
        """
        if not self._is_kept:
            write_text(self._state, json.dumps(self._kept()) + "\n")
            self._is_kept = True
        name = self._html.parent.resolve().name
        sections = [
            page.Section("curves", "Curves", self._curves_html(rows)),
            *self._validation_sections(),
            *self._data_sections(),
            page.Section("settings", "Settings", _settings_html(settings)),
            page.Section("provenance", "Provenance", self._provenance_html(rows, source)),
            page.Section("files", "Files", _files_html(self._html.parent)),
        ]
        headline = self._headline(state, rows, settings, source, parameters)
        top = page.cards(self._cards(rows)) + page.lines(self._said_warnings(), "notices")
        title = f"Training: {name}"
        write_text(self._html, page.page(title, state, headline, top, sections))

    # --- parts ---

    def _headline(
        self,
        state: str,
        rows: Sequence[Row],
        settings: Mapping[str, Any],
        source: Mapping[str, Any] | None,
        parameters: int,
    ) -> str:
        done, total = rows[-1].iteration if rows else 0, settings["iterations"]
        network = (
            f"{settings['net']} with {settings['depth']} levels and {settings['base_width']} "
            f"channels on the first, {parameters:,} parameters"
        )
        name = _base_name((source or {}).get("images"))
        data = f'"{name}"' if name else "arrays"
        if self._sessions:
            slices = f"{self._sessions[-1]['training slices']} slices"
            data = f"{slices} of {data}" if name else slices
        best = ""
        if self._validation is not None:
            iteration, results = self._validation
            best = f" Kept is the network of iteration {iteration}: {results.main_score}."
        ways = {
            "running": f"had done {done} of {total} iterations when this was written",
            "finished": f"{total} iterations, finished",
            "stopped": f"stopped after {done} of {total} iterations; --resume continues",
            "diverged": f"diverged after {done} of {total} iterations",
        }
        return f"{network}, trained on {data}: {ways[state]}.{best}"

    def _cards(self, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
        found = []
        if self._validation is not None:
            found = score_cards(self._validation[1].result)
        seconds = sum(row.seconds for row in rows)
        if rows:
            found.append(("Smoothed loss", f"{rows[-1].smoothed_loss:.4g}", "exponential mean"))
            found.append(("Time", _duration(seconds), f"{seconds / len(rows):.2f} s an iteration"))
        return found

    def _said_warnings(self) -> list[str]:
        """Those of the data check too, which begins them so itself."""
        found = [
            line[len(_WARNS) :] for line in self._check.splitlines() if line.startswith(_WARNS)
        ]
        return [f"Warning: {warning}" for warning in [*found, *self._warnings]]

    def _curves_html(self, rows: Sequence[Row]) -> str:
        best = None
        if self._validation is not None:
            iteration, results = self._validation
            best = (iteration, results.result.get(results.key, math.nan))
        charts = loss_charts(rows) + score_chart(rows, best)
        return f'<div class="charts">{charts}</div>' if charts else ""

    def _validation_sections(self) -> list[page.Section]:
        if self._validation is None:
            said = "There was no validation: without --validation no slice is held back, and how "
            said += "good the network is on new images is not known."
            return [page.Section("validation", "Validation", page.paragraph(said))]
        iteration, results = self._validation
        said = (
            f"The network in model.safetensors, of iteration {iteration}, on the slices held back: "
            f"{results.main_score}. A network that did better than all before it on these slices "
            "is kept, so these figures flatter a little."
        )
        return [
            page.Section(
                "validation",
                "Validation",
                page.paragraph(said) + results.scores_html() + results.charts_html(),
            ),
            page.Section("slices", "Worst and best slices", results.slices_html()),
        ]

    def _data_sections(self) -> list[page.Section]:
        check = page.lines(line for line in self._check.splitlines() if not line.startswith(_WARNS))
        if self._pictures is None:
            return [page.Section("data", "Training data", check)]
        return [
            page.Section("data", "Training data", check + self._pictures.weight_map_html()),
            page.Section("tiles", "Augmented tiles", self._pictures.tiles_html()),
        ]

    def _provenance_html(self, rows: Sequence[Row], source: Mapping[str, Any] | None) -> str:
        pairs: list[tuple[str, object]] = []
        for session in self._sessions[-1:]:
            pairs += [(name, value) for name, value in session.items() if name != "iteration"]
        resumed = [str(s["iteration"]) for s in self._sessions if s["iteration"]]
        if resumed:
            pairs.append(("resumed after iteration", ", ".join(resumed)))
        for name, value in (source or {}).items():
            if value is not None:
                shown = _base_name(value) if isinstance(value, str) else value
                pairs.append((name.replace("_", " "), shown))
        return page.facts(pairs)

    # --- state ---

    def _kept(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "check": self._check,
            "warnings": self._warnings,
            "sessions": self._sessions,
            "pictures": None if self._pictures is None else self._pictures.to_dict(),
            "validation": None
            if self._validation is None
            else {"iteration": self._validation[0], "results": self._validation[1].to_dict()},
        }

    def _read_state(self) -> None:
        try:
            stored = json.loads(self._state.read_text(encoding="utf-8"))
            if stored["format"] != _FORMAT:
                return
            pictures, validation = stored["pictures"], stored["validation"]
            found = (
                str(stored["check"]),
                [str(warning) for warning in stored["warnings"]],
                [dict(session) for session in stored["sessions"]],
                None if pictures is None else TrainingPictures.from_dict(pictures),
                None
                if validation is None
                else (int(validation["iteration"]), Results.from_dict(validation["results"])),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return
        self._check, self._warnings, self._sessions, self._pictures, self._validation = found


def _settings_html(settings: Mapping[str, Any]) -> str:
    """Groups of settings below one another."""
    plain = [(n.replace("_", " "), v) for n, v in settings.items() if not isinstance(v, Mapping)]
    parts = [page.facts(plain)]
    titles = {"augment": "Augmentation", "weights": "Weight map"}
    for name, group in settings.items():
        if isinstance(group, Mapping):
            title = titles.get(name, name)
            used = {n: v for n, v in group.items() if v is not None}
            pairs = [(n.replace("_", " "), _plain(v)) for n, v in used.items()]
            parts.append(f"<h3>{page.text(title)}</h3>{page.facts(pairs)}")
    return "".join(parts)


def _plain(value: object) -> object:
    return " to ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _files_html(run: Path) -> str:
    about = {
        "model.safetensors": "the network: what segment reads",
        "log.csv": "one row an iteration",
        "curves.png": "loss and scores as a picture",
        "settings.json": "settings and data of the run",
        "report.json": "pictures and warnings of this report, for --resume",
        "snapshots": "what --resume reads: weights, momentum, iteration",
    }
    return page.facts((name, said) for name, said in about.items() if (run / name).exists())


def _base_name(path: str | None) -> str:
    """Where data lie says nothing to those who are shown a report, and may be private."""
    return "" if path is None else Path(path).name or path


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"

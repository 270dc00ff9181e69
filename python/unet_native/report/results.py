"""What a scoring looks like: scores, their curves, probabilities, the worst and best slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_native.evaluate import ScoredObjects, ScoredSlice
from unet_native.objects import foreground_of
from unet_native.report import page
from unet_native.report.charts import Line, chart
from unet_native.report.layers import layered_objects, layered_slice
from unet_native.report.pictures import LayeredSlice, slices_html
from unet_native.score_table import SCORE_NAMES, best_threshold, score_table, score_text

__all__ = ["Results", "score_cards"]

_WORST = 3  # slices shown, and the best one besides
_BINS = 50
_OF_OBJECTS = ("seg", "f1")
_LEAST = 1e-5  # share of pixels: what is rarer is drawn as if it were so


@dataclass(frozen=True)
class Results:
    """Scores with what is shown of them; made once, drawn often, kept as JSON in between.

    result      of unet_native.evaluate.evaluate or evaluate_objects
    key         of the score by which slices are ranked
    slices      the worst and the best ones
    histogram   pixels in _BINS steps of the probability of the foreground, by what is true there;
                None for objects
    confusion   pixels by true and predicted class, for more than two classes
    """

    result: dict[str, Any]
    key: str
    slices: tuple[LayeredSlice, ...]
    histogram: dict[str, list[int]] | None = None
    confusion: list[list[int]] | None = None

    @classmethod
    def of(
        cls,
        result: dict[str, Any],
        scored: Sequence[ScoredSlice] = (),
        objects: Sequence[ScoredObjects] = (),
        *,
        images: Mapping[str, np.ndarray] | None = None,
        key: str | None = None,
    ) -> Results:
        """From what was scored by classes, by objects, or both.

        images: (C, H, W) grey values by the slice's name. key: None = V_Rand, IoU or SEG, the first
        that there is.
        """
        key = key or next(key for key in ("v_rand", "iou", "seg") if key in result)
        by_objects = key in _OF_OBJECTS
        by_name = {item.name: item for item in (objects if by_objects else scored)}
        pictures = []
        for rank, name in _chosen(result["per_slice"], key):
            score = f"{SCORE_NAMES[key]} {score_text(key, result['per_slice'][name])}"
            heading = f"{rank}{name} \N{EN DASH} {score}"
            ground = (images or {}).get(name)
            if by_objects:
                pictures.append(layered_objects(by_name[name], heading, ground))
            else:
                inside = "interior" if "v_rand" in result else "foreground"
                pictures.append(layered_slice(by_name[name], heading, ground, inside))
        if not scored:
            return cls(result, key, tuple(pictures))
        classes = len(scored[0].probabilities)
        confusion = _confusion(scored, classes) if classes > 2 else None
        return cls(result, key, tuple(pictures), _histogram(scored), confusion)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN: undefined scores are null."""
        return {
            "result": _replaced(self.result, lambda v: None if v != v else v),
            "key": self.key,
            "slices": [item.to_dict() for item in self.slices],
            "histogram": self.histogram,
            "confusion": self.confusion,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Results:
        """What :meth:`to_dict` made. Raises KeyError or TypeError for anything else."""
        return cls(
            _replaced(stored["result"], lambda v: math.nan if v is None else v),
            str(stored["key"]),
            tuple(LayeredSlice.from_dict(item) for item in stored["slices"]),
            stored["histogram"],
            stored["confusion"],
        )

    # --- drawing ---

    def scores_html(self) -> str:
        columns, rows = score_table(self.result)
        several = self.result["slices"] > 1
        caption = "Scores of each slice" + (" and of all together" if several else "")
        parts = [page.table(columns, rows, caption=caption, total=several)]
        if (best := best_threshold(self.result)) is not None:
            parts.append(page.paragraph(best + ".", "hint"))
        if "splits" in self.result:
            splits, mergers = self.result["splits"], self.result["mergers"]
            said = f"Warping error: {splits} split and {mergers} merger pixels."
            parts.append(page.paragraph(said, "hint"))
        if "tp" in self.result:
            columns = ["slice", "found", "missed", "matching none"]
            named = list(self.result["per_slice"].items())
            named += [(f"all {self.result['slices']}", self.result)] * several
            rows = [[name, *(str(s[key]) for key in ("tp", "fn", "fp"))] for name, s in named]
            caption = "True objects found and missed, predicted ones that match none"
            parts.append(page.table(columns, rows, caption=caption, total=several))
        parts.append(self._classes_html())
        return "".join(parts)

    def charts_html(self) -> str:
        drawn = self._thresholds_html() + self._histogram_html()
        return f'<div class="charts">{drawn}</div>' if drawn else ""

    @property
    def main_score(self) -> str:
        """Name and value of the score by which slices are ranked: "V_Rand 0.9731"."""
        return f"{SCORE_NAMES[self.key]} {score_text(self.key, self.result)}"

    def slices_html(self) -> str:
        if not self.slices:
            return ""
        hint = (
            "Each button lays one thing over the slice or takes it away; its square has the "
            "colour. Pixels count as the class that is most probable there, as the command "
            "segment writes it."
        )
        if self.key in _OF_OBJECTS:
            hint = (
                "Each button lays one thing over the slice or takes it away; its square has the "
                "colour. Areas are missed or invented, outlines merged, split or found; an object "
                "is found if its intersection over union with a predicted one exceeds 0.5."
            )
        return page.paragraph(hint, "hint") + slices_html(self.slices)

    def _classes_html(self) -> str:
        if self.confusion is None:
            return ""
        rows = []
        for true, counts in enumerate(self.confusion):
            total, union = sum(counts), sum(counts) + sum(row[true] for row in self.confusion)
            share = [f"{100 * n / total:.2f}" if total else "nan" for n in counts]
            iou = self.result["iou_per_class"][str(true)]
            rows.append([f"class {true}", str(total), *share, f"{iou:.4f}" if union else "nan"])
        columns = [
            "true class",
            "pixels",
            *(f"as {c} (%)" for c in range(len(self.confusion))),
            "IoU",
        ]
        return page.table(columns, rows, caption="What the pixels of each class are taken for")

    def _thresholds_html(self) -> str:
        curves = self.result.get("curves")
        if not curves:
            return ""
        names = {
            "v_rand": "V_Rand",
            "v_info": "V_Info",
            "pixel_f": "F of pixels",
            "rand_f": "F of pairs (without thinning)",
        }
        lines = [
            Line(name, curves["thresholds"], curves[key], style, points=True)
            for style, (key, name) in enumerate(names.items(), 1)
        ]
        best = None
        if math.isfinite(self.result["v_rand"]):
            value = score_text("v_rand", self.result)
            best = (self.result["v_rand_threshold"], self.result["v_rand"], f"V_Rand {value}")
        return chart(
            lines,
            title="Scores over the threshold",
            x_label="threshold on the probability of class 1",
            y_label="score",
            y_range=(0, 1),
            best=best,
            caption="Each score of the challenge counts at the threshold where it is best.",
        )

    def _histogram_html(self) -> str:
        if self.histogram is None:
            return ""
        if all(sum(counts[1:-1]) == 0 for counts in self.histogram.values()):
            return ""
        x = [(k + 0.5) / _BINS for k in range(_BINS)]
        lines = []
        for style, (name, counts) in enumerate(self.histogram.items(), 1):
            total = sum(counts)
            y = [100 * max(n / total, _LEAST) if total else math.nan for n in counts]
            lines.append(Line(f"truly {name}", x, y, style, filled=True))
        return chart(
            lines,
            title="Probabilities",
            x_label="probability of the foreground",
            y_label="% of these pixels",
            log=True,
            x_range=(0, 1),
            y_range=(100 * _LEAST, 100),
            caption="All pixels that count, by what they truly are, in steps of 0.02. The less the "
            "two curves overlap, the surer the network.",
        )


def score_cards(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The overall scores, for page.cards."""
    lower = {"rand_error", "pixel_error", "warping_error"}
    return [
        (name, score_text(key, result), "0 is best" if key in lower else "1 is best")
        for key, name in SCORE_NAMES.items()
        if key in result
    ]


def _chosen(per_slice: dict[str, dict[str, Any]], key: str) -> list[tuple[str, str]]:
    """(what it is, name) of the slices to show."""
    scored = {name: scores[key] for name, scores in per_slice.items()}
    order = sorted((n for n, score in scored.items() if math.isfinite(score)), key=scored.get)
    if not order:
        return [("", next(iter(per_slice)))]
    if len(order) == 1:
        return [("", order[0])]
    worst = order[: min(_WORST, len(order) - 1)]
    ranks = ("Worst: ", "Second worst: ", "Third worst: ")
    return [*zip(ranks, worst, strict=False), ("Best: ", order[-1])]


def _histogram(scored: Sequence[ScoredSlice]) -> dict[str, list[int]]:
    two = len(scored[0].probabilities) == 2
    names = ("class 1, interior", "class 0, membrane or background")
    names = names if two else ("any class but 0", "class 0, background")
    counts = np.zeros((2, _BINS), np.int64)
    for item in scored:
        probability = foreground_of(item.probabilities)
        steps = np.clip(probability * _BINS, 0, _BINS - 1).astype(np.intp)
        counted = np.ones(steps.shape, bool) if item.ignore is None else ~item.ignore
        for row, is_kind in zip(counts, (item.labels != 0, item.labels == 0), strict=True):
            row += np.bincount(steps[is_kind & counted], minlength=_BINS)
    return dict(zip(names, counts.tolist(), strict=True))


def _confusion(scored: Sequence[ScoredSlice], classes: int) -> list[list[int]]:
    counts = np.zeros(classes * classes, np.int64)
    for item in scored:
        pair = item.labels.astype(np.intp) * classes + item.probabilities.argmax(axis=0)
        pair = pair if item.ignore is None else pair[~item.ignore]
        counts += np.bincount(pair.ravel(), minlength=classes * classes)
    return counts.reshape(classes, classes).tolist()


def _replaced(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, change) for item in value]
    return change(value)

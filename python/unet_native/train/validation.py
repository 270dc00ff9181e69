"""Scores of a network on slices that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_native.data.dataset import DataSet, Slice
from unet_native.errors import UserError
from unet_native.evaluate import ScoredObjects, ScoredSlice, evaluate, evaluate_objects
from unet_native.objects import close_gaps, foreground_of, objects
from unet_native.segment import Segmenter
from unet_native.train.log import SCORES

__all__ = ["Validation", "choosing_score", "validate"]

_OF_OBJECTS = ("seg", "f1")
_OF_TWO_CLASSES = ("v_rand", "v_info")


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    scores     those of unet_native.evaluate named in unet_native.train.log.SCORES, over all slices;
               one that is undefined is left out
    result     all that unet_native.evaluate found
    slices     what it was found on
    objects    the same by objects; empty if these were not scored
    predicted  the classes that are most probable at some pixel
    """

    scores: dict[str, float]
    result: dict[str, Any]
    slices: list[ScoredSlice]
    objects: list[ScoredObjects]
    predicted: frozenset[int]


def choosing_score(choose_by: str, dataset: DataSet) -> str:
    """The name of the score by which networks are compared, see TrainSettings.choose_by."""
    if choose_by == "auto":
        if _numbers_objects(dataset):
            return "seg"
        return "v_rand" if dataset.classes == 2 else "iou"
    if choose_by in _OF_TWO_CLASSES and dataset.classes != 2:
        raise UserError(
            f"--choose-by {choose_by} is a score of two classes, the labels have "
            f"{dataset.classes}: use iou or seg"
        )
    return choose_by


def validate(
    segmenter: Segmenter,
    dataset: DataSet,
    choosing: str,
    progress: Callable[[int, int], None],
    stop: Callable[[], object],
) -> Validation | None:
    """Segments every slice at full size and scores the result; None if `stop` became true.

    Objects are scored (seg, f1: as ``segment --objects watershed`` finds them) where the labels
    number them, and where networks are compared by them, `choosing`.
    """
    scored: list[ScoredSlice] = []
    numbered: list[ScoredObjects] = []
    predicted: set[int] = set()
    for done, item in enumerate(dataset):
        if stop():
            return None
        progress(done, len(dataset))
        probabilities = segmenter.probabilities(item.image)
        predicted.update(np.unique(probabilities.argmax(axis=0)).tolist())
        scored.append(ScoredSlice(item.name, probabilities, item.labels, item.ignore))
        if choosing in _OF_OBJECTS or _numbers_objects(dataset):
            numbered.append(_objects(item, probabilities))
    progress(len(dataset), len(dataset))
    found = evaluate(scored)
    if numbered:
        by_objects = evaluate_objects(numbered)
        for name, scores in by_objects["per_slice"].items():
            found["per_slice"][name] |= {key: scores[key] for key in _OF_OBJECTS}
        found |= {key: by_objects[key] for key in _OF_OBJECTS}
    return Validation(
        scores={name: found[name] for name in SCORES if not math.isnan(found.get(name, math.nan))},
        result=found,
        slices=scored,
        objects=numbered,
        predicted=frozenset(predicted),
    )


def _numbers_objects(dataset: DataSet) -> bool:
    return dataset.label_rule is not None and dataset.label_rule.kind == "instances"


def _objects(item: Slice, probabilities: np.ndarray) -> ScoredObjects:
    """Predicted and true objects of a slice; ignored pixels are background in both."""
    found, true = objects(foreground_of(probabilities)), close_gaps(item.instances)
    if item.ignore is not None:
        found, true = (np.where(item.ignore, 0, numbers) for numbers in (found, true))
    return ScoredObjects(item.name, found, true)

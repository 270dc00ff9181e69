"""Scores of a network on slices that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_native.data.dataset import DataSet
from unet_native.evaluate import ScoredSlice, evaluate
from unet_native.segment import Segmenter
from unet_native.train.log import SCORES

__all__ = ["Validation", "main_score", "validate"]


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    scores     those of unet_native.evaluate named in unet_native.train.log.SCORES, over all slices;
               one that is undefined is left out
    result     all that unet_native.evaluate found
    slices     what it was found on
    predicted  the classes that are most probable at some pixel
    """

    scores: dict[str, float]
    result: dict[str, Any]
    slices: list[ScoredSlice]
    predicted: frozenset[int]


def main_score(scores: dict[str, float]) -> float:
    """The score by which networks are compared: V_Rand for two classes, IoU for more."""
    return scores.get("v_rand", scores.get("iou", -math.inf))


def validate(
    segmenter: Segmenter,
    dataset: DataSet,
    progress: Callable[[int, int], None],
    stop: Callable[[], object],
) -> Validation | None:
    """Segments every slice at full size and scores the result; None if `stop` became true."""
    scored = []
    predicted: set[int] = set()
    for done, item in enumerate(dataset):
        if stop():
            return None
        progress(done, len(dataset))
        probabilities = segmenter.probabilities(item.image)
        predicted.update(np.unique(probabilities.argmax(axis=0)).tolist())
        scored.append(ScoredSlice(item.name, probabilities, item.labels, item.ignore))
    progress(len(dataset), len(dataset))
    found = evaluate(scored)
    return Validation(
        scores={name: found[name] for name in SCORES if not math.isnan(found.get(name, math.nan))},
        result=found,
        slices=scored,
        predicted=frozenset(predicted),
    )

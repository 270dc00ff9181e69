"""Scores of a network on slices that it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable

from unet_native.data.dataset import DataSet
from unet_native.evaluate import ScoredSlice, evaluate
from unet_native.segment import Segmenter
from unet_native.train.log import SCORES

__all__ = ["main_score", "validate"]


def main_score(scores: dict[str, float]) -> float:
    """The score by which networks are compared: V_Rand for two classes, IoU for more."""
    return scores.get("v_rand", scores.get("iou", -math.inf))


def validate(
    segmenter: Segmenter,
    dataset: DataSet,
    progress: Callable[[int, int], None],
    stop: Callable[[], object],
) -> dict[str, float]:
    """Segments every slice at full size and scores the result; nothing if `stop` became true.

    The scores are those of unet_native.evaluate that are named in unet_native.train.log.SCORES; one
    that is undefined is left out.
    """
    scored = []
    for done, item in enumerate(dataset):
        if stop():
            return {}
        progress(done, len(dataset))
        probabilities = segmenter.probabilities(item.image)
        scored.append(ScoredSlice(item.name, probabilities, item.labels, item.ignore))
    progress(len(dataset), len(dataset))
    found = evaluate(scored)
    return {name: found[name] for name in SCORES if not math.isnan(found.get(name, math.nan))}

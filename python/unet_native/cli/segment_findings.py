"""What a segmentation of one colour means: said in words, with the numbers to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from unet_native.model_file import Model

__all__ = ["Findings"]


class Findings:
    """Collects what all images have in common.

    threshold: that of the objects; None where only the classes are written, of which the most
    probable one counts.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self._threshold = threshold
        self._least, self._most = np.inf, -np.inf  # probability of any object
        self._darkest, self._brightest = np.inf, -np.inf
        self._some = self._others = False  # pixels that are objects, and others

    def add(self, image: np.ndarray, foreground: np.ndarray, labels: np.ndarray) -> None:
        """Takes a slice: image (C, H, W), probability of any object (H, W), classes (H, W)."""
        self._least = min(self._least, float(foreground.min()))
        self._most = max(self._most, float(foreground.max()))
        self._darkest = min(self._darkest, float(image.min()))
        self._brightest = max(self._brightest, float(image.max()))
        if self._threshold is not None:
            self._some |= self._most > self._threshold
            self._others |= self._least <= self._threshold
        else:
            self._some |= bool(labels.any())
            self._others |= not labels.all()

    def explain(self, model: Model) -> str | None:
        """One sentence if no pixel of any image is an object, or every pixel; else None."""
        if self._some and self._others:
            return None
        if self._some:
            found = f"every pixel is an object: the smallest probability is {self._least:.3g}"
            remedy = "raise"
        else:
            found = f"no pixel is an object: the largest probability is {self._most:.3g}"
            remedy = "lower"
        limit = 0.5 if self._threshold is None else self._threshold
        low, high = min(model.normaliser.low), max(model.normaliser.high)
        return (
            f"{found}, the threshold {limit:g}; the images hold grey values from "
            f"{self._darkest:g} to {self._brightest:g}, most of those trained on from {low:g} to "
            f"{high:g}: if these differ, convert the images as those were; if the network is "
            f"unsure, {remedy} the threshold (--objects components --threshold); if it has not "
            "learnt, look at the curves of its training"
        )

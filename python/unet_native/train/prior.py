"""Has the network learnt anything? A loss must beat what guessing the classes would give."""

from __future__ import annotations

import numpy as np

from unet_native.blob import Array

__all__ = ["PriorCheck"]

_FIRST = 500  # iterations before the loss is judged
_MARGIN = 0.98  # of the entropy; a smoothed loss wavers


class PriorCheck:
    """Compares the loss with the entropy of the weighted class frequencies.

    A network that ignores the image does best by predicting each class with its share p_c of the
    weights; its loss, divided by the sum of weights, is -sum_c p_c log p_c.
    """

    def __init__(self, classes: int) -> None:
        self._weight = np.zeros(classes)
        self._done = False

    def add(self, label: Array, weight: Array) -> None:
        """Counts a tile: label and weight of one shape."""
        if not self._done:
            labels = label.ravel().astype(np.intp)
            self._weight += np.bincount(labels, weight.ravel(), len(self._weight))

    @property
    def entropy(self) -> float:
        share = self._weight[self._weight > 0] / self._weight.sum()
        return float(-(share * np.log(share)).sum())

    def complaint(self, iteration: int, smoothed_loss: float) -> str | None:
        """A warning in words, once, if the loss is no better than guessing by now."""
        if self._done or iteration < _FIRST:
            return None
        self._done = True
        if smoothed_loss < _MARGIN * self.entropy:
            return None
        return (
            f"after {iteration} iterations the loss ({smoothed_loss:.3f}) is no better than "
            f"guessing by class frequencies ({self.entropy:.3f}): the network has learnt nothing "
            "yet; check that labels and images belong together and which value is the foreground "
            "(--foreground), and try another --base-lr"
        )

"""Does the network learn? If not, why, in words that say what to do.

A black segmentation has few causes, and training shows them early: a loss no better than guessing,
units that are 0 whatever they see, a loss that rises again, one class predicted everywhere.
"""

from __future__ import annotations

import numpy as np

from unet_native import models
from unet_native.blob import Array
from unet_native.net import Net
from unet_native.segment import depth_of

__all__ = ["HealthCheck", "dead_layer"]

_FIRST = 500  # iterations before the loss is judged
_MARGIN = 0.98  # of the entropy; a smoothed loss wavers
_RISEN = 2.0  # times the entropy: worse than this is no wavering

_REMEDY = "start again with --warmup 300 or a lower --base-lr"


class HealthCheck:
    """Compares the loss with the entropy of the weighted class frequencies.

    A network that ignores the image does best by predicting each class with its share p_c of the
    weights; its loss, divided by the sum of weights, is -sum_c p_c log p_c.
    """

    def __init__(self, classes: int) -> None:
        self._weight = np.zeros(classes)
        self._lowest = np.inf  # smoothed loss so far
        self._judged = self._exploded = self._one_class = False

    def add(self, label: Array, weight: Array) -> None:
        """Counts a tile: label and weight of one shape."""
        if not self._judged:
            labels = label.ravel().astype(np.intp)
            self._weight += np.bincount(labels, weight.ravel(), len(self._weight))

    @property
    def entropy(self) -> float:
        share = self._weight[self._weight > 0] / self._weight.sum()
        return float(-(share * np.log(share)).sum())

    def has_learnt_nothing(self, iteration: int, smoothed_loss: float) -> bool:
        """Whether the loss, when it is judged (once), is no better than guessing."""
        if self._judged or iteration < _FIRST:
            return False
        self._judged = True
        return smoothed_loss >= _MARGIN * self.entropy

    def explain(self, iteration: int, smoothed_loss: float, dead: str | None) -> str:
        """The sentence for a loss no better than guessing. dead: see :func:`dead_layer`."""
        found = (
            f"after {iteration} iterations the loss ({smoothed_loss:.3g}) is no better than "
            f"guessing by class frequencies ({self.entropy:.3f})"
        )
        if dead is not None:
            return f"{found}: {dead}, because the first steps were too large; {_REMEDY}"
        if smoothed_loss > _RISEN * self.entropy:
            self._exploded = True
            return f"{found}: the steps are too large; {_REMEDY}"
        return (
            f"{found}: the network has learnt nothing yet; check that labels and images belong "
            "together and which value is the foreground (--foreground), and try another --base-lr"
        )

    def explosion(self, iteration: int, smoothed_loss: float) -> str | None:
        """A warning in words, once, if a loss that was below guessing is far above it again."""
        self._lowest = min(self._lowest, smoothed_loss)
        if self._exploded or not self._lowest < self.entropy * _MARGIN:
            return None
        if smoothed_loss < _RISEN * self.entropy:
            return None
        self._exploded = True
        return (
            f"iteration {iteration}: the loss has risen from {self._lowest:.3g} to "
            f"{smoothed_loss:.3g}, far above guessing by class frequencies ({self.entropy:.3f}): "
            f"the training is diverging; {_REMEDY}"
        )

    def one_class(self, iteration: int, predicted: frozenset[int]) -> str | None:
        """A warning in words, once, if a validation found one class at every pixel."""
        if self._one_class or iteration < _FIRST or len(predicted) != 1:
            return None
        self._one_class = True
        return (
            f"after {iteration} iterations the network predicts class {min(predicted)} at every "
            "pixel of the validation slices: a segmentation would be of one colour; go on if the "
            "loss still falls, otherwise check labels and --foreground, or try another --base-lr"
        )


def dead_layer(net: Net, data: Array) -> str | None:
    """What part of a network no longer answers to its input, in words; None if all does.

    net: with the parameters. data: (1, C, H, W) what it is trained on. A layer of ReLUs is dead if
    it is 0 at every pixel of every channel; then nothing before it can be learnt any more.
    """
    side = models.input_size(1, depth_of(net.spec))
    data = data[..., :side, :side]
    probe = Net(net.spec, "TEST", params_of=net, context=net.context, data=data.shape)
    score = probe.forward(data=data)["score"]
    for layer in probe.spec.layers:
        if layer.type == "ReLU" and not np.any(probe.blobs[layer.top[0]].data):
            return f"the units after {layer.name} are dead (0 at every pixel)"
    if np.all(np.ptp(score, axis=(2, 3)) <= 1e-6 * np.abs(score).max()):
        return "the network gives the same answer at every pixel"
    return None

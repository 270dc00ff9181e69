"""Accuracy: the share of positions whose label is among the best-scored classes."""

from __future__ import annotations

import numpy as np

from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer
from unet_native.layers.loss import check_scores_and_label
from unet_native.spec import Shape


class Accuracy(Layer):
    """top[0] = accuracy over all positions not ignored, top[1], if named, per class.

    A class that scores as high as the true one counts as better. No valid position: 0.
    Source: Caffe accuracy_layer.cpp.
    """

    works_on_host = True
    num_bottoms = (2, 2)
    num_tops = (1, 2)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        check_scores_and_label(self, bottoms, self.spec.accuracy_param.axis)
        return [(), (bottoms[0][1],)][: len(self.spec.top)]

    def backpropagates_to(self, bottom: int) -> bool:
        return False

    def forward(self) -> None:
        p = self.spec.accuracy_param
        scores = with_four_axes(self.bottom[0].data)
        n, classes, h, w = scores.shape
        label = self.bottom[1].data.reshape(n, 1, h, w).astype(np.int64)
        valid = np.ones(label.shape, bool) if p.ignore_label is None else label != p.ignore_label
        known = np.where(valid, label, 0)
        if known.min() < 0 or known.max() >= classes:
            raise self.refuse_data(f"labels must lie in 0..{classes - 1}")
        true_score = np.take_along_axis(scores, known, axis=1)
        better = (scores >= true_score).sum(axis=1, keepdims=True) - 1
        hit = valid & (better < p.top_k)
        self.top[0].data[...] = hit.sum() / max(valid.sum(), 1)
        if len(self.top) > 1:
            for c in range(classes):
                of_class = valid & (label == c)
                self.top[1].data[c] = (hit & of_class).sum() / max(of_class.sum(), 1)

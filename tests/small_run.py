"""Training runs of a moment: what they are made of, and how to compare them."""

from __future__ import annotations

import numpy as np

from unet_native import snapshot
from unet_native.data.dataset import DataSet
from unet_native.train import Observer, TrainSettings

SMALL = TrainSettings(
    depth=2, base_width=4, tile=76, iterations=12, test_interval=4, snapshot=5, base_lr=2e-3
)


def discs(slices=3, size=72, seed=0):
    """Bright discs on a dark, noisy ground: labels follow from grey values nearly everywhere."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((slices, size, size), np.uint8)
    for label in labels:
        for _ in range(7):
            y, x, radius = rng.uniform(5, size - 5), rng.uniform(5, size - 5), rng.uniform(4, 9)
            label |= (np.hypot(rows - y, columns - x) < radius).astype(np.uint8)
    images = 60 + 90 * labels + rng.normal(0, 15, labels.shape)
    return images.clip(0, 255).astype(np.uint8), labels


def data_set(slices=3, seed=0, normaliser="zscore"):
    return DataSet.from_arrays(*discs(slices, seed=seed), normaliser=normaliser)


def sets():
    training = data_set()
    return training, data_set(2, seed=1, normaliser=training.normaliser)


def tensors(path):
    file = snapshot.read(path)
    return {name: file.array(name) for name in file.shapes}


def assert_same_tensors(one, two):
    one, two = tensors(one), tensors(two)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


class Recorder(Observer):
    def __init__(self):
        self.rows, self.scores, self.snapshots, self.warnings = [], [], [], []

    def iteration(self, row, iterations):
        self.rows.append(row)

    def validated(self, iteration, scores, best):
        self.scores.append((iteration, scores, best))

    def snapshot(self, path):
        self.snapshots.append(path.name)

    def warning(self, text):
        self.warnings.append(text)

"""What every competitor computes: the paper's network (`fig1`) on one image.

Training has dropout, a pixel-weighted softmax cross-entropy divided by its sum of weights, and
momentum 0.99; inference gives the scores, without softmax.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unet_native import models
from unet_native.net import Net
from unet_native.spec import NetSpec


@dataclass(frozen=True)
class Problem:
    """A tile of `tile` x `tile` pixels, `width` channels in the first level."""

    tile: int
    width: int

    @property
    def spec(self) -> NetSpec:
        return models.fig1(base_width=self.width, tile=self.tile)

    @cached_property
    def data(self) -> np.ndarray:
        """(1, 1, tile, tile)"""
        shape = (1, 1, self.tile, self.tile)
        return np.random.default_rng(1).standard_normal(shape, np.float32)

    @cached_property
    def label(self) -> np.ndarray:
        """(1, 1, tile - 184, tile - 184), 0 or 1"""
        shape = (1, 1, self.tile - 184, self.tile - 184)
        return np.random.default_rng(2).integers(0, 2, shape).astype(np.float32)

    @cached_property
    def weight(self) -> np.ndarray:
        return np.random.default_rng(3).uniform(0.5, 1.5, self.label.shape).astype(np.float32)

    def net(self, phase: str = "TEST", **options) -> Net:
        """The network with the initial weights that all competitors share."""
        return Net(self.spec, phase, seed=1, plan="lean", **options)

    def layers(self) -> list[tuple[str, str, tuple[np.ndarray, np.ndarray]]]:
        """Name, type, weight and bias of each layer that has them, in Caffe's shapes."""
        small = Problem(188, self.width).net()
        kinds = {layer.name: layer.type for layer in small.layers}
        return [
            (name, kinds[name], tuple(np.ascontiguousarray(blob.data) for blob in blobs))
            for name, blobs in small.params.items()
        ]

    def parameters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [arrays for _, _, arrays in self.layers()]

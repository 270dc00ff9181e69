"""Dropout with Caffe's scaling."""

from __future__ import annotations

import numpy as np

from unet_native import ops
from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer
from unet_native.ops.arrays import Array, Mask
from unet_native.spec import Shape


class Dropout(Layer):
    """Zeroes each element with probability dropout_ratio and scales the others by 1/(1-ratio).

    In phase TEST it copies. The mask depends on (seed, iteration, layer index) alone.
    Source: Caffe dropout_layer.cpp.
    """

    works_in_place = True

    def __init__(self, *args):
        super().__init__(*args)
        self.ratio = self.spec.dropout_param.dropout_ratio
        if not 0 <= self.ratio < 1:
            raise self.refuse(f"dropout_ratio must be at least 0 and below 1, got {self.ratio}")
        self.drops = self.execution.phase == "TRAIN"

    def kept_buffers(self, bottoms: list[Shape]) -> dict[str, tuple[Shape, type]]:
        return {"mask": (bottoms[0], np.uint8)} if self.drops else {}

    def forward(self) -> None:
        if not self.drops:
            if not self.in_place:
                self._copy(self.bottom[0].data, self.top[0].data)
            return
        mask = with_four_axes(self.kept["mask"])
        self.draw(mask)
        ops.dropout_forward(
            with_four_axes(self.bottom[0].data),
            mask,
            self.ratio,
            out=with_four_axes(self.top[0].data),
            context=self.execution.context,
        )

    def _copy(self, source: Array, target: Array) -> None:
        source, target = with_four_axes(source), with_four_axes(target)
        ops.crop_forward(source, target.shape[2:], out=target, context=self.execution.context)

    def draw(self, mask: Mask) -> None:
        """Fills the mask, (N, C, H, W): 1 keeps an element, 0 drops it."""
        run = self.execution
        ops.dropout_mask(
            mask.shape,
            self.ratio,
            seed=run.seed,
            further=run.iteration_there,
            layer=self.index,
            out=mask,
            context=run.context,
        )

    def backward_data(self) -> None:
        if not self.drops:
            if not self.in_place:
                self._copy(self.top[0].diff, self.bottom_diffs[0])
            return
        ops.dropout_backward(
            with_four_axes(self.top[0].diff),
            with_four_axes(self.kept["mask"]),
            self.ratio,
            out=with_four_axes(self.bottom_diffs[0]),
            context=self.execution.context,
        )

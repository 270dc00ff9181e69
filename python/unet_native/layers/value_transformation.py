"""ValueTransformation: a shift and a scale of the values, of Freiburg's 2019 fork."""

from __future__ import annotations

import numpy as np

from unet_native.layers.base import Layer
from unet_native.ops.arrays import Array
from unet_native.spec import Shape


class ValueTransformation(Layer):
    """top = (bottom + offset) * scale, each one value for all channels or one for each.

    Source: value_transformation_layer.cpp of the 2019 fork.
    """

    works_on_host = True

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        p, shape = self.spec.value_transformation_param, bottoms[0]
        if len(shape) < 2:
            raise self.refuse(f"a bottom with channels is wanted, got shape {shape}")
        for name, values in (("offset", p.offset), ("scale", p.scale)):
            if len(values) not in (0, 1, shape[1]):
                raise self.refuse(f"{len(values)} values of {name} for {shape[1]} channels")
        return [shape]

    def _per_channel(self, values: tuple[float, ...], default: float) -> Array:
        axes = (-1,) + (1,) * (len(self.bottom[0].shape) - 2)
        return np.array(values or (default,), np.float32).reshape(axes)

    def forward(self) -> None:
        p, top = self.spec.value_transformation_param, self.top[0].data
        np.add(self.bottom[0].data, self._per_channel(p.offset, 0), out=top)
        np.multiply(top, self._per_channel(p.scale, 1), out=top)

    def backward_data(self) -> None:
        scale = self._per_channel(self.spec.value_transformation_param.scale, 1)
        np.multiply(self.top[0].diff, scale, out=self.bottom_diffs[0])

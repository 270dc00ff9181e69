"""Input: blobs that whoever runs the net fills."""

from __future__ import annotations

from unet_native.layers.base import Layer
from unet_native.spec import Shape


class Input(Layer):
    """Tops of given shapes, one for each top or one for all. Source: Caffe input_layer.cpp."""

    num_bottoms = (0, 0)
    num_tops = (1, 1 << 30)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        shapes, tops = self.spec.input_param.shape, len(self.spec.top)
        if len(shapes) not in (1, tops):
            raise self.refuse(f"{tops} tops, but {len(shapes)} shapes")
        for shape in shapes:
            if len(shape) > 4 or any(size < 1 for size in shape):
                raise self.refuse(f"at most 4 axes of at least 1 element are wanted, got {shape}")
        return list(shapes) if len(shapes) == tops else list(shapes) * tops

    def forward(self) -> None:
        """Nothing: the data are there."""

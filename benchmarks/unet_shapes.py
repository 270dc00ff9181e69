"""The real layer shapes of the paper's network, from which every benchmark takes its cases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv3x3:
    """One unpadded 3x3 convolution: a square bottom of `size` pixels."""

    name: str
    ic: int
    oc: int
    size: int

    @property
    def flop(self) -> int:
        """Operations of the direct sum, one pass."""
        return 18 * self.ic * self.oc * (self.size - 2) ** 2


def conv3x3_layers(tile: int = 572, base_width: int = 64, channels: int = 1) -> list[Conv3x3]:
    """The eighteen 3x3 convolutions of `fig1`, in forward order, with Caffe's layer names."""
    layers, size, ic = [], tile, channels
    for level in range(5):
        width = base_width << level
        layers.append(Conv3x3(f"conv_d{level}a-b", ic, width, size))
        layers.append(Conv3x3(f"conv_d{level}b-c", width, width, size - 2))
        size, ic = size - 4, width
        if level < 4:
            size //= 2
    for level in reversed(range(4)):
        width = base_width << level
        size *= 2
        layers.append(Conv3x3(f"conv_u{level}b-c", 2 * width, width, size))
        layers.append(Conv3x3(f"conv_u{level}c-d", width, width, size - 2))
        size -= 4
    return layers

"""The layers of the paper's network: shapes, operations and the traffic that none can avoid.

Operations are those of the direct sums: 2 * taps * IC * OC for each pixel, in each of the three
passes. Traffic is the least there is: each operand read once, each result written once, blobs and
parameters in float32 as the project stores them, nothing left in a cache from the layer before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.unet_shapes import conv3x3_layers

PASSES = ("forward", "backward_data", "backward_weights")
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Convolution:
    """A layer with filters, over a square bottom of `size` pixels.

    op: "conv3x3" (unpadded), "conv1x1" or "up_conv2x2" (stride 2)
    """

    name: str
    op: str
    ic: int
    oc: int
    size: int

    @property
    def kernel(self) -> int:
        return {"conv3x3": 3, "conv1x1": 1, "up_conv2x2": 2}[self.op]

    @property
    def top_size(self) -> int:
        return 2 * self.size if self.op == "up_conv2x2" else self.size - self.kernel + 1

    @property
    def flop(self) -> int:
        """Operations of one pass."""
        taps = 1 if self.op == "up_conv2x2" else self.kernel**2  # each pixel of the top has one
        return 2 * taps * self.ic * self.oc * self.top_size**2

    @property
    def weights(self) -> int:
        return self.kernel**2 * self.ic * self.oc

    @property
    def traffic(self) -> int:
        """Bytes of one pass, the same for all three: bottom, weight and top, or their diffs.

        A bias is less than a thousandth of it and left out.
        """
        bottom, top = self.ic * self.size**2, self.oc * self.top_size**2
        return FLOAT * (bottom + self.weights + top)

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flop / self.traffic

    def is_needed(self, pass_name: str) -> bool:
        """Whether a step of training runs this pass: nobody wants the gradient of the image."""
        return pass_name != "backward_data" or self.name != "conv_d0a-b"

    @property
    def top_shape(self) -> tuple[int, int]:
        """Channels and pixels a side."""
        return self.oc, self.top_size

    @property
    def shape(self) -> str:
        return f"{self.ic} -> {self.oc}, {self.size}"


@dataclass(frozen=True)
class Movement:
    """A pass that computes next to nothing: what it moves is what it costs.

    It works on a blob of `channels` maps of size x size pixels; of parameters, on an array of
    `channels` numbers. skip: size of the window that a skip connection keeps.
    """

    name: str
    op: str
    pass_name: str
    channels: int
    size: int
    traffic: int  # bytes
    skip: int = 0

    @property
    def shape(self) -> str:
        return f"{self.channels}, {self.size}"


def _movement(
    name: str, op: str, pass_name: str, shape: tuple[int, int], blobs: float, skip: int = 0
) -> Movement:
    """blobs: how often a blob of that shape, (channels, size), is read and written."""
    traffic = round(FLOAT * blobs * shape[0] * shape[1] ** 2)
    return Movement(name, op, pass_name, *shape, traffic, skip)


def convolutions(tile: int = 572, width: int = 64) -> list[Convolution]:
    """The 23 layers with filters of `fig1`, in forward order, with Caffe's names."""
    threes = [
        Convolution(layer.name, "conv3x3", layer.ic, layer.oc, layer.size)
        for layer in conv3x3_layers(tile, width)
    ]
    layers, below = threes[:10], "d4c"
    for level in reversed(range(4)):
        two = threes[10 + 2 * (3 - level) :][:2]
        channels = width << (level + 1)
        name = f"upconv_{below}_u{level}a"
        layers.append(Convolution(name, "up_conv2x2", channels, channels // 2, two[0].size // 2))
        layers += two
        below = f"u{level}d"
    layers.append(Convolution("conv_u0d-score", "conv1x1", width, 2, threes[-1].top_size))
    return layers


def parameters(tile: int = 572, width: int = 64) -> int:
    """Weights and biases of the network."""
    return sum(layer.weights + layer.oc for layer in convolutions(tile, width))


def movements(tile: int = 572, width: int = 64) -> list[Movement]:
    """All else that a step does, in the form in which this project does it.

    ReLU goes forward within the convolutions. Where a skip connection leaves, max pooling, crop and
    ReLU go back in one pass.
    """
    layers = {layer.name: layer for layer in convolutions(tile, width)}
    found: list[Movement] = []
    for level in range(5):
        inner = layers[f"conv_d{level}a-b"].top_shape
        shape = _, size = layers[f"conv_d{level}b-c"].top_shape
        found.append(_movement(f"relu_d{level}b", "relu", "backward", inner, 3))
        if level >= 3:  # the mask has a byte where a blob has four
            name = f"dropout_d{level}c"
            found.append(_movement(name, "dropout", "forward", shape, 2 + 2 / FLOAT))
            found.append(_movement(name, "dropout", "backward", shape, 2 + 1 / FLOAT))
        if level == 4:
            found.append(_movement("relu_d4c", "relu", "backward", shape, 3))
            continue
        name, skip = f"pool_d{level}c-{level + 1}a", layers[f"conv_u{level}b-c"].size
        read = 1 + 1 / 4 + (skip / size) ** 2
        found.append(_movement(name, "max_pool2x2", "forward", shape, 1 + 1 / 4))
        found.append(_movement(name, "max_pool2x2", "backward", shape, read + 1, skip))
        name, copied = f"crop_d{level}c-d{level}cc", 2 * (skip / size) ** 2
        found.append(_movement(name, "crop_concat", "forward", shape, copied, skip))
        for part in ("b-c", "c-d"):
            above = layers[f"conv_u{level}{part}"].top_shape
            found.append(_movement(f"relu_u{level}{part[-1]}", "relu", "backward", above, 3))
    scores = layers["conv_u0d-score"].top_shape
    found.append(_movement("loss", "softmax_loss", "forward", scores, 2 + 2 / scores[0]))
    found.append(_movement("sgd", "sgd", "update", (parameters(tile, width), 1), 5))
    return found


def others(tile: int = 572, width: int = 64) -> list[Movement]:
    """What the project has passes for and the step of this network does without."""
    layers = {layer.name: layer for layer in convolutions(tile, width)}
    first, scores = layers["conv_d0a-b"].top_shape, layers["conv_u0d-score"].top_shape
    shape, skip = layers["conv_d0b-c"].top_shape, layers["conv_u0b-c"].size
    written = 1 + (skip / shape[1]) ** 2
    return [
        _movement("relu_d0b", "relu", "forward", first, 2),
        _movement("crop_d0c-d0cc", "crop_concat", "backward", shape, written, skip),
        _movement("softmax", "softmax", "forward", scores, 2),
        _movement("softmax", "softmax", "backward", scores, 3),
        _movement("adam", "adam", "update", (parameters(tile, width), 1), 7),
    ]


def step_passes(tile: int = 572, width: int = 64) -> Iterator[tuple[Convolution, str]]:
    """Each layer with filters and pass that a step of training runs."""
    for layer in convolutions(tile, width):
        for pass_name in PASSES:
            if layer.is_needed(pass_name):
                yield layer, pass_name

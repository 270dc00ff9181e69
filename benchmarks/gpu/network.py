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

    def is_needed(self, pass_name: str) -> bool:
        """Whether a step of training runs this pass: nobody wants the gradient of the image."""
        return pass_name != "backward_data" or self.name != "conv_d0a-b"

    @property
    def shape(self) -> str:
        return f"{self.ic} -> {self.oc}, {self.size}"


@dataclass(frozen=True)
class Movement:
    """A pass that computes next to nothing: what it moves is what it costs.

    shape: of the blob that it works on, (C, H, W) with H = W = size
    """

    name: str
    op: str
    pass_name: str
    channels: int
    size: int
    traffic: int  # bytes

    @property
    def shape(self) -> str:
        return f"{self.channels}, {self.size}"


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

    def move(name: str, op: str, pass_name: str, channels: int, size: int, count: float) -> None:
        traffic = round(FLOAT * count * channels * size**2)
        found.append(Movement(name, op, pass_name, channels, size, traffic))

    for level in range(5):
        first, second = layers[f"conv_d{level}a-b"], layers[f"conv_d{level}b-c"]
        channels, size = second.oc, second.top_size
        move(f"relu_d{level}b", "relu", "backward", channels, first.top_size, 3)
        if level >= 3:  # the mask has a byte where a blob has four
            move(f"dropout_d{level}c", "dropout", "forward", channels, size, 2 + 2 / FLOAT)
            move(f"dropout_d{level}c", "dropout", "backward", channels, size, 2 + 1 / FLOAT)
        if level == 4:
            move("relu_d4c", "relu", "backward", channels, size, 3)
            continue
        pool = f"pool_d{level}c-{level + 1}a"
        skip = layers[f"conv_u{level}b-c"].size  # of the window that is kept
        move(pool, "max_pool2x2", "forward", channels, size, 1 + 1 / 4)
        move(pool, "max_pool2x2", "backward", channels, size, 2 + 1 / 4 + (skip / size) ** 2)
        move(f"crop_d{level}c-d{level}cc", "crop_concat", "forward", channels, skip, 2)
        for part in ("b-c", "c-d"):
            layer = layers[f"conv_u{level}{part}"]
            move(f"relu_u{level}{part[-1]}", "relu", "backward", layer.oc, layer.top_size, 3)
    score = layers["conv_u0d-score"]
    move("loss", "softmax_loss", "forward", score.oc, score.size, 2 + 2 / score.oc)
    count = parameters(tile, width)
    found.append(Movement("update", "sgd", "update", 1, count, FLOAT * 5 * count))
    return found


def step_passes(tile: int = 572, width: int = 64) -> Iterator[tuple[Convolution, str]]:
    """Each layer with filters and pass that a step of training runs."""
    for layer in convolutions(tile, width):
        for pass_name in PASSES:
            if layer.is_needed(pass_name):
                yield layer, pass_name

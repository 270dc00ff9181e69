"""The published networks: the figure of the paper, and the network of the 2015 release.

They differ, so both are here under their own names:

fig1      Ronneberger, Fischer, Brox 2015, figure 1. 31,030,658 parameters.
phseg_v5  u-net-release-2015-10-02, the network that came with the trained weights: its last
          up-convolution keeps its 128 channels, and a ReLU follows every up-convolution.
          31,100,354 parameters.

Both have unpadded 3x3 convolutions with ReLU, 2x2 max pooling, 2x2 up-convolutions and cropped
skip connections; `depth` levels, the first `base_width` channels wide, each next one twice that.
Layers and blobs have the release's names: level 3 of the contracting path is d3a, d3b, d3c, of the
expanding path u3a, u3b, u3c, u3d; "conv_d3b-c" leads from d3b to d3c.

Dropout of ratio 0.5 stands at the end of the contracting path: on the last level and on the one
above it, where it comes before both the pooling and the skip connection. That is the release's
choice; the paper states neither ratio nor place.

Inputs in phase TRAIN: data, label (class numbers) and weight (the paper's w(x)); output loss.
In phase TEST: data; output score, without softmax.

Sizes. A tile must keep every pooled map even: with p = 2^(depth-1) an input side is
p*k + 4*(p-1), its output p*k - 8*p + 4: on each side border(depth) = 6*p - 4 pixels less, 92 for 5
levels (572 -> 388).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

from unet_native.spec import (
    ConvolutionParameter,
    CropParameter,
    DropoutParameter,
    FillerParameter,
    InputParameter,
    LayerSpec,
    NetSpec,
    ParamSpec,
    PoolingParameter,
    ReLUParameter,
    Shape,
)

Size = int | tuple[int, int]

# Weights learn at the base rate; biases at twice that, without decay.
_LEARNING = (ParamSpec(lr_mult=1, decay_mult=1), ParamSpec(lr_mult=2, decay_mult=0))


def fig1(
    *,
    depth: int = 5,
    base_width: int = 64,
    channels: int = 1,
    classes: int = 2,
    tile: Size = 572,
    batch: int = 1,
    weighted: bool = True,
    dropout_ratio: float = 0.5,
) -> NetSpec:
    """The network of the paper's figure 1.

    tile: (height, width) of the inputs, or the side of square ones; valid sizes: see
    :func:`output_size`. weighted: whether the loss has a weight for each pixel. Weights are drawn
    from N(0, sqrt(2/N)), N the incoming connections of one neuron, as section 3 of the paper says:
    9*IC for a 3x3 convolution, but IC for an up-convolution, whose neurons each see one tap.
    """
    return _build(
        "fig1",
        _Widths(depth, base_width, last_up=base_width),
        channels=channels,
        classes=classes,
        tile=tile,
        batch=batch,
        weighted=weighted,
        dropout_ratio=dropout_ratio,
        relu_after_up=False,
        filler=lambda channels: FillerParameter("msra"),
        up_filler=lambda channels: FillerParameter("gaussian", std=sqrt(2 / channels)),
    )


def phseg_v5(
    *,
    depth: int = 5,
    base_width: int = 64,
    channels: int = 1,
    classes: int = 2,
    tile: Size = 572,
    batch: int = 1,
    weighted: bool = True,
    dropout_ratio: float = 0.5,
) -> NetSpec:
    """The network of the 2015 release. Arguments as for :func:`fig1`.

    Weights are drawn by the release's own `xavier`, N(0, sqrt(2/fan_in)) with Caffe's fan_in: for
    an up-convolution that is 4*OC. The release's loss had no weights; `weighted=False` leaves them
    out.
    """
    filler = FillerParameter("release_xavier")
    return _build(
        "phseg_v5",
        _Widths(depth, base_width, last_up=2 * base_width),
        channels=channels,
        classes=classes,
        tile=tile,
        batch=batch,
        weighted=weighted,
        dropout_ratio=dropout_ratio,
        relu_after_up=True,
        filler=lambda channels: filler,
        up_filler=lambda channels: filler,
    )


MODELS: dict[str, Callable[..., NetSpec]] = {"fig1": fig1, "phseg_v5": phseg_v5}


# --- sizes ---


def border(depth: int = 5) -> int:
    """Pixels that the output is smaller than the input on each side."""
    return 6 * 2 ** (depth - 1) - 4


def output_size(size: int, depth: int = 5) -> int:
    """Side of the output for an input of side `size`.

    Raises ValueError, naming the nearest valid sizes, if no output or an odd pooled map results.
    """
    step, least = 2 ** (depth - 1), input_size(1, depth)
    if size < least or (size - least) % step:
        below = least + max(0, (size - least) // step) * step
        sizes = f"{below} or {below + step}" if size > least else f"{least}"
        raise ValueError(f"tile of {size} pixels: a network of {depth} levels takes {sizes}")
    return size - 2 * border(depth)


def input_size(size: int, depth: int = 5) -> int:
    """Side of the smallest valid input whose output has a side of at least `size` pixels."""
    step = 2 ** (depth - 1)
    smallest = 4 if depth > 1 else 1
    steps = max(0, -(-(size - smallest) // step))
    return smallest + steps * step + 2 * border(depth)


def tile_shapes(
    tile: Size, *, depth: int = 5, channels: int = 1, batch: int = 1
) -> dict[str, Shape]:
    """Shapes of data, label and weight for a tile: (height, width), or the side of a square one."""
    height, width = (tile, tile) if isinstance(tile, int) else tile
    output = (batch, 1, output_size(height, depth), output_size(width, depth))
    return {"data": (batch, channels, height, width), "label": output, "weight": output}


# --- layers ---


class _Widths:
    """Channels of each level."""

    def __init__(self, depth: int, base_width: int, last_up: int):
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        if base_width < 1:
            raise ValueError(f"base_width must be at least 1, got {base_width}")
        self.depth = depth
        self.level = [base_width * 2**i for i in range(depth)]
        self.up = [last_up, *self.level[1:]]  # of the up-convolution that leads to each level


FillerOf = Callable[[int], FillerParameter]  # from the number of incoming channels


def _build(
    name: str,
    widths: _Widths,
    *,
    channels: int,
    classes: int,
    tile: Size,
    batch: int,
    weighted: bool,
    dropout_ratio: float,
    relu_after_up: bool,
    filler: FillerOf,
    up_filler: FillerOf,
) -> NetSpec:
    depth = widths.depth
    shapes = tile_shapes(tile, depth=depth, channels=channels, batch=batch)
    layers = [_input("data", shapes["data"])]
    per_pixel = ["label", "weight"] if weighted else ["label"]
    layers += [_input(blob, shapes[blob], include="TRAIN") for blob in per_pixel]

    bottom, width = "data", channels
    for i in range(depth):  # contracting path
        if i > 0:
            layers.append(_pool(bottom, f"d{i}a"))
        a, b, c = ("data" if i == 0 else f"d{i}a"), f"d{i}b", f"d{i}c"
        layers += [_conv(f"conv_d{i}a-b", a, b, widths.level[i], filler(width)), _relu(b)]
        layers += [_conv(f"conv_d{i}b-c", b, c, widths.level[i], filler(widths.level[i])), _relu(c)]
        if i >= depth - 2:
            layers.append(_dropout(c, dropout_ratio))
        bottom, width = c, widths.level[i]

    for i in reversed(range(depth - 1)):  # expanding path
        a, b, c, d, skip = f"u{i}a", f"u{i}b", f"u{i}c", f"u{i}d", f"d{i}c"
        layers.append(_up_conv(f"upconv_{bottom}_{a}", bottom, a, widths.up[i], up_filler(width)))
        if relu_after_up:
            layers.append(_relu(a))
        layers += [_crop(skip, a, offset=_skip_offset(depth, i)), _concat(a, f"{skip}c", b)]
        width = widths.up[i] + widths.level[i]
        layers += [_conv(f"conv_u{i}b-c", b, c, widths.level[i], filler(width)), _relu(c)]
        layers += [_conv(f"conv_u{i}c-d", c, d, widths.level[i], filler(widths.level[i])), _relu(d)]
        bottom, width = d, widths.level[i]

    layers.append(
        _conv(f"conv_{bottom}-score", bottom, "score", classes, filler(width), kernel_size=1)
    )
    layers.append(
        LayerSpec("loss", "SoftmaxWithLoss", ("score", *per_pixel), ("loss",), include="TRAIN")
    )
    return NetSpec(name, tuple(layers))


def _skip_offset(depth: int, level: int) -> int:
    """Pixels that the skip connection of a level loses on each side: 4, 16, 40, 88 from below.

    One level further up doubles the loss below and adds two convolutions down and two up, of one
    pixel a side each, before the doubling: o(n) = 2*(o(n-1) + 4), from o(1) = 4.
    """
    return 6 * 2 ** (depth - 1 - level) - 8


def _input(blob: str, shape: Shape, include: str | None = None) -> LayerSpec:
    return LayerSpec(
        blob, "Input", (), (blob,), include=include, input_param=InputParameter((shape,))
    )


def _conv(
    name: str, bottom: str, top: str, width: int, filler: FillerParameter, kernel_size: int = 3
) -> LayerSpec:
    parameter = ConvolutionParameter(
        num_output=width, kernel_size=kernel_size, weight_filler=filler
    )
    return LayerSpec(
        name, "Convolution", (bottom,), (top,), param=_LEARNING, convolution_param=parameter
    )


def _up_conv(name: str, bottom: str, top: str, width: int, filler: FillerParameter) -> LayerSpec:
    parameter = ConvolutionParameter(
        num_output=width, kernel_size=2, stride=2, weight_filler=filler
    )
    return LayerSpec(
        name, "Deconvolution", (bottom,), (top,), param=_LEARNING, convolution_param=parameter
    )


def _relu(blob: str) -> LayerSpec:
    return LayerSpec(f"relu_{blob}", "ReLU", (blob,), (blob,), relu_param=ReLUParameter())


def _dropout(blob: str, ratio: float) -> LayerSpec:
    return LayerSpec(
        f"dropout_{blob}",
        "Dropout",
        (blob,),
        (blob,),
        include="TRAIN",
        dropout_param=DropoutParameter(ratio),
    )


def _pool(bottom: str, top: str) -> LayerSpec:
    parameter = PoolingParameter(pool="MAX", kernel_size=2, stride=2)
    return LayerSpec(
        f"pool_{bottom}-{top[1:]}", "Pooling", (bottom,), (top,), pooling_param=parameter
    )


def _crop(skip: str, reference: str, offset: int) -> LayerSpec:
    return LayerSpec(
        f"crop_{skip}-{skip}c",
        "Crop",
        (skip, reference),
        (f"{skip}c",),
        crop_param=CropParameter(axis=2, offset=(offset,)),
    )


def _concat(up: str, skip: str, top: str) -> LayerSpec:
    """The up-sampled map first, the skip connection second, as in the release."""
    return LayerSpec(f"concat_{skip}_{up}-{top[2:]}", "Concat", (up, skip), (top,))

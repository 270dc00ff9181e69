"""Convolution 3x3 and 1x1, and Deconvolution 2x2 (the up-convolution)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from unet_native import ops
from unet_native.layers.base import CoordinateMap, Layer
from unet_native.ops.arrays import Array
from unet_native.spec import FillerParameter, Shape


class Kernel(NamedTuple):
    """The four functions of one kernel in unet_native.ops."""

    forward: Callable
    backward_data: Callable
    backward_weights: Callable
    workspace_bytes: Callable


CONV3X3 = Kernel(
    ops.conv3x3_forward,
    ops.conv3x3_backward_data,
    ops.conv3x3_backward_weights,
    ops.conv3x3_workspace_bytes,
)
CONV1X1 = Kernel(
    ops.conv1x1_forward,
    ops.conv1x1_backward_data,
    ops.conv1x1_backward_weights,
    ops.conv1x1_workspace_bytes,
)
UP_CONV2X2 = Kernel(
    ops.up_conv2x2_forward,
    ops.up_conv2x2_backward_data,
    ops.up_conv2x2_backward_weights,
    ops.up_conv2x2_workspace_bytes,
)


class _FilterLayer(Layer):
    """What Convolution and Deconvolution share: a filter, a bias, and kernels of one form.

    forward may apply the ReLU that follows, if it works in place: the net then passes its
    negative_slope.
    """

    can_fuse_relu = True
    backward_weights_reads = ("bottom",)
    kernels: ClassVar[dict[tuple[int, int], Kernel]] = {}  # by (kernel_size, stride)

    def __init__(self, *args):
        super().__init__(*args)
        p = self.spec.convolution_param
        if p.num_output < 1:
            raise self.refuse("num_output must be at least 1")
        if (p.kernel_size, p.stride) not in self.kernels:
            offered = ", ".join(f"{size} with stride {stride}" for size, stride in self.kernels)
            raise self.refuse(
                f"kernel_size {p.kernel_size} with stride {p.stride} is not supported "
                f"(there are: {offered})"
            )
        if (p.pad, p.group, p.dilation) != (0, 1, 1):
            raise self.refuse("only pad 0, group 1 and dilation 1 are supported")
        self.kernel = self.kernels[p.kernel_size, p.stride]

    def _filter_shape(self, channels: int) -> Shape:
        raise NotImplementedError

    def _output_size(self, size: int) -> int:
        raise NotImplementedError

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        if len(bottoms[0]) != 4:
            raise self.refuse(f"a bottom of 4 axes is wanted, got shape {bottoms[0]}")
        n, _, h, w = bottoms[0]
        p = self.spec.convolution_param
        if min(h, w) < 1 or min(map(self._output_size, (h, w))) < 1:
            raise self.refuse(f"the bottom of {h}x{w} pixels is too small; use a larger tile")
        return [(n, p.num_output, self._output_size(h), self._output_size(w))]

    def param_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        p = self.spec.convolution_param
        shapes = [self._filter_shape(bottoms[0][1])]
        if p.bias_term:
            shapes.append((p.num_output,))
        return shapes

    def fillers(self) -> list[FillerParameter]:
        p = self.spec.convolution_param
        return [p.weight_filler, p.bias_filler][: 1 + p.bias_term]

    def takes_parts(self, parts: list[Shape]) -> bool:
        """On the CPU, unless a vector of channels would belong to both parts."""
        whole_vectors = parts[0][1] % 16 == 0
        return self.kernel is CONV3X3 and self.execution.is_on_host and whole_vectors

    def workspace_bytes(self, step: str, bottoms: list[Shape]) -> int:
        num_output = self.spec.convolution_param.num_output
        return self.kernel.workspace_bytes(bottoms[0], num_output, step, **self._how())

    def _how(self) -> dict:
        """Where the kernel runs and, if there are several, by which algorithm."""
        algorithm = {"algorithm": self.execution.algorithm} if self.kernel is CONV3X3 else {}
        return {"context": self.execution.context, **algorithm}

    def _bottom_data(self) -> Array | tuple[Array, ...]:
        return tuple(blob.data for blob in self.parts) or self.bottom[0].data

    def forward(self, negative_slope: float | None = None) -> None:
        weight, *bias = (blob.data for blob in self.params)
        self.kernel.forward(
            self._bottom_data(),
            weight,
            *bias,
            negative_slope=negative_slope,
            out=self.top[0].data,
            workspace=self.workspace,
            **self._how(),
        )

    def backward_weights(self, *, accumulate: bool = True) -> None:
        weight, *bias = self.params
        self.kernel.backward_weights(
            self._bottom_data(),
            self.top[0].diff,
            weight_diff=weight.diff,
            bias_diff=bias[0].diff if bias else None,
            accumulate=accumulate,
            workspace=self.workspace,
            **self._how(),
        )

    def backward_data(self, **relu) -> None:
        self.kernel.backward_data(
            self.top[0].diff,
            self.params[0].data,
            out=self.bottom_diffs[0],
            workspace=self.workspace,
            **relu,
            **self._how(),
        )


class Convolution(_FilterLayer):
    """Cross-correlation, weights (OC, IC, KH, KW). Source: Caffe conv_layer.cpp."""

    kernels: ClassVar = {(3, 1): CONV3X3, (1, 1): CONV1X1}

    def is_cheap(self, bottoms: list[Shape]) -> bool:
        """As the first layer is, whose top is the largest blob of all."""
        return bottoms[0][1] <= 4

    def absorbs_relu(self, bottoms: list[Shape]) -> bool:
        """Where channels are few: of many, those of a panel lie scattered in memory, and reading
        them between the products costs more than a pass of its own."""
        return bottoms[0][1] <= 128

    def backward_data(self, negative_slope: float | None = None) -> None:
        relu = {}
        if negative_slope is not None:
            relu = {"bottom": self.bottom[0].data, "negative_slope": negative_slope}
        super().backward_data(**relu)

    def _filter_shape(self, channels: int) -> Shape:
        p = self.spec.convolution_param
        return (p.num_output, channels, p.kernel_size, p.kernel_size)

    def _output_size(self, size: int) -> int:
        return size - self.spec.convolution_param.kernel_size + 1

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        centre = (self.spec.convolution_param.kernel_size - 1) / 2
        return bottoms[0].window(1, centre, centre)


class Deconvolution(_FilterLayer):
    """Transposed convolution, weights (IC, OC, KH, KW). Source: Caffe deconv_layer.cpp."""

    kernels: ClassVar = {(2, 2): UP_CONV2X2}
    transposed_filter = True

    def _filter_shape(self, channels: int) -> Shape:
        p = self.spec.convolution_param
        return (channels, p.num_output, p.kernel_size, p.kernel_size)

    def _output_size(self, size: int) -> int:
        return 2 * size

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        return bottoms[0].window(0.5, -0.25, -0.25)

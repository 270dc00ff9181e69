"""All passes of the ops with weights on random operands, into guarded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import reference
from closeness import assert_close
from guard import MARGIN, guarded_blob, guarded_dense
from unet_native import ops

Shape = tuple[int, int, int, int, int]  # N, IC, H, W of the bottom, OC
SLOPE = 0.25


@dataclass(frozen=True)
class Convolution:
    name: str
    kernel: int
    scale: int = 1  # pixels a side of the top for each of the bottom

    @property
    def is_transposed(self) -> bool:
        """Whether Caffe's shape of the weights begins with the input channels."""
        return self.scale > 1

    def operands(self, shape: Shape, rng=None):
        """bottom, weight, bias, top_diff."""
        n, ic, h, w, oc = shape
        rng = rng or np.random.default_rng(shape)
        channels = (ic, oc) if self.is_transposed else (oc, ic)
        lost = self.kernel - self.scale
        return (
            rng.standard_normal((n, ic, h, w), np.float32),
            rng.standard_normal((*channels, self.kernel, self.kernel), np.float32),
            rng.standard_normal(oc, np.float32),
            rng.standard_normal((n, oc, self.scale * h - lost, self.scale * w - lost), np.float32),
        )

    def forward(self, *arguments, **options):
        return getattr(ops, f"{self.name}_forward")(*arguments, **options)

    def backward_data(self, *arguments, **options):
        return getattr(ops, f"{self.name}_backward_data")(*arguments, **options)

    def backward_weights(self, *arguments, **options):
        return getattr(ops, f"{self.name}_backward_weights")(*arguments, **options)

    def run_passes(self, shape: Shape, context, *, margin=MARGIN, **options):
        """top, top without bias through a ReLU of SLOPE, bottom_diff, weight_diff, bias_diff."""
        bottom, weight, bias, top_diff = self.operands(shape)
        top, rectified = (guarded_blob(top_diff.shape, margin=margin) for _ in range(2))
        bottom_diff = guarded_blob(bottom.shape, margin=margin)
        filters = ops.empty_filter(weight.shape, transposed=self.is_transposed)
        weight_diff = guarded_dense(np.full_like(filters, np.nan))
        bias_diff = guarded_dense(np.full_like(bias, np.nan))
        options |= {"context": context}
        self.forward(bottom, weight, bias, out=top.array, **options)
        self.forward(bottom, weight, negative_slope=SLOPE, out=rectified.array, **options)
        self.backward_data(top_diff, weight, out=bottom_diff.array, **options)
        self.backward_weights(
            bottom,
            top_diff,
            weight_diff=weight_diff.array,
            bias_diff=bias_diff.array,
            accumulate=False,
            **options,
        )
        outputs = (top, rectified, bottom_diff, weight_diff, bias_diff)
        return tuple(output.checked() for output in outputs)

    def expected(self, bottom, weight, bias, top_diff):
        """The same in double precision."""
        if self.is_transposed:
            forward = reference.up_conv2x2_forward
            backward_data = reference.up_conv2x2_backward_data
            backward_weights = reference.up_conv2x2_backward_weights
        else:
            forward = reference.conv_forward
            backward_data = reference.conv_backward_data
            backward_weights = reference.conv_backward_weights
        return (
            forward(bottom, weight, bias),
            reference.relu(forward(bottom, weight, None), SLOPE),
            backward_data(top_diff, weight),
            *backward_weights(bottom, top_diff),
        )

    def check(self, shape: Shape, results, tolerance: float = 2e-6) -> None:
        """The results of run_passes; the bias has sums, no products."""
        blobs = self.operands(shape)
        expected = self.expected(*blobs)
        for result, exact in zip(results[:4], expected[:4], strict=True):
            assert_close(result, exact, tolerance)
        assert_close(results[4], expected[4], floor=float(np.abs(blobs[3]).max()))


CONV1X1 = Convolution("conv1x1", 1)
CONV3X3 = Convolution("conv3x3", 3)
UP_CONV2X2 = Convolution("up_conv2x2", 2, scale=2)

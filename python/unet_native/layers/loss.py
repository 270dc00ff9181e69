"""SoftmaxWithLoss, also weighted pixel by pixel."""

from __future__ import annotations

from math import prod

from unet_native import ops
from unet_native.blob import with_four_axes
from unet_native.layers.base import Layer
from unet_native.ops.arrays import Array
from unet_native.spec import Shape

NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE", "WEIGHT_SUM")


def check_scores_and_label(layer: Layer, bottoms: list[Shape], axis: int) -> None:
    """Raises ValueError unless scores (N, C, ...) come with one label for each position."""
    scores, *others = bottoms
    if axis != 1 or len(scores) < 2:
        raise layer.refuse("only classes along axis 1 of a bottom of 2 to 4 axes are supported")
    for name, shape in zip(layer.spec.bottom[1:], others, strict=True):
        if prod(shape) != prod(scores) // scores[1]:
            raise layer.refuse(
                f"{name!r} of shape {shape} must have one value for each position of "
                f"{layer.spec.bottom[0]!r} of shape {scores}"
            )


class SoftmaxWithLoss(Layer):
    """E = -1/Z sum_x w(x) log p_label(x)(x), p the softmax of the scores.

    Bottoms: scores (N, C, H, W), labels (N, 1, H, W) and, optionally, weights (N, 1, H, W).
    Tops: the loss, a scalar, and, optionally, p. With weights, VALID (the default) divides by the
    sum of the weights of the pixels that are not ignored, not by their number: that is what the
    2019 fork does (there cut to an integer in the forward pass; here exact).
    Source: Caffe softmax_loss_layer.cpp; the 2019 fork for the third bottom.
    """

    num_bottoms = (2, 3)
    num_tops = (1, 2)
    backward_data_reads = ("bottom",)

    def __init__(self, *args):
        super().__init__(*args)
        p = self.spec.loss_param
        normalization = p.normalization
        if normalization is None:
            normalization = "BATCH_SIZE" if p.normalize is False else "VALID"
        if normalization not in NORMALIZATIONS:
            raise self.refuse(f"normalization {normalization!r}: use {', '.join(NORMALIZATIONS)}")
        weighted = len(self.spec.bottom) == 3
        if normalization == "WEIGHT_SUM" and not weighted:
            raise self.refuse("normalization WEIGHT_SUM needs a third bottom, the weights")
        if normalization == "VALID" and weighted:
            normalization = "WEIGHT_SUM"
        self.normalization = normalization

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        check_scores_and_label(self, bottoms, self.spec.softmax_param.axis)
        return [(), bottoms[0]][: len(self.spec.top)]

    def workspace_bytes(self, step: str, bottoms: list[Shape]) -> int:
        shape = (bottoms[0] + (1, 1))[:4]
        return ops.softmax_loss_workspace_bytes(shape, context=self.execution.context)

    def backpropagates_to(self, bottom: int) -> bool:
        return bottom == 0

    def loss_weight(self, top: int) -> float:
        if not self.spec.loss_weight:
            return 1.0 if top == 0 else 0.0
        return super().loss_weight(top)

    def _run(self, **wanted) -> None:
        score = with_four_axes(self.bottom[0].data)
        n, _, h, w = score.shape
        per_pixel: list[Array] = [blob.data.reshape(n, 1, h, w) for blob in self.bottom[1:]]
        try:
            ops.softmax_loss(
                score,
                *per_pixel,
                normalization=self.normalization,
                ignore_label=self.spec.loss_param.ignore_label,
                workspace=self.workspace,
                context=self.execution.context,
                **wanted,
            )
        except ValueError as error:  # a label: all else was checked when the net was built
            raise self.refuse_data(str(error)) from None

    def forward(self) -> None:
        prob = with_four_axes(self.top[1].data) if len(self.top) > 1 else None
        self._run(with_diff=False, prob_out=prob, loss_out=self.top[0].data, wait=False)

    def backward_data(self) -> None:
        diff = with_four_axes(self.bottom_diffs[0])
        self._run(out=diff, loss_diff=self.top[0].diff, wait=False)

    def check_labels(self) -> None:
        """Raises UserError if a label is none: on a device, the passes themselves do not look."""
        self._run(with_diff=False)

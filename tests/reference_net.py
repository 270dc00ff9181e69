"""A whole network in float64 numpy: forward, loss and the gradient of every parameter.

It reads the same layer list as Net but shares no code with it: blobs are values in a dictionary,
an in-place layer makes a new value, and gradients are summed where a value is used more than once.
"""

from __future__ import annotations

import numpy as np

import reference
from unet_native.spec import LayerSpec, NetSpec

Params = dict[str, list[np.ndarray]]


class ReferenceNet:
    """The layers of `spec` for `phase`, with parameters by layer name.

    masks: for each Dropout layer that runs, what it multiplies by, before scaling.
    """

    def __init__(self, spec: NetSpec, params: Params, masks: dict[str, np.ndarray], phase="TRAIN"):
        self.layers = [layer for _, layer in spec.for_phase(phase)]
        self.params = {name: [p.astype(np.float64) for p in ps] for name, ps in params.items()}
        self.masks = masks
        self.phase = phase

    def forward(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The last value of every blob. Inputs of each layer are kept for backward()."""
        blobs = {name: value.astype(np.float64) for name, value in inputs.items()}
        self.seen: list[list[np.ndarray]] = []
        for layer in self.layers:
            bottoms = [blobs[name] for name in layer.bottom]
            self.seen.append(bottoms)
            if layer.type != "Input":
                blobs[layer.top[0]] = self._forward(layer, bottoms)
        return blobs

    def backward(self) -> tuple[Params, dict[str, np.ndarray]]:
        """Gradients of the loss: of the parameters by layer name, and of the blobs."""
        diffs: dict[str, np.ndarray] = {}
        gradients: Params = {}
        for layer, bottoms in zip(reversed(self.layers), reversed(self.seen), strict=True):
            if layer.type == "Input":
                continue
            if layer.type in ("Convolution", "Deconvolution"):
                gradients[layer.name] = self._backward_weights(layer, bottoms[0], diffs)
            top_diff = diffs.pop(layer.top[0]) if layer.top[0] in layer.bottom else None
            if top_diff is None:
                top_diff = diffs.get(layer.top[0])
            for name, diff in zip(
                layer.bottom, self._backward(layer, bottoms, top_diff), strict=False
            ):
                diffs[name] = diffs[name] + diff if name in diffs else diff
        return gradients, diffs

    def _forward(self, layer: LayerSpec, bottoms: list[np.ndarray]) -> np.ndarray:
        x = bottoms[0]
        match layer.type:
            case "Convolution":
                return reference.conv_forward(x, *self._weights(layer))
            case "Deconvolution":
                return reference.up_conv2x2_forward(x, *self._weights(layer))
            case "ReLU":
                return reference.relu(x, layer.relu_param.negative_slope)
            case "Pooling":
                return reference.max_pool2x2_forward(x)
            case "Dropout":
                return x * self._dropout_factor(layer)
            case "Crop":
                rows, columns = self._window(layer, bottoms)
                return x[:, :, rows, columns]
            case "Concat":
                return np.concatenate(bottoms, axis=layer.concat_param.axis)
            case "SoftmaxWithLoss":
                return np.float64(self._loss(layer, bottoms)[0])
        raise AssertionError(layer.type)

    def _backward(self, layer, bottoms, top_diff) -> list[np.ndarray]:
        x = bottoms[0]
        match layer.type:
            case "Convolution":
                return [reference.conv_backward_data(top_diff, self.params[layer.name][0])]
            case "Deconvolution":
                return [reference.up_conv2x2_backward_data(top_diff, self.params[layer.name][0])]
            case "ReLU":
                return [reference.relu_backward(x, top_diff, layer.relu_param.negative_slope)]
            case "Pooling":
                return [reference.max_pool2x2_backward(x, top_diff)]
            case "Dropout":
                return [top_diff * self._dropout_factor(layer)]
            case "Crop":
                rows, columns = self._window(layer, bottoms)
                diff = np.zeros(x.shape)
                diff[:, :, rows, columns] = top_diff
                return [diff]
            case "Concat":
                ends = np.cumsum([b.shape[layer.concat_param.axis] for b in bottoms])[:-1]
                return np.split(top_diff, ends, axis=layer.concat_param.axis)
            case "SoftmaxWithLoss":
                return [self._loss(layer, bottoms)[1]]
        raise AssertionError(layer.type)

    def _weights(self, layer: LayerSpec) -> tuple[np.ndarray, np.ndarray | None]:
        weight, *bias = self.params[layer.name]
        return weight, bias[0] if bias else None

    def _backward_weights(self, layer, bottom, diffs) -> list[np.ndarray]:
        backward = {
            "Convolution": reference.conv_backward_weights,
            "Deconvolution": reference.up_conv2x2_backward_weights,
        }[layer.type]
        return list(backward(bottom, diffs[layer.top[0]]))[: len(self.params[layer.name])]

    def _dropout_factor(self, layer: LayerSpec) -> np.ndarray | float:
        if self.phase == "TEST":
            return 1.0
        return self.masks[layer.name] / (1 - layer.dropout_param.dropout_ratio)

    def _window(self, layer: LayerSpec, bottoms: list[np.ndarray]) -> tuple[slice, slice]:
        offset = (layer.crop_param.offset * 2)[:2]
        return tuple(
            slice(start, start + size)
            for start, size in zip(offset, bottoms[1].shape[2:], strict=True)
        )

    def _loss(self, layer: LayerSpec, bottoms: list[np.ndarray]) -> tuple[float, np.ndarray]:
        score, label, *weight = bottoms
        normalization = layer.loss_param.normalization or "VALID"
        loss, diff, _ = reference.softmax_loss(
            score,
            label,
            weight[0] if weight else None,
            "WEIGHT_SUM" if weight and normalization == "VALID" else normalization,
            layer.loss_param.ignore_label,
            loss_weight=layer.loss_weight[0] if layer.loss_weight else 1.0,
        )
        return loss, diff

"""The layer types, one small class for each of Caffe's that the network needs."""

from __future__ import annotations

from unet_native.layers.accuracy import Accuracy
from unet_native.layers.base import CoordinateMap, Execution, Layer
from unet_native.layers.concat import Concat
from unet_native.layers.convolution import Convolution, Deconvolution
from unet_native.layers.crop import Crop
from unet_native.layers.data import Input
from unet_native.layers.dropout import Dropout
from unet_native.layers.loss import SoftmaxWithLoss
from unet_native.layers.pooling import Pooling
from unet_native.layers.relu import ReLU
from unet_native.layers.softmax import Softmax
from unet_native.spec import LayerSpec

LAYER_TYPES: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Accuracy,
        Concat,
        Convolution,
        Crop,
        Deconvolution,
        Dropout,
        Input,
        Pooling,
        ReLU,
        Softmax,
        SoftmaxWithLoss,
    )
}


def create(spec: LayerSpec, index: int, execution: Execution) -> Layer:
    """The layer that `spec` describes. Raises ValueError for a type that is not supported."""
    if spec.type not in LAYER_TYPES:
        raise ValueError(
            f"layer {spec.name!r}: type {spec.type!r} is not supported (there are: "
            + ", ".join(LAYER_TYPES)
            + ")"
        )
    return LAYER_TYPES[spec.type](spec, index, execution)


__all__ = ["LAYER_TYPES", "CoordinateMap", "Execution", "Layer", "create"]

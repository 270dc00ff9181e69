"""The layer types, one small class for each of Caffe's that the network needs."""

from __future__ import annotations

from unet_native.layers.accuracy import Accuracy
from unet_native.layers.base import CoordinateMap, Execution, Layer, refusal
from unet_native.layers.concat import Concat
from unet_native.layers.convolution import Convolution, Deconvolution
from unet_native.layers.crop import Crop
from unet_native.layers.data import DummyData, HDF5Data, Input
from unet_native.layers.dropout import Dropout
from unet_native.layers.loss import SoftmaxWithLoss
from unet_native.layers.pooling import Pooling
from unet_native.layers.relu import ReLU
from unet_native.layers.softmax import Softmax
from unet_native.layers.value_transformation import ValueTransformation
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
        DummyData,
        HDF5Data,
        Input,
        Pooling,
        ReLU,
        Softmax,
        SoftmaxWithLoss,
        ValueTransformation,
    )
}

#: Planning takes a second for as many; no network that Caffe is known for has more.
MOST_LAYERS = 3000

#: Layers of the 2019 fork that augment; here the trainer does that, before the net sees the data.
TRAINERS_WORK = ("CreateDeformation", "ApplyDeformation", "ValueAugmentation")


def create_all(
    specs: list[tuple[int, LayerSpec]], execution: Execution, network: str
) -> list[Layer]:
    """The layers that `specs` describe, each with its index in the whole network.

    Raises ValueError, which names every layer that is not supported, and where it stands.
    """
    name = f"{network!r:.80}"
    if not specs:
        raise ValueError(
            f"network {name} has no layers in phase {execution.phase}; give another prototxt"
        )
    if len(specs) > MOST_LAYERS:
        raise ValueError(f"network {name} has {len(specs)} layers, more than {MOST_LAYERS}")
    augmenting = [spec for _, spec in specs if spec.type in TRAINERS_WORK]
    if augmenting:
        raise ValueError(
            f"network {name}: {_list(augmenting)} augment the data, which the trainer does "
            "here (unet-native train --images); build the network in phase TEST, or leave them out"
        )
    unknown = [spec for _, spec in specs if spec.type not in LAYER_TYPES]
    if unknown:
        raise ValueError(
            f"network {name}: not supported: {_list(unknown)} (there are: "
            + ", ".join(LAYER_TYPES)
            + ")"
        )
    for _, spec in specs:
        if spec.problem:
            raise refusal(spec, spec.problem)
    return [LAYER_TYPES[spec.type](spec, index, execution) for index, spec in specs]


def _list(specs: list[LayerSpec], most: int = 12) -> str:
    names = [
        f"{spec.name!r} of type {spec.type!r}" + (f" ({spec.where})" if spec.where else "")
        for spec in specs[:most]
    ]
    return ", ".join(names) + (f" and {len(specs) - most} more" if len(specs) > most else "")


__all__ = ["LAYER_TYPES", "CoordinateMap", "Execution", "Layer", "create_all"]

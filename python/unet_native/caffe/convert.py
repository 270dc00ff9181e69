"""From any model file to any other: this project's, Caffe's binary one, and its HDF5 twin.

Older binary files (V1) are brought into the current form on the way, as Caffe's
upgrade_net_proto_binary does.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError, Message

from unet_native.caffe import schema, upgrade
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.snapshot import around_blobs, save_net
from unet_native.caffe.stored import CaffeModel, StoredBlob, StoredLayer
from unet_native.errors import UserError
from unet_native.net import Net

# What a layer's message may take beside its blobs, in bytes: a thousand times what it does take.
_MESSAGE_LIMIT = 1 << 18


def convert_model(source: str | Path, target: str | Path) -> Path:
    """Writes the model in `source` to `target`, in the form that its name ends in.

    source: .safetensors, .caffemodel or .caffemodel.h5; target: one of the latter two. Raises
    UserError for a file that cannot be read, or cannot be written in that form.
    """
    if Path(source).suffix == ".safetensors":
        return save_net(target, net_of(source))
    model = read_caffemodel(source)
    if model.v1:
        model = upgraded_model(model, str(source))
    if Path(target).suffix == ".h5":  # which knows no legacy shapes
        for layer in model.layers:
            layer.blobs = [_without_legacy(layer.type, i, b) for i, b in enumerate(layer.blobs)]
    return write_caffemodel(target, model)


def _without_legacy(kind: str | int, index: int, blob: StoredBlob) -> StoredBlob:
    """A parameter with the axes that it has in a net: a bias one, an inner product's weight two."""
    axes = 1 if index else 2 if kind == "InnerProduct" else 4
    if not blob.legacy or any(size != 1 for size in blob.shape[:-axes]):
        return blob
    shape = blob.shape[-axes:]
    diff = None if blob.diff is None else blob.diff.reshape(shape)
    return StoredBlob(blob.data.reshape(shape), diff)


def net_of(path: str | Path) -> Net:
    """The network of a .safetensors file with its parameters, as small as it can be, phase TEST."""
    from unet_native import snapshot

    net, _ = snapshot.load_model(path, "TEST", plan="lean")
    return net


def upgraded_model(model: CaffeModel, name: str) -> CaffeModel:
    """A V1 model in the current form. Raises UserError if its layers are none of V1's."""
    layers = [_upgraded_layer(layer, name) for layer in model.layers]
    return CaffeModel(model.name, layers)


def _upgraded_layer(layer: StoredLayer, name: str) -> StoredLayer:
    message = upgrade.from_v1(v1_message(layer, name))
    return StoredLayer(message.name, message.type, layer.blobs, *around_blobs(message))


def v1_message(layer: StoredLayer, name: str) -> Message:
    """The message of a V1 layer without its blobs."""
    message = schema.new("V1LayerParameter")
    if len(layer.head) + len(layer.tail) > _MESSAGE_LIMIT:
        raise UserError(f"{name}: layer {layer.name!r} is too long to be one; use another file")
    try:
        message.ParseFromString(layer.head + layer.tail)
    except DecodeError as error:
        raise UserError(f"{name}: layer {layer.name!r} is damaged; use another file") from error
    message.name = layer.name
    if layer.type in upgrade.v1_type_names():
        message.type = layer.type
    return message

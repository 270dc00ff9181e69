"""Older forms of Caffe's messages into the current one.

V1 nets have `layers` with upper-case types, `blobs_lr` and `weight_decay`; older inputs are the
fields `input` and `input_dim` or `input_shape` of the net; older solvers have a `solver_type`.
Source: Caffe upgrade_proto.cpp.
"""

from __future__ import annotations

from functools import cache

from google.protobuf.message import Message

from unet_native.caffe import schema
from unet_native.errors import UserError

# Where Caffe's name is more than the old one in other letters.
_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}


@cache
def v1_type_names() -> dict[int, str]:
    """The current name of each V1 layer type, by its number."""
    return {
        number: _TYPES.get(name, "".join(part.capitalize() for part in name.split("_")))
        for name, number in schema.enum_values("V1LayerParameter", "LayerType").items()
    }


def upgraded_net(net: Message, name: str) -> Message:
    """A copy of a NetParameter in the current form: Input layers first, then `layer`.

    Raises UserError, naming the file `name`, if the net mixes both forms of layers, or its inputs
    and their shapes do not match.
    """
    if len(net.layers) and len(net.layer):
        raise UserError(f"{name}: has both `layers` (V1) and `layer`; use one of the two forms")
    result = schema.new("NetParameter")
    result.CopyFrom(net)
    for field in ("layers", "layer", "input", "input_dim", "input_shape"):
        result.ClearField(field)
    result.layer.extend(_input_layers(net, name))
    result.layer.extend(net.layer)
    result.layer.extend(from_v1(layer) for layer in net.layers)
    return result


def _input_layers(net: Message, name: str) -> list[Message]:
    inputs = list(net.input)
    shapes = [list(shape.dim) for shape in net.input_shape]
    if len(net.input_dim):
        dims = list(net.input_dim)
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
        if len(net.input_shape) or len(dims) % 4:
            raise UserError(f"{name}: give 4 input_dim for each input, or one input_shape")
    if len(shapes) != len(inputs):
        raise UserError(f"{name}: has {len(inputs)} inputs, but shapes for {len(shapes)}")
    layers = []
    for blob, shape in zip(inputs, shapes, strict=True):
        layer = schema.new("LayerParameter")
        layer.name, layer.type = blob, "Input"
        layer.top.append(blob)
        layer.input_param.shape.add().dim.extend(shape)
        layers.append(layer)
    return layers


def from_v1(old: Message) -> Message:
    """A LayerParameter that says what a V1LayerParameter said."""
    new = schema.new("LayerParameter")
    new.name = old.name
    if old.HasField("type"):
        new.type = v1_type_names()[old.type]
    for i, rate in enumerate(old.blobs_lr):
        _param(new, i).lr_mult = rate
    for i, decay in enumerate(old.weight_decay):
        _param(new, i).decay_mult = decay
    for i, name in enumerate(old.param):
        _param(new, i).name = name
    for i, mode in enumerate(old.blob_share_mode):
        _param(new, i).share_mode = mode
    own = ("name", "type", "blobs_lr", "weight_decay", "param", "blob_share_mode")
    for field, value in old.ListFields():
        if field.name in own:
            continue
        if isinstance(value, Message):
            getattr(new, field.name).CopyFrom(value)
        else:
            getattr(new, field.name).extend(value)
    return new


def _param(layer: Message, index: int) -> Message:
    while len(layer.param) <= index:
        layer.param.add()
    return layer.param[index]


def upgraded_solver(solver: Message, name: str) -> Message:
    """A copy of a SolverParameter with a `type` in place of an older `solver_type`.

    Raises UserError, naming the file `name`, if both are given.
    """
    result = schema.new("SolverParameter")
    result.CopyFrom(solver)
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise UserError(f"{name}: has both `solver_type` (older) and `type`; use `type` alone")
        names = {n: name for name, n in schema.enum_values("SolverParameter", "SolverType").items()}
        result.type = _SOLVERS[names[solver.solver_type]]
        result.ClearField("solver_type")
    return result


_SOLVERS = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}

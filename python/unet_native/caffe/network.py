"""Networks: from Caffe's NetParameter to NetSpec, and back.

What this project does not run is no error here, where a file is only read: the layer's `problem`
says it, and building a net that contains the layer raises it.

Two things look alike in files and mean different things, decided by the file's form:

Crop     `type: CROP` is the 2015 release's, which aligns pixels by their coordinates; `type:
         "Crop"` is BVLC Caffe's, which cuts at an offset, by default 0, the top left corner.
xavier   in a file with a CROP layer is the release's patched filler, N(0, sqrt(2/fan_in));
         elsewhere BVLC Caffe's, uniform with standard deviation sqrt(1/fan_in).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from unet_native import spec as specs
from unet_native.caffe import schema, text, upgrade
from unet_native.spec import FillerParameter, LayerSpec, NetSpec

_PHASES = {"TRAIN": 0, "TEST": 1}


def read_net(path: str | Path, *, level: int | None = 0, stages: Sequence[str] = ()) -> NetSpec:
    """The network of a prototxt, V1 or current form.

    level, stages: of the net's state, which `include` and `exclude` rules ask for. To the stages
    come those of the file's own `state`; level None, as of a solver that gives none, means the
    file's own, too. Raises UserError for a file that is no network.
    """
    content = text.load(path)
    message = text.parse(content, "NetParameter", str(path))
    lines = [*text.lines_of(content, "layer"), *text.lines_of(content, "layers")]
    return from_message(message, str(path), lines=lines, level=level, stages=stages)


def write_net(path: str | Path, network: NetSpec) -> Path:
    """Writes a network as prototxt in the current form, whole or not at all."""
    return text.write(path, to_message(network))


# --- to messages ---


def to_message(network: NetSpec) -> Message:
    """A network as NetParameter in the current form, as BVLC Caffe reads it.

    Of a layer that was read from a file comes out what has not been changed since; what has, and
    other layers, say what is not the default. Rules that ask for a level or stages become plain
    phases, so that the file needs no state to be the same network. A Crop aligned by coordinates
    gets its offsets, and the release's xavier is called msra, which draws from the same
    distribution.
    """
    message = schema.new("NetParameter")
    message.name = network.name
    if network.force_backward:
        message.force_backward = True
    offsets = _coordinate_offsets(network)
    for layer in network.layers:
        message.layer.append(_layer_message(layer, offsets.get(layer.name, ())))
    return message


def _coordinate_offsets(network: NetSpec) -> dict[str, tuple[int, ...]]:
    """By layer, rows and columns that each Crop aligned by coordinates cuts off."""
    if all(layer.crop_param.alignment != "coordinates" for layer in network.layers):
        return {}
    from unet_native.layers import LAYER_TYPES, CoordinateMap, Execution

    found: dict[str, tuple[int, ...]] = {}
    maps: dict[str, CoordinateMap] = {}
    for i, spec in enumerate(network.layers):
        where = CoordinateMap()  # of what has no bottom
        if spec.bottom and spec.type in LAYER_TYPES:
            layer = LAYER_TYPES[spec.type](spec, i, Execution("TEST", seed=0))
            where = layer.coordinates([maps.get(name, where) for name in spec.bottom])
            if spec.type == "Crop":
                found[spec.name] = layer.offsets[2:]
        maps.update(dict.fromkeys(spec.top, where))
    return found


def _layer_message(layer: LayerSpec, offsets: tuple[int, ...]) -> Message:
    message = schema.new("LayerParameter")
    said = LayerSpec("", "")  # by the message so far
    if layer.original is not None:
        message.CopyFrom(layer.original)
        said = _layer_spec(message, _include(message, 0, ()), "", False)
    for field in dataclasses.fields(layer):
        name, value = field.name, getattr(layer, field.name)
        if not field.compare or value == getattr(said, name):
            continue
        message.ClearField(name)
        if name == "include":
            message.ClearField("exclude")
            if value is not None:
                message.include.add(phase=_PHASES[value])
        elif name == "param":
            for p in value:
                message.param.add(lr_mult=p.lr_mult, decay_mult=p.decay_mult)
        elif isinstance(value, tuple):
            getattr(message, name).extend(value)
        elif isinstance(value, str):
            setattr(message, name, value)
        elif name == "crop_param" and value.alignment == "coordinates":
            message.crop_param.offset.extend(offsets)
        else:
            _write_parameter(getattr(message, name), value)
    return message


def _write_parameter(message: Message, value: Any) -> None:
    """The fields of a dataclass that are not the default, into the message of the same form."""
    if isinstance(value, specs.InputParameter | specs.DummyDataParameter):
        for shape in value.shape:
            message.shape.add().dim.extend(shape)
        for filler in getattr(value, "data_filler", ()):
            _write_parameter(message.data_filler.add(), filler)
        return
    if isinstance(value, specs.ValueTransformationParameter):
        message.offset.v.extend(value.offset)
        message.scale.v.extend(value.scale)
        return
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item == field.default or field.name == "alignment":
            continue
        target = getattr(message, field.name)
        if isinstance(item, FillerParameter):
            if item.type == "release_xavier":
                item = replace(item, type="msra", variance_norm="FAN_IN")
            _write_parameter(target, item)
        elif hasattr(target, "extend"):
            target.extend(item if isinstance(item, tuple) else [item])
        else:
            setattr(message, field.name, _enum_number(message, field.name, item))


def _enum_number(message: Message, name: str, value: Any) -> Any:
    """The number of an enumeration's name; any other value itself.

    WEIGHT_SUM, this project's own, is what VALID means of a loss with weights.
    """
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    if enum is None:
        return value
    return enum.values_by_name["VALID" if value == "WEIGHT_SUM" else value].number


# --- from messages ---


def from_message(
    message: Message,
    name: str,
    *,
    lines: Sequence[int] = (),
    level: int | None = 0,
    stages: Sequence[str] = (),
) -> NetSpec:
    """Like :func:`read_net`; errors call the file `name`, its layers begin on `lines`."""
    release = any(upgrade.v1_type_names().get(layer.type) == "Crop" for layer in message.layers)
    current = upgrade.upgraded_net(message, name)
    inputs = len(current.layer) - len(message.layer) - len(message.layers)
    level = message.state.level if level is None else level
    stages = [*stages, *message.state.stage]
    layers = []
    for i, layer in enumerate(current.layer):
        include = _include(layer, level, stages)
        place = f"{name}, line {lines[i - inputs]}" if 0 <= i - inputs < len(lines) else name
        if include != _NEVER:
            layers.append(_layer_spec(layer, include, place, release))
    return NetSpec(current.name, tuple(layers), current.force_backward)


_NEVER = "never"


def _include(layer: Message, level: int, stages: Sequence[str]) -> str | None:
    """The one phase in which a layer runs; None: in both, _NEVER: in none."""
    phases = [p for p in _PHASES if _is_included(layer, _PHASES[p], level, stages)]
    return None if len(phases) == 2 else (*phases, _NEVER)[0]


def _is_included(layer: Message, phase: int, level: int, stages: Sequence[str]) -> bool:
    """Caffe's Net::FilterNet and StateMeetsRule."""

    def meets(rule: Message) -> bool:
        return (
            (not rule.HasField("phase") or rule.phase == phase)
            and (not rule.HasField("min_level") or level >= rule.min_level)
            and (not rule.HasField("max_level") or level <= rule.max_level)
            and all(stage in stages for stage in rule.stage)
            and not any(stage in stages for stage in rule.not_stage)
        )

    if len(layer.include):
        return any(meets(rule) for rule in layer.include)
    return not any(meets(rule) for rule in layer.exclude)


def _layer_spec(layer: Message, include: str | None, where: str, release: bool) -> LayerSpec:
    fields: dict[str, Any] = {}
    problems = []
    for name, read in _READERS.items():
        if layer.HasField(name):
            fields[name], problem = read(getattr(layer, name))
            problems += [problem] if problem else []
    if release and layer.type == "Crop":
        fields["crop_param"] = specs.CropParameter(alignment="coordinates")
    if release and "convolution_param" in fields:
        fields["convolution_param"] = _with_release_xavier(fields["convolution_param"])
    if len(layer.include) and len(layer.exclude):
        problems.append("has both include and exclude rules; give one of them")
    if any(param.name for param in layer.param):
        problems.append("parameters shared by name are not supported")
    if layer.type == "HDF5Data" and layer.HasField("transform_param"):
        problems.append("transform_param: HDF5Data does not transform data")
    return LayerSpec(
        layer.name,
        layer.type,
        tuple(layer.bottom),
        tuple(layer.top),
        include=include,
        param=tuple(specs.ParamSpec(p.lr_mult, p.decay_mult) for p in layer.param),
        loss_weight=tuple(layer.loss_weight),
        propagate_down=tuple(layer.propagate_down),
        where=where,
        problem="; ".join(problems),
        original=layer,
        **fields,
    )


def _with_release_xavier(p: specs.ConvolutionParameter) -> specs.ConvolutionParameter:
    if p.weight_filler.type != "xavier":
        return p
    return replace(p, weight_filler=replace(p.weight_filler, type="release_xavier"))


def _plain(cls: type) -> Callable[[Message], tuple[Any, str]]:
    """A reader for a message whose fields are those of the dataclass `cls`."""

    def read(message: Message) -> tuple[Any, str]:
        given = {}
        for field in dataclasses.fields(cls):
            if (value := _value(message, field.name)) is not None:
                given[field.name] = value
        return cls(**given), ""

    return read


def _value(message: Message, name: str) -> Any:
    """A field as a Python value; None if it is not set. Enumerations become their names."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        return None
    value = getattr(message, name)
    if hasattr(value, "extend"):  # repeated
        return tuple(value) if len(value) else None
    if not message.HasField(name):
        return None
    return field.enum_type.values_by_number[value].name if field.enum_type else value


def _filler(message: Message) -> FillerParameter:
    return _plain(FillerParameter)(message)[0]


def _one_size(message: Message, name: str, default: int) -> int | None:
    """A size that is given once, for each axis, or as _h and _w; None if the axes differ."""
    long = {"kernel_size": "kernel"}.get(name, name)
    given = list(_value(message, name) or ())
    if f"{long}_h" in message.DESCRIPTOR.fields_by_name:
        sides = [_value(message, f"{long}_{side}") for side in "hw"]
        if sides != [None, None]:
            given += [side or 0 for side in sides]
    return default if not given else given[0] if len(set(given)) == 1 else None


def _read_sizes(message: Message, sizes: dict[str, int]) -> tuple[dict[str, int], str]:
    found = {name: _one_size(message, name, default) for name, default in sizes.items()}
    uneven = [name for name, size in found.items() if size is None]
    problem = f"{', '.join(uneven)}: must be the same for both axes" if uneven else ""
    return {name: size for name, size in found.items() if size is not None}, problem


def _read_convolution(message: Message) -> tuple[specs.ConvolutionParameter, str]:
    sizes, problem = _read_sizes(message, {"pad": 0, "kernel_size": 0, "stride": 1, "dilation": 1})
    if message.axis != 1:
        problem = problem or f"axis must be 1, got {message.axis}"
    return specs.ConvolutionParameter(
        num_output=message.num_output,
        bias_term=message.bias_term,
        group=message.group,
        weight_filler=_filler(message.weight_filler),
        bias_filler=_filler(message.bias_filler),
        **sizes,
    ), problem


def _read_pooling(message: Message) -> tuple[specs.PoolingParameter, str]:
    sizes, problem = _read_sizes(message, {"pad": 0, "kernel_size": 0, "stride": 1})
    if message.global_pooling:
        problem = problem or "global_pooling is not supported"
    return specs.PoolingParameter(
        pool=_value(message, "pool") or "MAX",
        round_mode=_value(message, "round_mode") or "CEIL",
        **sizes,
    ), problem


def _read_concat(message: Message) -> tuple[specs.ConcatParameter, str]:
    given = "concat_dim" if message.HasField("concat_dim") else "axis"
    return specs.ConcatParameter(getattr(message, given)), ""


def _read_input(message: Message) -> tuple[specs.InputParameter, str]:
    return specs.InputParameter(tuple(tuple(shape.dim) for shape in message.shape)), ""


def _read_dummy_data(message: Message) -> tuple[specs.DummyDataParameter, str]:
    shapes = [tuple(shape.dim) for shape in message.shape]
    older = [list(getattr(message, name)) for name in ("num", "channels", "height", "width")]
    if not shapes and any(older):
        count = max(map(len, older))
        sizes = [axis * count if len(axis) == 1 else axis for axis in older]
        shapes = list(zip(*sizes, strict=False))
    fillers = tuple(_filler(filler) for filler in message.data_filler)
    return specs.DummyDataParameter(fillers, tuple(shapes)), ""


def _read_value_transformation(
    message: Message,
) -> tuple[specs.ValueTransformationParameter, str]:
    values = (tuple(message.offset.v), tuple(message.scale.v))
    return specs.ValueTransformationParameter(*values), ""


_READERS: dict[str, Callable[[Message], tuple[Any, str]]] = {
    "accuracy_param": _plain(specs.AccuracyParameter),
    "concat_param": _read_concat,
    "convolution_param": _read_convolution,
    "crop_param": _plain(specs.CropParameter),
    "dropout_param": _plain(specs.DropoutParameter),
    "dummy_data_param": _read_dummy_data,
    "hdf5_data_param": _plain(specs.HDF5DataParameter),
    "input_param": _read_input,
    "loss_param": _plain(specs.LossParameter),
    "pooling_param": _read_pooling,
    "relu_param": _plain(specs.ReLUParameter),
    "softmax_param": _plain(specs.SoftmaxParameter),
    "value_transformation_param": _read_value_transformation,
}

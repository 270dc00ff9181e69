"""What a network is before it runs: an ordered list of layers, in Caffe's words.

The dataclasses mirror the messages of caffe.proto: the same names, fields and defaults, so that a
prototxt maps onto them field by field. A field that is not listed is not supported.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cache

PHASES = ("TRAIN", "TEST")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class FillerParameter:
    """Initial values of a parameter; the types are those of :mod:`unet_native.fillers`."""

    type: str = "constant"
    value: float = 0.0
    min: float = 0.0
    max: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    sparse: int = -1
    variance_norm: str = "FAN_IN"


@dataclass(frozen=True)
class ParamSpec:
    """Multipliers of the solver's learning rate and weight decay for one parameter."""

    lr_mult: float = 1.0
    decay_mult: float = 1.0


@dataclass(frozen=True)
class AccuracyParameter:
    top_k: int = 1
    axis: int = 1
    ignore_label: int | None = None


@dataclass(frozen=True)
class ConcatParameter:
    axis: int = 1


@dataclass(frozen=True)
class ConvolutionParameter:
    """Of Convolution and Deconvolution. Unpadded, dense, square kernels only."""

    num_output: int = 0
    bias_term: bool = True
    pad: int = 0
    kernel_size: int = 0
    group: int = 1
    stride: int = 1
    dilation: int = 1
    weight_filler: FillerParameter = FillerParameter()
    bias_filler: FillerParameter = FillerParameter()


@dataclass(frozen=True)
class CropParameter:
    """Where Crop cuts. Two forms of the layer exist and differ silently, so the choice is explicit.

    "offset" is BVLC Caffe's: one offset for all cropped axes or one for each; none means 0, the
    top left corner. "coordinates" is that of the 2015 release: every pixel keeps its position
    relative to the data, as the layers in between moved it; axis and offset play no part.
    """

    axis: int = 2
    offset: tuple[int, ...] = ()
    alignment: str = "offset"


@dataclass(frozen=True)
class DropoutParameter:
    dropout_ratio: float = 0.5


@dataclass(frozen=True)
class DummyDataParameter:
    """data_filler, shape: one for all tops or one for each; no filler: 0."""

    data_filler: tuple[FillerParameter, ...] = ()
    shape: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class HDF5DataParameter:
    """source: a text file with the names of HDF5 files, one a line."""

    source: str = ""
    batch_size: int = 0
    shuffle: bool = False


@dataclass(frozen=True)
class InputParameter:
    shape: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class LossParameter:
    """`normalization` unset means VALID, or what the older `normalize` says if that is set."""

    ignore_label: int | None = None
    normalization: str | None = None
    normalize: bool | None = None


@dataclass(frozen=True)
class PoolingParameter:
    pool: str = "MAX"
    pad: int = 0
    kernel_size: int = 0
    stride: int = 1
    round_mode: str = "CEIL"


@dataclass(frozen=True)
class ReLUParameter:
    negative_slope: float = 0.0


@dataclass(frozen=True)
class SoftmaxParameter:
    axis: int = 1


@dataclass(frozen=True)
class ValueTransformationParameter:
    """(bottom + offset) * scale; one value for all channels or one for each, none: 0 and 1.

    Of Freiburg's 2019 fork.
    """

    offset: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


@dataclass(frozen=True)
class LayerSpec:
    """One layer. `include` names the one phase it belongs to; None: both.

    Of a layer that was read from a file: `where` names file and line, `problem` says what of it
    this project does not run, and `original` is Caffe's message, to write it as it was. These are
    not part of the network: they are not compared or stored.
    """

    name: str
    type: str
    bottom: tuple[str, ...] = ()
    top: tuple[str, ...] = ()
    _: KW_ONLY
    include: str | None = None
    param: tuple[ParamSpec, ...] = ()
    loss_weight: tuple[float, ...] = ()
    propagate_down: tuple[bool, ...] = ()
    accuracy_param: AccuracyParameter = AccuracyParameter()
    concat_param: ConcatParameter = ConcatParameter()
    convolution_param: ConvolutionParameter = ConvolutionParameter()
    crop_param: CropParameter = CropParameter()
    dropout_param: DropoutParameter = DropoutParameter()
    dummy_data_param: DummyDataParameter = DummyDataParameter()
    hdf5_data_param: HDF5DataParameter = HDF5DataParameter()
    input_param: InputParameter = InputParameter()
    loss_param: LossParameter = LossParameter()
    pooling_param: PoolingParameter = PoolingParameter()
    relu_param: ReLUParameter = ReLUParameter()
    softmax_param: SoftmaxParameter = SoftmaxParameter()
    value_transformation_param: ValueTransformationParameter = ValueTransformationParameter()
    where: str = field(default="", compare=False)
    problem: str = field(default="", compare=False)
    original: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class NetSpec:
    """A network: layers in the order in which they run."""

    name: str
    layers: tuple[LayerSpec, ...] = field(default=())
    force_backward: bool = False

    def for_phase(self, phase: str) -> list[tuple[int, LayerSpec]]:
        """The layers of one phase, each with its index in the whole list."""
        if phase not in PHASES:
            raise ValueError(f"phase: expected TRAIN or TEST, got {phase!r}")
        return [
            (index, layer)
            for index, layer in enumerate(self.layers)
            if layer.include in (None, phase)
        ]

    def with_input_shapes(self, shapes: dict[str, Shape]) -> NetSpec:
        """The same network with other shapes of its inputs, given by blob name.

        Raises ValueError for a name that is no input.
        """
        layers, inputs = [], set()
        for layer in self.layers:
            if layer.type == "Input":
                inputs.update(layer.top)
            if layer.type == "Input" and not shapes.keys().isdisjoint(layer.top):
                old = layer.input_param.shape
                old = old * len(layer.top) if len(old) == 1 else old
                if not old and all(top in shapes for top in layer.top):
                    old = ((),) * len(layer.top)  # given none so far
                new = tuple(
                    tuple(shapes.get(top, shape))
                    for top, shape in zip(layer.top, old, strict=False)
                )
                layer = replace(layer, input_param=InputParameter(new))
            layers.append(layer)
        if unknown := set(shapes) - inputs:
            raise ValueError(f"network {self.name!r} has no input named {min(unknown)!r}")
        return replace(self, layers=tuple(layers))

    def to_json(self) -> str:
        """The network as text; fields that hold Caffe's default are left out."""
        return json.dumps(_to_plain(self))

    @classmethod
    def from_json(cls, text: str) -> NetSpec:
        """The network that :meth:`to_json` wrote. Raises ValueError if the text is not such."""
        try:
            plain = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"network description: not JSON ({error})") from None
        return _from_plain(cls, plain, "network")


def _to_plain(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return {
            f.name: _to_plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.compare
            and (f.default is dataclasses.MISSING or getattr(value, f.name) != f.default)
        }
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return value


@cache
def _field_types(message: type) -> dict[str, object]:
    hints = typing.get_type_hints(message)
    return {f.name: hints[f.name] for f in dataclasses.fields(message) if f.compare}


def _from_plain(expected: typing.Any, value: object, where: str) -> typing.Any:
    """`value` as the type `expected`: a dataclass, tuple[X, ...], a scalar or scalar | None."""
    if dataclasses.is_dataclass(expected):
        types = _field_types(expected)
        if not isinstance(value, dict):
            raise ValueError(f"network description: {where} is no message")
        if unknown := set(value) - set(types):
            raise ValueError(f"network description: {where} has no field {min(unknown)!r}")
        try:
            return expected(
                **{name: _from_plain(types[name], item, name) for name, item in value.items()}
            )
        except TypeError:
            raise ValueError(f"network description: {where} lacks a field") from None
    if typing.get_origin(expected) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"network description: {where} is no list")
        item_type = typing.get_args(expected)[0]
        return tuple(_from_plain(item_type, item, where) for item in value)
    allowed = typing.get_args(expected) or (expected,)
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        raise ValueError(f"network description: {where} cannot be {value!r}")
    return value

"""What is written as prototxt and read again is what it was."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import golden, shared
from unet_native import models
from unet_native.caffe import schema, text
from unet_native.caffe.network import from_message, read_net, to_message, write_net
from unet_native.layers import LAYER_TYPES
from unet_native.net import Net
from unet_native.spec import (
    AccuracyParameter,
    ConcatParameter,
    ConvolutionParameter,
    CropParameter,
    DropoutParameter,
    DummyDataParameter,
    HDF5DataParameter,
    InputParameter,
    LayerSpec,
    LossParameter,
    NetSpec,
    ParamSpec,
    PoolingParameter,
    ReLUParameter,
    SoftmaxParameter,
    ValueTransformationParameter,
)


def as_float32(value):
    """A spec with its floats as files hold them."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: as_float32(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return replace(value, **fields)
    if isinstance(value, tuple):
        return tuple(map(as_float32, value))
    return float(np.float32(value)) if isinstance(value, float) else value


def read_text(content: str) -> NetSpec:
    return from_message(text.parse(content, "NetParameter", "f"), "f")


# --- this project's networks ---


@pytest.mark.parametrize("model", models.MODELS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"depth": depth, "tile": models.input_size(1, depth)} for depth in range(1, 7)),
        {"base_width": 5, "classes": 7, "channels": 3, "batch": 2, "tile": (572, 588)},
        {"weighted": False},
        {"dropout_ratio": 0.3},
    ],
)
def test_models(tmp_path, model, options):
    spec = models.MODELS[model](**options)
    path = write_net(tmp_path / "net.prototxt", spec)
    again = read_net(path)
    written = as_float32(spec)
    if model == "phseg_v5":  # in current files `xavier` means something else
        assert "xavier" not in path.read_text()
        written = with_msra(written)
    assert again == written
    assert write_net(tmp_path / "again.prototxt", again).read_text() == path.read_text()


def with_msra(spec: NetSpec) -> NetSpec:
    layers = []
    for layer in spec.layers:
        p = layer.convolution_param
        if p.weight_filler.type == "release_xavier":
            p = replace(p, weight_filler=replace(p.weight_filler, type="msra"))
        layers.append(replace(layer, convolution_param=p))
    return replace(spec, layers=tuple(layers))


def test_a_written_release_draws_from_the_same_distribution():
    """msra reads fan_in from the shape as the release's filler does, also for Deconvolution."""
    spec = models.phseg_v5(depth=3, tile=44, base_width=16)
    nets = [Net(s, "TEST", seed=seed) for seed, s in ((1, spec), (2, with_msra(spec)))]
    for name, blobs in nets[0].params.items():
        if blobs[0].count > 4000:
            one, two = (net.params[name][0].data.std() for net in nets)
            assert one == pytest.approx(two, rel=0.06), name


def test_weight_sum_is_valid_in_caffes_words():
    loss = LayerSpec(
        "l", "SoftmaxWithLoss", ("s", "t", "w"), ("l",), loss_param=LossParameter(7, "WEIGHT_SUM")
    )
    again = read_text(text.to_text(to_message(NetSpec("", (loss,)))))
    assert again.layers[0].loss_param == LossParameter(7, "VALID")
    assert schema.enum_values("LossParameter", "NormalizationMode")["VALID"] == 1


# --- any layer ---

FLOATS = st.floats(width=32, allow_nan=False)
UINT32 = st.integers(0, (1 << 32) - 1)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SHAPES = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5).map(tuple)
ENUMS = {
    "variance_norm": ["FAN_IN", "FAN_OUT", "AVERAGE"],
    "normalization": [None, "FULL", "VALID", "BATCH_SIZE", "NONE"],
    "pool": ["MAX", "AVE", "STOCHASTIC"],
    "round_mode": ["CEIL", "FLOOR"],
    "alignment": ["offset"],
}
SIGNED = ("axis", "sparse", "ignore_label")


def any_of(cls: type) -> st.SearchStrategy:
    """Instances of a dataclass, or its default, whatever its fields."""
    hints = typing.get_type_hints(cls)

    def strategy(name: str, hint: typing.Any) -> st.SearchStrategy:
        if name in ENUMS:
            return st.sampled_from(ENUMS[name])
        if name == "shape":
            return st.lists(SHAPES, max_size=3).map(tuple)
        if dataclasses.is_dataclass(hint):
            return any_of(hint)
        if typing.get_origin(hint) is tuple:
            return st.lists(strategy(name, typing.get_args(hint)[0]), max_size=3).map(tuple)
        kinds = typing.get_args(hint) or (hint,)
        integers = INT32 if name in SIGNED else UINT32
        plain = {int: integers, float: FLOATS, str: NAMES, bool: st.booleans()}
        return st.one_of([st.none() if k is type(None) else plain[k] for k in kinds])

    return st.builds(cls, **{name: strategy(name, hint) for name, hint in hints.items()})


PARAMETERS = {
    "accuracy_param": AccuracyParameter,
    "concat_param": ConcatParameter,
    "convolution_param": ConvolutionParameter,
    "crop_param": CropParameter,
    "dropout_param": DropoutParameter,
    "dummy_data_param": DummyDataParameter,
    "hdf5_data_param": HDF5DataParameter,
    "input_param": InputParameter,
    "loss_param": LossParameter,
    "pooling_param": PoolingParameter,
    "relu_param": ReLUParameter,
    "softmax_param": SoftmaxParameter,
    "value_transformation_param": ValueTransformationParameter,
}
LAYERS = st.builds(
    LayerSpec,
    NAMES,
    st.sampled_from([*LAYER_TYPES, "", "Layer of tomorrow"]),
    st.lists(NAMES, max_size=3).map(tuple),
    st.lists(NAMES, max_size=3).map(tuple),
    include=st.sampled_from([None, "TRAIN", "TEST"]),
    param=st.lists(st.builds(ParamSpec, FLOATS, FLOATS), max_size=3).map(tuple),
    loss_weight=st.lists(FLOATS, max_size=3).map(tuple),
    propagate_down=st.lists(st.booleans(), max_size=3).map(tuple),
    **{name: st.one_of(st.just(cls()), any_of(cls)) for name, cls in PARAMETERS.items()},
)


def test_every_parameter_of_layers_is_generated():
    found = {f.name for f in dataclasses.fields(LayerSpec) if f.name.endswith("_param")}
    assert found == set(PARAMETERS)


@settings(deadline=None, max_examples=100)
@given(st.lists(LAYERS, max_size=2), NAMES, st.booleans())
def test_any_layers(layers, name, force_backward):
    spec = NetSpec(name, tuple(layers), force_backward)
    message = to_message(spec)
    content = text.to_text(message)
    again = read_text(content)
    assert again == spec
    assert to_message(again) == message
    assert text.to_text(to_message(again)) == content


@settings(deadline=None, max_examples=40)
@given(LAYERS, LAYERS)
def test_a_layer_that_was_read_and_changed(layer, other):
    """Whatever is changed is written, whatever is not stays."""
    (read,) = read_text(text.to_text(to_message(NetSpec("", (layer,))))).layers
    names = [f.name for f in dataclasses.fields(LayerSpec) if f.compare and f.name != "_"]
    for name in names:
        changed = replace(read, **{name: getattr(other, name)})
        again = read_text(text.to_text(to_message(NetSpec("", (changed,)))))
        assert again.layers == (changed,), name


# --- layers of files ---


def test_what_is_not_changed_stays_as_it_was(net_of):
    spec = net_of(
        "layer { name: 'a' type: 'InnerProduct' include { phase: TRAIN } phase: TRAIN\n"
        "  inner_product_param { num_output: 3 } convolution_param { engine: CUDNN } }\n"
        "layer { name: 'b' type: 'Convolution' convolution_param { kernel_h: 3 kernel_w: 5 } }\n"
        "layer { name: 'c' type: 'ReLU' exclude { phase: TRAIN } exclude { stage: 'z' } }\n"
    )
    assert "exclude {\n    stage" in text.to_text(to_message(spec))
    a, b, c = spec.layers
    changed = (
        replace(a, name="aa", include=None, bottom=("x",)),
        replace(b, include="TEST"),
        replace(c, include="TRAIN"),
    )
    a, b, c = to_message(replace(spec, layers=changed)).layer
    assert (a.name, list(a.bottom), len(a.include)) == ("aa", ["x"], 0)
    assert a.inner_product_param.num_output == 3
    assert a.convolution_param.engine == 2
    assert (b.convolution_param.kernel_h, b.convolution_param.kernel_w) == (3, 5)
    assert b.include[0].phase == 1
    assert (len(c.exclude), c.include[0].phase) == (0, 0)


@pytest.mark.parametrize(
    "rule",
    ["include { stage: 'a' }", "exclude { not_stage: 'a' }", "include { min_level: 2 }"],
)
def test_rules_by_stage_and_level_become_phases(net_of, tmp_path, rule):
    """A network needs no state any more, once it is written."""
    content = f"layer {{ name: 'x' type: 'ReLU' {rule} }} layer {{ name: 'y' type: 'ReLU' }}"
    spec = net_of(content, stages=["a"], level=2)
    assert len(spec.layers) == 2
    assert read_net(write_net(tmp_path / "again.prototxt", spec)) == spec
    only_train = net_of(content.replace(" }", " phase: TRAIN }", 1), stages=["a"], level=2)
    assert read_net(write_net(tmp_path / "again.prototxt", only_train)) == only_train


def prototxts() -> list:
    found = []
    for find, name in ((golden, ""), (shared, "data/caffemodels")):
        try:
            found += sorted(Path(find(name)).rglob("*.prototxt"))
        except pytest.skip.Exception:
            continue
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in found] or [
        pytest.param(None, marks=pytest.mark.skip(reason="no data: see tests/shared.py"))
    ]


@pytest.mark.parametrize("path", prototxts())
def test_files_of_others(path, tmp_path):
    """As messages, complete; as networks, also those that cannot run here."""
    kind = "SolverParameter" if "solver" in path.name else "NetParameter"
    message = text.read(path, kind)
    again = text.write(tmp_path / "again.prototxt", message)
    assert text.read(again, kind) == message
    assert message.ByteSize() > 30
    if kind == "NetParameter":
        spec = read_net(path)
        assert len(spec.layers) >= 2
        assert read_net(write_net(again, spec)) == spec
        for layer in spec.layers:
            if layer.type != "Input":
                line = int(layer.where.rpartition("line ")[2])
                assert path.read_text().splitlines()[line - 1].startswith("layer")


def test_a_net_that_cannot_run_says_so():
    path = shared("data/caffemodels/v2_mnist_lenet") / "lenet_train_test.prototxt"
    with pytest.raises(
        ValueError, match=r"'mnist' of type 'Data' \(.*'ip1' of type 'InnerProduct'"
    ):
        Net(read_net(path), "TRAIN")


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (-1e10, "-1e+10"),
        (100000.0, "100000"),
        (1234567.0, "1234567"),
        (16777217.0, "16777216"),
        (1 / 3, "0.33333334"),
        (0.0, "0"),
        (-0.0, "-0"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (float("nan"), "nan"),
        (3.4028235e38, "3.4028235e+38"),
        (1e-45, "1.4013e-45"),
    ],
)
def test_floats_are_printed_as_c_prints_them(value, printed):
    message = schema.new("ReLUParameter")
    message.negative_slope = value
    assert text.to_text(message) == f"negative_slope: {printed}\n"


@settings(deadline=None, max_examples=300)
@given(FLOATS)
def test_no_float_changes(value):
    message = schema.new("FloatVector")
    message.v.append(value)
    (again,) = text.parse(text.to_text(message), "FloatVector", "f").v
    assert np.float32(again).tobytes() == np.float32(value).tobytes()


@settings(deadline=None, max_examples=50)
@given(st.floats(allow_nan=False))
def test_no_double_changes(value):
    message = schema.new("BlobProto")
    message.double_data.append(value)
    again = text.parse(text.to_text(message), "BlobProto", "f")
    assert again.double_data[0] == value


def test_text_that_looks_like_numbers_is_left_alone():
    message = schema.new("NetParameter")
    message.name = "a: 1.50"
    message.input.append("b\n: 0.10000000149011612")
    assert text.parse(text.to_text(message), "NetParameter", "f") == message

"""Reading prototxts: every form of a network that Caffe's files come in."""

from __future__ import annotations

import numpy as np
import pytest

from unet_native.layers import LAYER_TYPES
from unet_native.net import Net
from unet_native.spec import (
    AccuracyParameter,
    ConcatParameter,
    ConvolutionParameter,
    CropParameter,
    DropoutParameter,
    DummyDataParameter,
    FillerParameter,
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

# --- forms ---

CONVOLUTION = LayerSpec(
    "c",
    "Convolution",
    ("data",),
    ("x",),
    include="TRAIN",
    param=(ParamSpec(1, 0.5), ParamSpec(2, 0)),
    convolution_param=ConvolutionParameter(
        num_output=7, kernel_size=3, weight_filler=FillerParameter("gaussian", std=0.5)
    ),
)
FORMS = {
    "current": """layer {
        name: "c" type: "Convolution" bottom: "data" top: "x"
        param { lr_mult: 1 decay_mult: 0.5 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param {
            num_output: 7 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } }
        include { phase: TRAIN } }""",
    "V1": """layers {
        name: "c" type: CONVOLUTION bottom: "data" top: "x"
        blobs_lr: 1 blobs_lr: 2 weight_decay: 0.5 weight_decay: 0
        convolution_param {
            num_output: 7 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } }
        include { phase: TRAIN } }""",
    "single quotes": """layer {
        name: 'c' type: 'Convolution' bottom: 'data' top: 'x'
        param { lr_mult: 1 decay_mult: 0.5 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param {
            num_output: 7 kernel_size: 3 weight_filler { type: 'gaussian' std: 0.5 } }
        include { phase: TRAIN } }""",
    "colons, commas, semicolons, joined strings": """layer: {
        name: "c", type: "Convo" 'lution'; bottom: ["data"], top: "x"
        param: [{ lr_mult: 1.0 decay_mult: 5e-1 }, { lr_mult: 2f decay_mult: 0 }]
        convolution_param: {
            num_output: 7, kernel_size: 3; weight_filler: { type: "gaussian" std: .5 } };
        include: { phase: TRAIN } }""",
    "angle brackets": """layer <
        name: "c" type: "Convolution" bottom: "data" top: "x"
        param < lr_mult: 1 decay_mult: 0.5 > param: < lr_mult: 2 decay_mult: 0 >
        convolution_param <
            num_output: 7 kernel_size: 3 weight_filler < type: "gaussian" std: 0.5 > >
        include < phase: TRAIN > >""",
    "comments, numbers for names, other orders": """# layer {
        layer { # name: "d" }
        include { phase: 0 } top: "x" bottom: "data" type: "\\103onvolution" name: "\\x63"
        convolution_param { # {{{
            weight_filler { std: 0.5 type: "gaussian" } kernel_size: 0x3 num_output: 07 }
        param { decay_mult: 0.5 lr_mult: 1 } param { decay_mult: 0 lr_mult: 2 } } #""",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_forms_of_a_layer(net_of, form, newline):
    assert net_of(FORMS[form].replace("\n", newline)).layers == (CONVOLUTION,)


def test_names_and_force_backward(net_of):
    spec = net_of("name: 'n\u00e4me' force_backward: true debug_info: true")
    assert spec == NetSpec("n\u00e4me", (), True)
    assert net_of("") == NetSpec("", (), False)


INPUTS = (
    LayerSpec("a", "Input", (), ("a",), input_param=InputParameter(((1, 2, 3, 4),))),
    LayerSpec("b", "Input", (), ("b",), input_param=InputParameter(((5, 6, 7, 8),))),
)


@pytest.mark.parametrize(
    "content",
    [
        "input: 'a' input: 'b' " + "".join(f"input_dim: {n} " for n in range(1, 9)),
        "input: ['a', 'b'] input_dim: [1, 2, 3, 4, 5, 6, 7, 8]",
        "input: 'a' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 "
        "input: 'b' input_dim: 5 input_dim: 6 input_dim: 7 input_dim: 8",
        "input: 'a' input_shape { dim: 1 dim: 2 dim: 3 dim: 4 } "
        "input: 'b' input_shape: { dim: [5, 6, 7, 8] }",
    ],
)
def test_older_inputs_become_the_first_layers(net_of, content):
    relu = "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' }\n"
    for whole in (f"{content}\n{relu}", f"{relu}{content}"):
        spec = net_of(whole)
        assert spec.layers[:2] == INPUTS
        assert [layer.name for layer in spec.layers[2:]] == ["r"]


def test_all_v1_types_have_their_current_names(layer_of, net_of):
    types = "CONCAT CONVOLUTION DECONVOLUTION DROPOUT HDF5_DATA POOLING RELU SOFTMAX SOFTMAX_LOSS"
    types += " ACCURACY DUMMY_DATA"
    spec = net_of("\n".join(f"layers {{ name: '{t}' type: {t} }}" for t in types.split()))
    found = {layer.name: layer.type for layer in spec.layers}
    assert set(found.values()) <= set(LAYER_TYPES)
    assert found["SOFTMAX_LOSS"] == "SoftmaxWithLoss"
    assert (found["HDF5_DATA"], found["DUMMY_DATA"]) == ("HDF5Data", "DummyData")
    others = "LRN TANH SIGMOID_CROSS_ENTROPY_LOSS INNER_PRODUCT ABSVAL MVN IM2COL BNLL ARGMAX NONE"
    spec = net_of("\n".join(f"layers {{ name: '{t}' type: {t} }}" for t in others.split()))
    found = " ".join(layer.type for layer in spec.layers)
    assert found == ("LRN TanH SigmoidCrossEntropyLoss InnerProduct AbsVal MVN Im2col BNLL ArgMax ")


# --- rules ---

RULES = [
    ("", {}, "both"),
    ("include { phase: TRAIN }", {}, "TRAIN"),
    ("include: { phase: TEST }", {}, "TEST"),
    ("include { phase: TRAIN } include { phase: TEST }", {}, "both"),
    ("exclude { phase: TRAIN }", {}, "TEST"),
    ("exclude { phase: TEST } exclude { phase: TRAIN }", {}, "none"),
    ("include { min_level: 1 }", {}, "none"),
    ("include { min_level: 1 }", {"level": 1}, "both"),
    ("include { max_level: 1 phase: TEST }", {"level": 1}, "TEST"),
    ("include { max_level: 1 }", {"level": 2}, "none"),
    ("include { max_level: -1 }", {}, "none"),
    ("include { min_level: -2 max_level: -1 }", {"level": -2}, "both"),
    ("exclude { min_level: 1 }", {"level": 1}, "none"),
    ("include { stage: 'a' }", {}, "none"),
    ("include { stage: 'a' }", {"stages": ["b", "a"]}, "both"),
    ("include { stage: 'a' stage: 'b' }", {"stages": ["a"]}, "none"),
    ("include { stage: 'a' } include { stage: 'b' }", {"stages": ["b"]}, "both"),
    ("include { not_stage: 'a' }", {}, "both"),
    ("include { not_stage: 'a' not_stage: 'b' }", {"stages": ["b"]}, "none"),
    ("exclude { not_stage: 'a' }", {}, "none"),
    ("exclude { stage: 'a' phase: TEST }", {"stages": ["a"]}, "TRAIN"),
    ("exclude { stage: 'a' phase: TEST }", {}, "both"),
]


@pytest.mark.parametrize(("rule", "state", "expected"), RULES)
def test_include_and_exclude(net_of, rule, state, expected):
    spec = net_of(f"layer {{ name: 'x' type: 'ReLU' {rule} }}", **state)
    found = [layer.include or "both" for layer in spec.layers] or ["none"]
    assert found == [expected]


def test_the_files_own_state_counts(net_of):
    content = """layer { name: 'x' type: 'ReLU' include { stage: 'a' min_level: 2 } }
    state { stage: 'a' level: 2 phase: TEST }"""
    assert len(net_of(content, level=2).layers) == 1, "its stages come to those given"
    assert len(net_of(content, level=None).layers) == 1
    assert not net_of(content).layers, "a level that is given, also 0, takes its place"


# --- parameters of layers ---

PARAMETERS = {
    "accuracy_param { top_k: 2 ignore_label: 255 axis: 1 }": AccuracyParameter(2, 1, 255),
    "concat_param { axis: 2 }": ConcatParameter(2),
    "concat_param { concat_dim: 0 }": ConcatParameter(0),
    "convolution_param { num_output: 5 kernel_h: 3 kernel_w: 3 }": ConvolutionParameter(
        5, kernel_size=3
    ),
    "convolution_param { kernel_size: 2 kernel_size: 2 stride: [2, 2] pad: 1 pad: 1 }": (
        ConvolutionParameter(kernel_size=2, stride=2, pad=1)
    ),
    "convolution_param { pad_h: 2 pad_w: 2 stride_h: 3 stride_w: 3 dilation: 4 group: 5 "
    "bias_term: false engine: CUDNN force_nd_im2col: true }": (
        ConvolutionParameter(pad=2, stride=3, dilation=4, group=5, bias_term=False)
    ),
    "convolution_param { bias_filler { type: 'constant' value: -0.25 } weight_filler { "
    "type: 'msra' variance_norm: AVERAGE } }": ConvolutionParameter(
        weight_filler=FillerParameter("msra", variance_norm="AVERAGE"),
        bias_filler=FillerParameter(value=-0.25),
    ),
    "convolution_param { weight_filler { type: 'uniform' min: -0.5 max: 0.5 } bias_filler { "
    "type: 'gaussian' mean: 2 std: 0.5 sparse: 3 } }": ConvolutionParameter(
        weight_filler=FillerParameter("uniform", min=-0.5, max=0.5),
        bias_filler=FillerParameter("gaussian", mean=2, std=0.5, sparse=3),
    ),
    "crop_param { axis: 1 offset: 3 offset: 4 offset: 5 }": CropParameter(1, (3, 4, 5)),
    "crop_param { }": CropParameter(2, (), "offset"),
    "dropout_param { dropout_ratio: 0.25 }": DropoutParameter(0.25),
    "hdf5_data_param { source: 'a b' batch_size: 3 shuffle: true }": HDF5DataParameter(
        "a b", 3, True
    ),
    "input_param { shape { dim: 1 dim: 2 } shape { } }": InputParameter(((1, 2), ())),
    "loss_param { ignore_label: -1 }": LossParameter(-1),
    "loss_param { normalize: false }": LossParameter(normalize=False),
    "loss_param { normalization: BATCH_SIZE normalize: true }": (
        LossParameter(None, "BATCH_SIZE", True)
    ),
    "loss_param { normalization: 3 }": LossParameter(normalization="NONE"),
    "pooling_param { pool: AVE kernel_size: 2 stride: 2 round_mode: FLOOR }": (
        PoolingParameter("AVE", 0, 2, 2, "FLOOR")
    ),
    "pooling_param { kernel_h: 2 kernel_w: 2 stride_h: 2 stride_w: 2 pad_h: 1 pad_w: 1 }": (
        PoolingParameter("MAX", 1, 2, 2)
    ),
    "relu_param { negative_slope: 0.5 engine: CAFFE }": ReLUParameter(0.5),
    "softmax_param { axis: 3 }": SoftmaxParameter(3),
    "value_transformation_param { offset { v: -0.5 } scale { v: 1 v: 2 } }": (
        ValueTransformationParameter((-0.5,), (1, 2))
    ),
    "dummy_data_param { shape { dim: 2 } shape { dim: 3 } data_filler { type: 'gaussian' } }": (
        DummyDataParameter((FillerParameter("gaussian"),), ((2,), (3,)))
    ),
    "dummy_data_param { num: 1 channels: 2 height: 3 width: 4 }": (
        DummyDataParameter((), ((1, 2, 3, 4),))
    ),
    "dummy_data_param { num: 1 num: 2 channels: 3 height: 4 height: 5 width: 6 width: 7 }": (
        DummyDataParameter((), ((1, 3, 4, 6), (2, 3, 5, 7)))
    ),
}


@pytest.mark.parametrize(("content", "expected"), PARAMETERS.items())
def test_parameters(layer_of, content, expected):
    layer = layer_of(f"name: 'x' type: 'T' {content}")
    field = content.split(" {")[0]
    assert getattr(layer, field) == expected
    assert layer == LayerSpec("x", "T", **{field: expected}), "and nothing else is set"
    assert not layer.problem


def test_param_specs_loss_weights_and_propagate_down(layer_of):
    layer = layer_of(
        "param { lr_mult: 0 } param { } param { decay_mult: 3 } loss_weight: 0 loss_weight: 2.5 "
        "propagate_down: true propagate_down: 0"
    )
    assert layer.param == (ParamSpec(0, 1), ParamSpec(), ParamSpec(1, 3))
    assert layer.loss_weight == (0, 2.5)
    assert layer.propagate_down == (True, False)


# --- what the files mean when they run ---


def test_in_place_tops(net_of):
    net = Net(
        net_of("input: 'x' input_dim: [1, 1, 2, 3] layer { type: 'ReLU' bottom: 'x' top: 'x' }"),
        "TEST",
    )
    assert list(net.blobs) == net.outputs == ["x"]


@pytest.mark.parametrize(
    ("loss", "divisor"),
    [
        ("", 11),  # VALID: one of twelve positions is ignored
        ("normalize: true", 11),
        ("normalize: false", 2),
        ("normalization: VALID normalize: false", 11),
        ("normalization: FULL", 12),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: NONE", 1),
    ],
)
def test_normalization_goes_before_normalize(net_of, loss, divisor):
    spec = net_of(
        "input: 's' input_dim: [2, 3, 2, 3] input: 'l' input_dim: [2, 1, 2, 3] layer { name: 'loss'"
        " type: 'SoftmaxWithLoss' bottom: 's' bottom: 'l' top: 'loss' loss_weight: 1 "
        f"loss_param {{ ignore_label: 7 {loss} }} }}"
    )
    net = Net(spec, "TRAIN")
    net.blobs["l"].data.flat[3] = 7
    assert net.forward()["loss"] == pytest.approx(11 * np.log(3) / divisor, rel=1e-6)

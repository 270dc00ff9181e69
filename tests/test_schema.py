"""The schema: Caffe's names and numbers, and its binary files understood to the last field."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from shared import golden, shared
from unet_native.caffe import schema

# Field numbers as Caffe's documentation and files have them; those from 149 on are the fork's.
NUMBERS = {
    "NetParameter": "name 1 layers 2 input 3 input_dim 4 force_backward 5 state 6 debug_info 7 "
    "input_shape 8 layer 100",
    "LayerParameter": "name 1 type 2 bottom 3 top 4 loss_weight 5 param 6 blobs 7 include 8 "
    "exclude 9 phase 10 propagate_down 11 transform_param 100 loss_param 101 accuracy_param 102 "
    "concat_param 104 convolution_param 106 data_param 107 dropout_param 108 dummy_data_param 109 "
    "eltwise_param 110 hdf5_data_param 112 inner_product_param 117 lrn_param 118 "
    "pooling_param 121 relu_param 123 softmax_param 125 python_param 130 reshape_param 133 "
    "batch_norm_param 139 scale_param 142 input_param 143 crop_param 144 clip_param 148 "
    "value_augmentation_param 149 value_transformation_param 150 iou_param 151 f1_param 152",
    "V1LayerParameter": "bottom 2 top 3 name 4 type 5 blobs 6 blobs_lr 7 weight_decay 8 "
    "concat_param 9 convolution_param 10 dropout_param 12 hdf5_data_param 13 pooling_param 19 "
    "relu_param 30 include 32 exclude 33 loss_weight 35 loss_param 42 param 1001",
    "BlobProto": "num 1 channels 2 height 3 width 4 data 5 diff 6 shape 7 double_data 8 "
    "double_diff 9",
    "BlobShape": "dim 1",
    "ConvolutionParameter": "num_output 1 bias_term 2 pad 3 kernel_size 4 group 5 stride 6 "
    "weight_filler 7 bias_filler 8 kernel_h 11 kernel_w 12 engine 15 axis 16 dilation 18",
    "FillerParameter": "type 1 value 2 min 3 max 4 mean 5 std 6 sparse 7 variance_norm 8",
    "LossParameter": "ignore_label 1 normalize 2 normalization 3",
    "DropoutParameter": "dropout_ratio 1",
    "PoolingParameter": "pool 1 kernel_size 2 stride 3 pad 4 round_mode 13",
    "ParamSpec": "name 1 share_mode 2 lr_mult 3 decay_mult 4",
    "CropParameter": "axis 1 offset 2",
    "ReLUParameter": "negative_slope 1",
    "ConcatParameter": "concat_dim 1 axis 2",
    "SolverState": "iter 1 learned_net 2 history 3 current_step 4",
    "NetState": "phase 1 level 2 stage 3",
    "NetStateRule": "phase 1 min_level 2 max_level 3 stage 4 not_stage 5",
}
ENUMS = {
    ("V1LayerParameter", "LayerType"): "CONCAT 3 CONVOLUTION 4 DROPOUT 6 HDF5_DATA 9 POOLING 17 "
    "RELU 18 SOFTMAX 20 SOFTMAX_LOSS 21 SPLIT 22 DECONVOLUTION 39",
    ("LossParameter", "NormalizationMode"): "FULL 0 VALID 1 BATCH_SIZE 2 NONE 3",
    ("FillerParameter", "VarianceNorm"): "FAN_IN 0 FAN_OUT 1 AVERAGE 2",
    ("SolverParameter", "SolverType"): "SGD 0 NESTEROV 1 ADAGRAD 2 RMSPROP 3 ADADELTA 4 ADAM 5",
    ("SolverParameter", "SnapshotFormat"): "HDF5 0 BINARYPROTO 1",
}
DEFAULTS = {
    "SolverParameter": {
        "type": "SGD", "iter_size": 1, "clip_gradients": -1, "regularization_type": "L2",
        "average_loss": 1, "random_seed": -1, "snapshot_after_train": True, "solver_mode": 1,
        "test_initialization": True, "snapshot_format": 1, "base_lr": 0, "momentum": 0,
    },
    "FillerParameter": {"type": "constant", "max": 1, "std": 1, "sparse": -1, "min": 0},
    "ConvolutionParameter": {"bias_term": True, "group": 1, "axis": 1},
    "DropoutParameter": {"dropout_ratio": 0.5},
    "CropParameter": {"axis": 2},
    "NetState": {"phase": 1},
    "ParamSpec": {"lr_mult": 1, "decay_mult": 1},
}  # fmt: skip


def pairs(text: str) -> dict[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


@pytest.mark.parametrize("name", NUMBERS)
def test_field_numbers(name):
    fields = schema.message_class(name).DESCRIPTOR.fields_by_name
    wanted = pairs(NUMBERS[name])
    assert {field: fields[field].number for field in wanted} == wanted


@pytest.mark.parametrize("enum", ENUMS)
def test_numbers_of_enumerations(enum):
    found, wanted = schema.enum_values(*enum), pairs(ENUMS[enum])
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    message = schema.new(name)
    for field, value in DEFAULTS[name].items():
        assert getattr(message, field) == value, field


def test_numbers_and_names_are_unique_and_every_type_is_there():
    assert len(schema.message_names()) == len(set(schema.message_names())) > 60
    for name in schema.message_names():
        fields = schema.message_class(name).DESCRIPTOR.fields
        assert (
            len({field.number for field in fields})
            == len(fields)
            == len({field.name for field in fields})
        ), name
        for field in fields:
            assert 0 < field.number < 19_000, "numbers from there on are protocol buffers' own"
            repeated_numbers = field.name in ("data", "diff", "double_data", "double_diff", "dim")
            packed = field.GetOptions().packed
            assert packed == (repeated_numbers and name in ("BlobProto", "BlobShape")), field.name


def test_there_is_no_other_message():
    with pytest.raises(KeyError, match="V0LayerParameter"):
        schema.new("V0LayerParameter")


def test_every_param_of_a_layer_has_its_message():
    """`relu_param` is a ReLUParameter, and so on, in both forms of layers alike."""
    current = schema.message_class("LayerParameter").DESCRIPTOR.fields_by_name
    for name, field in current.items():
        if name.endswith("_param"):
            stem = name.removesuffix("_param").replace("_", "")
            wanted = {"transform": "transformation"}.get(stem, stem) + "parameter"
            assert field.message_type.name.lower() == wanted
    for name, field in schema.message_class("V1LayerParameter").DESCRIPTOR.fields_by_name.items():
        if name.endswith("_param"):
            assert field.message_type is current[name].message_type


def unknown_fields(message: Message) -> list[int]:
    found = [field.field_number for field in UnknownFieldSet(message)]
    for field, value in message.ListFields():
        if field.message_type:
            repeated = hasattr(value, "add")
            found += [n for part in (value if repeated else [value]) for n in unknown_fields(part)]
    return found


def binaries() -> list:
    found = []
    for folder, name in ((golden, "solver"), (golden, "unet"), (shared, "data/caffemodels")):
        try:
            place = folder(name)
        except pytest.skip.Exception:
            continue
        found += [*place.rglob("*.caffemodel"), *place.rglob("*.solverstate")]
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in sorted(found)] or [
        pytest.param(None, marks=pytest.mark.skip(reason="no data: see tests/shared.py"))
    ]


@pytest.mark.parametrize("path", binaries())
def test_binary_files_of_caffe_are_read_and_written_byte_for_byte(path):
    kind = "SolverState" if path.suffix == ".solverstate" else "NetParameter"
    message, data = schema.new(kind), path.read_bytes()
    message.ParseFromString(data)
    assert not unknown_fields(message)
    assert message.SerializeToString(deterministic=True) == data

"""What a net says of its Crop layers, which mean two things in Caffe's files."""

from __future__ import annotations

import logging

import pytest

import unet_native as caffe
from unet_native.net import Net

CONVOLUTION = (
    "layer { name: 'conv' type: 'Convolution' bottom: 'x' top: 'y' "
    "convolution_param { num_output: 1 kernel_size: 3 } }\n"
)
INPUT = "input: 'x' input_dim: [1, 1, 9, 9]\n"


def current(crop: str) -> str:
    return f"{INPUT}{CONVOLUTION}layer {{ name: 'c' type: 'Crop' bottom: 'x' bottom: 'y' {crop} }}"


V1 = (
    f"{INPUT}layers {{ name: 'conv' type: CONVOLUTION bottom: 'x' top: 'y' "
    "convolution_param { num_output: 1 kernel_size: 3 } }\n"
    "layers { name: 'c' type: CROP bottom: 'x' bottom: 'y' top: 'z' }"
)


def test_a_net_without_crops_says_nothing(net_of):
    assert Net(net_of(INPUT + CONVOLUTION), "TEST").notices == []


def test_the_releases_crop(net_of):
    net = Net(net_of(V1), "TEST")
    assert net.notices == [
        "Crop is the 2015 release's, aligned by coordinates: 1 (c) pixels are cut off at the top "
        "and left"
    ]
    assert net.layer_dict["c"].offsets == (0, 0, 1, 1)


@pytest.mark.parametrize("offset", [1, 2])
def test_caffes_crop_at_the_files_offset(net_of, offset):
    net = Net(net_of(current(f"top: 'z' crop_param {{ offset: {offset} }}")), "TEST")
    assert net.notices == [f"Crop is BVLC Caffe's, at the file's offsets: {offset} (c) pixels"]


def test_caffes_crop_without_an_offset_is_warned_about(net_of, tmp_path, caplog):
    content = current("top: 'z'")
    net = Net(net_of(content), "TEST")
    assert net.layer_dict["c"].offsets == (0, 0, 0, 0)
    first, warning = net.notices
    assert first == "Crop is BVLC Caffe's, at the file's offsets: 0 (c) pixels"
    assert warning.startswith("warning: layer 'c' gives no offset, so BVLC Caffe's Crop cuts at")
    assert "'c' would cut at 1: say so with crop_param { offset: ... }" in warning
    with caplog.at_level(logging.INFO, "unet_native"):
        caffe.Net(tmp_path / "net.prototxt", caffe.TEST)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", first),
        ("WARNING", warning.removeprefix("warning: ")),
    ]


def test_no_warning_where_both_crops_agree_or_no_crop_aligns(net_of):
    equal = f"{INPUT}layer {{ name: 'c' type: 'Crop' bottom: 'x' bottom: 'x' top: 'z' }}"
    assert len(Net(net_of(equal), "TEST").notices) == 1
    pooled = (
        f"{INPUT}layer {{ name: 'p' type: 'Pooling' bottom: 'x' top: 'p' "
        "pooling_param { kernel_size: 2 stride: 2 } }\n"
        "layer { name: 'c' type: 'Crop' bottom: 'x' bottom: 'p' top: 'z' }"
    )
    assert len(Net(net_of(pooled), "TEST").notices) == 1

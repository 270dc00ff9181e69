"""The networks of 2015 and 2019 in the files in which they came, built and computed."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

import reference
from closeness import assert_close
from published_nets import cell_net_2019, deploy_2015, deploy_2019, release_2015
from unet_native import models
from unet_native.caffe.network import read_net, write_net
from unet_native.net import Net

OFFSETS = {"d3c": 4, "d2c": 16, "d1c": 40, "d0c": 88}


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "net.prototxt"
        path.write_text(text)
        return path

    return write


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 1, height, width), np.float32)


def crops_of(net: Net) -> dict[str, tuple[int, ...]]:
    return {layer.spec.bottom[0]: layer.offsets[2:] for layer in net.layers if layer.type == "Crop"}


# --- 2015 ---


def test_the_release_has_its_published_number_of_parameters(file):
    path = file(deploy_2015(188, 204, release_2015()))
    net = Net(read_net(path), "TEST", fill=False, plan="lean")
    assert sum(param.inner.count for param in net.parameters) == 31_100_354
    assert net.spec.name == "phseg_v5"
    assert net.spec.force_backward
    assert [layer.type for layer in net.layers].count("Convolution") == 19
    assert "Dropout" not in {layer.type for layer in net.layers}


def test_the_releases_crops_are_aligned_by_coordinates(file):
    net = Net(read_net(file(deploy_2015(188, 204, release_2015(width=1)))), "TEST", fill=False)
    assert crops_of(net) == {blob: (n, n) for blob, n in OFFSETS.items()}
    (notice,) = net.notices
    assert notice.startswith("Crop is the 2015 release's, aligned by coordinates: 4 (crop_d3c-")
    assert "88 (crop_d0c-d0cc) pixels" in notice


def test_the_releases_xavier_is_its_own(file):
    spec = read_net(file(release_2015(width=2)))
    fillers = {layer.convolution_param.weight_filler.type for layer in spec.layers if layer.param}
    assert fillers == {"release_xavier"}
    widest = Net(read_net(file(deploy_2015(188, 188, release_2015(width=8)))), "TEST", seed=1)
    weight = widest.params["conv_d4b-c"][0].data  # 128 x 128 x 3 x 3
    assert weight.std() == pytest.approx(np.sqrt(2 / (9 * 128)), rel=0.02)
    assert np.abs(weight).max() > 3 * weight.std(), "normal, not uniform"


def test_layers_of_the_release_are_those_of_phseg_v5(file):
    """But for the inputs: names, types, connections, multipliers and sizes, one by one."""
    theirs = read_net(file(release_2015(width=4, ratio=0.25)))
    ours = models.phseg_v5(base_width=4, dropout_ratio=0.25, weighted=False)
    found = [layer for layer in theirs.layers if layer.type != "HDF5Data"]
    wanted = [layer for layer in ours.layers if layer.type != "Input"]
    for one, two in zip(found, wanted, strict=True):
        if one.type == "Crop":
            assert one.crop_param.alignment == "coordinates"
            assert (one.name, one.bottom, one.top) == (two.name, two.bottom, two.top)
        else:
            assert one == two


@pytest.mark.parametrize("written_again", [False, True])
def test_the_release_computes_what_phseg_v5_computes(file, tmp_path, written_again):
    path = file(deploy_2015(204, 188, release_2015(width=2)))
    if written_again:  # in the current form, where offsets stand in place of coordinates
        path = write_net(tmp_path / "again.prototxt", read_net(path))
        assert re.findall(r"offset: (\d+)", path.read_text()) == [
            str(n) for n in OFFSETS.values() for _ in range(2)
        ]
        assert "msra" in path.read_text()
        assert "xavier" not in path.read_text()
    ours = Net(models.phseg_v5(base_width=2, tile=(204, 188)), "TEST", seed=3)
    theirs = Net(read_net(path), "TEST", seed=4)
    assert list(theirs.params) == list(ours.params)
    theirs.copy_from(ours)
    data = image(204, 188)
    score = ours.forward(data=data)["score"]
    assert np.abs(score).max() > 0.01
    np.testing.assert_array_equal(theirs.forward(data=data)["score"], score)


def test_the_release_trains_as_phseg_v5_does(file, tmp_path):
    """From its HDF5 files; without dropout, whose masks depend on a layer's place."""
    data, label = image(188, 188), (image(4, 4) > 0).astype(np.float32)
    with h5py.File(tmp_path / "tile.h5", "w") as tile:
        tile["data"], tile["label"] = data, label
    (tmp_path / "aug.txt").write_text("tile.h5\n")
    theirs = Net(read_net(file(release_2015(width=2, ratio=0))), "TRAIN", seed=4)
    spec = models.phseg_v5(base_width=2, tile=188, weighted=False, dropout_ratio=0)
    ours = Net(spec, "TRAIN", seed=3)
    theirs.copy_from(ours)
    loss = ours.forward(data=data, label=label)["loss"]
    assert theirs.forward()["loss"] == loss > 0
    for net in (ours, theirs):
        net.backward()
    for one, two in zip(ours.parameters, theirs.parameters, strict=True):
        np.testing.assert_array_equal(one.blob.diff, two.blob.diff)
        assert one.spec == two.spec


# --- 2019 ---


def cell_net(params: dict[str, list[np.ndarray]], data: np.ndarray, depth: int) -> np.ndarray:
    """The network of 2019 in float64, written from its description."""

    def conv(x, name):
        x = reference.conv_forward(x, *params.pop(name))
        return reference.relu(x, 0.1)

    x, skips = data.astype(np.float64) - 0.5, []
    for i in range(depth):
        if i > 0:
            x = reference.max_pool2x2_forward(x)
        x = conv(conv(x, f"conv_d{i}a-b"), f"conv_d{i}b-c")
        skips.append(x)
    below = f"d{depth - 1}c"
    for i in reversed(range(depth - 1)):
        x = reference.relu(
            reference.up_conv2x2_forward(x, *params.pop(f"upconv_{below}_u{i}a")), 0.1
        )
        (rows, columns), skip = x.shape[2:], skips[i]
        top, left = (skip.shape[2] - rows) // 2, (skip.shape[3] - columns) // 2
        skip = skip[:, :, top : top + rows, left : left + columns]
        x = conv(conv(np.concatenate([x, skip], 1), f"conv_u{i}b-c"), f"conv_u{i}c-d")
        below = f"u{i}d"
    score = reference.conv_forward(x, *params.pop(f"conv_{below}-score"))
    assert not params, "every parameter has been used"
    return score


@pytest.mark.parametrize("plan", ["observable", "lean"])
def test_the_net_of_2019_computes_its_description(file, plan):
    path = file(deploy_2019(44, 52, cell_net_2019(depth=3, width=3)))
    net = Net(read_net(path), "TEST", seed=1, plan=plan)
    assert net.inputs == ["data3"]
    rng = np.random.default_rng(2)
    for _, bias in net.params.values():
        bias.data[...] = rng.normal(0, 0.1, bias.shape)
    data = rng.random((1, 1, 44, 52), np.float32)
    params = {k: [np.array(blob.data) for blob in blobs] for k, blobs in net.params.items()}
    expected = cell_net(params, data, 3)
    # Winograd's transforms and eleven layers: 4e-5 of the largest magnitude.
    assert_close(net.forward(data3=data)["score"], expected, 4e-5)


def test_widths_of_2019(file):
    """u0 is 128 wide, unlike in 2015."""
    net = Net(
        read_net(file(deploy_2019(188, 188, cell_net_2019()))), "TEST", fill=False, plan="lean"
    )
    shapes = {name: blobs[0].shape for name, blobs in net.params.items()}
    assert shapes["conv_u0b-c"] == (128, 192, 3, 3)
    assert shapes["conv_u0d-score"] == (2, 128, 1, 1)
    assert shapes["upconv_d4c_u3a"] == (1024, 512, 2, 2)


def test_augmenting_layers_of_2019_are_the_trainers_work(file):
    path = file(cell_net_2019(depth=2, width=2))
    with pytest.raises(ValueError, match="the trainer does") as error:
        Net(read_net(path), "TRAIN")
    for name, type in {
        "create_deformation": "CreateDeformation",
        "def_data": "ApplyDeformation",
        "augm_data": "ValueAugmentation",
        "labelcrop": "ApplyDeformation",
        "weightcrop": "ApplyDeformation",
    }.items():
        number = path.read_text()[: path.read_text().index(f"name: '{name}'")].count("\n") + 1
        assert f"{name!r} of type {type!r} ({path}, line {number})" in str(error.value)
    assert "loaddata" not in str(error.value)


def test_parameters_of_augmenting_layers_survive_a_round_trip(file, tmp_path):
    path = file(cell_net_2019(depth=2, width=2))
    again = write_net(tmp_path / "again.prototxt", read_net(path))
    assert read_net(again) == read_net(path)
    text = again.read_text()
    for part in (
        "random_elastic_grid_spacing {\n      v: 150\n      v: 150",
        "slope_max: 1.2",
        'output_shape_from: "score"',
    ):
        assert part in text

"""Every op against numbers that BVLC Caffe computed, one layer a case.

The cases are the files of `layers/` in the golden data (tests/shared.py says where that lies);
without them the tests are skipped. Caffe's numbers are float32 with errors up to 5e-7 of the
largest magnitude; a second float32 implementation should come within ten times that.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from closeness import assert_close
from shared import golden
from unet_native import ops

TOLERANCE = 5e-6


def cases(layer_type: str, **wanted: object) -> list[dict]:
    """The cases of one layer type from the golden data's index; none without the data."""
    try:
        index = json.loads(golden("index.json").read_text())
    except pytest.skip.Exception:
        return []
    return [
        case
        for case in index["layers"]
        if case["type"] == layer_type and all(case.get(k) == v for k, v in wanted.items())
    ]


def parametrize(layer_type: str, **wanted: object) -> pytest.MarkDecorator:
    """One test per case; one that says what is missing if there is none."""
    found = cases(layer_type, **wanted) or [
        pytest.param(None, marks=pytest.mark.skip(reason="no golden data: see tests/shared.py"))
    ]
    return pytest.mark.parametrize("case", found, ids=lambda case: case and case["name"])


def load(case: dict) -> dict[str, np.ndarray]:
    with np.load(golden("layers") / f"{case['name']}.npz") as arrays:
        return dict(arrays)


def as_blob(array: np.ndarray) -> np.ndarray:
    """(N, C) as (N, C, 1, 1), (N) as (N, 1, 1, 1)."""
    return array.reshape(array.shape + (1,) * (4 - array.ndim))


def test_every_layer_type_is_covered():
    index = json.loads(golden("index.json").read_text())
    covered = {
        *("Convolution", "Deconvolution", "Pooling", "ReLU", "Crop", "Concat"),
        *("Dropout", "Softmax", "SoftmaxWithLoss"),
    }
    assert {case["type"] for case in index["layers"]} == covered


@pytest.mark.parametrize("algorithm", ["direct", "winograd"])
@parametrize("Convolution", kernel=3)
def test_conv3x3(case, algorithm):
    a = load(case)
    # F(4x4,3x3) loses an order of magnitude in its transforms.
    tolerance = 4e-5 if algorithm == "winograd" else TOLERANCE
    top = ops.conv3x3_forward(a["x"], a["w"], a.get("b"), algorithm=algorithm)
    assert_close(top, a["y"], tolerance)
    bottom_diff = ops.conv3x3_backward_data(a["dy"], a["w"], algorithm=algorithm)
    assert_close(bottom_diff, a["dx"], tolerance)
    weight_diff, bias_diff = ops.conv3x3_backward_weights(a["x"], a["dy"], algorithm=algorithm)
    assert_close(weight_diff, a["dw"], tolerance)
    if case["bias"]:
        assert_close(bias_diff, a["db"], TOLERANCE)


@parametrize("Convolution", kernel=1)
def test_conv1x1(case):
    a = load(case)
    assert_close(ops.conv1x1_forward(a["x"], a["w"], a["b"]), a["y"], TOLERANCE)
    assert_close(ops.conv1x1_backward_data(a["dy"], a["w"]), a["dx"], TOLERANCE)
    weight_diff, bias_diff = ops.conv1x1_backward_weights(a["x"], a["dy"])
    assert_close(weight_diff, a["dw"], TOLERANCE)
    assert_close(bias_diff, a["db"], TOLERANCE)


@parametrize("Deconvolution")
def test_up_conv2x2(case):
    a = load(case)
    assert_close(ops.up_conv2x2_forward(a["x"], a["w"], a["b"]), a["y"], TOLERANCE)
    assert_close(ops.up_conv2x2_backward_data(a["dy"], a["w"]), a["dx"], TOLERANCE)
    weight_diff, bias_diff = ops.up_conv2x2_backward_weights(a["x"], a["dy"])
    assert_close(weight_diff, a["dw"], TOLERANCE)
    assert_close(bias_diff, a["db"], TOLERANCE)


@parametrize("Pooling")
def test_max_pool2x2(case):
    a = load(case)
    np.testing.assert_array_equal(ops.max_pool2x2_forward(a["x"]), a["y"])
    np.testing.assert_array_equal(ops.max_pool2x2_backward(a["x"], a["dy"]), a["dx"])


@parametrize("ReLU")
def test_relu(case):
    a = load(case)
    np.testing.assert_array_equal(ops.relu_forward(a["x"]), a["y"])
    np.testing.assert_array_equal(ops.relu_backward(a["x"], a["dy"]), a["dx"])


@parametrize("Crop")
def test_crop(case):
    a = load(case)
    axis = int(re.search(r"axis: (\d)", case["crop_param"]).group(1))
    offsets = [int(offset) for offset in re.findall(r"offset: (\d+)", case["crop_param"])] or [0]
    offsets = [0] * axis + offsets * (1 if len(offsets) > 1 else 4 - axis)
    # Channels are cropped by a view: the op itself crops rows and columns.
    first, last = offsets[1], offsets[1] + a["y"].shape[1]
    options = {"offset": tuple(offsets[2:])}
    x = np.ascontiguousarray(a["x"][:, first:last])
    np.testing.assert_array_equal(ops.crop_forward(x, a["y"].shape[2:], **options), a["y"])
    bottom_diff = ops.zeros(a["x"].shape)
    ops.crop_backward(a["dy"], x.shape, out=bottom_diff[:, first:last], **options)
    np.testing.assert_array_equal(bottom_diff, a["dx"])


@parametrize("Concat", axis=1)
def test_concat(case):
    a = load(case)
    bottoms = [a[f"x{i}"] for i in range(sum(name.startswith("x") for name in a))]
    np.testing.assert_array_equal(ops.crop_concat_forward(bottoms), a["y"])
    diffs = ops.crop_concat_backward(a["dy"], [bottom.shape for bottom in bottoms])
    for i, diff in enumerate(diffs):
        np.testing.assert_array_equal(diff, a[f"dx{i}"])


@parametrize("Dropout")
def test_dropout(case):
    a = load(case)
    ratio = case["dropout_ratio"]
    assert_close(ops.dropout_forward(a["x"], a["mask"], ratio), a["y"], 2e-7)
    assert_close(ops.dropout_backward(a["dy"], a["mask"], ratio), a["dx"], 2e-7)


@parametrize("Softmax")
def test_softmax(case):
    a = {name: as_blob(array) for name, array in load(case).items()}
    top = ops.softmax_forward(a["x"])
    assert_close(top, a["y"], 1e-6)
    # The cancellation in top * (top_diff - dot) is relative to top_diff.
    diff = ops.softmax_backward(top, a["dy"])
    assert_close(diff, a["dx"], 1e-6, floor=float(np.abs(a["dy"]).max()))


@parametrize("SoftmaxWithLoss")
def test_softmax_loss(case):
    a = load(case)
    setting = dict(re.findall(r"(\w+): (\S+)", case["loss_param"]))
    # The older `normalize` counts only where `normalization` is not set.
    legacy = {"true": "VALID", "false": "BATCH_SIZE", None: "VALID"}[setting.get("normalize")]
    result = ops.softmax_loss(
        as_blob(a["x"]),
        as_blob(a["label"]),
        normalization=setting.get("normalization", legacy),
        ignore_label=int(setting["ignore_label"]) if "ignore_label" in setting else None,
        loss_weight=case["loss_weight"],
        with_prob=True,
    )
    assert result.loss == pytest.approx(float(a["loss"]), rel=2e-6)
    weighted = case["loss_weight"] * result.loss
    assert weighted == pytest.approx(float(a["weighted_total"]), rel=2e-6)
    assert_close(result.bottom_diff, as_blob(a["dx"]), 1e-6)
    assert_close(result.prob, as_blob(a["prob"]), 1e-6)


@pytest.mark.parametrize("mode", ["none", "nhw", "wsum"])
def test_weighted_loss(mode):
    """Not Caffe, which has no weights, but float64 numpy."""
    normalization = {"none": "NONE", "nhw": "FULL", "wsum": "WEIGHT_SUM"}[mode]
    files = sorted(golden("weighted_loss").glob("*.npz"))
    assert files
    for file in files:
        with np.load(file) as a:
            if f"loss_{mode}" not in a:
                assert a["weight"].sum() == 0, "only without weights there is no such loss"
                continue
            result = ops.softmax_loss(
                a["score"], a["label"], a["weight"], normalization=normalization
            )
            assert result.loss == pytest.approx(float(a[f"loss_{mode}"]), rel=1e-6)
            assert_close(result.bottom_diff, a[f"dscore_{mode}"], 1e-6)

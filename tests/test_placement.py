"""Which blobs lie in others' memory or in none, and that this changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

from small_layers import conv, data
from small_net import small_spec
from unet_native.net import Net
from unet_native.spec import (
    ConvolutionParameter,
    CropParameter,
    FillerParameter,
    LayerSpec,
    NetSpec,
    PoolingParameter,
)


def names(net: Net) -> set[str]:
    return {buffer.name for buffer in net.plan.buffers.values()}


def test_convolutions_read_both_parts_of_a_concat_that_nobody_writes():
    """Crop's part is a window of the skip connection; the diffs of both lie in one."""
    net = Net(small_spec("fig1", base_width=16), plan="lean", fill=False)
    placement, blobs = net.plan.placement, net._all_blobs
    parts = {layer.spec.top[0]: layer.spec.bottom for layer in net.layers if layer.type == "Concat"}
    assert placement.joined == {top: tuple(bottoms) for top, bottoms in parts.items()}
    assert len(parts) == 2
    crops = [layer for layer in net.layers if layer.type == "Crop"]
    assert list(placement.windows.values()) == crops
    for crop in crops:
        skip, window = blobs[crop.spec.bottom[0]], blobs[crop.spec.top[0]]
        row, column = crop.offsets[2:]
        assert window.data.ctypes.data == skip.data[:, :, row:, column:].ctypes.data
        assert not {f"{crop.name}.data", f"{crop.spec.top[0]}.data"} & names(net)
    for top, bottoms in parts.items():
        assert f"{top}.data" not in names(net)
        assert f"{top}.diff" in names(net)
        for bottom in bottoms:
            assert np.shares_memory(blobs[bottom].diff, blobs[top].diff)
    copied = Net(small_spec("fig1", base_width=4), plan="lean", fill=False).plan.placement
    assert not copied.joined  # 4 channels are no whole vector
    assert not copied.windows


ONE_BY_ONE = ConvolutionParameter(
    num_output=4, kernel_size=1, weight_filler=FillerParameter("msra")
)
HALF_SIZE = PoolingParameter(kernel_size=2, stride=2)
FURTHER_READERS = {
    "conv1x1": [LayerSpec("r", "Convolution", ("ab",), ("r",), convolution_param=ONE_BY_ONE)],
    "pooling": [LayerSpec("r", "Pooling", ("ab",), ("r",), pooling_param=HALF_SIZE)],
    "relu": [LayerSpec("r", "ReLU", ("ab",), ("r",))],
}


def assert_same_scores(layers: list[LayerSpec]) -> Net:
    """The lean net, whose outputs are the observable one's."""
    spec = NetSpec("concats", tuple(layers))
    lean, observable = (Net(spec, "TEST", seed=1, plan=plan) for plan in ("lean", "observable"))
    rng = np.random.default_rng(0)
    for _ in range(2):  # also with what the last pass left in the arena
        inputs = {
            name: rng.standard_normal(lean.blobs[name].shape, np.float32) for name in lean.inputs
        }
        expected = {k: v.copy() for k, v in observable.forward(**inputs).items()}
        actual = lean.forward(**inputs)
        assert set(actual) == set(expected)
        for name, value in actual.items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
    return lean


@pytest.mark.parametrize("further", FURTHER_READERS)
def test_a_concat_is_written_where_others_read_it(further):
    layers = [
        data(1, 16, 10, 10),
        conv("a", "data", "a", 16),
        conv("b", "data", "b", 16),
        LayerSpec("concat", "Concat", ("a", "b"), ("ab",)),
        conv("c", "ab", "c", 16),
    ]
    assert assert_same_scores(layers).plan.placement.joined == {"ab": ("a", "b")}
    net = assert_same_scores(layers + FURTHER_READERS[further])
    assert not net.plan.placement.joined


def test_concats_that_are_outputs_nested_or_of_three_are_written():
    layers = [
        data(1, 16, 10, 10),
        *(conv(name, "data", name, 16) for name in "abc"),
        LayerSpec("inner", "Concat", ("a", "b"), ("ab",)),
        LayerSpec("outer", "Concat", ("ab", "c"), ("abc",)),
        conv("d", "abc", "d", 16),
    ]
    assert not assert_same_scores(layers).plan.placement.joined
    flat = [*layers[:4], LayerSpec("three", "Concat", ("a", "b", "c"), ("abc",)), layers[-1]]
    assert not assert_same_scores(flat).plan.placement.joined
    assert not assert_same_scores(layers[:-1]).plan.placement.joined


@pytest.mark.parametrize("cropped", ["a", "data"])
def test_a_crop_of_a_blob_that_others_read_too_is_a_window(cropped):
    """Not of an input, whose memory is the user's."""
    layers = [
        data(2, 16, 14, 13),
        conv("a", "data", "a", 16),
        conv("b", "a", "b", 16),
        LayerSpec("crop", "Crop", (cropped, "b"), ("e",), crop_param=CropParameter(offset=(2, 1))),
        LayerSpec("concat", "Concat", ("b", "e"), ("be",)),
        conv("c", "be", "c", 16),
        conv("d", "a", "d", 4),
    ]
    net = assert_same_scores(layers)
    assert net.plan.placement.joined == {"be": ("b", "e")}
    assert list(net.plan.placement.windows) == (["e"] if cropped == "a" else [])

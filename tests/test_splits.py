"""Split layers as Caffe inserts them, written down by hand from insert_splits.cpp."""

from __future__ import annotations

import pytest

from unet_native.caffe import splits


def layers_of(net) -> list[str]:
    """One line a layer: name, bottoms > tops, weights of tops if there are any."""
    found = []
    for layer in net.layer:
        line = f"{layer.name}: {' '.join(layer.bottom)} > {' '.join(layer.top)}"
        weights = " ".join(f"{weight:g}" for weight in layer.loss_weight)
        found.append(f"{line} * {weights}" if weights else line)
    return found


@pytest.fixture
def inserted(net_of):
    def insert(content: str, phase: str = "TRAIN") -> list[str]:
        net = splits.of_phase(net_of(content), phase)
        before = net.SerializeToString()
        result = splits.inserted(net)
        assert net.SerializeToString() == before, "the net itself stays as it is"
        assert all(layer.phase == splits.PHASES[phase] for layer in result.layer)
        assert {layer.name for layer in result.layer if layer.type == "Split"} == {
            layer.name for layer in result.layer if layer.name.endswith("_split")
        }
        return layers_of(result)

    return insert


def layer(name: str, bottoms: str, tops: str, rest: str = "type: 'ReLU'") -> str:
    ends = [f"bottom: '{b}'" for b in bottoms.split()] + [f"top: '{t}'" for t in tops.split()]
    return f"layer {{ name: '{name}' {' '.join(ends)} {rest} }}\n"


def test_one_reader_needs_none(inserted):
    chain = layer("in", "", "x") + layer("a", "x", "y") + layer("b", "y", "y")
    assert inserted(chain) == ["in:  > x", "a: x > y", "b: y > y"]


def test_three_readers(inserted):
    assert inserted(
        layer("in", "", "x") + layer("a", "x", "y") + layer("b", "y x", "z") + layer("c", "x", "w")
    ) == [
        "in:  > x",
        "x_in_0_split: x > x_in_0_split_0 x_in_0_split_1 x_in_0_split_2",
        "a: x_in_0_split_0 > y",
        "b: y x_in_0_split_1 > z",
        "c: x_in_0_split_2 > w",
    ]


def test_a_reader_that_takes_a_blob_twice(inserted):
    assert inserted(layer("in", "", "x") + layer("a", "x x", "y")) == [
        "in:  > x",
        "x_in_0_split: x > x_in_0_split_0 x_in_0_split_1",
        "a: x_in_0_split_0 x_in_0_split_1 > y",
    ]


def test_behind_what_works_in_place(inserted):
    """The blob that two layers read is the one that the ReLU has written, under the same name."""
    assert inserted(
        layer("in", "", "x")
        + layer("conv", "x", "y")
        + layer("relu", "y", "y")
        + layer("pool", "y", "p")
        + layer("crop", "y p", "c")
    ) == [
        "in:  > x",
        "conv: x > y",
        "relu: y > y",
        "y_relu_0_split: y > y_relu_0_split_0 y_relu_0_split_1",
        "pool: y_relu_0_split_0 > p",
        "crop: y_relu_0_split_1 p > c",
    ]


def test_each_top_has_its_own(inserted):
    assert inserted(
        layer("in", "", "x l")
        + layer("a", "l x", "y")
        + layer("b", "l", "z")
        + layer("c", "x", "w")
    ) == [
        "in:  > x l",
        "x_in_0_split: x > x_in_0_split_0 x_in_0_split_1",
        "l_in_1_split: l > l_in_1_split_0 l_in_1_split_1",
        "a: l_in_1_split_0 x_in_0_split_0 > y",
        "b: l_in_1_split_1 > z",
        "c: x_in_0_split_1 > w",
    ]


def test_a_loss_weight_is_a_reader_of_its_own(inserted):
    """The objective takes the first copy, and the weight moves from the layer to the Split."""
    assert inserted(
        layer("in", "", "x")
        + layer("a", "x", "y", "type: 'ReLU' loss_weight: 2.5")
        + layer("b", "y", "z")
    ) == [
        "in:  > x",
        "a: x > y",
        "y_a_0_split: y > y_a_0_split_0 y_a_0_split_1 * 2.5 0",
        "b: y_a_0_split_1 > z",
    ]


def test_a_loss_weight_alone_needs_none(inserted):
    assert inserted(layer("in", "", "x") + layer("a", "x", "y", "type: 'ReLU' loss_weight: 2")) == [
        "in:  > x",
        "a: x > y * 2",
    ]
    loss = "type: 'SoftmaxWithLoss' loss_weight: 0"
    assert inserted(layer("in", "", "x t") + layer("l", "x t", "y", loss))[1:] == ["l: x t > y * 0"]


def test_a_loss_has_the_weight_1_unless_it_says_otherwise(inserted):
    loss = layer("l", "x t", "y", "type: 'SoftmaxWithLoss'")
    assert inserted(layer("in", "", "x t") + loss)[1:] == ["l: x t > y * 1"]


def test_only_the_layers_of_a_phase_count(inserted):
    train = "type: 'Dropout' include { phase: TRAIN }"
    content = (
        layer("in", "", "x")
        + layer("drop", "x", "x", train)
        + layer("a", "x", "y")
        + layer("b", "x", "z", train)
    )
    assert inserted(content, "TEST") == ["in:  > x", "a: x > y"]
    assert inserted(content, "TRAIN") == [
        "in:  > x",
        "drop: x > x",
        "x_drop_0_split: x > x_drop_0_split_0 x_drop_0_split_1",
        "a: x_drop_0_split_0 > y",
        "b: x_drop_0_split_1 > z",
    ]


def test_the_state_and_what_else_the_net_says(net_of):
    spec = net_of("name: 'n' force_backward: true " + layer("in", "", "x"))
    for phase, number in splits.PHASES.items():
        net = splits.inserted(splits.of_phase(spec, phase))
        assert (net.name, net.force_backward, net.state.phase) == ("n", True, number)
    spec = net_of(layer("in", "", "x", "type: 'Input' phase: TEST"))
    (only,) = splits.inserted(splits.of_phase(spec, "TRAIN")).layer
    assert only.phase == 1, "a phase that the file gives stays"

"""What the GPU benchmark writes: the page of a made-up measurement, and the roofline's figures."""

from __future__ import annotations

import pytest

from benchmarks.bench_growth import flop
from benchmarks.gpu import network, page, roofline
from benchmarks.gpu.gpus import GPUS, known
from benchmarks.peers.problem import Problem

# --- the page ---


def measurement():
    """Made up: ours takes 2 ms in each pass of a layer, cuDNN 1.5 ms."""
    layers = [
        {
            "layer": "conv_d1a-b", "op": "conv3x3", "pass": name, "shape": "64 -> 128, 284",
            "math": "fp32", "flop": 4e10, "traffic": 6e7, "notes": {"cuDNN": "NHWC 1, 0 MB"},
            "seconds": {"unet_native": 2e-3, "cuDNN": 1.5e-3, "PyTorch": 3e-3},
            "spread": {},
        }
        for name in network.PASSES
    ]  # fmt: skip
    layers.append(
        {
            "layer": "sgd", "op": "sgd", "pass": "update", "shape": "31, 1", "math": "fp32",
            "flop": 0, "traffic": 620e6, "notes": {}, "spread": {},
            "seconds": {"unet_native": 1e-3},
        }
    )  # fmt: skip
    step = {"unet_native": 0.05, "PyTorch": 0.06}
    return {
        "machine": {"GPU": "NVIDIA A100-SXM4-80GB", "driver": "580.1", "SM clock": "1410 MHz"},
        "peers": {"cuDNN": "9.28.1"},
        "tile": 572,
        "width": 64,
        "repeats": 30,
        "turns": 3,
        "remarks": ["without PyTorch: it was made up"],
        "checks": [
            {"case": "a", "math": "fp32", "error": 1e-6, "repeats": True},
            {"case": "b", "math": "fp32", "error": 3e-6, "repeats": True},
        ],
        "layers": layers,
        "whole": [
            {
                "mode": "step", "math": "fp32", "seconds": step,
                "spread": {name: [value, value] for name, value in step.items()}, "notes": {},
            }
        ],
    }  # fmt: skip


def test_the_page_says_what_was_measured():
    text = page.page(measurement())
    # 4e10 / 2 ms = 20 TFLOP/s; 4e10 / 19.5e12 / 2 ms = 103 %; 1.5 / 2; 3 / 2
    assert (
        "| conv_d1a-b | forward | 64 -> 128, 284 | 2.000 | 20.0 | 103% | 1.500 | 0.75 | "
        "NHWC 1, 0 MB | 1.50 |"
    ) in text
    assert "| sgd | update | 31, 1 | 1.000 |  | 30% |  |  |  |  |" in text
    assert "| step | fp32 | PyTorch | 60.0 | 60.0 - 60.0 | 1.20 |" in text
    assert "| fp32 | 2 | 3.0e-06 | b |" in text
    assert "- SM clock: 1410 MHz" in text
    assert "- without PyTorch: it was made up" in text


def test_a_missed_target_is_printed_as_such():
    said = page.verdicts(measurement())
    assert [line.rpartition(" ")[2] for line in said] == ["MISSED"] * 3 + ["met"]
    assert "3x3 convolutions, forward, fp32" in said[0]
    assert "0.75, wanted 0.80, MISSED" in said[0]
    assert "1.20, wanted 1.00, met" in said[3]
    faster = measurement()
    for row in faster["layers"]:
        row["seconds"]["unet_native"] /= 2
    assert all(line.endswith("met") for line in page.verdicts(faster))


def test_an_unknown_gpu_has_no_roof():
    measured = measurement()
    measured["machine"]["GPU"] = "A GPU of tomorrow"
    assert "| 2.000 | 20.0 |  | 1.500 |" in page.page(measured)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", None),
        ("NVIDIA GeForce RTX 4090 D", "RTX 4090"),
    ],
)
def test_gpus_are_known_by_name(name, key):
    found = known(name)
    assert (found.key if found else None) == key


# --- the roofline ---


def test_layers_are_those_of_the_network():
    net = Problem(572, 64).net(fill=False)
    shapes = net.plan.shapes
    layers = [layer for layer in net.layers if layer.type in ("Convolution", "Deconvolution")]
    for mine, layer in zip(network.convolutions(), layers, strict=True):
        bottom, top = shapes[layer.spec.bottom[0]], shapes[layer.spec.top[0]]
        found = (mine.name, mine.ic, mine.oc, mine.size, mine.top_size)
        assert found == (layer.name, bottom[1], top[1], bottom[2], top[2])
    assert network.parameters() == sum(param.inner.count for param in net.parameters)


def test_operations_of_the_network():
    layers = network.convolutions()
    forward = sum(layer.flop for layer in layers)
    assert forward == flop(572, 64)
    threes = sum(layer.flop for layer in layers if layer.op == "conv3x3")
    assert threes / 1e9 == pytest.approx(289.6, abs=0.05)
    assert 3 * forward / 1e9 == pytest.approx(903, abs=0.5)
    first = layers[0].flop
    assert sum(layer.flop for layer, _ in network.step_passes()) == 3 * forward - first


def test_least_traffic():
    layer = network.convolutions()[1]
    # 64 maps of 570 pixels in, 64 of 568 out, 9 * 64 * 64 weights
    assert layer.traffic == 4 * (64 * 570**2 + 64 * 568**2 + 9 * 64 * 64)
    moves = {(move.name, move.pass_name): move.traffic for move in network.movements()}
    assert moves["pool_d0c-1a", "forward"] == 4 * 64 * (568**2 + 284**2)
    assert moves["pool_d0c-1a", "backward"] == 4 * 64 * (2 * 568**2 + 284**2 + 392**2)
    assert moves["crop_d0c-d0cc", "forward"] == 4 * 64 * 2 * 392**2
    assert moves["loss", "forward"] == 4 * 388**2 * (2 + 2 + 1 + 1)
    assert moves["sgd", "update"] == 4 * 5 * network.parameters()


def test_the_longer_of_both_is_the_limit():
    a100 = GPUS[0]
    assert a100.ideal_seconds(19.5e12, 1, "fp32") == 1
    assert a100.ideal_seconds(1, 2039e9, "bf16") == 1
    assert not a100.is_bound_by_memory(156e12, 2038e9, "tf32")
    assert a100.is_bound_by_memory(156e12, 2040e9, "tf32")
    seconds = roofline.part_seconds(a100, "fp32")
    assert sum(seconds[name] for name in network.PASSES) > 902.19e9 / 19.5e12
    assert seconds["the rest"] == pytest.approx(
        sum(move.traffic for move in network.movements()) / 2039e9
    )


def test_the_page_of_the_roofline_is_the_one_that_is_computed():
    assert roofline.PAGE.read_text(encoding="utf-8") == roofline.page(), (
        "out of date: run python -m benchmarks.gpu.roofline"
    )
    assert roofline.FIGURE.exists()

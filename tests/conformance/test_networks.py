"""Whole networks against BVLC Caffe: unet/<name>.prototxt with its .caffemodel and .npz.

The arrays: inputs by name; score, loss, act:<blob> after the forward pass; w:, b:, dw:, db:<layer>
of every parameter; d_<blob> the diff of a blob.
"""

from __future__ import annotations

import numpy as np
import pytest

import unet_native as caffe
from conformance.cases import arrays_of, files, folder, parametrize, relative_error

TOLERANCES = {
    "direct": 2e-5,
    "auto": 1e-4,
    "winograd": 1e-4,
    "winograd-4x4": 1e-4,
    "winograd-6x6": 1e-4,
}
# Of gradients, once a rectifier or a pooling has chosen otherwise: few units among many.
TOLERANCE_OF_ANOTHER_CHOICE = 0.05
MOST_OTHER_CHOICES = 1e-5


def network(case, **options):
    arrays = arrays_of(case.with_suffix(".npz"))
    net = caffe.Net(case, case.with_suffix(".caffemodel"), caffe.TRAIN, **options)
    return net, arrays


def choices(net):
    """By layer, what each unit of its rectifiers and poolings chose, and how close that was.

    A rectifier whether to pass: |x| from 0. A pooling which of four: the largest from the second.
    """
    found = {}
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        if layer.type == "ReLU":
            x = net.blobs[net.top_names[name][0]].data
            found[name] = x > 0, np.abs(x)
        elif layer.type == "Pooling":
            x = net.blobs[net.bottom_names[name][0]].data
            odd = [(0, 0), (0, 0), *((0, size % 2) for size in x.shape[2:])]
            x = np.pad(x, odd, constant_values=-np.inf)
            n, c, h, w = x.shape
            windows = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
            windows = windows.reshape(n, c, h // 2, w // 2, 4)
            first, second = -np.sort(-windows, axis=-1)[..., :2].transpose(4, 0, 1, 2, 3)
            found[name] = windows.argmax(axis=-1), first - second
    return found


def chooses_otherwise(net, direct, tolerance):
    """Whether some unit chose otherwise than that of a net of direct sums.

    Both must have been that close to it, relative to the layer's largest magnitude: one of them may
    be 0 behind a rectifier.
    """
    otherwise = units = 0
    for (name, (one, of_one)), (two, of_two) in zip(
        choices(net).items(), choices(direct).values(), strict=True
    ):
        differ = one != two
        largest = np.abs(net.blobs[net.top_names[name][0]].data).max()
        assert np.maximum(of_one, of_two)[differ].max(initial=0) <= tolerance * largest, name
        otherwise += int(differ.sum())
        units += differ.size
    assert otherwise <= MOST_OTHER_CHOICES * units
    return otherwise > 0


@pytest.mark.parametrize("algorithm", TOLERANCES)
@parametrize("unet", "*.prototxt")
def test_forward_and_backward(case, algorithm, context):
    net, arrays = network(case, algorithm=algorithm, context=context)
    inputs = {name: arrays[name] for name in net.inputs}
    net.forward(**inputs)
    net.backward()
    tolerance = of_gradients = TOLERANCES[algorithm]
    if algorithm != "direct":
        direct, _ = network(case, algorithm="direct")
        direct.forward(**inputs)
        if chooses_otherwise(net, direct, tolerance):
            of_gradients = TOLERANCE_OF_ANOTHER_CHOICE
    compared = set(inputs)
    for key, expected in arrays.items():
        kind, _, name = key.rpartition(":")
        if kind in ("w", "b"):
            actual = net.params[name]["wb".index(kind)].data
            np.testing.assert_array_equal(actual, expected)
            compared.add(key)
            continue
        if kind in ("dw", "db"):
            actual = net.params[name]["wb".index(kind[1])].diff
        elif kind == "act":
            actual = net.blobs[name].data
        elif key.startswith("d_"):
            actual = net.blobs[key[2:]].diff
        elif key in net.blobs:
            if key in inputs:
                continue
            actual = net.blobs[key].data
        else:
            continue
        compared.add(key)
        error = relative_error(np.asarray(actual), expected)
        is_gradient = kind in ("dw", "db") or key.startswith("d_")
        assert error <= (of_gradients if is_gradient else tolerance), f"{key}: {error:.2g}"
    assert {key for key in arrays if not key.endswith("_f64")} == compared


@parametrize("unet", "*.caffemodel.h5")
def test_hdf5_models_hold_the_same(case):
    prototxt = case.with_name(case.name.removesuffix(".caffemodel.h5") + ".prototxt")
    net, _ = network(prototxt)
    other = caffe.Net(prototxt, case, caffe.TRAIN)
    for name, blobs in net.params.items():
        for one, two in zip(blobs, other.params[name], strict=True):
            np.testing.assert_array_equal(one.data, two.data)


@parametrize("unet", "*.prototxt")
def test_what_we_write_is_caffes_file(case, tmp_path):
    """Read into a net and saved again, a model file is equal byte for byte."""
    net, _ = network(case)
    net.save(tmp_path / "a.caffemodel")
    assert (tmp_path / "a.caffemodel").read_bytes() == case.with_suffix(".caffemodel").read_bytes()


def test_the_folder_has_cases():
    """A folder that is there must not be empty, or everything would pass."""
    if folder("unet") is None:
        pytest.skip("no golden data: see tests/shared.py")
    assert files("unet", "*.prototxt")

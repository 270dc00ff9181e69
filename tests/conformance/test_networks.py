"""Whole networks against BVLC Caffe: unet/<name>.prototxt with its .caffemodel and .npz.

The arrays: inputs by name; score, loss, act:<blob> after the forward pass; w:, b:, dw:, db:<layer>
of every parameter; d_<blob> the diff of a blob.
"""

from __future__ import annotations

import numpy as np
import pytest

import unet_native as caffe
from conformance.cases import arrays_of, files, folder, parametrize, relative_error

TOLERANCES = {"direct": 2e-5, "auto": 1e-4, "winograd": 1e-4}


def network(case, **options):
    arrays = arrays_of(case.with_suffix(".npz"))
    net = caffe.Net(case, case.with_suffix(".caffemodel"), caffe.TRAIN, **options)
    return net, arrays


@pytest.mark.parametrize("algorithm", TOLERANCES)
@parametrize("unet", "*.prototxt")
def test_forward_and_backward(case, algorithm, context):
    net, arrays = network(case, algorithm=algorithm, context=context)
    inputs = {name: arrays[name] for name in net.inputs}
    net.forward(**inputs)
    net.backward()
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
        assert error <= TOLERANCES[algorithm], f"{key}: {error:.2g}"
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

"""Every layer against numbers that BVLC Caffe computed: one net of one layer a case.

A case is layers/<name>.prototxt with layers/<name>.npz. Arrays named like an input of the net are
its inputs; w and b are the parameters; y, or loss and prob, the tops; dy the given top diff; dx,
dx0, .. the bottom diffs, dw and db those of the parameters, which were 0 before.
"""

from __future__ import annotations

import numpy as np
import pytest

import unet_native as caffe
from conformance.cases import arrays_of, parametrize, relative_error
from unet_native import ops

TOLERANCES = {"direct": 1e-5, "auto": 1e-4, "winograd-4x4": 1e-4, "winograd-6x6": 1e-4}
# A saturated softmax is ill-conditioned in float32: its diff is compared absolutely.
SOFTMAX_DIFF = 1e-6


def net_of(case, arrays, phase, algorithm, context=None):
    net = caffe.Net(case, phase, algorithm=algorithm, context=context)
    for name in net.inputs:
        if name in arrays:
            net.blobs[name].data[...] = arrays[name]
    for name, blobs in net.params.items():
        assert name, "a parameter belongs to a layer"
        for blob, key in zip(blobs, "wb", strict=False):
            blob.data[...] = arrays[key]
    layer = net.layers[-1]
    if "mask" in arrays:

        def draw(mask):
            mask[...] = arrays["mask"]

        layer.draw = draw
    return net, layer


def check(kind, name, actual, expected, tolerance):
    if kind == "Softmax" and name.startswith("dx") and np.abs(actual - expected).max() < 1e-6:
        return
    error = relative_error(np.asarray(actual), expected)
    assert error <= tolerance, f"{name}: {error:.2g} of the largest magnitude"


@pytest.mark.parametrize("algorithm", TOLERANCES)
@parametrize("layers", "*.prototxt")
def test_layer(case, algorithm, context):
    tolerance = TOLERANCES[algorithm]
    arrays = arrays_of(case.with_suffix(".npz"))
    net, layer = net_of(case, arrays, caffe.TRAIN, algorithm, context)
    assert set(net.inputs) <= {*arrays, "ref"}, "every input but a reference of sizes is given"
    net.forward()
    tops = [net.blobs[name] for name in layer.spec.top]
    compared = set()

    def compare(name, actual):
        compared.add(name)
        check(layer.type, name, actual, arrays[name], tolerance)

    for name, top in zip(("y",) if "y" in arrays else ("loss", "prob"), tops, strict=False):
        compare(name, top.data)
    if "weighted_total" in arrays:
        compare("weighted_total", np.float32(net.loss))
        assert float(tops[0].diff) == pytest.approx(float(arrays["top_diff"]))
    if "dy" in arrays:
        tops[0].diff[...] = arrays["dy"]
    net.backward()
    for i, name in enumerate(layer.spec.bottom):
        for key in (f"d{name}", f"dx{i}", "dx" if i == 0 else ""):
            if key in arrays:
                compare(key, net.blobs[name].diff)
                break
    for blobs in net.params.values():
        for blob, key in zip(blobs, ("dw", "db"), strict=False):
            compare(key, blob.diff)
    if "argmax" in arrays:
        check_argmax(arrays)
        compared.add("argmax")
    if "y_test" in arrays:
        check_test_phase(case, arrays, algorithm)
        compared |= {"y_test", "dx_test"}
    if "prob" in arrays and "prob" not in compared:
        scores = np.asarray(arrays["x"])
        four = scores.reshape(scores.shape + (1,) * (4 - scores.ndim))
        compare("prob", ops.softmax_forward(four).reshape(scores.shape))
    given = {*net.inputs, "x", "w", "b", "dy", "mask", "top_diff", "ref"}
    unused = {name for name in arrays if not name.endswith("_f64")} - compared - given
    assert not unused, f"arrays that were not compared: {unused}"


def check_argmax(arrays):
    """The first of equal maxima, in row-major order, gets the whole diff."""
    ones = np.ones_like(arrays["y"])
    diff = np.ascontiguousarray(ops.max_pool2x2_backward(arrays["x"], ones))
    n, c, h, w = arrays["x"].shape
    expected = np.zeros((n, c, h * w), np.float32)
    where = arrays["argmax"].reshape(n, c, -1)
    for i, j in np.ndindex(n, c):
        np.add.at(expected[i, j], where[i, j], 1)
    np.testing.assert_array_equal(diff.reshape(n, c, -1), expected)


def check_test_phase(case, arrays, algorithm):
    net, layer = net_of(case, arrays, caffe.TEST, algorithm)
    net.forward()
    np.testing.assert_array_equal(net.blobs[layer.spec.top[0]].data, arrays["y_test"])
    net.blobs[layer.spec.top[0]].diff[...] = arrays["dy"]
    net.backward()
    np.testing.assert_array_equal(net.blobs[layer.spec.bottom[0]].diff, arrays["dx_test"])


@parametrize("weighted_loss", "*.npz")
def test_weighted_loss(case):
    """Not Caffe, which has no weights, but float64 numpy."""
    a = arrays_of(case)
    for mode, normalization in (("none", "NONE"), ("nhw", "FULL"), ("wsum", "WEIGHT_SUM")):
        if f"loss_{mode}" not in a:
            assert a["weight"].sum() == 0, "only without weights there is no such loss"
            continue
        result = ops.softmax_loss(a["score"], a["label"], a["weight"], normalization=normalization)
        assert result.loss == pytest.approx(float(a[f"loss_{mode}"]), rel=1e-6)
        assert relative_error(result.bottom_diff, a[f"dscore_{mode}"]) <= 1e-6


def test_the_folder_has_cases():
    """A folder that is there must not be empty, or everything would pass."""
    from conformance.cases import files, folder

    if folder("layers") is None:
        pytest.skip("no golden data: see tests/shared.py")
    assert files("layers", "*.prototxt")

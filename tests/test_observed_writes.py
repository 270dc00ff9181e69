"""What a user writes into arrays takes effect, in every way that works on C order alone."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from observing import arrays_of, assert_same, inner_arrays_of, pair, values_for
from small_net import inputs_of, small_spec
from test_solver import SETTINGS, solver_of
from unet_native.net import Net

Writer = Callable[[np.ndarray, np.ndarray], None]


def _through_ravel(array, values):
    array.ravel()[...] = values.ravel()


def _through_reshape(array, values):
    array.reshape(-1)[:] = values.reshape(-1)


def _through_flat(array, values):
    array.flat = values


def _through_ctypes(array, values):
    assert ctypes.memmove(array.ctypes.data, values.ctypes.data, array.nbytes)


def _through_a_buffer(array, values):
    np.frombuffer(array, np.float32)[...] = values.ravel()


@pytest.fixture(
    params=[_through_ravel, _through_reshape, _through_flat, _through_ctypes, _through_a_buffer],
    ids=lambda write: write.__name__[1:],
)
def write(request) -> Writer:
    """A way to write values of an array's shape into it that works on C order alone."""
    return request.param


# --- what is written takes effect, however it is written ---


def test_written_inputs_and_parameters(write):
    net, other = pair("fig1", "TEST")
    data = values_for(net.blobs["data"])
    weights = {name: values_for(blobs[0]) / 4 for name, blobs in net.params.items()}
    array = net.blobs["data"].data
    net.forward()
    write(array, data)
    for name, weight in weights.items():
        write(net.params[name][0].data, weight)
    found = net.forward()["score"]
    other.load_params(
        {name: [weight, other.params[name][1].data] for name, weight in weights.items()}
    )
    assert np.array_equal(found, other.forward(data=data)["score"])
    assert found.any()
    write(net.layer_dict["conv_u0d-score"].blobs[0].data, 2 * weights["conv_u0d-score"])
    assert not np.array_equal(net.forward()["score"], other.blobs["score"].data)


@pytest.mark.parametrize(
    ("blob", "start"), [("d1b", "conv_d1b-c"), ("u0a", "concat_d0cc_u0a-b"), ("d0c", "relu_d0c")]
)
def test_a_written_blob_where_a_pass_starts(write, blob, start):
    net, other = pair("fig1", "TEST")
    for each in (net, other):
        each.forward(data=inputs_of(each)["data"])
    values = values_for(net.blobs[blob])
    write(net.blobs[blob].data, values)
    other._all_blobs[blob].data[...] = values
    found = net.forward(start=start)["score"]
    assert np.array_equal(found, other.forward(start=start)["score"])
    for name, shown in net.blobs.items():
        assert np.array_equal(shown.data, other._all_blobs[name].data), name


def test_one_layer_at_a_time_equals_the_whole():
    net, other = pair("phseg_v5", "TEST")
    kept = arrays_of(net)
    data = inputs_of(net)["data"]
    kept["data", "data"].flat = data
    for name in net._layer_names:
        net.forward(start=name, end=name)
    other.forward(data=data)
    assert_same(kept, inner_arrays_of(other))


def test_a_written_diff_where_a_pass_starts(write):
    spec = replace(small_spec("fig1", weighted=False), force_backward=True)
    net, other = (Net(spec, "TEST", seed=1) for _ in range(2))
    for each in (net, other):
        each.forward(data=inputs_of(each)["data"])
    for name in ("score", "d1c", "u1a"):
        start = next(layer.name for layer in reversed(net.layers) if name in layer.spec.top)
        diff = values_for(net.blobs[name])
        write(net.blobs[name].diff, diff)
        other._all_blobs[name].diff[...] = diff
        found = net.backward(diffs=["d0b"], start=start)
        other.backward(start=start)
        for key, array in found.items():
            assert np.array_equal(array, other._all_blobs[key].diff), key
            assert array.any()
    assert_same(arrays_of(net), inner_arrays_of(other))
    given = values_for(net.blobs["score"], seed=8)
    for each in (net, other):
        each.backward(score=given)
    assert_same(arrays_of(net), inner_arrays_of(other))


def test_data_written_between_the_passes(write):
    net, other = pair()
    for each in (net, other):
        each.forward(**inputs_of(each))
    values = np.abs(values_for(net.blobs["d1b"]))
    write(net.blobs["d1b"].data, values)
    other._all_blobs["d1b"].data[...] = values
    for each in (net, other):
        each.backward()
    assert_same(arrays_of(net), inner_arrays_of(other))


def test_diffs_of_parameters_are_added_to(write):
    net, other = pair()
    for each in (net, other):
        each.forward(**inputs_of(each))
    for mine, theirs in zip(net.parameters, other.parameters, strict=True):
        diff = values_for(mine.blob)
        write(mine.blob.diff, diff)
        theirs.inner.diff[...] = diff
        net.backward()
        other.backward()
        assert np.array_equal(mine.blob.diff, theirs.inner.diff), mine.name


def test_a_callback_of_backward_sees_and_writes_what_is_there():
    net, other = pair()
    for each in (net, other):
        each.forward(**inputs_of(each))
    other.backward()
    kept = {param.name: param.blob.diff for param in net.parameters}
    seen = {}

    def on_param_diff(param):
        seen[param.name] = param.blob.diff.copy()
        param.blob.diff.ravel()[...] = 7

    net.backward(on_param_diff=on_param_diff)
    for param in other.parameters:
        assert np.array_equal(seen[param.name], param.inner.diff)
    assert all((array == 7).all() for array in kept.values())


def test_weights_and_diffs_written_before_the_update(write):
    settings = replace(SETTINGS, clip_gradients=0.5)
    solver, other = (solver_of(settings) for _ in range(2))
    for param, theirs in zip(solver.net.parameters, other.net.parameters, strict=True):
        for seed, what in enumerate(("data", "diff")):
            values = values_for(param.blob, seed)
            write(getattr(param.blob, what), values)
            getattr(theirs.inner, what)[...] = values
    solver.apply_update()
    other.apply_update()
    assert_same(arrays_of(solver.net), inner_arrays_of(other.net))


def test_callbacks_of_the_solver_may_write(write):
    solver, other = (solver_of(replace(SETTINGS, iter_size=2)) for _ in range(2))

    def scale(weights: np.ndarray, diffs: np.ndarray, put: Writer) -> tuple:
        return (
            lambda: (put(weights, weights * np.float32(1.5)), put(diffs, diffs + np.float32(0.1))),
            lambda: put(diffs, diffs * np.float32(0.5)),
        )

    blob, inner = solver.net.params["conv_d1a-b"][0], other.net.layer_dict["conv_d1a-b"].params[0]
    solver.add_callback(*scale(blob.data, blob.diff, write))
    other.add_callback(*scale(inner.data, inner.diff, lambda a, values: np.copyto(a, values)))
    solver.step(3)
    other.step(3)
    assert_same(arrays_of(solver.net), inner_arrays_of(other.net))


def test_snapshots_hold_what_was_written_and_show_when_restored(write, tmp_path):
    solver = solver_of()
    solver.step(1)
    weights = {p.name: p.blob.data for p in solver.net.parameters}
    for param in solver.net.parameters:
        write(weights[param.name], values_for(param.blob))
    written = {name: array.copy() for name, array in weights.items()}
    path = solver.snapshot(tmp_path / "s.safetensors")
    solver.step(2)
    assert not np.array_equal(weights["conv_d1a-b.0"], written["conv_d1a-b.0"])
    solver.restore(path)
    resumed = solver_of()
    resumed.restore(path)
    for name, array in weights.items():
        assert np.array_equal(array, written[name]), name
    for each in (solver, resumed):
        each.step(1)
    assert_same(
        {(name,): array for name, array in weights.items()},
        {(param.name,): param.inner.data for param in resumed.net.parameters},
    )


# --- several nets, other shapes, failures ---


@pytest.mark.parametrize("share", ["params_of", "share_with"])
def test_nets_that_share_parameters_share_what_is_observed(write, share):
    train = Net(small_spec("phseg_v5"), seed=1)
    if share == "params_of":
        test = Net(small_spec("phseg_v5"), "TEST", params_of=train)
    else:
        test = Net(small_spec("phseg_v5"), "TEST", seed=2)
        test.share_with(train)
    lean = Net(small_spec("phseg_v5"), "TEST", plan="lean", params_of=train)
    fresh = Net(small_spec("phseg_v5"), "TEST", seed=9)
    data = inputs_of(test)["data"]
    for seed, net in enumerate((train, test)):
        blob = net.params["conv_d1a-b"][0]
        write(blob.data, values_for(blob, seed))
        assert test.params["conv_d1a-b"][0].data is train.params["conv_d1a-b"][0].data
        fresh.copy_from(train)
        expected = fresh.forward(data=data)["score"]
        assert np.array_equal(test.forward(data=data)["score"], expected)
        assert np.array_equal(lean.forward(data=data)["score"], expected)
    assert train.params["conv_d1a-b"][0].diff is not test.params["conv_d1a-b"][0].diff


def test_reshaping_an_input_makes_new_arrays(write):
    net = Net(small_spec("fig1"), "TEST", seed=1)
    old = arrays_of(net)
    net.forward(data=inputs_of(net)["data"])
    blob = net.blobs["data"]
    blob.reshape(1, 2, 52, 44)
    assert blob.shape == blob.data.shape == (1, 2, 52, 44)
    data = values_for(blob)
    array = blob.data
    write(array, data)
    score = net.forward()["score"]
    assert blob.data is array
    fresh = Net(small_spec("fig1"), "TEST", seed=1, data=blob.shape)
    assert np.array_equal(score, fresh.forward(data=data)["score"])
    new = arrays_of(net)
    for key, shown in new.items():
        assert shown.flags.c_contiguous
        assert (shown is old[key]) == (key[0] in net.params), key


def test_a_pass_that_fails_loses_nothing(write):
    net, other = pair()
    inputs = inputs_of(net)
    kept = arrays_of(net)
    weight, blob = kept["conv_d0a-b", 0, "data"], kept["d1b", "data"]
    for array in (weight, blob):
        write(array, np.full(array.shape, 0.25, np.float32))
    bad = np.full_like(inputs["label"], 99)
    with pytest.raises(ValueError, match="label"):
        net.forward(**inputs | {"label": bad})
    for array in (weight, blob):
        assert (array == 0.25).all()
    assert np.array_equal(kept["data", "data"], inputs["data"])
    other.params["conv_d0a-b"][0].data[...] = 0.25
    net.iteration = other.iteration = 5
    for each in (net, other):
        each.forward(**inputs)
    assert net.loss == other.loss

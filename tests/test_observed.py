"""Arrays that a user looks at: in C order, live, and at no cost to others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from observing import arrays_of, assert_same, inner_arrays_of, pair
from small_net import MODELS, inputs_of, random_biases, small_spec
from test_solver import SETTINGS, solver_of
from unet_native.blob import Blob
from unet_native.net import Net

# --- what is shown ---


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("model", MODELS)
def test_every_array_is_contiguous_and_one_object(model, phase):
    net = Net(small_spec(model), phase, seed=1)
    arrays = arrays_of(net)
    for key, array in arrays.items():
        assert array.flags.c_contiguous, key
        assert array.flags.writeable, key
        assert array.dtype == np.float32, key
        assert np.shares_memory(array.reshape(-1), array), key
        assert len(memoryview(array).cast("B")) == array.nbytes, key
    again = arrays_of(net)
    assert all(again[key] is array for key, array in arrays.items())
    blob = net.blobs["d1b"]
    assert np.array_equal(blob.data.ravel().reshape(blob.shape), blob.data)
    with pytest.raises(AttributeError):
        blob.data = arrays["d1b", "data"]


def test_arrays_cost_memory_once_they_are_looked_at_and_only_where_orders_differ():
    net = Net(small_spec("phseg_v5", channels=1), seed=1)

    def extra() -> int:
        return net.memory()["observed arrays"]

    for blob in [*net.blobs.values(), *(param.blob for param in net.parameters)]:
        assert blob.count == np.prod(blob.shape, dtype=int)
    net.forward(**inputs_of(net))
    net.backward()
    for name in ("data", "label", "weight", "loss"):
        assert net.blobs[name].data is net._all_blobs[name].data
    assert net.params["conv_d0a-b"][1].diff.any()
    assert extra() == 0
    nbytes = net.blobs["d1b"].diff.nbytes
    assert extra() == nbytes
    nbytes += net.params["conv_d1a-b"][0].data.nbytes
    assert extra() == nbytes


def test_the_lean_plan_shows_inner_arrays():
    lean = Net(small_spec("fig1"), plan="lean", seed=1)
    lean.forward(**inputs_of(lean))
    lean.backward()
    assert all(lean.blobs[name] is lean._all_blobs[name] for name in lean.blobs)
    for layer in lean.layers:
        assert all(type(blob) is Blob for blob in layer.blobs)
        assert layer.blobs is layer.params
    assert lean.memory()["observed arrays"] == 0


# --- observing changes no result, and what was kept stays live ---


@pytest.mark.parametrize("model", MODELS)
def test_kept_arrays_follow_a_net_that_computes_the_same_bits(model):
    looked_at, other = pair(model)
    kept = arrays_of(looked_at)
    for k in range(2):
        for net in (looked_at, other):
            net.forward(**inputs_of(net, seed=k))
        assert_same(kept, inner_arrays_of(other))
        for net in (looked_at, other):
            net.backward()  # the second time, diffs accumulate
        assert_same(kept, inner_arrays_of(other))
        assert looked_at.loss == other.loss
    for net in (looked_at, other):
        net.clear_param_diffs()
    assert_same(kept, inner_arrays_of(other))
    assert other.memory()["observed arrays"] == other.blobs["data"].diff.nbytes, "a result"


def test_results_are_the_arrays_of_the_blobs():
    net = Net(small_spec("fig1"), seed=1)
    found = net.forward(blobs=["d1b", "score"], **inputs_of(net))
    diffs = net.backward(diffs=["d1b"])
    net.forward(**inputs_of(net, seed=1))
    net.backward()
    for name, array in found.items():
        assert array is net.blobs[name].data
        assert np.array_equal(array, net._all_blobs[name].data)
    for name, array in diffs.items():
        assert array is net.blobs[name].diff
        assert np.array_equal(array, net._all_blobs[name].diff)


@pytest.mark.parametrize("settings", [{}, {"iter_size": 2}, {"clip_gradients": 0.05}])
def test_kept_arrays_follow_the_solver(settings):
    looked_at, other = (solver_of(replace(SETTINGS, **settings)) for _ in range(2))
    kept = arrays_of(looked_at.net)
    for solver in (looked_at, other):
        solver.step(3)
    assert_same(kept, inner_arrays_of(other.net))
    for param, one, two in zip(
        looked_at.net.parameters, looked_at.history, other.history, strict=True
    ):
        assert np.array_equal(one, two)
        assert np.array_equal(param.blob.diff, one), "the diff is the update afterwards"


def test_kept_arrays_follow_parameters_from_elsewhere(tmp_path):
    net, source = Net(small_spec("fig1"), seed=1), Net(small_spec("fig1"), seed=2)
    random_biases(source)
    kept = {(p.layer.name, p.index): p.blob.data for p in net.parameters}
    wanted = {(p.layer.name, p.index): p.inner.data for p in source.parameters}
    net.copy_from(source)
    assert_same(kept, wanted)
    assert source.memory()["observed arrays"] == 0
    net.load_params({"conv_d1a-b": [source.params["conv_d1a-b"][0].data + 1, np.ones(8)]})
    assert (kept["conv_d1a-b", 1] == 1).all()
    source.save(tmp_path / "source.safetensors")
    net.copy_from(tmp_path / "source.safetensors")
    assert_same(kept, wanted)


def test_an_observed_test_net_follows_lean_training():
    solver = solver_of(plan="lean")
    net = Net(solver.net.spec, "TEST", params_of=solver.net)
    kept = {p.name: p.blob.data for p in net.parameters}
    before = kept["conv_d1a-b.0"].copy()
    solver.step(2)
    assert not np.array_equal(kept["conv_d1a-b.0"], before)
    for param in solver.net.parameters:
        assert np.array_equal(kept[param.name], param.blob.data), param.name

"""Whole networks and solvers on devices, against the same on the CPU."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

import unet_native as caffe
from places import assert_no_findings, devices
from small_net import MODELS, inputs_of, random_biases, relative_l2, small_spec
from unet_native import _core, models
from unet_native.caffe import pycaffe
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.ops import Context
from unet_native.solver import SGDSolver, SolverSettings
from unet_native.solvers import AdamSolver

pytestmark = pytest.mark.skipif(not devices(), reason="no device here: see UNET_NATIVE_SIMT")
SETTINGS = SolverSettings(
    base_lr=0.02, momentum=0.9, weight_decay=1e-3, random_seed=3, lr_policy="exp", gamma=0.9
)
TILE = (24, 28)
on_simt = pytest.mark.skipif("cuda-simt" not in devices(), reason="needs the SIMT runtime")


@pytest.fixture(params=devices())
def device(request):
    yield Context(device=request.param)
    assert_no_findings()


def close(actual, expected, tolerance=1e-4):
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def solver_of(context=None, kind=SGDSolver, **options):
    spec = models.fig1(depth=2, base_width=3, tile=TILE)
    settings = replace(SETTINGS, **options.pop("settings", {}))
    return kind(settings, spec, feed=feed, context=context, **({"plan": "lean"} | options))


def feed(k):
    rng = np.random.default_rng(k)
    return {
        "data": rng.standard_normal((1, 1, *TILE), np.float32),
        "label": rng.integers(0, 2, (1, 1, 8, 12)).astype(np.float32),
        "weight": rng.gamma(2, 1, (1, 1, 8, 12)).astype(np.float32),
    }


def weights_of(solver):
    return [np.array(param.blob.data) for param in solver.net.parameters]


def train(solver, steps=5):
    losses = []
    for _ in range(steps):
        solver.step(1)
        losses.append(solver.loss)
    return losses


def replayed(solver):
    return solver._replay is not None and solver._replay._recording.graph is not None


# --- nets ---


@pytest.mark.parametrize("model", MODELS)
def test_blobs_and_gradients_are_the_cpus(model, device):
    nets = [Net(small_spec(model), seed=4, context=context) for context in (None, device)]
    for net in nets:
        random_biases(net)
        net.forward(**inputs_of(net))
        net.clear_param_diffs()
        net.backward()
    cpu, other = nets
    assert other.loss == pytest.approx(cpu.loss, rel=1e-5)
    for name, blob in cpu.blobs.items():
        close(other.blobs[name].data, blob.data)
        if name not in cpu.inputs:
            close(other.blobs[name].diff, blob.diff)
    for name, blobs in cpu.params.items():
        for one, two in zip(blobs, other.params[name], strict=True):
            close(two.diff, one.diff)


@pytest.mark.parametrize(("math", "tolerance"), [("tf32", 2e-3), ("bf16", 2e-2)])
def test_rounded_operands_stay_near(math, tolerance):
    """Of the gradients only the direction: a unit near 0 that passes on one side changes much."""
    context = Context(device=devices()[0], math=math)
    nets = [Net(small_spec("fig1"), seed=4, context=where) for where in (None, context)]
    for net in nets:
        net.forward(**inputs_of(net))
        net.backward()
    cpu, other = nets
    for name, blob in cpu.blobs.items():
        close(other.blobs[name].data, blob.data, tolerance)
    for one, two in zip(cpu.parameters, other.parameters, strict=True):
        a, b = one.blob.diff.ravel(), two.blob.diff.ravel()
        assert a @ b > 0.95 * np.linalg.norm(a) * np.linalg.norm(b)
    assert np.abs(cpu.blobs["u0d"].data - other.blobs["u0d"].data).max() > 0, "nothing rounded"
    assert_no_findings()


@on_simt
@pytest.mark.simt_full
@pytest.mark.parametrize(("math", "tolerance"), [("fp32", 1e-4), ("tf32", 2e-3), ("bf16", 2e-2)])
def test_the_papers_network_with_its_real_channels(math, tolerance):
    """Every layer of the 572-pixel network, at the smallest tile that it takes."""
    spec = models.fig1(tile=188)
    context = Context(device="cuda-simt", math=math)
    nets = [Net(spec, seed=1, context=where, algorithm="direct") for where in (None, context)]
    for net in nets:
        net.forward(**inputs_of(net))
    cpu, other = nets
    for name, blob in cpu.blobs.items():
        close(other.blobs[name].data, blob.data, tolerance)
    if math == "fp32":
        for net in nets:
            net.backward()
        for one, two in zip(cpu.parameters, other.parameters, strict=True):
            assert relative_l2(two.blob.diff, one.blob.diff) < 1e-3  # units near 0 weigh more
    assert_no_findings()


def test_both_plans_give_the_same_bits_again_and_again(device):
    found = []
    for plan in ("observable", "lean", "lean"):
        net = Net(small_spec("fig1"), seed=4, context=device, plan=plan)
        score = [np.array(net.forward(**inputs_of(net))["loss"]) for _ in range(2)]
        found.append([*score, net.loss])
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]  # another dropout mask


def test_blobs_are_read_and_written_as_on_the_cpu(device):
    net = Net(small_spec("fig1"), seed=4, context=device)
    data = net.blobs["data"].data
    assert data.flags.c_contiguous
    data.ravel()[:] = np.linspace(-1, 1, data.size)
    label, weight = (net.blobs[name].data for name in ("label", "weight"))
    label[...], weight[...] = 1, 1
    net.forward()
    before = net.loss
    net.params["conv_d0a-b"][0].data.reshape(-1)[:] *= 2
    net.forward()
    assert net.loss != before
    score = net.blobs["score"].data
    again = score.copy()
    net.forward()
    assert not np.array_equal(score, again)  # another dropout mask
    net.iteration = 1
    net.forward()
    assert net.blobs["score"].data is score
    np.testing.assert_array_equal(score, again)


def test_a_net_follows_its_inputs_shape(device):
    nets = []
    for context in (None, device):
        net = Net(small_spec("fig1", batch=1), "TEST", seed=1, plan="lean", context=context)
        for side in (44, 52, 44):
            net.blobs["data"].reshape(1, 2, side, side)
            rng = np.random.default_rng(side)
            data = rng.standard_normal((1, 2, side, side), np.float32)
            score = np.array(net.forward(data=data)["score"])
        nets.append(score)
    close(nets[1], nets[0])


def test_a_bad_label_is_found_when_the_loss_is_asked_for(device):
    net = Net(small_spec("fig1"), seed=4, context=device)
    inputs = inputs_of(net)
    inputs["label"][1, 0, 2, 1] = 7
    net.forward(**inputs)
    with pytest.raises(UserError, match=r"label\[1, 0, 2, 1\] is 7"):
        _ = net.loss


def test_parameters_are_shared_on_one_device_only(device):
    cpu = Net(small_spec("fig1"), seed=4)
    with pytest.raises(ValueError, match="lie on cpu"):
        Net(small_spec("fig1"), "TEST", params_of=cpu, context=device)


def test_an_abandoned_net_does_not_spoil_a_recording(device, monkeypatch):
    solver = solver_of(device)
    solver.step(1)
    abandoned, launch, thresholds = [solver_of(device)], solver._replay._launch, gc.get_threshold()

    def launch_among_garbage():
        abandoned.clear()
        gc.set_threshold(1)
        launch()

    monkeypatch.setattr(solver._replay, "_launch", launch_among_garbage)
    try:
        solver.step(2)
    finally:
        gc.set_threshold(*thresholds)
    assert replayed(solver)


def test_pycaffes_mode_decides_where_nets_go(device, monkeypatch):
    monkeypatch.setattr(pycaffe, "_mode", pycaffe._Mode())
    monkeypatch.setattr(_core, "devices", lambda: ["cpu", "cuda"])
    caffe.set_device(0)
    caffe.set_mode_gpu()
    assert pycaffe._mode.device == "cuda"
    pycaffe._mode.device = device.device
    assert caffe.Net(small_spec("fig1")).context.device == device.device
    caffe.set_mode_cpu()
    assert caffe.Net(small_spec("fig1")).context.device == "cpu"
    with pytest.raises(ValueError, match="counted from 0"):
        caffe.set_device(-1)


def test_without_a_gpu_pycaffes_mode_says_why(monkeypatch, caplog):
    if "cuda" in _core.devices():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(pycaffe, "_mode", pycaffe._Mode())
    caffe.set_mode_gpu()
    assert "the CPU computes instead" in caplog.text
    assert pycaffe._mode.device == "cpu"


# --- solvers ---


@pytest.mark.parametrize("kind", [SGDSolver, AdamSolver])
@pytest.mark.parametrize("plan", ["lean", "observable"])
def test_training_takes_the_cpus_course(kind, plan, device):
    cpu, other = (solver_of(context, kind, plan=plan) for context in (None, device))
    assert train(other) == pytest.approx(train(cpu), rel=1e-5)
    assert replayed(other) == (plan == "lean")
    for one, two in zip(weights_of(cpu), weights_of(other), strict=True):
        close(two, one)
    for one, two in zip(cpu.history, other.history, strict=True):
        close(np.array(two), np.array(one))


@pytest.mark.parametrize("kind", [SGDSolver, AdamSolver])
def test_a_replayed_step_is_the_step(kind, device):
    one, two = (solver_of(device, kind) for _ in range(2))
    two._replay = None
    assert train(one) == train(two)
    assert replayed(one)
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_restored_seed_draws_its_masks(device, tmp_path):
    first, other = (solver_of(device, settings={"random_seed": seed}) for seed in (5, 3))
    first.step(1)
    path = first.snapshot(tmp_path / "first.safetensors")
    other.step(3)
    assert replayed(other)
    other.restore(path)
    assert train(first, 3) == train(other, 3)


def test_what_somebody_looks_at_is_not_replayed_and_right(device):
    plain, watched = (solver_of(device) for _ in range(2))
    weight = watched.net.params["conv_d0a-b"][0].data
    seen = []
    for _ in range(4):
        watched.step(1)
        seen.append(weight.copy())
    train(plain, 4)
    assert not replayed(watched)
    assert len({array.tobytes() for array in seen}) == 4
    np.testing.assert_array_equal(weight, plain.net.params["conv_d0a-b"][0].data)


@pytest.mark.parametrize("suffix", [".safetensors", ".solverstate", ".solverstate.h5"])
def test_snapshots_go_from_device_to_cpu_and_back(suffix, device, tmp_path):
    pytest.importorskip("h5py")
    form = {".safetensors": "SAFETENSORS", ".solverstate": "BINARYPROTO"}.get(suffix, "HDF5")
    settings = {"snapshot_prefix": str(tmp_path / "run"), "snapshot_format": form}
    first = solver_of(device, settings=settings)
    train(first, 3)
    path = first.snapshot()
    assert path.name == f"run_iter_3{suffix}"
    train(first, 2)
    again, cpu = (solver_of(context, settings=settings) for context in (device, None))
    for solver in (again, cpu):
        solver.restore(path)
        train(solver, 2)
    for a, b, c in zip(*map(weights_of, (first, again, cpu)), strict=True):
        np.testing.assert_array_equal(a, b)
        close(c, a)


@on_simt
def test_a_step_allocates_nothing_and_waits_once():
    solver = solver_of(Context(device="cuda-simt"))
    train(solver, 3)
    before = _core.simt_counts()
    train(solver, 4)
    after = _core.simt_counts()
    assert after["allocations"] == before["allocations"]
    assert after["waits"] - before["waits"] == 4
    assert after["launches"] > before["launches"]

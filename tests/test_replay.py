"""Passes on the CPU that are recorded and launched as a whole (unet_native.replay).

On devices: test_net_on_device.py.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from unet_native import _core, models, ops
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.ops import Context
from unet_native.solver import SGDSolver, SolverSettings
from unet_native.solvers import AdamSolver

TILE = (28, 24)
SPEC = models.fig1(depth=2, base_width=16, tile=TILE)
SETTINGS = SolverSettings(
    base_lr=0.02, momentum=0.9, weight_decay=1e-3, random_seed=3, lr_policy="exp", gamma=0.9
)
KINDS = pytest.mark.parametrize("kind", [SGDSolver, AdamSolver])


def inputs_of(k):
    rng = np.random.default_rng(k)
    return {
        "data": rng.standard_normal((1, 1, *TILE), np.float32),
        "label": rng.integers(0, 2, (1, 1, 12, 8)).astype(np.float32),
        "weight": rng.gamma(2, 1, (1, 1, 12, 8)).astype(np.float32),
    }


def solver_of(kind=SGDSolver, *, seed=3, feed=inputs_of, **settings):
    return kind(replace(SETTINGS, random_seed=seed, **settings), SPEC, feed=feed, plan="lean")


def weights_of(solver):
    return [param.inner.data.copy() for param in solver.net.parameters]


def is_launched(recording):
    return recording.graph is not None


def assert_same_course(one, two, steps=4):
    for _ in range(steps):
        one.step(1)
        two.step(1)
        assert one.loss == two.loss
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.history, two.history, strict=True):
        np.testing.assert_array_equal(a, b)


# --- nets ---


def test_a_launched_pass_is_the_pass():
    net, plain = (Net(SPEC, "TRAIN", seed=4, plan="lean") for _ in range(2))
    plain.on_step = lambda *_: None  # is told of each pass, so that nothing is recorded
    losses = []
    for k in range(4):
        outputs = [dict(n.forward(**inputs_of(k))) for n in (net, plain)]
        assert net.loss == plain.loss
        for name, values in outputs[1].items():
            np.testing.assert_array_equal(outputs[0][name], values)
        losses.append(net.loss)
    assert len(set(losses)) == 4
    assert is_launched(net._recording)
    assert not is_launched(plain._recording)


def test_a_launch_does_not_go_through_python(monkeypatch):
    net = Net(SPEC, "TEST", seed=4, plan="lean")
    inputs = {name: inputs_of(0)[name] for name in net.inputs}
    for _ in range(2):  # as it is, then recorded
        expected = {name: values.copy() for name, values in net.forward(**inputs).items()}
    for layer in net.layers:
        monkeypatch.setattr(layer, "forward", None)
    net.blobs["score"].data[...] = 0
    for name, values in net.forward(**inputs).items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_net_that_is_watched_tells_of_each_pass():
    net = Net(SPEC, "TRAIN", seed=4, plan="lean")
    for k in range(3):
        net.forward(**inputs_of(k))
    seen = []
    net.on_step = lambda layer, step, seconds: seen.append((layer, step))
    net.forward(**inputs_of(3))
    assert ("conv_d0a-b", "forward") in seen


def test_other_shapes_and_parameters_are_followed():
    net, fresh = (Net(SPEC, "TEST", seed=4, plan="lean") for _ in range(2))
    fresh.on_step = lambda *_: None
    for k, tile in enumerate([TILE, TILE, TILE, (44, 44), (44, 44), (44, 44), TILE, TILE]):
        for n in (net, fresh):
            n.blobs["data"].reshape(1, 1, *tile)
            n.parameters[0].inner.data[...] *= 1.5
        data = np.random.default_rng(k).standard_normal((1, 1, *tile), np.float32)
        expected = fresh.forward(data=data)["score"]
        np.testing.assert_array_equal(net.forward(data=data)["score"], expected)


def test_another_seed_draws_other_masks():
    nets = [Net(SPEC, "TRAIN", seed=4, plan="lean") for _ in range(2)]
    nets[1].on_step = lambda *_: None
    for seed in (4, 4, 4, 5, 5, 5):
        for net in nets:
            net.seed, net.iteration = seed, 1
            net.forward(**inputs_of(0))
        assert nets[0].loss == nets[1].loss
    first = nets[0].loss
    nets[0].seed, nets[0].iteration = 4, 1
    nets[0].forward(**inputs_of(0))
    assert nets[0].loss != first


def test_an_observable_net_is_not_recorded():
    net = Net(SPEC, "TRAIN", seed=4)
    for k in range(3):
        net.forward(**inputs_of(k))
    assert not is_launched(net._recording)


# --- solvers ---


@KINDS
def test_a_launched_step_is_the_step(kind):
    one, two = (solver_of(kind) for _ in range(2))
    two._replay = None
    two.net.on_step = lambda *_: None
    assert_same_course(one, two)
    assert is_launched(one._replay._recording)


@KINDS
def test_iterations_that_show_something_change_nothing(kind):
    assert_same_course(solver_of(kind), solver_of(kind, display=2), 5)


def test_a_restored_seed_draws_its_masks(tmp_path):
    first = solver_of(seed=5)
    first.step(1)
    path = first.snapshot(tmp_path / "first.safetensors")
    other = solver_of(seed=3)
    other.step(3)
    assert is_launched(other._replay._recording)
    other.restore(path)
    assert_same_course(first, other)


def test_a_label_that_is_none_names_its_layer_and_changes_nothing():
    def feed(k):
        inputs = inputs_of(k)
        if k == 3:
            inputs["label"][0, 0, 2, 1] = 7
        return inputs

    solver = solver_of(feed=feed)
    solver.step(3)
    assert is_launched(solver._replay._recording)
    before = weights_of(solver)
    with pytest.raises(UserError, match=r"layer 'loss'.*label\[0, 0, 2, 1\] is 7"):
        solver.step(1)
    for a, b in zip(weights_of(solver), before, strict=True):
        np.testing.assert_array_equal(a, b)


# --- the graph itself ---


SHAPE = (1, 16, 8, 8)


@pytest.fixture
def graph():
    return _core.HostGraph()


def test_calls_are_kept_until_they_are_launched(graph):
    bottom, top = ops.zeros(SHAPE), ops.zeros(SHAPE)
    graph.begin()
    ops.relu_forward(bottom, out=top)
    graph.end()
    for value in (1.0, 2.0):
        bottom[...] = value
        assert not np.any(top == value)
        graph.launch()
        assert np.all(top == value)


def test_an_array_that_was_made_for_a_call_is_refused(graph):
    bottom, top = np.zeros(SHAPE, np.float32), ops.zeros(SHAPE)
    graph.begin()
    ops.relu_forward(bottom, out=top)  # which copies the bottom to have its channels together
    with pytest.raises(ValueError, match="made for it"):
        graph.end()
    with pytest.raises(ValueError, match="nothing has been recorded"):
        graph.launch()
    graph.begin()
    graph.end()
    graph.launch()  # nothing: what was refused is gone


def test_what_cannot_be_is_refused(graph):
    with pytest.raises(ValueError, match="not being recorded"):
        graph.end()
    graph.begin()
    with pytest.raises(ValueError, match="recording already"):
        _core.HostGraph().begin()
    graph.end()
    with pytest.raises(ValueError, match="has been recorded"):
        graph.begin()
    other = _core.HostGraph()
    other.begin()
    with pytest.raises(ValueError, match="this thread is recording"):
        graph.launch()
    del other  # a recording that is given up does not go on
    _core.HostGraph().begin()


def test_other_threads_compute_while_one_records(graph):
    bottom, top = ops.zeros(SHAPE), ops.zeros(SHAPE)
    bottom[...] = 3
    graph.begin()
    thread = threading.Thread(target=lambda: ops.relu_forward(bottom, out=top))
    thread.start()
    thread.join()
    graph.end()
    assert np.all(top == 3)


def test_an_error_of_a_call_ends_the_launch(graph):
    bottom, top = ops.zeros(SHAPE), ops.zeros(SHAPE)
    small = ops.zeros((1, 16, 4, 4))
    graph.begin()
    ops.relu_forward(bottom, out=small)
    ops.relu_forward(bottom, out=top)
    graph.end()
    bottom[...] = 1
    with pytest.raises(ValueError, match="relu_forward"):
        graph.launch()
    assert not top.any()


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_an_interrupt_ends_a_launch_soon(graph):
    bottom, weight = ops.zeros((1, 32, 200, 200)), ops.zeros_filter((32, 32, 3, 3))
    top, context = ops.zeros((1, 32, 198, 198)), Context(threads=1)
    graph.begin()
    workspace = ops.empty_workspace(
        ops.conv3x3_workspace_bytes(bottom.shape, 32, "forward", context=context)
    )
    for _ in range(3000):  # some ten seconds
        ops.conv3x3_forward(bottom, weight, out=top, workspace=workspace, context=context)
    graph.end()
    start = time.monotonic()
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        graph.launch()
    assert time.monotonic() - start < 3

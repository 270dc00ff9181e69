"""What diffs hold after a step of a solver, where scripts of pycaffe read them: the update."""

from __future__ import annotations

import numpy as np
import pytest

import small_caffe
from small_net import relative_l2
from unet_native.caffe import pycaffe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Caffe's files, in the working directory."""
    small_caffe.write_all(tmp_path, display=0, test_interval=1000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pycaffe, "_seed", [])
    return tmp_path


@pytest.mark.parametrize("iter_size", [1, 2])
def test_after_a_step_of_adam_diffs_hold_the_update(folder, iter_size):
    """Caffe adam_solver.cpp, ComputeUpdateValue, in float64 from the gradients seen."""
    text = small_caffe.solver_text(
        type='"Adam"', momentum2=0.99, delta=1e-6, iter_size=iter_size, display=0
    )
    (folder / "adam.prototxt").write_text(text)
    solver = pycaffe.get_solver("adam.prototxt")
    assert type(solver) is pycaffe.AdamSolver
    gradients: list = []
    params = solver.net.parameters
    solver.add_callback(
        lambda: None, lambda: gradients.append([p.blob.diff.astype(np.float64) for p in params])
    )
    first = [np.zeros(p.blob.shape) for p in params]
    second = [np.zeros(p.blob.shape) for p in params]
    for t in range(1, 4):
        before = [p.blob.data.astype(np.float64) for p in params]
        solver.step(1)
        for i, param in enumerate(params):
            decay = 0.0005 * param.spec.decay_mult
            g = gradients[-1][i] / iter_size + decay * before[i]
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.99 * second[i] + 0.01 * g * g
            correction = np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
            rate = 0.05 * param.spec.lr_mult * correction
            update = rate * first[i] / (np.sqrt(second[i]) + 1e-6)
            assert update.any()
            # v takes g*g, whose rounding its root halves, but 1 - 0.99 in float32 is off by 1e-6
            assert relative_l2(param.blob.diff, update) < 1e-5
            assert relative_l2(param.blob.data, before[i] - update) < 1e-5


def test_after_a_step_blobs_hold_the_gradient(folder):
    """That of the last pass, of the weights before the update."""
    solver = pycaffe.get_solver("solver.prototxt")
    solver.step(2)
    net = solver.net
    score = net.blobs["score"].data.astype(np.float64)
    label = net.blobs["label"].data.astype(int)
    p = np.exp(score - score.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    expected = (p - (np.arange(2)[:, None, None] == label)) / label.size
    np.testing.assert_allclose(net.blobs["score"].diff, expected, rtol=0, atol=1e-8)
    assert float(net.blobs["loss"].diff) == 1
    for name in ("d0b", "d1b"):
        blob = net.blobs[name]
        assert blob.diff.any()
        assert not blob.diff[blob.data <= 0].any(), "behind the ReLU that works in place"
    update = net.params["conv_u0c-score"][1].diff
    history = solver.history[[p.name for p in net.parameters].index("conv_u0c-score.1")]
    np.testing.assert_array_equal(update, history)

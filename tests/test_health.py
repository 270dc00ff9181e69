"""A network that does not learn is found out, and told why."""

from dataclasses import replace

import numpy as np
import pytest

from small_run import SMALL, Recorder, data_set, discs
from unet_native.data.dataset import DataSet
from unet_native.net import Net
from unet_native.train import Trainer
from unet_native.train.health import HealthCheck, dead_layer

ENTROPY = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))


def checked():
    """A check that has seen one tile, 30 % of it class 1."""
    label = np.zeros((1, 1, 10, 10), np.float32)
    label[..., :3] = 1
    check = HealthCheck(2)
    check.add(label, np.ones_like(label))
    return check


def test_the_entropy_is_that_of_the_weighted_classes():
    check = HealthCheck(3)
    label = np.array([[[[0, 1, 1, 2]]]], np.float32)
    check.add(label, np.array([[[[2, 1, 3, 0]]]], np.float32))
    share = np.array([2, 4]) / 6
    assert check.entropy == pytest.approx(-(share * np.log(share)).sum())


def test_a_loss_no_better_than_guessing_is_judged_once():
    check = checked()
    assert check.entropy == pytest.approx(ENTROPY)
    assert not check.has_learnt_nothing(499, 5.0)
    assert check.has_learnt_nothing(500, ENTROPY)
    assert not check.has_learnt_nothing(501, ENTROPY), "once is enough"
    assert not checked().has_learnt_nothing(500, 0.9 * ENTROPY)


def test_what_is_wrong_decides_the_advice():
    assert "--foreground" in checked().explain(500, ENTROPY, None)
    assert "too large" in checked().explain(500, 10 * ENTROPY, None)
    assert "dead, because" in checked().explain(500, ENTROPY, "the units after relu_d0b are dead")


def test_a_loss_that_rises_again_is_an_explosion():
    check = checked()
    assert check.explosion(1, 30.0) is None, "the first losses are large"
    assert check.explosion(2, 0.5 * ENTROPY) is None
    assert check.explosion(3, 1.9 * ENTROPY) is None
    assert "has risen from 0.305" in check.explosion(4, 2.1 * ENTROPY)
    assert check.explosion(5, 3 * ENTROPY) is None, "once is enough"


def test_one_class_everywhere():
    check = checked()
    assert check.one_class(499, frozenset({0})) is None
    assert check.one_class(500, frozenset({0, 1})) is None
    assert "class 0 at every pixel" in check.one_class(500, frozenset({0}))
    assert check.one_class(750, frozenset({0})) is None


def small_net():
    net = Net(SMALL.network(1, 2), "TRAIN", plan="lean", algorithm="auto", context=None)
    data = np.random.default_rng(0).standard_normal((1, 1, 76, 76)).astype(np.float32)
    return net, data


def test_a_dead_layer_is_named():
    net, data = small_net()
    assert dead_layer(net, data) is None
    net.params["conv_d1a-b"][1].data[...] = -1e6
    assert dead_layer(net, data) == "the units after relu_d1b are dead (0 at every pixel)"


def test_a_constant_answer_is_seen_where_no_relu_is_dead():
    net, data = small_net()
    name = next(layer.name for layer in net.spec.layers if "score" in layer.top)
    net.params[name][0].data[...] = 0
    net.params[name][1].data[...] = (1, 2)
    assert "same answer" in dead_layer(net, data)


def warned(tmp_path, **changed):
    recorder = Recorder()
    settings = replace(SMALL, test_interval=1000, **changed)
    Trainer(tmp_path / "run", data_set(), settings=settings, observer=recorder).train()
    return recorder.warnings


def test_dead_units_are_reported_by_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_native.train.health._FIRST", 8)
    init = Trainer.__init__

    def killed(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.solver.net.params["conv_d1b-c"][1].data[...] = -1e6

    monkeypatch.setattr(Trainer, "__init__", killed)
    assert any("relu_d1c are dead" in text for text in warned(tmp_path))


def test_labels_of_noise_are_reported_by_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_native.train.health._FIRST", 40)
    images, _ = discs()
    labels = np.random.default_rng(0).integers(0, 2, images.shape)
    recorder = Recorder()
    settings = replace(SMALL, iterations=41, test_interval=1000, base_lr=1e-5, warmup=30)
    noise = DataSet.from_arrays(images, labels)
    Trainer(tmp_path / "run", noise, settings=settings, observer=recorder).train()
    assert any("no better than guessing" in text for text in recorder.warnings)


def test_a_run_that_learns_is_left_in_peace(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_native.train.health._FIRST", 150)
    assert warned(tmp_path, iterations=160, base_lr=2e-3, warmup=50) == []

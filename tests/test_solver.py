"""SGDSolver: policies, order of an iteration, and Caffe's own trajectories."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from shared import golden
from unet_native import models
from unet_native.learning_rate import REQUIRED
from unet_native.ops import Context
from unet_native.solver import SGDSolver, SolverSettings
from unet_native.spec import (
    ConvolutionParameter,
    CropParameter,
    FillerParameter,
    InputParameter,
    LayerSpec,
    LossParameter,
    NetSpec,
    ParamSpec,
    PoolingParameter,
)

SETTINGS = SolverSettings(base_lr=0.02, momentum=0.9, weight_decay=1e-3, random_seed=3)


def small_spec(**arguments) -> NetSpec:
    settings = {"depth": 2, "base_width": 3, "classes": 2, "tile": (24, 28)}
    return models.phseg_v5(**settings | arguments)


def feed(k: int) -> dict[str, np.ndarray]:
    """Inputs for a tile of 24x28 pixels: a function of k alone."""
    rng = np.random.default_rng(k)
    return {
        "data": rng.standard_normal((1, 1, 24, 28), np.float32),
        "label": rng.integers(0, 2, (1, 1, 8, 12)).astype(np.float32),
        "weight": rng.gamma(2, 1, (1, 1, 8, 12)).astype(np.float32),
    }


def solver_of(settings: SolverSettings = SETTINGS, **options) -> SGDSolver:
    return SGDSolver(settings, options.pop("spec", small_spec()), feed=feed, **options)


def state_of(solver: SGDSolver) -> list[bytes]:
    """Weights and momentum, to the last bit."""
    arrays = [param.blob.data for param in solver.net.parameters] + solver.history
    return [np.ascontiguousarray(array).tobytes() for array in arrays]


# --- learning rate policies ---


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"lr_policy": "fixed"}, [0.1] * 8),
        ({"lr_policy": "step", "gamma": 0.5, "stepsize": 3}, [0.1] * 3 + [0.05] * 3 + [0.025] * 2),
        ({"lr_policy": "exp", "gamma": 0.9}, [0.1 * 0.9**t for t in range(8)]),
        (
            {"lr_policy": "inv", "gamma": 0.3, "power": 2.0},
            [0.1 / (1 + 0.3 * t) ** 2 for t in range(8)],
        ),
        (
            {"lr_policy": "multistep", "gamma": 0.1, "stepvalue": (2, 5)},
            [0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001],
        ),
        # Two values at once: one step an iteration, as Caffe's counter takes them.
        (
            {"lr_policy": "multistep", "gamma": 0.1, "stepvalue": (2, 2)},
            [0.1, 0.1, 0.01] + [0.001] * 5,
        ),
        (
            {"lr_policy": "poly", "power": 2.0, "max_iter": 8},
            [0.1 * (1 - t / 8) ** 2 for t in range(8)],
        ),
        (
            {"lr_policy": "sigmoid", "gamma": -0.5, "stepsize": 4},
            [0.1 / (1 + np.exp(0.5 * (t - 4))) for t in range(8)],
        ),
    ],
)
def test_learning_rate(settings, rates):
    solver = solver_of(replace(SETTINGS, base_lr=0.1, **settings))
    found = []
    for _ in rates:
        found.append(solver.lr)
        solver.step(1)
    assert found == pytest.approx(rates, rel=1e-12)


@pytest.mark.parametrize("policy", [p for p, fields in REQUIRED.items() if fields])
def test_a_policy_without_its_fields_is_refused(policy):
    with pytest.raises(ValueError, match=f"{policy!r} needs {REQUIRED[policy][0]}"):
        SolverSettings(lr_policy=policy)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"lr_policy": "cosine"}, "lr_policy 'cosine'"),
        ({"regularization_type": "L3"}, "regularization_type"),
        ({"iter_size": 0}, "iter_size"),
        ({"average_loss": 0}, "average_loss"),
        ({"snapshot_format": "PICKLE"}, "snapshot_format"),
    ],
)
def test_impossible_settings_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        SolverSettings(**settings)


# --- one iteration, recomputed in float64 from the diffs that it saw ---


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.0, "weight_decay": 0.0},
        {"iter_size": 3},
        {"clip_gradients": 0.05},
        {"clip_gradients": 1e6},
        {"clip_gradients": 0.05, "iter_size": 2, "weight_decay": 0.1},
        {"regularization_type": "L1", "weight_decay": 0.01, "iter_size": 2},
    ],
)
def test_order_of_clip_normalize_regularize_update(settings):
    s = replace(SETTINGS, **settings)
    solver = solver_of(s)
    seen = []
    solver.add_callback(
        lambda: None,
        lambda: seen.append([p.blob.diff.astype(np.float64) for p in solver.net.parameters]),
    )
    weights = [p.blob.data.astype(np.float64) for p in solver.net.parameters]
    histories = [np.zeros_like(w) for w in weights]
    for _ in range(3):
        solver.step(1)
        diffs = seen.pop()
        norm = np.sqrt(sum((diff**2).sum() for diff in diffs))
        clip = s.clip_gradients / norm if 0 < s.clip_gradients < norm else 1
        assert (clip < 1) == (s.clip_gradients == 0.05)
        for param, diff, weight, history, own in zip(
            solver.net.parameters, diffs, weights, histories, solver.history, strict=True
        ):
            g = diff * clip / s.iter_size
            decay = s.weight_decay * param.spec.decay_mult
            g += decay * (weight if s.regularization_type == "L2" else np.sign(weight))
            history[...] = s.momentum * history + s.base_lr * param.spec.lr_mult * g
            weight -= history
            scale = np.abs(weight).max()
            assert np.abs(param.blob.data - weight).max() < 1e-6 * scale, param.name
            assert np.abs(own - history).max() <= 2e-6 * np.abs(history).max(), param.name
            assert np.array_equal(param.blob.diff, own), "the diff is the update afterwards"


def test_iter_size_is_the_mean_over_a_larger_batch():
    """Two passes of one image each step as one pass of both: Caffe's own Accum test."""
    spec = small_spec(dropout_ratio=0.0, weighted=False)

    def pair(k: int) -> dict[str, np.ndarray]:
        one, two = feed(2 * k), feed(2 * k + 1)
        return {name: np.concatenate([one[name], two[name]]) for name in ("data", "label")}

    def single(k: int) -> dict[str, np.ndarray]:
        return {name: value for name, value in feed(k).items() if name != "weight"}

    accumulated = SGDSolver(replace(SETTINGS, iter_size=2), spec, feed=single)
    batch = (2, 1, 24, 28), (2, 1, 8, 12)
    together = SGDSolver(SETTINGS, spec, feed=pair, data=batch[0], label=batch[1])
    for solver in (accumulated, together):
        solver.step(4)
    assert accumulated.loss == pytest.approx(together.loss, rel=1e-5)
    for one, two in zip(accumulated.net.parameters, together.net.parameters, strict=True):
        assert np.allclose(one.blob.data, two.blob.data, rtol=1e-5, atol=1e-6)


def test_every_pass_draws_its_own_dropout_mask():
    solver = solver_of(replace(SETTINGS, iter_size=2))
    masks = []
    layer = solver.net.layer_dict["dropout_d1c"]
    drop = layer.forward

    def forward():
        drop()
        masks.append(layer.kept["mask"].tobytes())

    layer.forward = forward
    solver.step(2)
    assert len(set(masks)) == len(masks) == 4


@pytest.mark.parametrize(
    "settings", [{}, {"iter_size": 2}, {"clip_gradients": 0.1}, {"momentum": 0.0}]
)
def test_lean_and_observable_training_give_the_same_bits(settings):
    s = replace(SETTINGS, **settings)
    observable = solver_of(s, context=Context(threads=1))
    lean = solver_of(s, plan="lean", context=Context(threads=2))
    for solver in (observable, lean):
        solver.step(3)
    assert state_of(lean) == state_of(observable)
    assert lean.loss == observable.loss
    at_once = "iter_size" not in settings and "clip_gradients" not in settings
    assert (lean.net.memory()["diffs of parameters"] == 0) == at_once
    if at_once:
        with pytest.raises(ValueError, match="lean"):
            lean.add_callback(lambda: None, lambda: None)


def test_training_reduces_the_loss():
    labels = np.zeros((1, 1, 8, 12), np.float32)
    labels[..., 6:] = 1
    image = np.zeros((1, 1, 24, 28), np.float32)
    image[..., 14:] = 1
    inputs = {"data": image, "label": labels, "weight": np.ones_like(labels)}
    solver = SGDSolver(SETTINGS, small_spec(base_width=8), feed=lambda k: inputs, plan="lean")
    losses = []
    for _ in range(60):
        solver.step(1)
        losses.append(solver.loss)
    assert np.mean(losses[-5:]) < 0.2 * np.mean(losses[:5])


def test_smoothed_loss_is_the_mean_of_the_last_iterations():
    solver = solver_of(replace(SETTINGS, average_loss=3))
    losses, smoothed = [], []
    solver.add_callback(
        lambda: None, lambda: (losses.append(solver.loss), smoothed.append(solver.smoothed_loss))
    )
    solver.step(6)
    expected = [np.mean(losses[max(0, t - 2) : t + 1]) for t in range(6)]
    assert smoothed == pytest.approx(expected)


def test_test_nets_share_the_parameters_and_average_their_outputs():
    settings = replace(SETTINGS, test_iter=(3,), test_interval=2, max_iter=4)
    settings = replace(settings, snapshot_after_train=False)
    solver = solver_of(settings, test_feed=lambda k: {"data": feed(100 + k)["data"]})
    weight = solver.net.params["conv_d0a-b"][0].data
    assert solver.test_nets[0].params["conv_d0a-b"][0].data is weight
    seen = []
    solver.add_callback(lambda: seen.append((solver.iter, solver.test_scores)), lambda: None)
    solver.solve()
    assert solver.iter == 4
    scores = [score for _, (score,) in seen]
    assert scores[0] is scores[1]
    assert scores[2] is scores[3]
    passes = [
        solver.test_nets[0].forward(data=feed(100 + k)["data"])["score"].copy() for k in range(3)
    ]
    final = solver.test_scores[0]["score"]
    assert final is not scores[3]["score"]
    assert np.allclose(final, np.mean(passes, axis=0), atol=1e-6)


# --- Caffe's own trajectories ---


def golden_net(name: str) -> NetSpec:
    """The network of golden/solver/<name>, fed by hand."""
    multipliers = (ParamSpec(1, 1), ParamSpec(2, 0)) if name != "net_nomult.prototxt" else ()
    loss = LossParameter(normalization="NONE" if name == "net_none.prototxt" else None)

    def layer(name: str, type: str, bottom: str, top: str, size: int, stride: int, width: int):
        parameter = ConvolutionParameter(
            num_output=width, kernel_size=size, stride=stride, weight_filler=FillerParameter("msra")
        )
        return LayerSpec(
            name, type, (bottom,), (top,), param=multipliers, convolution_param=parameter
        )

    def relu(blob: str) -> LayerSpec:
        return LayerSpec(f"relu_{blob}", "ReLU", (blob,), (blob,))

    pooling = PoolingParameter("MAX", kernel_size=2, stride=2)
    with np.load(golden("solver/data.npz")) as arrays:
        shapes = {name: (1, *arrays[name].shape[1:]) for name in ("data", "label")}
    return NetSpec(
        "small_unet",
        (
            LayerSpec(
                "data", "Input", (), ("data",), input_param=InputParameter((shapes["data"],))
            ),
            LayerSpec(
                "label", "Input", (), ("label",), input_param=InputParameter((shapes["label"],))
            ),
            layer("conv_d0a-b", "Convolution", "data", "d0b", 3, 1, 3),
            relu("d0b"),
            LayerSpec("pool_d0b-1a", "Pooling", ("d0b",), ("d1a",), pooling_param=pooling),
            layer("conv_d1a-b", "Convolution", "d1a", "d1b", 3, 1, 4),
            relu("d1b"),
            layer("upconv_d1b_u0a", "Deconvolution", "d1b", "u0a", 2, 2, 3),
            relu("u0a"),
            LayerSpec(
                "crop_d0b-d0bc",
                "Crop",
                ("d0b", "u0a"),
                ("d0bc",),
                crop_param=CropParameter(2, (2,)),
            ),
            LayerSpec("concat_d0bc_u0a-b", "Concat", ("u0a", "d0bc"), ("u0b",)),
            layer("conv_u0b-score", "Convolution", "u0b", "score", 1, 1, 2),
            LayerSpec("loss", "SoftmaxWithLoss", ("score", "label"), ("loss",), loss_param=loss),
        ),
    )


def test_trajectories_of_caffe():
    cases = json.loads(golden("index.json").read_text())["solver"]
    names = {name for name in SolverSettings.__dataclass_fields__ if "snapshot" not in name}
    with np.load(golden("solver/data.npz")) as arrays:
        data, label = arrays["data"], arrays["label"]
    with np.load(golden("solver/init.npz")) as arrays:
        start = dict(arrays)
    run = 0
    for case in cases:
        path = golden("solver") / f"{case['name']}_traj.npz"
        if not path.exists():
            continue
        with np.load(path) as arrays:
            expected = dict(arrays)
        fields = {k: tuple(v) if k == "stepvalue" else v for k, v in case["fields"].items()}
        settings = SolverSettings(
            max_iter=10, **{name: value for name, value in fields.items() if name in names}
        )
        solver = SGDSolver(
            settings,
            golden_net(case["net"]),
            algorithm="direct",
            feed=lambda k: {"data": data[k % 4 : k % 4 + 1], "label": label[k % 4 : k % 4 + 1]},
        )
        solver.net.load_params(
            {name: [start[f"w:{name}"], start[f"b:{name}"]] for name in solver.net.params}
        )
        found: dict[str, list] = {key: [] for key in expected}

        def record_gradients(solver=solver, found=found):
            found["lr"].append(solver.lr)
            found["loss"].append(solver.loss)
            for param in solver.net.parameters:
                found[f"d{'wb'[param.index]}:{param.layer.name}"].append(param.blob.diff.copy())

        def record_state(solver=solver, found=found):
            for param, history in zip(solver.net.parameters, solver.history, strict=True):
                key = f"{'wb'[param.index]}:{param.layer.name}"
                found[key].append(param.blob.data.copy())
                found[f"v{key}"].append(history.copy())

        solver.add_callback(record_state, record_gradients)
        solver.step(10)
        record_state()
        tolerances = {"w": 1e-6, "b": 1e-6, "d": 1e-5, "v": 1e-5, "l": 1e-6}
        for key, values in found.items():
            if key in ("iteration", "sub_loss"):
                continue
            if key.startswith("v"):
                values = values[1:]
            error = np.abs(np.array(values) - expected[key]).max()
            assert error <= tolerances[key[0]] * np.abs(expected[key]).max(), (case["name"], key)
        run += 1
    assert run >= 15

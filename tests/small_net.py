"""Small networks for tests, and what they are fed."""

from __future__ import annotations

import numpy as np

from reference_net import ReferenceNet
from unet_native import models
from unet_native.net import Net
from unet_native.spec import NetSpec

MODELS = {"fig1": models.fig1, "phseg_v5": models.phseg_v5}


def small_spec(model: str, **arguments) -> NetSpec:
    """Three levels, two channels, three classes, two images of unequal sides."""
    settings = {
        "depth": 3,
        "base_width": 4,
        "channels": 2,
        "classes": 3,
        "tile": (44, 48),
        "batch": 2,
    }
    return MODELS[model](**settings | arguments)


def inputs_of(net: Net, seed: int = 0) -> dict[str, np.ndarray]:
    """Random data, labels and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    shapes = {name: net.blobs[name].shape for name in net.inputs}
    values = {"data": rng.standard_normal(shapes["data"], np.float32)}
    if "label" in shapes:
        classes = net._all_blobs["score"].shape[1]
        values["label"] = rng.integers(0, classes, shapes["label"]).astype(np.float32)
    if "weight" in shapes:
        values["weight"] = rng.gamma(2, 1, shapes["weight"]).astype(np.float32)
        values["weight"][rng.random(shapes["weight"]) < 0.1] = 0
    return values


def random_biases(net: Net, seed: int = 5) -> None:
    """Nonzero biases, so that a wrong bias shows."""
    rng = np.random.default_rng(seed)
    for _, bias in net.params.values():
        bias.data[...] = rng.normal(0, 0.1, bias.shape)


def relative_l2(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def reference_of(net: Net) -> ReferenceNet:
    masks = {layer.name: layer.kept["mask"].copy() for layer in net.layers if "mask" in layer.kept}
    params = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    return ReferenceNet(net.spec, params, masks, net.phase)

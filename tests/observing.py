"""Looking at the arrays of a net, as its user and as its layers see them."""

from __future__ import annotations

import numpy as np

from small_net import small_spec
from unet_native.blob import Blob
from unet_native.net import Net


def values_for(blob: Blob, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(blob.shape, np.float32)


def arrays_of(net: Net) -> dict[tuple, np.ndarray]:
    """Every array that `net` shows; asking for them makes them observed."""
    named = {(name,): blob for name, blob in net.blobs.items()}
    named |= {(name, i): b for name, blobs in net.params.items() for i, b in enumerate(blobs)}
    return {(*key, w): getattr(b, w) for key, b in named.items() for w in ("data", "diff")}


def inner_arrays_of(net: Net) -> dict[tuple, np.ndarray]:
    """The same, as the layers see them; nothing becomes observed."""
    named = {(name,): blob for name, blob in net._all_blobs.items()}
    named |= {(p.layer.name, p.index): p.inner for p in net.parameters}
    return {(*key, w): getattr(b, w) for key, b in named.items() for w in ("data", "diff")}


def assert_same(found: dict[tuple, np.ndarray], expected: dict[tuple, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=str(key))


def pair(model: str = "fig1", phase: str = "TRAIN", **arguments) -> tuple[Net, Net]:
    """Two equal nets; of the second the test looks at nothing but inner arrays."""
    nets = tuple(Net(small_spec(model, **arguments), phase, seed=4) for _ in range(2))
    for net in nets:
        for blobs in net.params.values():  # biases: C order anyway
            blobs[1].data[...] = values_for(blobs[1]) / 10
    return nets

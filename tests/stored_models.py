"""Small contents of Caffe's files."""

from __future__ import annotations

import numpy as np

from unet_native.caffe.stored import CaffeModel, StoredBlob, StoredLayer

RNG = np.random.default_rng(5)


def blob(*shape: int, diff: bool = False) -> StoredBlob:
    data = RNG.standard_normal(shape, np.float32)
    return StoredBlob(data, -data if diff else None)


def model(*names: str, diff: bool = False) -> CaffeModel:
    """Layers with two blobs each."""
    layers = [
        StoredLayer(n, blobs=[blob(4, 2, 3, 3, diff=diff), blob(4, diff=diff)]) for n in names
    ]
    return CaffeModel(layers=layers)


def same_blobs(found: list[StoredBlob], expected: list[StoredBlob]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.data, other.data, strict=True)
        assert (one.diff is None) == (other.diff is None)
        if one.diff is not None:
            np.testing.assert_array_equal(one.diff, other.diff, strict=True)

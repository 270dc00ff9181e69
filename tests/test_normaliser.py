"""Normalisers: what each does, exactness, storage, misuse."""

import json

import numpy as np
import pytest

from unet_native.data.normaliser import KINDS, Normaliser
from unet_native.errors import UserError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_zscore_gives_mean_0_and_deviation_1_for_any_type(rng, dtype):
    images = [rng.normal(100, 20, (2, 80, 70)).clip(0, 200).astype(dtype) for _ in range(3)]
    normalised = np.stack([Normaliser.fit(images)(image) for image in images])
    assert normalised.dtype == np.float32
    assert abs(normalised.mean()) < 0.01
    assert normalised.std() == pytest.approx(1, abs=0.02)


def test_hot_pixels_do_not_shift_the_zscore(rng):
    images = [rng.normal(300, 50, (1, 200, 200)).astype(np.uint16) for _ in range(2)]
    plain = Normaliser.fit(images)
    images[0][0, 5, 5:9] = 65535
    hot = Normaliser.fit(images)
    assert hot.offset[0] == pytest.approx(plain.offset[0], rel=1e-3)
    assert hot.scale[0] == pytest.approx(plain.scale[0], rel=1e-3)


def test_minmax_percentile_dtype(rng):
    images = [rng.integers(50, 151, (1, 100, 100)).astype(np.uint8) for _ in range(2)]
    low, high = Normaliser.fit(images, "minmax")(np.array([[[50, 150]]], np.uint8)).ravel()
    assert (low, high) == (0, 1)
    stack = np.concatenate(images, axis=None)
    percentiles = np.percentile(stack, [0.1, 99.9], method="inverted_cdf").astype(np.uint8)
    assert Normaliser.fit(images, "percentile")(percentiles[None, None]).ravel().tolist() == [0, 1]
    whole = Normaliser.fit(images, "dtype")
    np.testing.assert_allclose(whole(np.array([[[0, 51, 255]]], np.uint8)), [[[0, 0.2, 1]]])
    np.testing.assert_allclose(whole(np.array([[[0, 65535]]], np.uint16)), [[[0, 1]]])
    floats = [image.astype(np.float32) for image in images]
    np.testing.assert_array_equal(Normaliser.fit(floats, "dtype")(floats[0]), floats[0])


def test_channels_are_normalised_one_by_one(rng):
    image = np.stack([rng.normal(10, 2, (60, 60)), rng.normal(900, 70, (60, 60))])
    normalised = Normaliser.fit([image])(image)
    assert np.abs(normalised.mean((1, 2))).max() < 0.02
    assert np.abs(normalised.std((1, 2)) - 1).max() < 0.03


@pytest.mark.parametrize("kind", KINDS)
def test_value_range_holds_the_bulk_of_the_values(rng, kind):
    images = [rng.integers(0, 200, (1, 100, 100)).astype(np.uint8)]
    normaliser = Normaliser.fit(images, kind)
    low, high = normaliser.value_range
    values = normaliser(images[0])
    assert 0.99 < np.mean((values >= low) & (values <= high)) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_survives_json(rng, kind):
    image = rng.integers(0, 4000, (3, 20, 20)).astype(np.uint16)
    normaliser = Normaliser.fit([image], kind)
    again = Normaliser.from_dict(json.loads(json.dumps(normaliser.to_dict())))
    assert again == normaliser
    np.testing.assert_array_equal(again(image), normaliser(image))
    assert kind in normaliser.describe()


def test_sparse_images_have_contrast_too():
    image = np.zeros((1, 100, 100), np.uint8)
    image[0, 0, :3] = 200
    for kind in KINDS:
        normaliser = Normaliser.fit([image], kind)
        assert np.all(np.isfinite(normaliser(image)))
        assert np.ptp(normaliser(image)) > 0.5


def test_misuse_is_refused(rng):
    image = rng.integers(0, 255, (1, 20, 20)).astype(np.uint8)
    with pytest.raises(UserError, match="unknown"):
        Normaliser.fit([image], "auto")
    with pytest.raises(UserError, match="constant"):
        Normaliser.fit([np.zeros((1, 4, 4), np.uint8)])
    normaliser = Normaliser.fit([image])
    with pytest.raises(UserError, match=r"b\.tif: has 3 channels"):
        normaliser(np.zeros((3, 4, 4), np.uint8), "b.tif")
    with pytest.raises(UserError, match=r"b\.tif: holds uint16.*uint8"):
        normaliser(np.zeros((1, 4, 4), np.uint16), "b.tif")

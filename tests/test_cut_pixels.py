"""Cut pixels of a mask against brute force, and their cost on one object of all pixels."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet_native import _core


def cut_pixels(mask):
    cut = np.full(mask.shape, 9, np.uint8)
    _core.find_cut_pixels(np.ascontiguousarray(mask, np.uint8), cut)
    return cut


def brute_force(mask):
    """Pixels without which there are more 4-connected components than with them."""
    cut = np.zeros(mask.shape, np.uint8)
    whole = ndimage.label(mask)[1]
    for y, x in zip(*np.nonzero(mask), strict=True):
        without = mask.copy()
        without[y, x] = 0
        cut[y, x] = ndimage.label(without)[1] > whole
    return cut


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.4, 0.55, 0.7, 0.9)))
def test_they_equal_brute_force(seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 16, 2)) < share
    np.testing.assert_array_equal(cut_pixels(mask), brute_force(mask))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_small_and_uniform_masks(shape, value):
    mask = np.full(shape, value, np.uint8)
    np.testing.assert_array_equal(cut_pixels(mask), brute_force(mask))


def test_one_path_of_a_million_pixels():
    """Every pixel but its two ends; the search is as deep as the path is long."""
    path = np.zeros((1401, 1401), np.uint8)
    path[::2] = 1
    path[1::4, -1] = path[3::4, 0] = 1
    began = time.process_time()
    cut = cut_pixels(path)
    assert time.process_time() - began < 2
    ends = path - cut
    assert list(zip(*np.nonzero(ends), strict=True)) == [(0, 0), (1400, 1400)]


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="same shape"):
        _core.find_cut_pixels(np.ones((3, 3), np.uint8), np.ones((3, 4), np.uint8))

"""Mirrored borders against numpy's own reflection."""

import numpy as np
import pytest

from unet_native.data.mirror import mirror_index, mirror_pad


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_index_repeats_the_reflection_as_often_as_needed(size):
    line = np.arange(size)
    expected = np.pad(line, (40, 50), mode="reflect") if size > 1 else np.zeros(91, int)
    np.testing.assert_array_equal(line[mirror_index(-40, size + 50, size)], expected)


def test_index_of_an_empty_line_is_refused():
    with pytest.raises(ValueError, match="size"):
        mirror_index(0, 3, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 6), (2, 3, 4)])
def test_pad_equals_numpy(shape):
    image = np.random.default_rng(0).random(shape)
    rows, columns = (9, 4), (3, 17)
    before = [(0, 0)] * (image.ndim - 2)
    expected = np.pad(image, [*before, rows, columns], mode="reflect")
    np.testing.assert_array_equal(mirror_pad(image, rows, columns), expected)


def test_negative_margins_crop():
    image = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(mirror_pad(image, (-1, -2)), image[1:3, 1:4])

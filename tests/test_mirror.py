"""Mirrored borders against a walk that turns back at each end."""

import numpy as np
import pytest

from unet_native.data.mirror import mirror_index, mirror_pad


def reflected(size, before, after):
    """Pixel numbers of a line with margins, by walking outwards and turning back at each end."""

    def walk(position, step, count):
        for _ in range(count):
            if not 0 <= position + step < size:
                step = -step
            position += step if size > 1 else 0
            yield position

    left, right = walk(0, -1, before), walk(size - 1, 1, after)
    return np.array([*reversed(list(left)), *range(size), *right])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_index_repeats_the_reflection_as_often_as_needed(size):
    np.testing.assert_array_equal(mirror_index(-40, size + 50, size), reflected(size, 40, 50))


def test_index_of_an_empty_line_is_refused():
    with pytest.raises(ValueError, match="size"):
        mirror_index(0, 3, 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (4, 6), (2, 3, 4)])
def test_pad_mirrors_rows_and_columns(shape):
    image = np.random.default_rng(0).random(shape)
    rows, columns = (9, 4), (3, 17)
    row_index = reflected(shape[-2], *rows)
    expected = image[..., row_index, :][..., reflected(shape[-1], *columns)]
    np.testing.assert_array_equal(mirror_pad(image, rows, columns), expected)


def test_negative_margins_crop():
    image = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(mirror_pad(image, (-1, -2)), image[1:3, 1:4])

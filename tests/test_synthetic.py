"""The synthetic stack: reproducible, labelled as ISBI 2012, and beyond any threshold."""

import numpy as np
import pytest
from scipy import ndimage

from unet_native.data.synthetic import synthetic_em


def rand_score(interior, truth):
    """V_Rand of one slice; border pixels go to the nearest segment."""
    truth = ndimage.label(truth)[0]
    segments, count = ndimage.label(interior)
    if count:
        nearest = ndimage.distance_transform_edt(
            segments == 0, return_distances=False, return_indices=True
        )
        segments = segments[tuple(nearest)]
    inside = truth > 0
    joint = np.zeros((truth.max() + 1, count + 1))
    np.add.at(joint, (truth[inside], segments[inside]), 1 / inside.sum())
    squares = [np.square(p).sum() for p in (joint, joint.sum(0), joint.sum(1))]
    return 2 * squares[0] / (squares[1] + squares[2])


@pytest.fixture(scope="module")
def stack():
    return synthetic_em(3, 256, seed=1)


def test_labels_look_like_the_challenge(stack):
    images, labels = stack
    assert images.shape == labels.shape == (3, 256, 256)
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 255}
    for image, label in zip(images, labels, strict=True):
        assert 0.15 < (label == 0).mean() < 0.3
        assert image[label == 0].mean() < image[label == 255].mean() - 30
        assert 20 < ndimage.label(label)[1] < 120


def test_depends_on_its_arguments_alone(stack):
    again = synthetic_em(3, 256, seed=1)
    np.testing.assert_array_equal(again, stack)
    other = synthetic_em(3, (256, 256), seed=2)
    assert not np.array_equal(other[1], stack[1])
    assert not np.array_equal(stack[1][0], stack[1][1])


def test_neighbouring_slices_resemble_each_other(stack):
    _, labels = stack
    interior = labels > 0
    near = rand_score(interior[1], interior[0])
    assert near > rand_score(np.rot90(interior[1]), interior[0]) + 0.05


def test_no_threshold_finds_the_cells(stack):
    """V_Rand of the best threshold stays far below the 0.90 that a small network passes."""
    images, labels = stack
    scores = [
        np.mean([rand_score(i > t, la > 0) for i, la in zip(images, labels, strict=True)])
        for t in range(5, 255, 10)
    ]
    assert 0.3 < max(scores) < 0.8


@pytest.mark.parametrize("size", [1, 2, (1, 40), (33, 20)])
def test_any_size(size):
    images, labels = synthetic_em(2, size, seed=3)
    expected = (2, size, size) if isinstance(size, int) else (2, *size)
    assert images.shape == labels.shape == expected

"""What the ops allocate begins at a cache line, and copies hold what they copy."""

import numpy as np
import pytest

from unet_native import ops

LINE = 64


def begins_at_a_line(array):
    return array.ctypes.data % LINE == 0


@pytest.mark.parametrize("nbytes", [0, 4, 62, 64, 1000, 5_000_000])
def test_workspace_is_large_enough_and_begins_at_a_line(nbytes):
    workspace = ops.empty_workspace(nbytes)
    assert workspace.dtype == np.float32
    assert nbytes <= workspace.nbytes < nbytes + 4
    assert nbytes == 0 or begins_at_a_line(workspace)


def test_blobs_and_filters_begin_at_a_line():
    for shape in ((1, 3, 5, 7), (2, 64, 9, 9), (1, 1, 600, 600)):
        assert begins_at_a_line(ops.empty(shape))
        assert begins_at_a_line(ops.empty_filter(shape))


def test_a_copy_with_channels_last_begins_at_a_line():
    blob = np.random.default_rng(0).standard_normal((2, 5, 6, 7), np.float32)
    copy = ops.channels_last(blob)
    assert np.array_equal(copy, blob)
    assert copy.strides[1] == copy.itemsize
    assert begins_at_a_line(copy)
    assert ops.channels_last(copy) is copy


@pytest.mark.parametrize("missing", [4, 64])
def test_a_workspace_that_is_too_small_is_refused(missing):
    bottom, weight = ops.zeros((1, 16, 20, 20)), ops.zeros_filter((16, 16, 3, 3))
    needed = ops.conv3x3_workspace_bytes(bottom.shape, 16, "forward")
    with pytest.raises(ValueError, match=r"workspace has \d+ floats, needs \d+"):
        ops.conv3x3_forward(bottom, weight, workspace=ops.empty_workspace(needed - missing))

"""Arrays on a device: views like numpy's, values only as copies."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from places import devices
from unet_native import device_array
from unet_native.ops import Context

pytestmark = pytest.mark.skipif(not devices(), reason="no device here: see UNET_NATIVE_SIMT")


@pytest.fixture(params=devices())
def zeros(request):
    context = Context(device=request.param)

    def make(*shape: int, dtype: type = np.float32) -> device_array.DeviceArray:
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return device_array.zeros(nbytes, context).view(dtype).reshape(shape)

    return make


def counting(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_views_write_through_to_the_memory_they_share(zeros):
    array, expected = zeros(3, 4, 5), np.zeros((3, 4, 5), np.float32)
    for a in (array, expected):
        a[...] = counting(3, 4, 5)
        a[1] = 7
        a[:, 1:3, ::2] = counting(3, 2, 3)  # what lies between must stay
        a.transpose(2, 0, 1)[4, 2] = -1
        a[0, 0, 0] = 100
    assert isinstance(array, device_array.DeviceArray)
    np.testing.assert_array_equal(array.copy(), expected)
    np.testing.assert_array_equal(array[2, :, 1:].copy(), expected[2, :, 1:])


@pytest.mark.parametrize("order", ["C", "K"])
def test_a_copy_lies_on_the_host_in_the_order_asked_for(zeros, order):
    array = zeros(2, 3, 4).transpose(2, 0, 1)
    array[...] = counting(4, 2, 3)
    copied = array.copy(order)
    assert type(copied) is np.ndarray
    np.testing.assert_array_equal(copied, counting(4, 2, 3))
    assert copied.flags.c_contiguous == (order == "C")
    assert copied.strides == (array.strides if order == "K" else counting(4, 2, 3).strides)


def test_what_asks_for_values_gets_them(zeros):
    array = zeros(2, 3)
    array[...] = counting(2, 3)
    assert (float(array[1, 2]), array.sum(), array.max(), array[0, 1].item()) == (5, 15, 5, 1)
    assert array.tolist() == counting(2, 3).tolist()
    assert [row.tolist() for row in array] == counting(2, 3).tolist()
    assert "DeviceArray" in repr(array)
    np.testing.assert_array_equal(array[[1, 0]], counting(2, 3)[[1, 0]])
    np.testing.assert_array_equal(array + 1, counting(2, 3) + 1)
    np.testing.assert_array_equal(np.where(array > 2, array, 0), [[0, 0, 0], [3, 4, 5]])
    assert array.astype(np.int64).dtype == np.int64


def test_results_of_numpy_can_be_left_on_the_device(zeros):
    one, two, total = zeros(4), zeros(4), zeros(4)
    one[...], two[...] = 3, counting(4)
    np.add(one, two, out=total)
    np.copyto(two, total)
    two += 1
    np.testing.assert_array_equal(total.copy(), [3, 4, 5, 6])
    np.testing.assert_array_equal(two.copy(), [4, 5, 6, 7])


def test_an_upload_has_read_its_source_when_it_returns(zeros):
    array, source = zeros(1 << 16), np.ones(1 << 16, np.float32)
    array[...] = source
    source[...] = 2
    assert array.copy().max() == 1


def test_uploads_larger_than_a_pinned_buffer_arrive_whole(zeros):
    array = zeros((40 << 20) // 4)
    values = np.arange(array.size, dtype=np.float32)
    array[...] = values
    np.testing.assert_array_equal(array.copy(), values)


def test_what_would_need_a_copy_there_is_refused(zeros):
    array = zeros(2, 3)
    with pytest.raises(ValueError, match="C order"):
        array.T.reshape(6)
    with pytest.raises(TypeError, match="cannot be indexed"):
        array[[0, 1]] = 1


def test_the_host_cannot_read_the_memory():
    """So that no test passes because the SIMT runtime's memory is the host's after all."""
    script = (
        "import numpy as np\n"
        "from unet_native import device_array, ops\n"
        "array = device_array.zeros(64, ops.Context(device='cuda-simt'))\n"
        "print(np.asarray(array)[0])\n"
    )
    if "cuda-simt" not in devices():
        pytest.skip("only the SIMT runtime is sure to do so")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode < 0
    assert not done.stdout

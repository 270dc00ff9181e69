"""Arrays whose memory lies on a device: numpy's shapes and views over it, without its arithmetic.

A view of a DeviceArray is one, so whatever cuts memory up (arena, blobs, the channels of a concat
buffer) works on a device as on the host, and the ops take the pieces as they are. The host cannot
read that memory. What asks for values gets copies:

    array.copy()            on the host; so do item(), sum(), astype(), float(array) ..
    array[...] = value      uploads, and returns before the copy has arrived
    np.add(a, b, out=c)     is computed on the host and the result uploaded: for layers without a
                            kernel, of which the U-Net has none
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unet_native._core import (
    Context,
    CudaError,
    device_clear,
    device_download,
    device_room,
    device_upload,
    device_zeros,
)
from unet_native.errors import DeviceMemoryError


class DeviceArray(np.ndarray):
    """A numpy array over memory of the device of `context`; see the module."""

    context: Context

    def __array_finalize__(self, parent: NDArray | None) -> None:
        self.context = getattr(parent, "context", None)

    def copy(self, order: str = "C") -> NDArray:
        """The values, on the host, in an array of their own."""
        memory, host = _host_image(self)
        device_download(self.context, self, memory)
        return host if order == "K" else host.copy(order)

    def __getitem__(self, key) -> NDArray:
        keys = key if isinstance(key, tuple) else (key,)
        if not all(k is None or k is Ellipsis or isinstance(k, int | slice) for k in keys):
            return self.copy()[key]
        whole = () if Ellipsis in keys else (Ellipsis,)  # of all axes, numpy would read an element
        return super().__getitem__(keys + whole)

    def __setitem__(self, key, value) -> None:
        target = self[key]
        if not isinstance(target, DeviceArray):
            raise TypeError(f"on a device, an array cannot be indexed by {key!r} and written")
        if np.isscalar(value) and value == 0 and _is_dense(target):
            device_clear(self.context, target)
        else:
            _upload(target, value)

    def reshape(self, *shape, order: str = "C") -> DeviceArray:
        """A view of an array in C order; raises ValueError for another, which needs a copy."""
        if order != "C" or not self.flags.c_contiguous:
            raise ValueError("on a device, only arrays in C order can be reshaped")
        return super().reshape(*shape)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if out is None:
            return getattr(ufunc, method)(*map(on_host, inputs), **kwargs)
        results = getattr(ufunc, method)(*map(on_host, inputs), **kwargs)
        for target, result in zip(out, results if len(out) > 1 else (results,), strict=True):
            target[...] = result
        return out if len(out) > 1 else out[0]

    def __array_function__(self, function, types, args, kwargs):
        if function is not np.copyto:
            return function(*map(on_host, args), **{k: on_host(v) for k, v in kwargs.items()})
        to, values = args
        to[...] = on_host(values)
        return None

    def __iter__(self):
        return iter(self.copy())

    def __repr__(self) -> str:
        return f"DeviceArray({self.copy()!r}, on {self.context.device})"

    __str__ = __repr__


def _computed_on_host(name: str):
    def method(self: DeviceArray, *args, **kwargs):
        return getattr(self.copy(), name)(*args, **kwargs)

    method.__name__ = name
    return method


for _name in (
    *(
        "__float__",
        "__int__",
        "__bool__",
        "__reduce_ex__",
        "__deepcopy__",
        "__copy__",
        "__format__",
    ),
    *("all", "any", "argmax", "argmin", "astype", "clip", "cumsum", "dot", "dump", "dumps"),
    *("flatten", "item", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "round"),
    *("sort", "std", "sum", "take", "tobytes", "tofile", "tolist", "var"),
):
    setattr(DeviceArray, _name, _computed_on_host(_name))


def zeros(nbytes: int, context: Context) -> DeviceArray:
    """`nbytes` bytes of zeros on the device of `context`, flat.

    Raises DeviceMemoryError if the device has not so much memory left.
    """
    try:
        memory = device_zeros(context, nbytes).view(DeviceArray)
    except CudaError as error:
        free, total = device_room(context)
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        raise DeviceMemoryError(nbytes, free, total) from None
    memory.context = context
    return memory


def on_host(value):
    """A DeviceArray as a copy on the host, anything else as it is."""
    return value.copy("K") if isinstance(value, DeviceArray) else value


def is_on_host(array: NDArray) -> bool:
    return not isinstance(array, DeviceArray)


def _spanned_bytes(array: NDArray) -> int:
    """From the first to the last element of an array without negative strides."""
    if array.size == 0:
        return 0
    return array.itemsize + sum(
        (size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)
    )


def _is_dense(array: NDArray) -> bool:
    return _spanned_bytes(array) == array.nbytes


def _host_image(array: DeviceArray) -> tuple[NDArray[np.uint8], NDArray]:
    """Uninitialised host memory, and an array in it that lies as `array` does in its own."""
    memory = np.empty(_spanned_bytes(array), np.uint8)
    return memory, np.ndarray(array.shape, array.dtype, memory, 0, array.strides)


def _upload(array: DeviceArray, value) -> None:
    memory, host = _host_image(array)
    if not _is_dense(array):  # what lies between its elements must stay
        device_download(array.context, array, memory)
    host[...] = on_host(value)
    device_upload(array.context, array, memory)

"""Blobs: the arrays of a network, data and gradient, as pycaffe shows them."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_native.ops.arrays import Array
from unet_native.spec import Shape


def shaped(memory: NDArray, shape: Shape) -> NDArray:
    """Flat dense `memory` as an array of `shape`: channels last under four axes, else C order."""
    if len(shape) != 4:
        return memory.reshape(shape)
    n, c, h, w = shape
    return memory.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def filter_shaped(memory: Array, shape: Shape, *, transposed: bool) -> Array:
    """Flat dense `memory`, in [KH][KW][IC][OC] order, as a filter of Caffe's shape.

    shape: (OC, IC, KH, KW) of a Convolution or, with `transposed`, (IC, OC, KH, KW) of a
    Deconvolution.
    """
    if transposed:
        ic, oc, kh, kw = shape
        return memory.reshape(kh, kw, ic, oc).transpose(2, 3, 0, 1)
    oc, ic, kh, kw = shape
    return memory.reshape(kh, kw, ic, oc).transpose(3, 2, 0, 1)


def with_four_axes(array: NDArray) -> NDArray:
    """The same memory with axes of length 1 appended: (N, C) becomes (N, C, 1, 1)."""
    if array.ndim == 4:
        return array
    return array.reshape(array.shape + (1,) * (4 - array.ndim))


class Blob:
    """`data` and `diff` of one array of a network, both float32 of Caffe's shape.

    Four axes are (N, C, H, W), with the channels of a pixel together in memory. Both arrays may be
    read and written in place; they stay where they are until the net is reshaped. `diff` is None
    where the net's plan keeps none.
    """

    __slots__ = ("_resizable", "data", "diff")

    def __init__(self, data: Array, diff: Array | None, *, resizable: bool = False):
        self.data = data
        self.diff = diff
        self._resizable = resizable

    @classmethod
    def zeros(cls, shape: Shape, *, resizable: bool = False) -> Blob:
        """A blob with memory of its own, as the inputs of a net have."""
        data, diff = (shaped(np.zeros(prod(shape), np.float32), shape) for _ in range(2))
        return cls(data, diff, resizable=resizable)

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def count(self) -> int:
        return self.data.size

    @property
    def num(self) -> int:
        return self._legacy_axis(0)

    @property
    def channels(self) -> int:
        return self._legacy_axis(1)

    @property
    def height(self) -> int:
        return self._legacy_axis(2)

    @property
    def width(self) -> int:
        return self._legacy_axis(3)

    def _legacy_axis(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1

    def reshape(self, *shape: int) -> None:
        """Gives an input of a net another shape, filled with zeros; the net follows when it runs.

        Raises ValueError for a blob that is no input: its shape follows from the inputs.
        """
        if tuple(shape) == self.shape:
            return
        if not self._resizable:
            raise ValueError(
                f"only inputs can be reshaped, the other blobs follow: {self.shape} -> {shape}"
            )
        fresh = Blob.zeros(shape)
        self.data, self.diff = fresh.data, fresh.diff

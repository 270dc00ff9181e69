"""Blobs: the arrays of a network, data and gradient, as pycaffe shows them."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_native import arena
from unet_native.observed import ObservableArray
from unet_native.ops import Context
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

    Four axes are (N, C, H, W), with the channels of a pixel together in memory: the inner arrays,
    which layers work on. Both may be read and written in place; they stay where they are until the
    net is reshaped. `diff` is None where the net's plan keeps none.
    """

    __slots__ = ("_arrays", "_context", "_resizable")

    def __init__(
        self,
        data: Array | None,
        diff: Array | None,
        *,
        resizable: bool = False,
        context: Context | None = None,
    ):
        self._arrays = {"data": ObservableArray(data), "diff": ObservableArray(diff)}
        self._resizable = resizable
        self._context = context

    @classmethod
    def zeros(
        cls, shape: Shape, *, resizable: bool = False, context: Context | None = None
    ) -> Blob:
        """A blob with memory of its own on the device of `context`, as a net's inputs have."""
        data, diff = (
            shaped(arena.allocate(4 * prod(shape), context).view(np.float32), shape)
            for _ in range(2)
        )
        return cls(data, diff, resizable=resizable, context=context)

    @property
    def data(self) -> Array:
        return self._arrays["data"].inner

    @property
    def diff(self) -> Array | None:
        return self._arrays["diff"].inner

    @property
    def shape(self) -> Shape:
        return self._arrays["data"].inner.shape

    @property
    def count(self) -> int:
        return prod(self.shape)

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
        if why := arena.excess(8 * prod(shape)):
            raise ValueError(f"a blob of shape {shape} {why}")
        fresh = Blob.zeros(shape, context=self._context)
        self.bind(data=fresh.data, diff=fresh.diff)

    # --- the two homes of an array, see unet_native.observed; what: "data", "diff" ---

    def bind(self, **arrays: Array | None) -> None:
        """Gives the blob another inner data or diff, which nobody has observed yet."""
        self._arrays.update({what: ObservableArray(array) for what, array in arrays.items()})

    def share_data(self, other: Blob) -> None:
        """Uses the data of `other`, of the same shape, from now on (Caffe's ShareData)."""
        self._arrays["data"] = other._arrays["data"]

    def latest(self, what: str) -> Array | None:
        """The array to read and write between passes."""
        return self._arrays[what].latest

    def pull(self, *whats: str) -> None:
        """Before a pass: what has been written into observed arrays is taken over."""
        for what in whats:
            self._arrays[what].pull()

    def push(self, *whats: str) -> None:
        """After a pass: observed arrays show what it has computed."""
        for what in whats:
            self._arrays[what].push()

    @property
    def twin_bytes(self) -> int:
        """Memory of observed arrays beyond that of the inner ones."""
        return sum(array.twin_bytes for array in self._arrays.values())


class ObservedBlob(Blob):
    """What the user of an observable net, or of one on a device, sees of `blob`: in C order.

    `data` and `diff` are C-contiguous, may be read and written in any way, and stay the same
    objects until the net is reshaped. Shapes can be asked for at no cost.
    """

    __slots__ = ()

    def __init__(self, blob: Blob):
        self._arrays = blob._arrays
        self._resizable = blob._resizable
        self._context = blob._context

    @property
    def data(self) -> Array:
        return self._arrays["data"].observe()

    @property
    def diff(self) -> Array:
        return self._arrays["diff"].observe()

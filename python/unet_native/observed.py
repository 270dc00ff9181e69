"""Observed arrays: how a net shows arrays in C order although it computes in another.

Scripts written for pycaffe rely on every `data` and `diff` being one C-contiguous array of Caffe's
shape, (N, C, H, W) or a filter's: they write through `.ravel()`, `.reshape(-1)`, `.flat`, `.ctypes`
and keep arrays across calls. The ops want the channels of a pixel together, and filters in the
order [KH][KW][IC][OC]. So in an observable net an array can have two homes:

inner     what layers, ops, plan and solver work on
observed  its C-ordered twin, made when a user first asks for it, and the same object from then on

Nobody can tell who has written into an array, so the rule is about when. Between passes the
observed array, where there is one, is the truth: loading, saving and clearing act on `latest`. A
pass (forward, backward, the solver's update) first pulls what it reads and at its end pushes what
it may have written. A pass that fails pushes nothing, so what a user wrote survives it.

An array that nobody has looked at costs nothing, and one whose inner memory already has C order
(one channel, one pixel, a vector) is its own twin. Nets that share a parameter share both homes.
The lean plan hands out inner arrays: writing into one that an observable net shares has no effect
once a user has looked at it there. On a device every net hands out observed arrays, which lie on
the host: each array that was looked at is copied before and after every pass that concerns it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unet_native.device_array import is_on_host
from unet_native.ops.arrays import Array

if TYPE_CHECKING:
    from unet_native.layers import Layer


class ObservableArray:
    """One array of a net, `inner`, with its observed twin as soon as there is one.

    inner: of Caffe's shape, in any memory order; None where a plan keeps no such array.
    """

    __slots__ = ("_twin", "inner")

    def __init__(self, inner: Array | None):
        self.inner = inner
        self._twin: Array | None = None

    def observe(self) -> Array:
        """The observed array, C-contiguous; the same object every time."""
        if self.inner.flags.c_contiguous and is_on_host(self.inner):
            return self.inner
        if self._twin is None:
            self._twin = self.inner.copy(order="C")
        return self._twin

    @property
    def latest(self) -> Array | None:
        """What holds between passes: the twin or, if there is none, the inner array."""
        return self.inner if self._twin is None else self._twin

    @property
    def twin_bytes(self) -> int:
        return 0 if self._twin is None else self._twin.nbytes

    def pull(self) -> None:
        """Lets the inner array follow its twin."""
        if self._twin is not None:
            np.copyto(self.inner, self._twin)

    def push(self) -> None:
        """Lets the twin follow the inner array."""
        if self._twin is not None:
            np.copyto(self._twin, self.inner)


def before_forward(layers: Sequence[Layer]) -> None:
    """Pulls the data that these layers, run in this order, read and do not write themselves."""
    known = set()
    for layer in layers:
        for blob in (*(layer.bottom or layer.top), *layer.params):  # an Input's tops are given
            if blob not in known:
                blob.pull("data")
                known.add(blob)
        known.update(layer.top)


def after_forward(layers: Sequence[Layer]) -> None:
    """Pushes the data that these layers have written."""
    for blob in {top for layer in layers for top in layer.top}:
        blob.push("data")


def before_backward(layers: Collection[Layer]) -> None:
    """Pulls all that these layers read; also the diffs that they may only add to."""
    for blob in {b for layer in layers for b in (*layer.bottom, *layer.top, *layer.params)}:
        blob.pull("data", "diff")


def after_backward(layers: Collection[Layer]) -> None:
    """Pushes the diffs that these layers may have written."""
    for blob in {b for layer in layers for b in (*layer.bottom, *layer.params)}:
        blob.push("diff")

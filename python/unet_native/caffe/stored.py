"""What Caffe's weight files and solver states hold, whichever form they are stored in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_native.errors import UserError

Shape = tuple[int, ...]
_CHECKED_AT_ONCE = 1 << 18  # elements; the truth values of a whole blob would take a quarter of it


@dataclass(slots=True, eq=False)
class StoredBlob:
    """An array of a file. From a file it is float32, C order, read-only and perhaps unaligned.

    To be written it may be of any memory order; it is stored as float32.

    data:   of Caffe's shape
    diff:   of the same shape, or None
    legacy: the shape is stored as num, channels, height, width (Caffe before autumn 2014): it has
            four axes, and those in front that the array has not are 1 (see `matches`)
    """

    data: NDArray
    diff: NDArray | None = None
    legacy: bool = False

    @property
    def shape(self) -> Shape:
        return self.data.shape


@dataclass(slots=True, eq=False)
class StoredLayer:
    """A layer of a weight file.

    type: Caffe's name of it, or its number in V1LayerParameter.LayerType; "" if it is not stored
    head: the other fields before the blobs, as the bytes of the file
    tail: those after them
    """

    name: str
    type: str | int = ""
    blobs: list[StoredBlob] = field(default_factory=list)
    head: bytes = b""
    tail: bytes = b""


@dataclass(slots=True, eq=False)
class CaffeModel:
    """The layers of a weight file in its order. Of two of one name, Caffe uses the later one.

    name: of the network; None if none is stored (Caffe stores "" for a network without)
    v1:   stored as V1LayerParameter, as Caffe did before autumn 2014
    head: the other fields before the layers, as the bytes of the file
    tail: those after them
    """

    name: str | None = ""
    layers: list[StoredLayer] = field(default_factory=list)
    v1: bool = False
    head: bytes = b""
    tail: bytes = b""


@dataclass(slots=True, eq=False)
class SolverState:
    """The state of a solver: what a resumed run needs beside the weights.

    iter:         iterations made
    learned_net:  the weight file written with it, as a path from where Caffe ran; "" if unknown
    current_step: steps of the learning rate made; None if not stored (Caffe before 2014)
    history:      the momentum of each learnable parameter, in the network's order
    """

    iter: int
    learned_net: str = ""
    current_step: int | None = 0
    history: list[StoredBlob] = field(default_factory=list)


def matches(stored: Shape, legacy: bool, wanted: Shape) -> bool:
    """Whether Caffe copies a stored blob of shape `stored` into one of shape `wanted`.

    The shapes must be equal. A legacy one has four axes and fits what is equal to it with ones put
    in front: (1, 1, 1, C) fits the bias (C,), (1, 1, N, C) the inner product (N, C).

    Source: Blob::ShapeEquals (src/caffe/blob.cpp).
    """
    if legacy:
        return tuple(stored) == (1,) * (4 - len(wanted)) + tuple(wanted)
    return tuple(stored) == tuple(wanted)


def quoted(name: str | int) -> str:
    """A name from a file for a sentence: in quotes, on one line, not too long."""
    text = ascii(name)
    return text if len(text) <= 60 else f"{text[:57]}..."


def named_blobs(model: CaffeModel) -> Iterator[tuple[str, StoredBlob]]:
    """All blobs of a model, with a name for sentences."""
    for layer in model.layers:
        for i, blob in enumerate(layer.blobs):
            yield f"blob {i} of layer {quoted(layer.name)}", blob


def named_history(state: SolverState) -> Iterator[tuple[str, StoredBlob]]:
    """All blobs of a state, with a name for sentences."""
    for i, blob in enumerate(state.history):
        yield f"history {i}", blob


def check_finite(path: Path, blobs: Iterator[tuple[str, StoredBlob]]) -> None:
    """Raises UserError if the data of a blob are not all finite numbers; diffs may be any."""
    for name, blob in blobs:
        flat = blob.data.reshape(-1)
        for i in range(0, flat.size, _CHECKED_AT_ONCE):
            if not np.isfinite(flat[i : i + _CHECKED_AT_ONCE]).all():
                raise UserError(
                    f"{path}: {name} has values that are not finite numbers; "
                    "use a snapshot from before the training diverged"
                )

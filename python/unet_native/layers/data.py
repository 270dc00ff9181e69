"""Where data come from.

Input is filled by whoever runs the net, DummyData by fillers, HDF5Data from files.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from unet_native.errors import UserError
from unet_native.fillers import FILLERS, fill
from unet_native.layers.base import Layer
from unet_native.ops.arrays import Array
from unet_native.spec import FillerParameter, Shape


class Input(Layer):
    """Tops of given shapes, one for each top or one for all. Source: Caffe input_layer.cpp."""

    num_bottoms = (0, 0)
    num_tops = (1, 1 << 30)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        return given_shapes(self, self.spec.input_param.shape)

    def forward(self) -> None:
        """Nothing: the data are there."""


def given_shapes(layer: Layer, shapes: tuple[Shape, ...]) -> list[Shape]:
    """One shape for each top. Raises ValueError for another number of shapes, or a bad one."""
    tops = len(layer.spec.top)
    if len(shapes) not in (1, tops):
        raise layer.refuse(f"{tops} tops, but {len(shapes)} shapes")
    for shape in shapes:
        if len(shape) > 4 or any(size < 1 for size in shape):
            raise layer.refuse(f"at most 4 axes of at least 1 element are wanted, got {shape}")
    return list(shapes) if len(shapes) == tops else list(shapes) * tops


class DummyData(Layer):
    """Tops of given shapes, filled anew in each forward pass unless with a constant.

    The numbers come from the net's seed and the iteration. Source: Caffe dummy_data_layer.cpp.
    """

    works_on_host = True
    num_bottoms = (0, 0)
    num_tops = (1, 1 << 30)

    def __init__(self, *args):
        super().__init__(*args)
        fillers = self.spec.dummy_data_param.data_filler or (FillerParameter(),)
        if len(fillers) not in (1, len(self.spec.top)):
            raise self.refuse(f"{len(self.spec.top)} tops, but {len(fillers)} fillers")
        for filler in fillers:
            if filler.type not in FILLERS:
                raise self.refuse(f"filler {filler.type!r} is none of {', '.join(FILLERS)}")
        self._fillers = fillers if len(fillers) > 1 else fillers * len(self.spec.top)

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        return given_shapes(self, self.spec.dummy_data_param.shape)

    def forward(self) -> None:
        run = self.execution
        for i, (top, filler) in enumerate(zip(self.top, self._fillers, strict=True)):
            rng = np.random.default_rng((run.seed, self.index, i, run.iteration))
            fill(top.data, filler, rng)


class HDF5Data(Layer):
    """Each forward pass takes the next batch_size rows of the files, and goes round.

    A row is what the first axis of a dataset counts; each top is the dataset of its name. With
    shuffle, the order of files and of the rows within each is drawn anew, from the net's seed,
    whenever it comes round. The position is not part of a snapshot: as in Caffe, a run that is
    resumed begins with the first row.

    The files stand in a list, one name a line. A relative name means, as in Caffe, one in the
    working directory or else, unlike there, one beside the file that names it.
    Source: Caffe hdf5_data_layer.cpp.
    """

    works_on_host = True
    num_bottoms = (0, 0)
    num_tops = (1, 1 << 30)

    def __init__(self, *args):
        super().__init__(*args)
        p = self.spec.hdf5_data_param
        if p.batch_size < 1 or not p.source:
            raise self.refuse("source and a batch_size of at least 1 are wanted")
        source = beside(p.source, self.spec.where)
        self.files = [beside(name, source) for name in _names_in(source)]
        if not self.files:
            raise UserError(f"{source}: names no HDF5 file")
        self._rng = np.random.default_rng((self.execution.seed, self.index))
        self._file_order = np.arange(len(self.files))
        self._file = -1  # position in _file_order
        self._rows: dict[str, Array] = {}
        self._row_shapes: list[Shape] = []
        self._next_file()

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        return [(self.spec.hdf5_data_param.batch_size, *shape) for shape in self._row_shapes]

    def forward(self) -> None:
        for i in range(self.spec.hdf5_data_param.batch_size):
            if self._row == len(self._row_order):
                self._next_file()
            row = self._row_order[self._row]
            for name, top in zip(self.spec.top, self.top, strict=True):
                top.data[i] = self._rows[name][row]
            self._row += 1

    def _next_file(self) -> None:
        """Opens the next file, or the only one again, at its first row."""
        shuffle = self.spec.hdf5_data_param.shuffle
        self._file = (self._file + 1) % len(self.files)
        if self._file == 0 and shuffle:
            self._rng.shuffle(self._file_order)
        path = self.files[self._file_order[self._file]]
        if len(self.files) > 1 or not self._rows:
            self._rows = self._read(path)
        count = len(self._rows[self.spec.top[0]])
        self._row_order = self._rng.permutation(count) if shuffle else np.arange(count)
        self._row = 0

    def _read(self, path: Path) -> dict[str, Array]:
        from unet_native.caffe.hdf5_data import read_datasets

        rows = read_datasets(path, self.spec.top)
        for name, array in rows.items():
            if not 1 <= array.ndim <= 4:
                raise UserError(f"{path}: {name!r} has shape {array.shape}, 1 to 4 axes are wanted")
        counts = {name: len(array) for name, array in rows.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            raise UserError(f"{path}: the datasets must have equally many rows, they have {counts}")
        shapes = [rows[name].shape[1:] for name in self.spec.top]
        if self._row_shapes and shapes != self._row_shapes:
            raise UserError(
                f"{path}: rows of shapes {shapes}, those of the files before are "
                f"{self._row_shapes}; give them a list of their own"
            )
        self._row_shapes = shapes
        return rows


def beside(name: str, place: str | Path) -> Path:
    """The file `name`, in the working directory or else beside `place`, which names it.

    place: a path, perhaps followed by a line ("net.prototxt, line 3"). Raises UserError for a name
    of characters that no terminal shows.
    """
    if not name.isprintable():
        raise UserError(f"{place}: names a file {name!r}, which cannot be one")
    path = Path(name)
    other = Path(str(place).partition(", line ")[0]).parent / path
    exists = os.path.exists  # which, unlike Path's, says False to a name that can be none
    return other if not exists(path) and exists(other) else path


def _names_in(source: Path) -> list[str]:
    try:
        return source.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UserError(f"{source}: the list of HDF5 files cannot be read ({reason})") from error

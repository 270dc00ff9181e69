"""Training data in HDF5 files, as HDF5Data reads them: one dataset for each top.

Files of Caffe's own layout are read by hdf5_tree. Others, with chunks, gzip or numbers of other
kinds, as h5py and MATLAB write them, by the library h5py, after these checks: only hard links, no
external or virtual storage, no filters but gzip, and nothing claimed that the file cannot hold.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unet_native.caffe.hdf5 import import_h5py
from unet_native.caffe.hdf5_tree import Dataset, Tree, TreeError
from unet_native.caffe.stored import quoted
from unet_native.caffe.whole_file import HDF5_MAGIC, damaged, size_of
from unet_native.errors import UserError

if TYPE_CHECKING:
    import h5py

_FILTERS = {1, 2, 3}  # HDF5's numbers of gzip, shuffle and checksums
_MOST_PACKED = 1032  # bytes that gzip can make of one
# What h5py raises on damaged files.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


class _DataError(Exception):
    """What is wrong with a file; the text is a clause."""


def read_datasets(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, NDArray]:
    """Whole datasets as float32, by name.

    Raises UserError if the file is missing, damaged, or lacks a dataset.
    """
    path = Path(path)
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if not start.startswith(HDF5_MAGIC):
        raise damaged(path, "HDF5 file", start, "not HDF5")
    try:
        return _with_tree(path, names)
    except TreeError:  # of another layout, or damaged: h5py will say
        pass
    library = import_h5py()
    try:
        with library.File(path, "r") as file:
            return {name: _with_h5py(library, file, name, size) for name in names}
    except (*_H5PY_ERRORS, _DataError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: {reason:.200}; check the file") from error


def _with_tree(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    tree = Tree(path.read_bytes())
    arrays = {}
    for name in names:
        dataset = tree.root.get(name)
        if not isinstance(dataset, Dataset) or dataset.dtype.startswith("S"):
            raise TreeError(f"has no dataset {quoted(name)}")
        arrays[name] = tree.array(dataset).astype(np.float32, copy=False)
    return arrays


def _with_h5py(library, file: h5py.File, name: str, size: int) -> NDArray:
    if not file.id.links.exists(name.encode()):
        raise _DataError(f"has no dataset {quoted(name)}, which a top is named after")
    if file.id.links.get_info(name.encode()).type != library.h5l.TYPE_HARD:
        raise _DataError(f"{quoted(name)} is a link to another place, which is not followed")
    dataset = file[name]
    if not isinstance(dataset, library.Dataset) or dataset.shape is None:
        raise _DataError(f"{quoted(name)} is no dataset of numbers")
    if dataset.dtype.kind not in "fiu":
        raise _DataError(f"{quoted(name)} is of type {dataset.dtype}; numbers are wanted")
    plan = dataset.id.get_create_plist()
    filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
    layouts = {library.h5d.CONTIGUOUS, library.h5d.COMPACT, library.h5d.CHUNKED}
    if plan.get_external_count() or plan.get_layout() not in layouts:
        raise _DataError(f"{quoted(name)} has its values in another file, which is not followed")
    if filters - _FILTERS:
        raise _DataError(f"{quoted(name)} is compressed by something else than gzip")
    claimed = dataset.dtype.itemsize
    for n in dataset.shape:
        claimed *= int(n)
    stored = dataset.id.get_storage_size()
    # Values that were never written take no place in the file and would be read as zeros.
    if stored > size or claimed > stored * (_MOST_PACKED if filters else 1):
        raise _DataError(f"{quoted(name)} claims {claimed} bytes that the file cannot hold")
    array = np.empty(dataset.shape, np.float32)
    if array.size:
        dataset.read_direct(array)
    return array

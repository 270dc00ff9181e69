"""Caffe's files in HDF5, by way of the library h5py: `.caffemodel.h5` and `.solverstate.h5`.

    /data/<layer>/<i>     float32, the blobs; a group for every layer, with or without blobs
    /diff/<layer>/<i>     the same of the diffs, if they are stored
    /iter, /current_step  int32, shape (1,)
    /learned_net          a string of fixed length
    /history/<i>          float32, the momentum

Layers come in the order of their names: HDF5 groups have no other here. A name with "/" is a path
of groups, of which the inner ones are no layers unless they have blobs of their own.

What is read is locked down to what Caffe writes. libhdf5 is large and meant for files that one
trusts, so before any data are read: only hard links, each object once and no more than
OBJECT_LIMIT; no external or virtual storage, no chunks and no filters (a chunk may unpack to any
size); numbers of 32 or 64 bits; and data in the file as long as claimed.

Source: Net::ToHDF5, Net::CopyTrainedLayersFromHDF5 (src/caffe/net.cpp),
SGDSolver::SnapshotSolverStateToHDF5 (src/caffe/solvers/sgd_solver.cpp), src/caffe/util/hdf5.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unet_native.caffe.stored import (
    CaffeModel,
    SolverState,
    StoredBlob,
    StoredLayer,
    check_finite,
    named_blobs,
    named_history,
    quoted,
)
from unet_native.caffe.whole_file import HDF5_MAGIC, damaged, size_of
from unet_native.errors import UserError
from unet_native.files import write_atomically

if TYPE_CHECKING:
    import h5py

OBJECT_LIMIT = 6000  # groups and datasets; a network of a thousand layers has about four thousand
MAX_DEPTH = 16  # groups within groups, that is parts of a layer's name
_PACKING = {1, 2, 3}  # HDF5's numbers of gzip, shuffle and checksums
_MOST_PACKED = 1032  # bytes that gzip can make of one
# What h5py raises on damaged files. Each was met by flipping bytes of Caffe's own.
_H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


class _FormError(Exception):
    """The file is none of Caffe's; the text is a clause."""


def read_model(path: str | os.PathLike[str]) -> CaffeModel:
    """The layers with their blobs, no types or other fields. Errors as of the binary form."""
    path = Path(path)
    with _opened(path, ".caffemodel.h5") as reader:
        layers = {layer.name: layer for layer in reader.layers("data")}
        for layer in reader.layers("diff") if reader.has("diff") else ():
            blobs = layers[layer.name].blobs if layer.name in layers else []
            if len(blobs) < len(layer.blobs):
                raise _FormError(f"diff of layer {quoted(layer.name)} has no data beside it")
            for blob, diff in zip(blobs, layer.blobs, strict=False):
                if diff.shape != blob.shape:
                    raise _FormError(f"a diff of layer {quoted(layer.name)} has another shape")
                blob.diff = diff.data
    model = CaffeModel(name=None, layers=list(layers.values()))
    check_finite(path, named_blobs(model))
    return model


def read_state(path: str | os.PathLike[str]) -> SolverState:
    """A solver's state. Errors as of the binary form."""
    path = Path(path)
    with _opened(path, ".solverstate.h5") as reader:
        state = SolverState(
            iter=reader.integer("iter"),
            learned_net=reader.text("learned_net") if reader.has("learned_net") else "",
            current_step=reader.integer("current_step") if reader.has("current_step") else None,
            history=reader.history(),
        )
    check_finite(path, named_history(state))
    return state


def read_datasets(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, NDArray]:
    """Whole datasets of a file of training data, as float32, by name.

    Numbers of any kind; also in chunks and compressed by gzip, as HDF5's own tools write them.
    Raises UserError if the file is missing, damaged, or lacks a dataset.
    """
    path = Path(path)
    with _opened(path, "HDF5 file") as reader:
        missing = [name for name in names if not reader.has(name)]
        found = {} if missing else {name: reader.data(name) for name in names}
    if missing:
        raise UserError(f"{path}: has no dataset {quoted(missing[0])}, which a top is named after")
    return found


def write_model(path: str | os.PathLike[str], model: CaffeModel) -> Path:
    """Writes names and blobs, whole or not at all; types and other fields are not stored.

    Raises UserError if two layers share a name, or a name is no path, which HDF5 cannot store.
    """
    path = Path(path)
    names: set[str] = set()
    for name in (layer.name for layer in model.layers):
        parts = name.split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in name or len(parts) > MAX_DEPTH:
            raise UserError(f"{path}: HDF5 cannot name a layer {quoted(name)}; rename the layer")
        if name in names:
            raise UserError(f"{path}: two layers are named {quoted(name)}; rename one of them")
        names.add(name)
    has_diff = any(blob.diff is not None for _, blob in named_blobs(model))

    def write(file: h5py.File) -> None:
        for top in ("data", "diff") if has_diff else ("data",):
            root = file.create_group(top)
            for layer in model.layers:
                group = root.require_group(layer.name)
                for i, blob in enumerate(layer.blobs):
                    array = blob.data if top == "data" else blob.diff
                    if array is not None:
                        _write_array(group, str(i), array)

    return _write(path, write)


def write_state(path: str | os.PathLike[str], state: SolverState) -> Path:
    """Writes a solver's state, whole or not at all."""
    path = Path(path)

    def write(file: h5py.File) -> None:
        _write_array(file, "iter", np.array([state.iter], np.int32))
        _write_text(file, "learned_net", state.learned_net)
        _write_array(file, "current_step", np.array([state.current_step or 0], np.int32))
        history = file.create_group("history")
        for i, blob in enumerate(state.history):
            _write_array(history, str(i), blob.data)

    return _write(path, write)


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            'Caffe\'s HDF5 files need h5py; install it with pip install "unet_native[hdf5]"'
        ) from error
    return h5py


# --- reading ---


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[_Reader]:
    """The file, looked over; whatever goes wrong in the block becomes one sentence."""
    h5py = _h5py()
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            start = file.read(256)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if not start.startswith(HDF5_MAGIC):
        raise damaged(path, kind, start, "not HDF5; a binary file must not be named .h5")
    try:
        with h5py.File(path, "r") as file:
            yield _Reader(h5py, file, size)
    except (*_H5PY_ERRORS, _FormError) as error:
        reason = " ".join(str(error).split())
        raise damaged(path, kind, start, f"{reason:.200}") from error


class _Reader:
    """Reads an open file, and keeps account of what it has read."""

    def __init__(self, h5py: ModuleType, file: h5py.File, size: int):
        self._h5py = h5py
        self._file = file
        self._size = size
        self._bytes_left = 4 * size
        self._seen = {self._address(file)}

    def has(self, name: str) -> bool:
        return self._file.id.links.exists(name.encode())

    def layers(self, top: str) -> list[StoredLayer]:
        """The layers in /<top>, in the order of their names."""
        group = self._object(self._file, top)
        if not isinstance(group, self._h5py.Group):
            raise _FormError(f"{top} is no group")
        found: list[StoredLayer] = []
        self._walk(group, "", MAX_DEPTH, found)
        return found

    def history(self) -> list[StoredBlob]:
        group = self._object(self._file, "history")
        if not isinstance(group, self._h5py.Group):
            raise _FormError("history is no group")
        return self._blobs("history", self._members(group))

    def data(self, name: str) -> NDArray:
        """A dataset of training data."""
        return self._array(self._object(self._file, name), name, kinds="fiu", packed=True)

    def integer(self, name: str) -> int:
        dataset = self._object(self._file, name)
        self._check(dataset, name, "iu")
        if dataset.size != 1:
            raise _FormError(f"{name} is not one number")
        value = int(dataset[()].reshape(-1)[0])
        if not 0 <= value < 1 << 31:
            raise _FormError(f"{name} is {value}")
        return value

    def text(self, name: str) -> str:
        dataset = self._object(self._file, name)
        self._check(dataset, name, "S")
        if dataset.shape != ():
            raise _FormError(f"{name} is not one string")
        return bytes(dataset[()]).decode()

    def _walk(self, group: h5py.Group, path: str, depth: int, found: list[StoredLayer]) -> None:
        """Appends the layer that `group` is, if it is one, and those in it."""
        if depth < 0:
            raise _FormError("groups are too deep for a layer's name")
        members = self._members(group)
        datasets = {k: v for k, v in members.items() if isinstance(v, self._h5py.Dataset)}
        if path and (datasets or not members):
            found.append(StoredLayer(path, blobs=self._blobs(path, datasets)))
        elif datasets:
            raise _FormError("a blob belongs to no layer")
        for name, member in members.items():
            if name not in datasets:
                self._walk(member, f"{path}/{name}" if path else name, depth - 1, found)

    def _blobs(self, owner: str, datasets: dict[str, h5py.Dataset]) -> list[StoredBlob]:
        """The datasets named 0, 1, .. as blobs."""
        wanted = [str(i) for i in range(len(datasets))]
        if missing := [name for name in wanted if name not in datasets]:
            raise _FormError(f"{quoted(owner)} has no blob {missing[0]}")
        return [StoredBlob(self._array(datasets[name], owner)) for name in wanted]

    def _members(self, group: h5py.Group) -> dict[str, h5py.Group | h5py.Dataset]:
        """What a group holds, in the order of the names."""
        if len(group) > OBJECT_LIMIT:
            raise _FormError(f"more than {OBJECT_LIMIT} groups and datasets")
        return {name: self._object(group, name) for name in group}

    def _object(self, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        """A group or dataset that has not been met before."""
        h5py = self._h5py
        if not isinstance(name, str):  # h5py leaves names as bytes that are not UTF-8
            raise _FormError(f"the name {name!r:.60} is not UTF-8")
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise _FormError(f"{quoted(name)} is a link to another place")
        member = group[name]
        if not isinstance(member, (h5py.Group, h5py.Dataset)):
            raise _FormError(f"{quoted(name)} is neither group nor dataset")
        address = self._address(member)
        if address in self._seen:
            raise _FormError(f"{quoted(name)} is linked to twice")
        self._seen.add(address)
        if len(self._seen) > OBJECT_LIMIT:
            raise _FormError(f"more than {OBJECT_LIMIT} groups and datasets")
        return member

    def _address(self, member: h5py.Group) -> int:
        return self._h5py.h5o.get_info(member.id).addr

    def _array(
        self, dataset: h5py.Dataset, owner: str, *, kinds: str = "f", packed: bool = False
    ) -> NDArray:
        self._check(dataset, owner, kinds, packed)
        array = np.empty(dataset.shape, np.float32)
        if array.size:
            dataset.read_direct(array)  # turns doubles and the other byte order into float32
        array.flags.writeable = False
        return array

    def _check(self, dataset: h5py.Dataset, name: str, kinds: str, packed: bool = False) -> None:
        """Raises _FormError unless reading takes no more memory than the file has bytes for.

        packed: training data, which may lie in chunks, compressed as far as gzip can.
        """
        h5py = self._h5py
        name = quoted(name)
        if not isinstance(dataset, h5py.Dataset):
            raise _FormError(f"{name} is no dataset")
        plan = dataset.id.get_create_plist()
        filters = {plan.get_filter(i)[0] for i in range(plan.get_nfilters())}
        layouts = {h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT} | (
            {h5py.h5d.CHUNKED} if packed else set()
        )
        if filters - (_PACKING if packed else set()) or plan.get_layout() not in layouts:
            raise _FormError(
                f"{name} is stored in another layout than Caffe's; try h5repack -l CONTI -f NONE"
            )
        if plan.get_external_count():
            raise _FormError(f"{name} has its data in another file")
        if dataset.shape is None:
            raise _FormError(f"{name} has no data")
        dtype = dataset.dtype
        sizes = (1, 2, 4, 8) if packed else (4, 8)
        if dtype.kind not in kinds or (dtype.kind != "S" and dtype.itemsize not in sizes):
            raise _FormError(f"{name} is of type {dtype}")
        claimed = dtype.itemsize
        for n in dataset.shape:
            claimed *= int(n)
        stored = dataset.id.get_storage_size()
        # Data that were never written take no place in the file and would be read as zeros.
        fits = claimed <= _MOST_PACKED * stored if filters else stored >= claimed
        if stored > self._size or not fits:
            raise _FormError(f"{name} claims {claimed} bytes")
        self._bytes_left -= stored
        if self._bytes_left < 0:
            raise _FormError("its datasets share their bytes")


# --- writing ---


def _write(path: Path, writer: Callable[[h5py.File], None]) -> Path:
    h5py = _h5py()

    def write(temporary: Path) -> None:
        try:
            with h5py.File(temporary, "w", libver="earliest") as file:
                writer(file)
        except (RuntimeError, ValueError, TypeError) as error:
            # A full disk may be met only on closing, where h5py says RuntimeError.
            raise OSError(" ".join(str(error).split())) from error

    return write_atomically(path, write)


def _write_array(group: h5py.Group, name: str, array: NDArray) -> None:
    dtype = "<i4" if array.dtype == np.int32 else "<f4"
    group.create_dataset(name, data=np.ascontiguousarray(array, dtype).reshape(array.shape))


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """A string of fixed length that ends with a zero byte, as H5LTmake_dataset_string writes it."""
    h5py = _h5py()
    content = text.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(content))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    place = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    place.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(content, f"S{len(content)}"), kind)

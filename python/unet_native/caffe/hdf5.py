"""Caffe's files in HDF5: `.caffemodel.h5` and `.solverstate.h5`.

    /data/<layer>/<i>     float32, the blobs; a group for every layer, with or without blobs
    /diff/<layer>/<i>     the same of the diffs, if they are stored
    /iter, /current_step  int32, shape (1,)
    /learned_net          a string of fixed length
    /history/<i>          float32, the momentum

Layers come in the order of their names: HDF5 groups have no other here. A name with "/" is a path
of groups, of which the inner ones are no layers unless they have blobs of their own.

To write takes the library h5py; to read does not, see hdf5_tree.

Source: Net::ToHDF5, Net::CopyTrainedLayersFromHDF5 (src/caffe/net.cpp),
SGDSolver::SnapshotSolverStateToHDF5 (src/caffe/solvers/sgd_solver.cpp), src/caffe/util/hdf5.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unet_native.caffe.hdf5_tree import MAX_DEPTH, Dataset, Group, Tree, TreeError
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
from unet_native.device_array import on_host
from unet_native.errors import UserError
from unet_native.files import write_atomically

if TYPE_CHECKING:
    import h5py


def read_model(path: str | os.PathLike[str]) -> CaffeModel:
    """The layers with their blobs, no types or other fields. Errors as of the binary form."""
    path = Path(path)
    with _opened(path, ".caffemodel.h5") as tree:
        layers = {layer.name: layer for layer in _layers(tree, "data")}
        for layer in _layers(tree, "diff") if "diff" in tree.root else ():
            blobs = layers[layer.name].blobs if layer.name in layers else []
            if len(blobs) < len(layer.blobs):
                raise TreeError(f"diff of layer {quoted(layer.name)} has no data beside it")
            for blob, diff in zip(blobs, layer.blobs, strict=False):
                if diff.shape != blob.shape:
                    raise TreeError(f"a diff of layer {quoted(layer.name)} has another shape")
                blob.diff = diff.data
    model = CaffeModel(name=None, layers=list(layers.values()))
    check_finite(path, named_blobs(model))
    return model


def read_state(path: str | os.PathLike[str]) -> SolverState:
    """A solver's state. Errors as of the binary form."""
    path = Path(path)
    with _opened(path, ".solverstate.h5") as tree:
        has = tree.root.keys()
        state = SolverState(
            iter=_integer(tree, "iter"),
            learned_net=_text(tree, "learned_net") if "learned_net" in has else "",
            current_step=_integer(tree, "current_step") if "current_step" in has else None,
            history=_history(tree),
        )
    check_finite(path, named_history(state))
    return state


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


def import_h5py() -> ModuleType:
    """The library. Raises UserError if it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            'this HDF5 file needs h5py; install it with pip install "unet_native[hdf5]"'
        ) from error
    return h5py


# --- reading ---


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Tree]:
    """The file's content; whatever is wrong with it, also in the block, becomes one sentence."""
    size_of(path)
    try:
        data = path.read_bytes()  # not mapped, for the reason that read_whole gives
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or "not enough memory"
        raise UserError(f"{path}: cannot be read ({reason}); check the file") from error
    if not data.startswith(HDF5_MAGIC):
        raise damaged(path, kind, data, "not HDF5; a binary file must not be named .h5")
    try:
        yield Tree(data)
    except TreeError as error:
        raise damaged(path, kind, data, str(error)) from error


def _group(tree: Tree, name: str) -> Group:
    group = tree.root.get(name)
    if group is None:
        raise TreeError(f"it has no {name}")
    if isinstance(group, Dataset):
        raise TreeError(f"{name} is no group")
    return group


def _layers(tree: Tree, top: str) -> list[StoredLayer]:
    """The layers in /<top>, in the order of their names."""
    found: list[StoredLayer] = []

    def walk(group: Group, path: str) -> None:
        if any(isinstance(member, Dataset) for member in group.values()) or (path and not group):
            if not path:
                raise TreeError("a blob belongs to no layer")
            found.append(StoredLayer(path, blobs=_blobs(tree, path, group)))
        for name, member in group.items():
            if not isinstance(member, Dataset):
                walk(member, f"{path}/{name}" if path else name)

    walk(_group(tree, top), "")
    return found


def _history(tree: Tree) -> list[StoredBlob]:
    group = _group(tree, "history")
    blobs = _blobs(tree, "history", group)
    if len(blobs) < len(group):
        raise TreeError("history holds a group")
    return blobs


def _blobs(tree: Tree, owner: str, group: Group) -> list[StoredBlob]:
    """The datasets of a group, which must be named 0, 1, .., as blobs."""
    datasets = {name: part for name, part in group.items() if isinstance(part, Dataset)}
    blobs: list[StoredBlob] = []
    for name in map(str, range(len(datasets))):
        if name not in datasets:
            raise TreeError(f"{quoted(owner)} has no blob {name}")
        if datasets[name].dtype not in ("<f4", "<f8"):
            raise TreeError(f"blob {name} of {quoted(owner)} is of type {datasets[name].dtype}")
        array = tree.array(datasets[name])
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):  # becomes infinite, and is then refused
                array = array.astype(np.float32)
            array.flags.writeable = False
        blobs.append(StoredBlob(array))
    return blobs


def _integer(tree: Tree, name: str) -> int:
    dataset = tree.root.get(name)
    if not isinstance(dataset, Dataset) or dataset.dtype not in ("<i4", "<i8"):
        raise TreeError(f"{name} is missing or no whole number")
    array = tree.array(dataset)
    if array.size != 1 or not 0 <= int(array.reshape(-1)[0]) < 1 << 31:
        raise TreeError(f"{name} is not one number from 0 to 2147483647")
    return int(array.reshape(-1)[0])


def _text(tree: Tree, name: str) -> str:
    dataset = tree.root[name]
    if not isinstance(dataset, Dataset) or dataset.dtype[0] != "S" or dataset.shape != ():
        raise TreeError(f"{name} is no string of fixed length")
    try:
        return tree.array(dataset).tobytes().split(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise TreeError(f"{name} is not UTF-8") from error


# --- writing ---


def _write(path: Path, writer: Callable[[h5py.File], None]) -> Path:
    h5py = import_h5py()

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
    group.create_dataset(
        name, data=np.ascontiguousarray(on_host(array), dtype).reshape(array.shape)
    )


def _write_text(file: h5py.File, name: str, text: str) -> None:
    """A string of fixed length that ends with a zero byte, as H5LTmake_dataset_string writes it."""
    h5py = import_h5py()
    content = text.encode() + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(content))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    timeless = h5py.h5p.create(h5py.h5p.DATASET_CREATE)  # the same state gives the same bytes
    timeless.set_obj_track_times(False)
    scalar = h5py.h5s.create(h5py.h5s.SCALAR)
    place = h5py.h5d.create(file.id, name.encode(), kind, scalar, timeless)
    place.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(content, f"S{len(content)}"), kind)

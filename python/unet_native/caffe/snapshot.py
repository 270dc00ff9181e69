"""Nets and solvers to and from Caffe's files: .caffemodel, .solverstate, and their HDF5 twins.

The names decide: what ends in .h5 is HDF5, everything else binary.
Source: Caffe net.cpp, ToProto and CopyTrainedLayersFrom; solver.cpp and sgd_solver.cpp, Snapshot
and Restore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from unet_native.caffe import splits
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.solverstate import read_solverstate, write_solverstate
from unet_native.caffe.stored import CaffeModel, SolverState, StoredBlob, StoredLayer, matches
from unet_native.errors import UserError
from unet_native.layers.data import beside
from unet_native.net import Net
from unet_native.ops.arrays import Array
from unet_native.spec import Shape

if TYPE_CHECKING:
    from unet_native.solver import SGDSolver

_BLOBS = 7  # the field of LayerParameter


# --- nets ---


def save_net(path: str | Path, net: Net, *, diffs: bool = False) -> Path:
    """Writes the parameters of a net, with all its layers, as Caffe does.

    diffs: whether to write the parameters' diffs too. What Caffe itself makes of the same net is
    equal byte for byte but for the numbers.
    """
    message = splits.inserted(splits.of_phase(net.spec, net.phase))
    layers = [_stored_layer(layer, net, diffs) for layer in message.layer]
    return write_caffemodel(path, CaffeModel(name=message.name, layers=layers))


def save_net_hdf5(path: str | Path, net: Net, *, diffs: bool = False) -> Path:
    """Like :func:`save_net`, in HDF5. Raises UserError for a name that does not end in .h5."""
    if Path(path).suffix != ".h5":
        raise UserError(f"{path}: HDF5 files are recognized by their name; let it end in .h5")
    return save_net(path, net, diffs=diffs)


def _stored_layer(layer: Message, net: Net, diffs: bool) -> StoredLayer:
    before, after = around_blobs(layer)
    params = net.layer_dict[layer.name].params if layer.type != "Split" else ()
    blobs = [
        StoredBlob(blob.latest("data"), blob.latest("diff") if diffs else None) for blob in params
    ]
    return StoredLayer(layer.name, layer.type, blobs, before, after)


def around_blobs(layer: Message) -> tuple[bytes, bytes]:
    """The fields of a layer before its blobs, but for name and type, and those after them."""
    parts = []
    for wanted in (range(3, _BLOBS), range(_BLOBS + 1, 1 << 29)):
        part = type(layer)()
        part.CopyFrom(layer)
        for field, _ in layer.ListFields():
            if field.number not in wanted:
                part.ClearField(field.name)
        parts.append(part.SerializeToString(deterministic=True))
    return parts[0], parts[1]


def copy_into(net: Net, path: str | Path) -> list[str]:
    """Copies the parameters of a model file into a net, by the names of the layers.

    Returns the layers that the net does not have, which are ignored; layers that the file does not
    have keep their values. Raises UserError, and copies nothing, if a layer of both has another
    number or other shapes of parameters.
    """
    model = read_caffemodel(path)
    found: dict[str, list[Array]] = {}
    ignored = []
    for layer in model.layers:
        if layer.name not in net.layer_dict:
            ignored.append(layer.name)
        else:  # of two layers of one name both must fit, and the second overwrites the first
            wanted = [blob.shape for blob in net.params.get(layer.name, ())]
            found[layer.name] = _fitting(layer.blobs, wanted, f"{path}: layer {layer.name!r}")
    net.load_params({name: arrays for name, arrays in found.items() if arrays})
    return ignored


def _fitting(blobs: Sequence[StoredBlob], wanted: Sequence[Shape], where: str) -> list[Array]:
    """The blobs' data in the wanted shapes. Raises UserError if Caffe would not take them."""
    fit = len(blobs) == len(wanted) and all(
        matches(blob.shape, blob.legacy, shape) for blob, shape in zip(blobs, wanted, strict=True)
    )
    if not fit:
        theirs = _list(blob.shape for blob in blobs)
        raise UserError(
            f"{where} has parameters of shapes {theirs}, the net wants {_list(wanted)}; give the "
            "layer another name in one of them, or use the network that the file was made with"
        )
    return [blob.data.reshape(shape) for blob, shape in zip(blobs, wanted, strict=True)]


def _list(shapes: Iterator[Shape] | Sequence[Shape]) -> str:
    return " and ".join("x".join(map(str, shape)) or "scalar" for shape in shapes) or "none"


# --- solvers ---


def save_solver(solver: SGDSolver) -> Path:
    """Writes model and state under Caffe's names; returns the path of the state.

    <snapshot_prefix>_iter_<N>.caffemodel and .solverstate, with .h5 if the format is HDF5.
    """
    s = solver.settings
    ending = ".h5" if s.snapshot_format == "HDF5" else ""
    stem = f"{s.snapshot_prefix}_iter_{solver.iter}"
    model, state = f"{stem}.caffemodel{ending}", f"{stem}.solverstate{ending}"
    solver.observer.snapshotting(model, state)
    save_net(model, solver.net, diffs=s.snapshot_diff)
    history = [StoredBlob(array) for array in solver.latest_history]
    return write_solverstate(state, SolverState(solver.iter, model, solver.current_step, history))


def restore_solver(path: str | Path, solver: SGDSolver) -> list[str]:
    """Continues from a state and the model that it names.

    The model is looked for where the state says, or else beside it. Returns the layers of the model
    that the net does not have. Raises UserError, with the solver as it was, if a file is missing or
    does not fit.
    """
    state = read_solverstate(path)
    params = solver.net.parameters
    wanted = [array.shape for array in solver.latest_history]
    if len(state.history) != len(wanted):
        kinds = {len(params): "SGD", 2 * len(params): "Adam"}
        kind = kinds.get(len(state.history), "another solver or network")
        raise UserError(
            f"{path}: holds {len(state.history)} arrays of history, {len(wanted)} are "
            f"wanted; it was made by {kind}"
        )
    history = [
        _fitting([blob], [shape], f"{path}: history {i}")[0]
        for i, (blob, shape) in enumerate(zip(state.history, wanted, strict=True))
    ]
    ignored = []
    if state.learned_net:
        model = beside(state.learned_net, path)
        if not model.exists():
            raise UserError(f"{path}: its weights, {model}, are missing; put that file beside it")
        ignored = copy_into(solver.net, model)
    for own, theirs in zip(solver.latest_history, history, strict=True):
        own[...] = theirs
    solver.iter, solver.current_step = state.iter, state.current_step or 0
    return ignored

"""Model files: a network, its parameters and, of a training run, the state of the solver.

A model file is a safetensors file. Tensors, float32, C order, in Caffe's shapes:

    conv_d0a-b.0            weight of layer conv_d0a-b; .1 is its bias
    history.conv_d0a-b.0    momentum of the same, if the file is a solver's; history2 of Adam

Metadata, text: format, network (NetSpec as JSON), seed, iteration, current_step, and whatever else
the writer has to say (normaliser, classes, provenance). Reading a file runs none of its content.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_native.device_array import on_host
from unet_native.errors import UserError
from unet_native.files import write_atomically
from unet_native.net import Net
from unet_native.ops.arrays import Array
from unet_native.spec import NetSpec, Shape

if TYPE_CHECKING:
    from unet_native.solver import SGDSolver

FORMAT = "unet_native model 1"
HEADER_LIMIT = 4 << 20  # bytes; the published networks need 40 thousand
_HISTORIES = ("history.", "history2.")
_OWN_KEYS = ("format", "network", "seed", "iteration", "current_step")


@dataclass(frozen=True)
class Snapshot:
    """What a model file says of itself; the arrays are read when asked for."""

    path: Path
    spec: NetSpec
    seed: int
    iteration: int
    current_step: int
    metadata: dict[str, str]
    shapes: dict[str, Shape]

    @property
    def has_history(self) -> bool:
        return any(name.startswith(_HISTORIES) for name in self.shapes)

    def array(self, name: str) -> Array:
        """One tensor. Raises UserError if it is damaged or not finite."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="numpy") as file:
                array = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise _damaged(self.path, f"{name}: {error}") from error
        if not np.isfinite(array).all():
            raise _damaged(self.path, f"{name} has values that are not finite numbers")
        return array

    def params(self) -> Mapping[str, list[Array]]:
        """The parameters by layer name, each read when it is looked up."""
        return _Params(self)


class _Params(Mapping[str, "list[Array]"]):
    def __init__(self, snapshot: Snapshot):
        self._snapshot = snapshot
        names = [name for name in snapshot.shapes if not name.startswith(_HISTORIES)]
        self._layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, layer: str) -> list[Array]:
        if layer not in self._layers:
            raise KeyError(layer)
        names = [f"{layer}.{i}" for i in range(2) if f"{layer}.{i}" in self._snapshot.shapes]
        return [self._snapshot.array(name) for name in names]


def read(path: str | Path) -> Snapshot:
    """Opens a model file. Raises UserError, one sentence, if it is missing, damaged or no such."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    _check_header_length(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: part.get_dtype() for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, str(error)) from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: not a model of this program; train one with `unet-native train`")
    if wrong := [name for name, dtype in dtypes.items() if dtype != "F32"]:
        raise _damaged(path, f"{wrong[0]} is not of float32")
    try:
        spec = NetSpec.from_json(metadata["network"])
        seed, iteration, step = (int(metadata[key]) for key in _OWN_KEYS[2:])
    except (KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    rest = {key: value for key, value in metadata.items() if key not in _OWN_KEYS}
    return Snapshot(path, spec, seed, iteration, step, rest, shapes)


def load_model(path: str | Path, phase: str = "TEST", **options: object) -> tuple[Net, Snapshot]:
    """The network of a model file with its parameters; options as for Net.

    Raises UserError if the file lacks parameters of the network or has others.
    """
    snapshot = read(path)
    try:
        net = Net(snapshot.spec, phase, seed=snapshot.seed, fill=False, **options)
    except (ValueError, MemoryError) as error:
        raise UserError(f"{path}: its network cannot be built here ({error})") from error
    copy_params(snapshot, net)
    return net, snapshot


def copy_params(snapshot: Snapshot, net: Net) -> None:
    """Copies all parameters into a net of the same network."""
    for param in net.parameters:
        target = param.inner.latest("data")
        target[...] = _fitting(snapshot, param.name, target)


def save_model(path: str | Path, net: Net, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes network and parameters; `metadata`: further texts by name."""
    return _write(path, net, {}, iteration=0, current_step=0, metadata=metadata)


def save_solver(path: str | Path, solver: SGDSolver) -> Path:
    """Writes network, parameters and the solver's state: all that a resumed run needs."""
    return _write(
        path,
        solver.net,
        dict(zip(_history_names(solver), solver.latest_history, strict=True)),
        iteration=solver.iter,
        current_step=solver.current_step,
        metadata=solver.metadata,
    )


def restore_solver(path: str | Path, solver: SGDSolver) -> None:
    """Brings a solver of the same network to the state that the file holds.

    It then goes on bit for bit as the one that wrote the file would have. Raises UserError, with
    the solver as it was, if the file does not fit, is damaged, or was not written by a solver.
    """
    snapshot = read(path)
    if not snapshot.has_history:
        raise UserError(f"{path}: holds no momentum to continue with; start from it as weights")
    targets = {param.name: param.inner.latest("data") for param in solver.net.parameters}
    targets |= dict(zip(_history_names(solver), solver.latest_history, strict=True))
    for name in targets:
        if name not in snapshot.shapes:
            raise UserError(
                f"{path}: has no {name}; was it made with another network, or another solver?"
            )
    for name, target in targets.items():  # all of them, before any is copied
        _fitting(snapshot, name, target)
    for name, target in targets.items():
        target[...] = _fitting(snapshot, name, target)
    solver.iter, solver.current_step = snapshot.iteration, snapshot.current_step
    solver.net.seed = snapshot.seed


def _history_names(solver: SGDSolver) -> list[str]:
    """One for each array of solver.history: first those of all parameters, then the second ones."""
    prefixes = _HISTORIES[: solver.histories]
    return [prefix + param.name for prefix in prefixes for param in solver.net.parameters]


def _fitting(snapshot: Snapshot, name: str, target: Array) -> Array:
    """The array of that name. Raises UserError if it has not the shape of `target`."""
    shape = snapshot.shapes.get(name)
    if shape != target.shape:
        found = "is missing" if shape is None else f"has shape {shape}"
        raise UserError(
            f"{snapshot.path}: {name} {found}, {target.shape} is wanted; "
            "was it made with another network?"
        )
    return snapshot.array(name)


def _write(
    path: str | Path,
    net: Net,
    more: Mapping[str, Array],
    *,
    iteration: int,
    current_step: int,
    metadata: Mapping[str, str] | None,
) -> Path:
    tensors = {param.name: param.inner.latest("data") for param in net.parameters} | dict(more)
    own = {
        "format": FORMAT,
        "network": net.spec.to_json(),
        "seed": str(net.seed),
        "iteration": str(iteration),
        "current_step": str(current_step),
    }
    header: dict[str, object] = {"__metadata__": {**(metadata or {}), **own}}
    start = 0
    for name, array in tensors.items():
        stop = start + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format's alignment

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for array in tensors.values():  # one at a time: their C-ordered copies take memory
                file.write(np.ascontiguousarray(on_host(array), "<f4").data)

    return write_atomically(path, write)


def _check_header_length(path: Path) -> None:
    """Keeps a damaged file from asking for a header of any size."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not 0 < length <= min(HEADER_LIMIT, size - 8):
        raise _damaged(path, "no valid header")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path}: damaged or no model file ({why}); use another snapshot")

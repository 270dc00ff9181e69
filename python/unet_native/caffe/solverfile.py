"""Solvers: from Caffe's SolverParameter to SolverSettings with the networks it names, and back.

Source: Caffe solver.cpp, InitTrainNet and InitTestNets; upgrade_proto.cpp for the prefix of
snapshots.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from unet_native.caffe import network, schema, text, upgrade
from unet_native.errors import UserError
from unet_native.layers.data import beside
from unet_native.solver_settings import SolverSettings
from unet_native.solvers import SOLVERS
from unet_native.spec import NetSpec


@dataclass(frozen=True)
class SolverFile:
    """What a solver prototxt says.

    settings   in this project's form
    train      the network to train; `train_name` says where it stands ("net.prototxt")
    tests      the networks to test with, likewise
    weights    model files to start from, in order
    message    the file itself, with the defaults that Caffe fills in
    """

    settings: SolverSettings
    train: NetSpec
    train_name: str
    tests: tuple[NetSpec, ...]
    test_names: tuple[str, ...]
    weights: tuple[str, ...]
    message: Message


def read_solver(path: str | Path) -> SolverFile:
    """The solver of a prototxt, and its networks.

    Raises UserError for a file that is no solver, for settings that are not supported, and if it
    names no network.
    """
    name = str(path)
    message = upgrade.upgraded_solver(text.read(path, "SolverParameter"), name)
    if message.type not in SOLVERS:
        raise UserError(
            f"{name}: type {message.type!r} is not supported; use {' or '.join(SOLVERS)}"
        )
    message.snapshot_prefix = _snapshot_prefix(message.snapshot_prefix, Path(path))
    try:
        settings = _settings(message)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    train, train_name = _train_net(message, name)
    tests = _test_nets(message, name)
    return SolverFile(
        settings,
        train,
        train_name,
        tuple(spec for spec, _ in tests),
        tuple(where for _, where in tests),
        tuple(message.weights),
        message,
    )


def to_message(settings: SolverSettings, net: str = "") -> Message:
    """The settings as SolverParameter; `net` is the file of the network."""
    message = schema.new("SolverParameter")
    if net:
        message.net = net
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value == field.default and field.name not in ("type", "lr_policy"):
            continue
        target = getattr(message, field.name)
        if hasattr(target, "extend"):
            target.extend(value)
        elif field.name == "snapshot_format":
            formats = schema.enum_values("SolverParameter", "SnapshotFormat")
            if value in formats:  # SAFETENSORS, this project's own, Caffe does not know
                message.snapshot_format = formats[value]
        else:
            setattr(message, field.name, value)
    return message


def write_solver(path: str | Path, settings: SolverSettings, net: str = "") -> Path:
    """Writes settings as prototxt, whole or not at all; `net` is the file of the network."""
    return text.write(path, to_message(settings, net))


def _settings(message: Message) -> SolverSettings:
    given = {}
    for field in dataclasses.fields(SolverSettings):
        value = getattr(message, field.name)
        if hasattr(value, "extend"):
            given[field.name] = tuple(value)
        elif message.HasField(field.name) or field.name in ("type", "snapshot_format"):
            given[field.name] = value
    formats = schema.enum_values("SolverParameter", "SnapshotFormat")
    given["snapshot_format"] = {n: name for name, n in formats.items()}[message.snapshot_format]
    return SolverSettings(**given)


def _snapshot_prefix(prefix: str, path: Path) -> str:
    """Without one, the solver's name without its extension; that name inside of a folder."""
    if not prefix:
        return str(path.with_suffix(""))
    if os.path.isdir(prefix):
        return str(Path(prefix) / path.stem)
    return prefix


def _from_file(net: str, solver: str, state: Message) -> tuple[NetSpec, str]:
    file = beside(net, solver)
    return network.read_net(file, level=_level(state), stages=list(state.stage)), net


def _from_param(net: Message, solver: str, state: Message) -> tuple[NetSpec, str]:
    spec = network.from_message(net, solver, level=_level(state), stages=list(state.stage))
    return spec, solver


def _level(state: Message) -> int | None:
    return state.level if state.HasField("level") else None


def _train_net(message: Message, name: str) -> tuple[NetSpec, str]:
    given = [f for f in ("train_net_param", "train_net", "net_param", "net") if message.HasField(f)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise UserError(f"{name}: must name one network to train (net or train_net), has {found}")
    net, state = getattr(message, given[0]), message.train_state
    if given[0].endswith("param"):
        return _from_param(net, name, state)
    return _from_file(net, name, state)


def _test_nets(message: Message, name: str) -> list[tuple[NetSpec, str]]:
    """Caffe's order: test_net_param, test_net, then `net` as often as test_iter asks for more."""
    own = [*message.test_net_param, *message.test_net]
    generic = [getattr(message, f) for f in ("net_param", "net") if message.HasField(f)]
    count = len(message.test_iter)
    missing = count - len(own)
    if missing < 0 or (missing and not generic):
        raise UserError(f"{name}: {len(own)} test nets, but {count} test_iter; give one for each")
    nets: Sequence[Message | str] = [*own, *generic * missing]
    states = list(message.test_state)
    if states and len(states) != len(nets):
        raise UserError(f"{name}: {len(nets)} test nets, but {len(states)} test_state")
    if nets and not message.test_interval:
        raise UserError(f"{name}: has test nets; say with test_interval how often to test")
    states = states or [schema.new("NetState")] * len(nets)
    return [
        _from_file(net, name, state) if isinstance(net, str) else _from_param(net, name, state)
        for net, state in zip(nets, states, strict=True)
    ]

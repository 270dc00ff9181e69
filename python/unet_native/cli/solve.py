"""``unet-native train --solver``: Caffe's own training, with its files, its log and its signals."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unet_native.caffe.solverfile import SolverFile
    from unet_native.net import Net
    from unet_native.solver import SGDSolver

EFFECTS = ("stop", "snapshot", "none")


def solve(
    solver_file: Path,
    *,
    weights: str | None,
    snapshot: str | None,
    algorithm: str,
    device: str,
    gpu: int,
    math: str,
    threads: int,
    sigint_effect: str,
    sighup_effect: str,
) -> None:
    """Trains as ``caffe train`` does; logs to stderr as it does.

    weights: model files to start from, separated by commas. snapshot: a solver state to resume.
    Raises UserError for files that do not fit; nothing is written then.
    """
    from unet_native.caffe.log import CaffeLog
    from unet_native.caffe.solverfile import read_solver
    from unet_native.cli.device import context_of
    from unet_native.errors import UserError
    from unet_native.solvers import make_solver

    for name, effect in (("sigint", sigint_effect), ("sighup", sighup_effect)):
        if effect not in EFFECTS:
            raise UserError(f"--{name}-effect {effect}: use {', '.join(EFFECTS)}")
    if weights is not None and snapshot is not None:
        raise UserError("--weights starts a new run, --snapshot resumes one: give one of them")
    for name, files in (("weights", weights), ("snapshot", snapshot)):
        if files is not None and not all(part.strip() for part in files.split(",")):
            raise UserError(f"--{name} {files!r}: the name of a file is empty")
    file = read_solver(solver_file)
    if weights:
        file = replace(file, weights=(*file.weights, weights))
        file.message.weights.append(weights)
    _check_prefix(file.settings.snapshot_prefix)
    log = CaffeLog()
    try:
        solver = make_solver(
            file.settings,
            file.train,
            test_specs=file.tests,
            observer=log,
            plan="lean",
            algorithm=algorithm,
            context=context_of(device, gpu, threads, math),
        )
    except (ValueError, MemoryError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{solver_file}: its networks cannot be built ({error})") from error
    if not any(solver.net.blob_loss_weights.values()):
        raise UserError(f"{file.train_name}: has no loss to train by; is it the training network?")
    _set_up(solver, file, log, snapshot)
    with _signals({"SIGINT": sigint_effect, "SIGTERM": "stop", "SIGHUP": sighup_effect}) as action:
        solver.action = _while_finite(solver, action)
        solver.solve()
    log.write("caffe.cpp:250", "Optimization Done.")


def _set_up(solver: SGDSolver, file: SolverFile, log, snapshot: str | None) -> None:
    """Logs what Caffe logs before it starts, and loads what is to be loaded."""
    from unet_native.caffe.text import parse

    # Caffe's command line always names a level and a stage, here the default ones.
    state = file.message.train_state
    state.level = state.level
    if not state.stage:
        state.stage.append("")
    log.write("caffe.cpp:197", "Use CPU.")
    log.parameters(file.message)
    log.write("solver.cpp:102", f"Creating training net from net file: {file.train_name}")
    log.net(solver.net, state)
    _load(solver.net, file, log)
    no_state = parse("", "NetState", "")
    test_states = list(file.message.test_state) or [no_state] * len(solver.test_nets)
    for i, net in enumerate(solver.test_nets):
        name = file.test_names[i]
        log.write("solver.cpp:190", f"Creating test net (#{i}) specified by net file: {name}")
        log.net(net, test_states[i])
        _load(net, file, log)
    log.write("solver.cpp:57", "Solver scaffolding done.")
    for notice in solver.net.notices:
        print(notice, flush=True)
    if snapshot:
        log.write("caffe.cpp:235", f"Resuming from {snapshot}")
        log.write("sgd_solver.cpp:336", "SGDSolver: restoring history")
        solver.restore(snapshot)
    log.write("caffe.cpp:239", "Starting Optimization")


def _load(net: Net, file: SolverFile, log) -> None:
    """The weights into a net; a test net shares the training net's, but may have layers more."""
    for names in file.weights:
        for name in map(str.strip, names.split(",")):
            log.write("solver.cpp:72", f"Finetuning from {name}")
            for layer in net.copy_from(name):
                if layer and not layer.endswith("_split"):
                    log.write("net.cpp:744", f"Ignoring source layer {layer}")


def _check_prefix(prefix: str) -> None:
    """Now rather than after hours: whether snapshots can be written where they should go."""
    import os

    from unet_native.errors import UserError

    folder = Path(prefix).parent
    if not folder.is_dir():
        raise UserError(f"snapshot_prefix {prefix!r}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise UserError(f"snapshot_prefix {prefix!r}: {folder} cannot be written to")


def _while_finite(solver: SGDSolver, action: Callable[[], str | None]) -> Callable[[], str | None]:
    """`action` for a solver, but a training that has diverged ends, before it takes a snapshot.

    Caffe goes on, and fills the disk with snapshots that are worth nothing.
    """
    from math import isfinite

    import numpy as np

    from unet_native.errors import UserError

    s = solver.settings

    def ask() -> str | None:
        request = action()
        done = solver.iter + 1
        snapshots = request or done == s.max_iter or (s.snapshot and done % s.snapshot == 0)
        if not isfinite(solver.loss):
            what = f"the loss is {solver.loss}"
        elif snapshots and not all(np.isfinite(p.inner.data).all() for p in solver.net.parameters):
            what = "some weights are no finite numbers any more"
        else:
            return request
        raise UserError(
            f"iteration {solver.iter}: {what}, the training has diverged; earlier snapshots are "
            f"good: go on from one with a lower base_lr (now {s.base_lr:g}), or check the data"
        )

    return ask


@contextmanager
def _signals(effects: dict[str, str]) -> Iterator[Callable[[], str | None]]:
    """While the block runs, signals ask for their effect, which the solver fetches by a call.

    none: the signal does nothing, as in Caffe.
    """
    asked: list[str] = []
    handlers = {}
    for name, effect in effects.items():
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) is signal.SIG_IGN:
            continue
        ask = signal.SIG_IGN if effect == "none" else lambda *_, effect=effect: asked.append(effect)
        handlers[number] = signal.signal(number, ask)
    try:
        yield lambda: asked.pop(0) if asked else None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

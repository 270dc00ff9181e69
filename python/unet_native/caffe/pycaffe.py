"""pycaffe's constructors and functions, for scripts that `import unet_native as caffe`.

    import unet_native as caffe
    caffe.set_mode_cpu()
    net = caffe.Net("deploy.prototxt", "a.caffemodel", caffe.TEST)
    solver = caffe.get_solver("solver.prototxt")

`unet_native.Net`, `SGDSolver` and `AdamSolver` are the classes below: what they are made from may
be a file, as in pycaffe, or this project's NetSpec and SolverSettings. What they do once they are
made stands in unet_native.net and unet_native.solver.
Source: python/caffe/_caffe.cpp, pycaffe.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_native import _core, solvers
from unet_native import net as nets
from unet_native.caffe import network, solverfile
from unet_native.layers import LAYER_TYPES
from unet_native.ops import Context
from unet_native.ops.arrays import Array
from unet_native.solver_settings import SolverSettings
from unet_native.spec import PHASES, NetSpec

TRAIN, TEST = 0, 1  # positions in spec.PHASES

_log = logging.getLogger("unet_native")
_seed: list[int] = []  # what set_random_seed has set


@dataclass
class _Mode:
    """What set_mode_cpu, set_mode_gpu and set_device have set."""

    device: str = "cpu"
    gpu: int = 0

    def context(self) -> Context | None:
        return None if self.device == "cpu" else Context(device=self.device, gpu=self.gpu)


_mode = _Mode()


class Net(nets.Net):
    """A net from a prototxt or a NetSpec; see :class:`unet_native.net.Net` for all it does.

    Net(network_file, phase, level, stages, weights) or Net(network_file, weights, phase), as in
    pycaffe; what follows the network may be left out, or be named:

    phase    caffe.TRAIN, caffe.TEST or their names; only of a NetSpec may it be left out: TRAIN
    level, stages   of the net's state, for `include` and `exclude` rules
    weights  a model file to copy parameters from; layers unknown to the net are logged
    others   as for unet_native.net.Net

    Raises UserError for files that do not fit, ValueError for a net that cannot be built.
    """

    def __init__(
        self,
        network_file: str | Path | NetSpec,
        *args: str | Path | int | Sequence[str] | None,
        **options,
    ):
        state = _arguments(args, options)
        spec, phase = network_file, state["phase"]
        if not isinstance(spec, NetSpec):
            if phase is None:
                raise ValueError("Net: give the phase, caffe.TRAIN or caffe.TEST")
            stages = state["stages"] or ()
            spec = network.read_net(spec, level=state["level"] or 0, stages=stages)
        options.setdefault("seed", _seed[-1] if _seed else None)
        options.setdefault("context", _mode.context())
        super().__init__(spec, "TRAIN" if phase is None else phase, **options)
        for notice in self.notices:
            level = logging.WARNING if notice.startswith("warning: ") else logging.INFO
            _log.log(level, notice.removeprefix("warning: "))
        if state["weights"] is not None:
            for name in self.copy_from(state["weights"]):
                _log.info("Ignoring source layer %s", name)

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Array) -> dict[str, Array]:
        """Runs forward on any number of samples, batch by batch; returns copies of the outputs.

        inputs: samples along the first axis; a last batch that is not full is filled up with zeros.
        Raises ValueError for inputs that are not the net's, or not equally many samples of each.
        """
        if not inputs or set(inputs) != set(self.inputs):
            raise ValueError(
                f"forward_all: give samples of the net's inputs, {sorted(self.inputs)}, "
                f"not of {sorted(inputs)}"
            )
        if len({len(samples) for samples in inputs.values()}) > 1:
            raise ValueError("forward_all: equally many samples of each input are wanted")
        batch = self.blobs[self.inputs[0]].shape[0]
        count = len(next(iter(inputs.values())))
        found: dict[str, list[Array]] = {}
        for start in range(0, count, batch):
            part = {name: np.asarray(x)[start : start + batch] for name, x in inputs.items()}
            missing = batch - min(batch, count - start)
            fill = {k: ((0, missing),) + ((0, 0),) * (x.ndim - 1) for k, x in part.items()}
            outputs = self.forward(blobs=blobs, **{k: np.pad(x, fill[k]) for k, x in part.items()})
            for name, array in outputs.items():
                found.setdefault(name, []).append(array[: batch - missing].copy())
        return {name: np.concatenate(arrays) for name, arrays in found.items()}


def _arguments(args: Sequence, named: dict) -> dict:
    """What follows the network in Net(...), by pycaffe's names, told apart by kind.

    Takes its names out of `named`. The first number is the phase, the second the level.
    """
    found = {name: named.pop(name, None) for name in ("phase", "level", "stages", "weights")}
    for value in args:
        if value is None:
            continue
        if isinstance(value, int):
            name = "phase" if found["phase"] is None else "level"
        elif isinstance(value, str | Path):
            name = "phase" if value in PHASES else "weights"
        else:
            name = "stages"
        if found[name] is not None:
            raise ValueError(f"Net: {value!r} would be a second {name}")
        found[name] = value
    if isinstance(found["phase"], int):
        if found["phase"] not in (TRAIN, TEST):
            raise ValueError(f"Net: phase {found['phase']}: use caffe.TRAIN or caffe.TEST")
        found["phase"] = PHASES[found["phase"]]
    return found


class _FromFile:
    """What the solvers share: the constructor's two forms."""

    def __init__(
        self,
        solver_file: str | Path | SolverSettings,
        spec: NetSpec | None = None,
        **options,
    ):
        if isinstance(solver_file, SolverSettings):
            if spec is None:
                raise ValueError("a solver made from settings needs the network, too")
            super().__init__(solver_file, spec, **options)
            return
        file = solverfile.read_solver(solver_file)
        settings = with_seed(file.settings)
        options.setdefault("context", _mode.context())
        super().__init__(settings, file.train, test_specs=file.tests, **options)
        self.param = file.message
        for names in file.weights:
            for name in names.split(","):
                for net in (self.net, *self.test_nets):
                    net.copy_from(name.strip())


class SGDSolver(_FromFile, solvers.SGDSolver):
    """SGDSolver(solver_file), as in pycaffe, or SGDSolver(settings, spec, ...).

    See :class:`unet_native.solver.SGDSolver`. Raises UserError for files that do not fit.
    """


class AdamSolver(_FromFile, solvers.AdamSolver):
    """The same with Adam; see :class:`unet_native.solver.AdamSolver`."""


def get_solver(solver_file: str | Path, **options) -> SGDSolver | AdamSolver:
    """The solver of a prototxt, of the type that its field `type` names."""
    kind = solverfile.read_solver(solver_file).settings.type
    return {"SGD": SGDSolver, "Adam": AdamSolver}[kind](solver_file, **options)


def with_seed(settings: SolverSettings) -> SolverSettings:
    """The settings with the seed of set_random_seed, where they have none of their own."""
    if settings.random_seed >= 0 or not _seed:
        return settings
    return replace(settings, random_seed=_seed[-1])


# --- functions ---


def set_mode_cpu() -> None:
    """Nets and solvers made from now on run on the CPU, unless given a context."""
    _mode.device = "cpu"


def set_mode_gpu() -> None:
    """Nets and solvers made from now on run on the GPU, unless given a context.

    Where there is none that can be used they stay on the CPU, with the same results; a warning
    says why.
    """
    if "cuda" in _core.devices():
        _mode.device = "cuda"
    else:
        why = _core.cuda_status()["obstacle"]
        _log.warning("set_mode_gpu: the CPU computes instead, for %s", why)


def set_device(gpu: int) -> None:
    """Which GPU that is, counted from 0."""
    if gpu < 0:
        raise ValueError(f"set_device: GPUs are counted from 0, got {gpu}")
    _mode.gpu = gpu


def set_random_seed(seed: int) -> None:
    """The seed of nets and solvers made from now on that have none of their own."""
    if seed < 0:
        raise ValueError(f"set_random_seed: at least 0 is wanted, got {seed}")
    _seed.append(seed)


def layer_type_list() -> list[str]:
    """The types of layers that nets may have."""
    return list(LAYER_TYPES)

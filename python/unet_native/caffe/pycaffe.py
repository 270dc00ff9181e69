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
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from unet_native import net as nets
from unet_native import solver as solvers
from unet_native.caffe import network, schema, solverfile
from unet_native.layers import LAYER_TYPES
from unet_native.ops.arrays import Array
from unet_native.solver_settings import SolverSettings
from unet_native.spec import PHASES, NetSpec

TRAIN, TEST = 0, 1  # positions in spec.PHASES

_log = logging.getLogger("unet_native")
_seed: list[int] = []  # what set_random_seed has set


class Net(nets.Net):
    """A net from a prototxt or a NetSpec; see :class:`unet_native.net.Net` for all it does.

    Net(network_file, phase), Net(network_file, weights, phase), as in pycaffe; with keywords:

    weights  a model file to copy parameters from; layers unknown to the net are logged
    phase    caffe.TRAIN, caffe.TEST or their names; of a NetSpec it may be left out: TRAIN
    level, stages   of the net's state, for `include` and `exclude` rules
    others   as for unet_native.net.Net

    Raises UserError for files that do not fit, ValueError for a net that cannot be built.
    """

    def __init__(
        self,
        network_file: str | Path | NetSpec,
        *args: str | Path | int,
        phase: str | int | None = None,
        weights: str | Path | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        **options,
    ):
        for value in args:
            if phase is None and (isinstance(value, int) or value in PHASES):
                phase = value
            elif weights is None and not isinstance(value, int):
                weights = value
            else:
                raise ValueError(f"Net: one network, one weights file and one phase, not {value!r}")
        spec = network_file
        if not isinstance(spec, NetSpec):
            if phase is None:
                raise ValueError("Net: give the phase, caffe.TRAIN or caffe.TEST")
            spec = network.read_net(spec, level=level, stages=stages or ())
        phase = PHASES[phase] if isinstance(phase, int) else phase or "TRAIN"
        options.setdefault("seed", _seed[-1] if _seed else None)
        super().__init__(spec, phase, **options)
        for notice in self.notices:
            level = logging.WARNING if notice.startswith("warning: ") else logging.INFO
            _log.log(level, notice.removeprefix("warning: "))
        if weights is not None:
            for name in self.copy_from(weights):
                _log.info("Ignoring source layer %s", name)

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Array) -> dict[str, Array]:
        """Runs forward on any number of samples, batch by batch; returns copies of the outputs.

        inputs: samples along the first axis; a last batch that is not full is filled up with zeros.
        """
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
        super().__init__(settings, file.train, test_specs=file.tests, **options)
        self.param = file.message
        for names in file.weights:
            for name in names.split(","):
                self.net.copy_from(name.strip())


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
    from dataclasses import replace

    if settings.random_seed >= 0 or not _seed:
        return settings
    return replace(settings, random_seed=_seed[-1])


# --- functions ---


def set_mode_cpu() -> None:
    """Nothing: nets run on the CPU unless told otherwise."""


def set_mode_gpu() -> None:
    """Warns that this build has no CUDA; nets then run on the CPU, with the same results."""
    _log.warning("set_mode_gpu: this build has no CUDA, the CPU computes instead")


def set_device(gpu: int) -> None:
    """Nothing: this build has no CUDA, so there is no device to choose."""


def set_random_seed(seed: int) -> None:
    """The seed of nets and solvers made from now on that have none of their own."""
    if seed < 0:
        raise ValueError(f"set_random_seed: at least 0 is wanted, got {seed}")
    _seed.append(seed)


def layer_type_list() -> list[str]:
    """The types of layers that nets may have."""
    return list(LAYER_TYPES)


#: caffe.proto.caffe_pb2.NetParameter() and its like.
proto = SimpleNamespace(
    caffe_pb2=SimpleNamespace(
        **{name: schema.message_class(name) for name in schema.message_names()},
        TRAIN=TRAIN,
        TEST=TEST,
    )
)

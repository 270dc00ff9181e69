"""The solvers by Caffe's names, and the second one of them."""

from __future__ import annotations

from unet_native import ops
from unet_native.ops.arrays import Array
from unet_native.solver import SGDSolver
from unet_native.solver_settings import SolverSettings
from unet_native.spec import NetSpec

__all__ = ["SOLVERS", "AdamSolver", "SGDSolver", "make_solver"]


class AdamSolver(SGDSolver):
    """Trains with Adam, in Caffe's form: see ops.adam_update. Otherwise as SGDSolver.

    Source: Caffe adam_solver.cpp.
    """

    histories = 2

    def _correction(self) -> float:
        s = self.settings
        return ops.adam_correction(self.iter + 1, s.momentum, s.momentum2)

    def _apply(self, weight: Array, diff: Array, history: Array, history2: Array, **how) -> None:
        s = self.settings
        ops.adam_update(
            weight,
            diff,
            history,
            history2,
            step=None,
            momentum=s.momentum,
            momentum2=s.momentum2,
            delta=s.delta,
            **how,
        )


#: By Caffe's name, as in the field `type` of a solver.
SOLVERS: dict[str, type[SGDSolver]] = {"SGD": SGDSolver, "Adam": AdamSolver}


def make_solver(settings: SolverSettings, spec: NetSpec, **options) -> SGDSolver:
    """The solver that settings.type names; options as for SGDSolver.

    Raises ValueError for a type that is not supported.
    """
    if settings.type not in SOLVERS:
        raise ValueError(f"solver type {settings.type!r}: use {' or '.join(SOLVERS)}")
    return SOLVERS[settings.type](settings, spec, **options)

"""How a solver tells what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unet_native.ops.arrays import Array

if TYPE_CHECKING:
    from unet_native.net import Net
    from unet_native.solver import SGDSolver


class SolverObserver:
    """Called by the solver while it works; override what is of interest."""

    def solving(self, solver: SGDSolver) -> None:
        """solve() begins."""

    def displayed(self, solver: SGDSolver) -> None:
        """Every `display` iterations, once the loss is known, before the update."""

    def stepped(self, solver: SGDSolver) -> None:
        """The policy multistep has taken a step."""

    def rated(self, solver: SGDSolver, rate: float) -> None:
        """Every `display` iterations: the learning rate of the update."""

    def clipped(self, norm: float, limit: float) -> None:
        """The diffs had that norm and are scaled down to the limit."""

    def testing(self, solver: SGDSolver, index: int) -> None:
        """A test begins."""

    def tested(self, net: Net, scores: Mapping[str, Array]) -> None:
        """The mean outputs of a test net."""

    def test_interrupted(self) -> None:
        """`action` has said stop in the middle of a test."""

    def snapshotting(self, model: str, state: str) -> None:
        """A snapshot is about to be written to these files."""

    def ended(self, solver: SGDSolver) -> None:
        """solve() has run a last forward pass, whose loss is in `smoothed_loss`."""

    def done(self, stopped: bool) -> None:
        """solve() returns; stopped: before max_iter."""

"""How a training run tells what happens."""

from __future__ import annotations

from pathlib import Path

from unet_native.train.log import Row

__all__ = ["Observer"]


class Observer:
    """Called by the trainer, in its thread; override what is of interest."""

    def iteration(self, row: Row, iterations: int) -> None:
        """After each iteration of `iterations`."""

    def validating(self, done: int, slices: int) -> None:
        """During a validation: slices done."""

    def validated(self, iteration: int, scores: dict[str, float], best: bool) -> None:
        """After a validation; `best`: better than all before, so model.safetensors is new."""

    def snapshot(self, path: Path) -> None:
        """After a snapshot."""

    def warning(self, text: str) -> None:
        """Something looks wrong; the run goes on."""

"""A training run as its user watches it."""

from __future__ import annotations

from typing import Any

from unet_native.cli.console import note, warn

__all__ = ["observer_on_console"]


def observer_on_console(update: Any) -> Any:
    from unet_native.train import Observer

    class OnConsole(Observer):
        """Shows a run as a progress bar and a few lines."""

        def iteration(self, row, iterations):
            text = f"loss {row.smoothed_loss:.4f}, lr {row.lr:.2e}, {row.seconds:.2f} s/iteration"
            update(row.iteration, iterations, text)

        def validated(self, iteration, scores, best):
            text = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            note(f"iteration {iteration}: {text}{' (best so far)' if best else ''}")

        def warning(self, text):
            warn(text)

    return OnConsole()

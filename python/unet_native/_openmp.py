"""How OpenMP's threads wait, decided before the core, and with it OpenMP's runtime, is loaded.

By default a thread that waits for the others spins for a while. On a core that it shares (with
another program, or with the thread that makes the next training tile) it then takes time from those
it waits for: on a loaded machine that made a training step ten times slower. Asleep it costs
microseconds to wake. OpenMP's runtime reads the choice from the environment when it is loaded; a
choice that the user has made there stands, and child processes inherit nothing from here.
"""

from __future__ import annotations

import os

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def load_core() -> None:
    """Imports unet_native._core with threads that sleep while they wait."""
    chosen = any(name in os.environ for name in _CHOICES)
    if not chosen:
        os.environ["OMP_WAIT_POLICY"] = "passive"
    try:
        import unet_native._core  # noqa: F401
    finally:
        if not chosen:
            del os.environ["OMP_WAIT_POLICY"]

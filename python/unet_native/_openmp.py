"""How OpenMP's threads wait, decided before the core, and with it OpenMP's runtime, is loaded.

By default a thread that waits for the others spins for milliseconds. On a core that it shares (with
another program, or with the thread that makes the next training tile) it then takes time from those
it waits for: on a loaded machine that made a training step ten times slower. Asleep it costs
microseconds to wake, a hundred times in a pass: where the next loop begins at once, a thread does
not fall asleep. OpenMP's runtime reads the choice from the environment when it is loaded; a choice
that the user has made there stands, and child processes inherit nothing from here.
"""

from __future__ import annotations

import os

_NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
#: Sleep, but only after some ten microseconds; at once if there are more threads than cores.
_CHOICE = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}


def load_core() -> None:
    """Imports unet_native._core with threads that soon sleep while they wait."""
    choice = {} if any(name in os.environ for name in _NAMES) else _CHOICE
    os.environ.update(choice)
    try:
        import unet_native._core  # noqa: F401
    finally:
        for name in choice:
            del os.environ[name]

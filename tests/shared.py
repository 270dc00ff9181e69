"""Where data lie that are not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


def shared(name: str) -> Path:
    """`name` in the folder `shared` beside the checkout; skips the test without it."""
    path = CHECKOUT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"no {name} in ../shared", allow_module_level=True)
    return path


def golden(name: str) -> Path:
    """`name` in the numbers that BVLC Caffe produced; skips the test without them.

    They lie in ../shared/golden or in the folder that UNET_NATIVE_GOLDEN names.
    """
    folder = os.environ.get("UNET_NATIVE_GOLDEN")
    if folder is None:
        return shared("golden") / name
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"no {name} in UNET_NATIVE_GOLDEN={folder}", allow_module_level=True)
    return path

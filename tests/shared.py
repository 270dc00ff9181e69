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

    They lie in the folder that UNET_NATIVE_GOLDEN names, or else in ../shared/golden; a small part
    of them, with which the tests stand alone, in tests/golden.
    """
    named = os.environ.get("UNET_NATIVE_GOLDEN")
    beside = CHECKOUT.parent / "shared" / "golden"
    folder = Path(named) if named else beside if beside.is_dir() else CHECKOUT / "tests" / "golden"
    path = folder / name
    if not path.exists():
        pytest.skip(f"no {name} in {folder.name}", allow_module_level=True)
    return path

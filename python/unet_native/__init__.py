"""The 2015 U-Net as its authors trained it in Caffe, on a hand-written C++/CUDA core."""

from importlib import import_module

from unet_native._openmp import load_core

load_core()

from unet_native._core import version as __version__  # noqa: E402

# Loaded when first asked for, so that importing the package is quick.
_HOME = {
    "Net": "unet_native.net",
    "NetSpec": "unet_native.spec",
    "SGDSolver": "unet_native.solver",
    "SolverSettings": "unet_native.solver",
    "UserError": "unet_native.errors",
    "load_model": "unet_native.snapshot",
}

__all__ = [
    "Net",
    "NetSpec",
    "SGDSolver",
    "SolverSettings",
    "UserError",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

"""The 2015 U-Net as its authors trained it in Caffe, on a hand-written C++/CUDA core.

import unet_native

model = unet_native.load("run")            # what `unet-native train -o run` has made
probabilities = model.segment(image)       # (classes, H, W) for an image of any size
"""

from importlib import import_module

from unet_native._openmp import load_core

load_core()

from unet_native._core import version as __version__  # noqa: E402

# Loaded when first asked for, so that importing the package is quick.
_HOME = {
    "Model": "unet_native.model_file",
    "Net": "unet_native.net",
    "NetSpec": "unet_native.spec",
    "SGDSolver": "unet_native.solver",
    "SolverSettings": "unet_native.solver",
    "UserError": "unet_native.errors",
    "load": "unet_native.model_file",
    "load_model": "unet_native.snapshot",
}

__all__ = [
    "Model",
    "Net",
    "NetSpec",
    "SGDSolver",
    "SolverSettings",
    "UserError",
    "__version__",
    "load",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

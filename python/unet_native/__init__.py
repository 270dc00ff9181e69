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
_PYCAFFE = "unet_native.caffe.pycaffe"
_HOME = {
    "AdamSolver": _PYCAFFE,
    "Model": "unet_native.model_file",
    "Net": _PYCAFFE,
    "NetSpec": "unet_native.spec",
    "SGDSolver": _PYCAFFE,
    "SolverSettings": "unet_native.solver_settings",
    "UserError": "unet_native.errors",
    "get_solver": _PYCAFFE,
    "layer_type_list": _PYCAFFE,
    "load": "unet_native.model_file",
    "load_model": "unet_native.snapshot",
    "set_device": _PYCAFFE,
    "set_mode_cpu": _PYCAFFE,
    "set_mode_gpu": _PYCAFFE,
    "set_random_seed": _PYCAFFE,
}

TRAIN, TEST = 0, 1  # Caffe's phases

__all__ = ["TEST", "TRAIN", "__version__", "proto", *_HOME]


def __getattr__(name: str) -> object:
    if name == "proto":
        return import_module("unet_native.proto")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

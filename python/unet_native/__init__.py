"""The 2015 U-Net as its authors trained it in Caffe, on a hand-written C++/CUDA core."""

from unet_native._core import version as __version__

__all__ = ["__version__"]

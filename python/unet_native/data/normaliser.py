"""From grey values of a file to what the network sees.

One rule for the whole data set, fitted on the training images, stored in the model and applied to
every later image. A rule fitted per image would map the same tissue to different values, and a
guess such as "divide by 255 if a value exceeds 1" breaks on dark and on 16-bit images.

The default, ``zscore``, gives the network inputs of mean 0 and standard deviation 1, which is what
its initialisation N(0, sqrt(2/N)) assumes, whatever the bit depth, offset and contrast: an 8-bit
electron micrograph uses the whole of 0..255, a 12-bit camera saved as 16-bit TIFF a sixteenth of
0..65535. Values beyond the 0.1 and 99.9 percentiles are clipped while mean and deviation are
computed, so that hot pixels and dust do not shift them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_native.errors import UserError

__all__ = ["KINDS", "Normaliser"]

KINDS = ("zscore", "percentile", "minmax", "dtype")

_TAIL = 0.1  # percent clipped at either end
_SAMPLE = 1 << 18  # values per image and channel that represent images of 32 bits and floats


@dataclass(frozen=True)
class Normaliser:
    """out = (grey - offset) * scale, per channel.

    kind      zscore      mean and standard deviation of the training images, tails clipped
              percentile  the 0.1 and 99.9 percentiles become 0 and 1
              minmax      the smallest and largest value become 0 and 1
              dtype       the range of the integer type becomes 0 .. 1; floats stay as they are
    dtype     of the training images, as numpy spells it
    low,high  the 0.1 and 99.9 percentiles of the training images (grey values), per channel
    """

    kind: str
    dtype: str
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def fit(cls, images: Iterable[np.ndarray], kind: str = "zscore") -> Normaliser:
        """Fit on training images, each (C, H, W) of one common dtype.

        Raises UserError for an unknown kind or images without any contrast.
        """
        if kind not in KINDS:
            raise UserError(f"normaliser {kind!r} is unknown: use one of {', '.join(KINDS)}")
        images = list(images)
        if not images:
            raise UserError("the normaliser needs at least one training image")
        dtype = images[0].dtype
        fitted = [_fit_channel([image[c] for image in images], kind) for c in range(len(images[0]))]
        offset, scale, low, high = (
            tuple(float(v) for v in row) for row in zip(*fitted, strict=True)
        )
        return cls(kind, dtype.name, offset, scale, low, high)

    def __call__(self, image: np.ndarray, name: str = "image") -> NDArray[np.float32]:
        """Normalise `image` (C, H, W); returns float32 of the same shape.

        Raises UserError, naming the file `name`, if the number of channels or the kind of number
        is not that of the training images.
        """
        if len(image) != len(self.offset):
            raise UserError(
                f"{name}: has {_channels(len(image))}, the training images have "
                f"{_channels(len(self.offset))}; convert it, or say with --axes which axis is which"
            )
        if self.kind == "dtype":
            offset, scale = _dtype_range(image.dtype)
            return np.multiply(image - np.float32(offset), np.float32(scale), dtype=np.float32)
        if image.dtype.name != self.dtype and not (
            image.dtype.kind == "f" and np.dtype(self.dtype).kind == "f"
        ):
            raise UserError(
                f"{name}: holds {image.dtype.name} values, the training images hold {self.dtype}; "
                f"convert it to {self.dtype} in the same way as the training images"
            )
        offset = np.array(self.offset, np.float32)[:, None, None]
        scale = np.array(self.scale, np.float32)[:, None, None]
        normalised = image.astype(np.float32)
        normalised -= offset
        normalised *= scale
        return normalised

    @property
    def value_range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`low` and `high` after normalisation, each (C,) float32."""
        low, high = (np.array(v, np.float32)[:, None, None] for v in (self.low, self.high))
        if self.kind == "dtype":
            offset, scale = _dtype_range(np.dtype(self.dtype))
        else:
            offset, scale = (np.array(v)[:, None, None] for v in (self.offset, self.scale))
        low, high = (np.asarray((v - offset) * scale, np.float32).ravel() for v in (low, high))
        return low, np.maximum(high, low + np.float32(1e-3))

    def describe(self) -> str:
        """One line for people."""
        values = "; ".join(
            f"({o:.6g} -> 0, {o + 1 / s:.6g} -> 1)"
            for o, s in zip(self.offset, self.scale, strict=True)
        )
        return f"{self.kind} of the training images, {values}"

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists only: ready for JSON."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Normaliser:
        """The normaliser that :meth:`to_dict` stored."""
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})


def _fit_channel(planes: list[np.ndarray], kind: str) -> tuple[float, float, float, float]:
    """offset, scale, low, high of one channel."""
    values, counts = _distribution(planes)
    position = np.cumsum(counts)
    tail = _TAIL / 100 * position[-1]
    low = float(values[np.searchsorted(position, tail, side="right")])
    high = float(values[min(np.searchsorted(position, position[-1] - tail), len(values) - 1)])
    if values[0] == values[-1]:
        raise UserError(
            f"all training images are constant (every pixel is {values[0]:g}): nothing can be "
            "learnt from them; check that the right files and channel are given"
        )
    if kind == "dtype":
        offset, scale = _dtype_range(planes[0].dtype)
        return offset, scale, low, high
    if kind == "minmax" or low == high:
        low, high = (float(values[0]), float(values[-1])) if low == high else (low, high)
    if kind == "minmax":
        return float(values[0]), 1 / float(values[-1] - values[0]), low, high
    if kind == "percentile":
        return low, 1 / (high - low), low, high
    clipped = np.clip(values, low, high)
    mean = float(np.average(clipped, weights=counts))
    deviation = float(np.sqrt(np.average((clipped - mean) ** 2, weights=counts)))
    return mean, 1 / deviation, low, high


def _distribution(planes: list[np.ndarray]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ascending values and how often each occurs: exact up to 16 bits, else a regular sample."""
    if planes[0].dtype.kind in "bu" and planes[0].dtype.itemsize <= 2:
        counts = np.zeros(1 << 16, np.int64)
        for plane in planes:
            counts += np.bincount(plane.ravel(), minlength=1 << 16)
        values = np.flatnonzero(counts)
        return values.astype(np.float64), counts[values]
    samples = []
    for plane in planes:
        step = -(-plane.size // _SAMPLE)
        flat = plane.ravel()
        extremes = np.array([flat.min(), flat.max()])
        samples.append(np.concatenate([flat[::step], extremes]).astype(np.float64))
    values, counts = np.unique(np.concatenate(samples), return_counts=True)
    return values, counts


def _dtype_range(dtype: np.dtype) -> tuple[float, float]:
    """offset and scale that bring the range of an integer type to 0 .. 1."""
    if dtype.kind not in "iu":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), 1.0 / (float(limits.max) - float(limits.min))


def _channels(count: int) -> str:
    return f"{count} channel{'' if count == 1 else 's'}"

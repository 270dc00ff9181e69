"""Initial values of parameters: Caffe's fillers, and that of the 2015 release.

A filler draws in the order of Caffe's C-ordered array, whatever the memory layout, from a stream
of its own for every (seed, layer, parameter): the values of one layer do not depend on the others.
The distributions are Caffe's; its exact numbers would need its random generator.

N counts connections as Caffe does, from the shape of the parameter: fan_in = count / shape[0],
fan_out = count / shape[1]. For a convolution's (OC, IC, KH, KW) that is the number of connections
into and out of a neuron. For a Deconvolution's (IC, OC, KH, KW) it is not: fan_in is OC*KH*KW.

Source: Caffe filler.hpp; for "release_xavier" the patched filler.hpp of the 2015 U-Net release.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt

import numpy as np

from unet_native.ops.arrays import Array
from unet_native.spec import FillerParameter, Shape


def generator(seed: int, layer: int, param: int) -> np.random.Generator:
    """The random stream of one parameter: `layer` its layer's index in the whole network."""
    entropy = np.random.SeedSequence(seed, spawn_key=(layer, param))
    return np.random.Generator(np.random.Philox(entropy))


def fill(array: Array, filler: FillerParameter, rng: np.random.Generator) -> None:
    """Overwrites `array` (float32, any layout) with what `filler` asks for.

    Raises ValueError for a filler type or variance_norm that does not exist.
    """
    if filler.type not in FILLERS:
        names = ", ".join(FILLERS)
        raise ValueError(f"filler {filler.type!r} is not supported (there are: {names})")
    array[...] = FILLERS[filler.type](filler, array.shape or (1,), rng)


def _connections(filler: FillerParameter, shape: Shape) -> float:
    """Caffe's N, chosen by variance_norm."""
    count = prod(shape)
    fan_in = count / shape[0]
    fan_out = count / shape[1] if len(shape) > 1 else count
    by_name = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}
    if filler.variance_norm not in by_name:
        raise ValueError(f"variance_norm {filler.variance_norm!r}: use {', '.join(by_name)}")
    return by_name[filler.variance_norm]


def _normal(shape: Shape, std: float, rng: np.random.Generator) -> Array:
    values = rng.standard_normal(shape, np.float32)
    values *= np.float32(std)
    return values


def _uniform(shape: Shape, low: float, high: float, rng: np.random.Generator) -> Array:
    values = rng.random(shape, np.float32)
    values *= np.float32(high - low)
    values += np.float32(low)
    return values


def _constant(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> float:
    return filler.value


def _uniform_filler(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> Array:
    return _uniform(shape, filler.min, filler.max, rng)


def _gaussian(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> Array:
    """N(mean, std); with `sparse` each output keeps that many values on average, the rest is 0."""
    values = _normal(shape, filler.std, rng)
    values += np.float32(filler.mean)
    if filler.sparse >= 0:
        values *= rng.random(shape, np.float32) < filler.sparse / shape[0]
    return values


def _xavier(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> Array:
    """Uniform in +-sqrt(3 / N), hence of standard deviation sqrt(1 / N)."""
    bound = sqrt(3 / _connections(filler, shape))
    return _uniform(shape, -bound, bound, rng)


def _msra(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> Array:
    """N(0, sqrt(2 / N))."""
    return _normal(shape, sqrt(2 / _connections(filler, shape)), rng)


def _release_xavier(filler: FillerParameter, shape: Shape, rng: np.random.Generator) -> Array:
    """What `xavier` means in the release's patched Caffe: N(0, sqrt(2 / fan_in)), always fan_in."""
    return _normal(shape, sqrt(2 * shape[0] / prod(shape)), rng)


Filler = Callable[[FillerParameter, Shape, np.random.Generator], "Array | float"]

FILLERS: dict[str, Filler] = {
    "constant": _constant,
    "uniform": _uniform_filler,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "release_xavier": _release_xavier,
}

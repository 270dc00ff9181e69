"""The parameters of a net: one arena for their values, another for their diffs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from unet_native import arena, fillers
from unet_native.blob import Blob, filter_shaped
from unet_native.layers import Layer
from unet_native.ops.arrays import Array
from unet_native.spec import ParamSpec, Shape


@dataclass(frozen=True)
class Parameter:
    """One parameter of a net, as the solver sees it: `index` 0 is a weight, 1 a bias."""

    layer: Layer
    index: int
    spec: ParamSpec

    @property
    def name(self) -> str:
        return f"{self.layer.name}.{self.index}"

    @property
    def blob(self) -> Blob:
        """As the net's user sees it."""
        return self.layer.blobs[self.index]

    @property
    def inner(self) -> Blob:
        """As the layer sees it."""
        return self.layer.params[self.index]

    @property
    def learns(self) -> bool:
        return self.layer.param_propagate[self.index]


def of_layers(layers: list[Layer]) -> list[Parameter]:
    """All parameters, in the order of the layers, weights before biases."""
    parameters = []
    for layer in layers:
        specs = layer.spec.param
        for i in range(len(layer.fillers())):
            parameters.append(Parameter(layer, i, specs[i] if i < len(specs) else ParamSpec()))
    return parameters


def shape_of(param: Parameter, shapes: dict[str, Shape]) -> Shape:
    """A parameter's shape, from the shapes of the net's blobs."""
    bottoms = [shapes[name] for name in param.layer.spec.bottom]
    return param.layer.param_shapes(bottoms)[param.index]


def param_shaped(memory: Array, layer: Layer, shape: Shape) -> Array:
    """Flat memory as a parameter: a filter over [KH][KW][IC][OC], or a vector."""
    if len(shape) != 4:
        return memory.reshape(shape)
    return filter_shaped(memory, shape, transposed=layer.transposed_filter)


def like(parameters: list[Parameter]) -> list[Array]:
    """Arrays of zeros of the parameters' shapes and memory order, in one arena of their own."""
    return _in_arena(parameters, [param.inner.shape for param in parameters])


def _in_arena(parameters: list[Parameter], shapes: list[Shape]) -> list[Array]:
    """On the device of the parameters' layers."""
    sizes = [arena.aligned(4 * prod(shape)) for shape in shapes]
    context = parameters[0].layer.execution.context if parameters else None
    memory = arena.allocate(sum(sizes), context).view(np.float32)
    arrays, start = [], 0
    for param, shape, size in zip(parameters, shapes, sizes, strict=True):
        arrays.append(param_shaped(memory[start : start + prod(shape)], param.layer, shape))
        start += size // 4
    return arrays


def make(
    parameters: list[Parameter],
    shapes: dict[str, Shape],
    *,
    seed: int,
    source: Mapping[str, Sequence[Blob]],
    fill: bool,
    diffs: bool,
) -> None:
    """Gives every layer its `params`: with the data of `source` where it has any, else new ones.

    shapes: of the net's blobs. source: params by layer name, whose data are shared. fill: whether
    to fill new ones, which otherwise are 0. diffs: whether to keep diffs. Raises ValueError where
    `source` has other shapes.
    """
    wanted = {param: shape_of(param, shapes) for param in parameters}
    shared = {
        param: _of_that_shape(param, shape, source[param.layer.name])
        for param, shape in wanted.items()
        if param.layer.name in source
    }
    new = [param for param in parameters if param not in shared]
    data = dict(zip(new, _in_arena(new, [wanted[param] for param in new]), strict=True))
    if fill:
        for param, array in data.items():
            rng = fillers.generator(seed, param.layer.index, param.index)
            try:
                fillers.fill(array, param.layer.fillers()[param.index], rng)
            except ValueError as error:
                raise param.layer.refuse(str(error)) from None
    diff_arrays = _in_arena(parameters, list(wanted.values())) if diffs else [None] * len(wanted)
    for param, diff in zip(parameters, diff_arrays, strict=True):
        blob = Blob(data.get(param), diff)
        if param in shared:
            blob.share_data(shared[param])
        param.layer.params.append(blob)


def _of_that_shape(param: Parameter, shape: Shape, blobs: Sequence[Blob]) -> Blob:
    if param.index >= len(blobs) or blobs[param.index].shape != shape:
        theirs = [blob.shape for blob in blobs]
        raise param.layer.refuse(f"cannot share parameters of shapes {theirs}, {shape} is wanted")
    return blobs[param.index]

"""The memory of a plan: one arena, and the arrays in it that blobs and layers work on."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_native import arena
from unet_native.blob import Blob, shaped
from unet_native.layers import Layer
from unet_native.ops import Context
from unet_native.ops.arrays import Array
from unet_native.parameters import param_shaped
from unet_native.plan import Key, Plan
from unet_native.spec import Shape


class Memory:
    """An arena of zeros on the device of `context`, cut up as `plan` says."""

    def __init__(self, plan: Plan, context: Context | None = None):
        self._plan = plan
        self._arena = arena.allocate(plan.bytes, context)

    def workspace(self, layer: Layer, step: str) -> Array | None:
        """Scratch memory of one pass of a layer; None if it needs none."""
        return self._flat(("layer", layer.name, step))

    def again(self, blob: str) -> Array | None:
        """Where the data of a blob go that is computed again for the backward pass."""
        return self._array(("blob", blob, "again"), self._plan.shapes[blob])

    def bind(self, layers: list[Layer], blobs: Mapping[str, Blob]) -> None:
        """Hands these blobs, those that own no memory, and all layers their arrays."""
        shapes = self._plan.shapes
        for name, blob in blobs.items():
            blob.bind(data=self._blob(name, "data"), diff=self._blob(name, "diff"))
        for layer in layers:
            layer.bottom_diffs = [
                self._array(("layer", layer.name, f"addend{i}"), shapes[layer.spec.bottom[i]])
                if layer.accumulate[i] and not layer.can_accumulate
                else blob.diff
                for i, blob in enumerate(layer.bottom)
            ]
            layer.parts = [
                blobs[part]
                for name in layer.spec.bottom
                for part in self._plan.placement.joined.get(name, ())
            ]
            kept = layer.kept_buffers([shapes[name] for name in layer.spec.bottom])
            layer.kept = {
                name: self._array(("layer", layer.name, name), shape, dtype)
                for name, (shape, dtype) in kept.items()
            }
            for i, blob in enumerate(layer.params):
                if (memory := self._flat(("layer", layer.name, f"{i}.diff"))) is not None:
                    blob.bind(diff=param_shaped(memory[: blob.count], layer, blob.shape))
            for i, blob in enumerate(layer.top):
                if blob.diff is not None and layer.loss_weight(i):
                    blob.diff[...] = layer.loss_weight(i)

    def _flat(self, key: Key, dtype: type = np.float32) -> NDArray | None:
        """The memory of a buffer; None if the plan has none of that key."""
        buffer = self._plan.buffers.get(key)
        return None if buffer is None else self._arena[buffer.offset : buffer.end].view(dtype)

    def _array(self, key: Key, shape: Shape, dtype: type = np.float32) -> NDArray | None:
        memory = self._flat(key, dtype)
        return None if memory is None else shaped(memory[: prod(shape)], shape)

    def _blob(self, name: str, what: str) -> Array | None:
        """Data or diff of a blob, perhaps as some channels or a window of another blob's."""
        placement = self._plan.placement
        if what == "data" and name in placement.windows:
            crop = placement.windows[name]
            return crop.window(self._blob(crop.spec.bottom[0], what), self._plan.shapes[name])
        root, channel = placement.home(name, what)
        array = self._array(("blob", root, what), self._plan.shapes[root])
        if array is None or root == name:
            return array
        return array[:, channel : channel + self._plan.shapes[name][1]]

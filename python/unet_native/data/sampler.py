"""Training tiles: a function of (seed, iteration) and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.data.augment import AugmentSettings, Deformation, grey_curve
from unet_native.data.dataset import DataSet, Slice
from unet_native.data.weight_map import WeightSettings, pixel_weights, weight_map
from unet_native.errors import UserError

__all__ = ["Sampler"]

Array = NDArray[np.float32]

_SLICE_ORDER = 1  # keeps the stream that orders the slices apart from that of the tiles


@dataclass
class _Prepared:
    """A slice ready to be deformed."""

    image: Array  # (H, W, C)
    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]
    weight: Array
    ignore: NDArray[np.uint8] | None

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.labels.nbytes + self.instances.nbytes + self.weight.nbytes


class Sampler:
    """Draws augmented tiles from a data set.

    dataset        slices with labels; its normaliser says what the network sees
    tile_in        side of the input tile (px)
    tile_out       side of the network's output for it (px); the label and weight of a tile are
                   those of its middle tile_out pixels
    settings       augmentation; None = the paper's
    seed           any integer >= 0
    weights        weight map settings; None = the paper's
    class_weights  (classes,); None = inverse frequencies over `dataset`
    threads        for the pixel loops. Tiles do not depend on it
    cache_bytes    normalised images and weight maps kept in memory; beyond, they are made anew

    Every slice is visited once per epoch of ``len(dataset)`` iterations, in a random order.
    """

    def __init__(
        self,
        dataset: DataSet,
        tile_in: int,
        tile_out: int,
        settings: AugmentSettings | None = None,
        seed: int = 0,
        *,
        weights: WeightSettings | None = None,
        class_weights: Sequence[float] | None = None,
        threads: int = 1,
        cache_bytes: int = 2 << 30,
    ) -> None:
        if not 1 <= tile_out <= tile_in or (tile_in - tile_out) % 2:
            raise UserError(
                f"the output tile ({tile_out} px) must be smaller than the input tile ({tile_in} "
                "px) by an even number"
            )
        if seed < 0:
            raise UserError(f"seed must be at least 0, got {seed}")
        for item in dataset:
            if item.labels is None or item.instances is None:
                raise UserError(f"{item.place}: has no labels to train on")
        self.dataset = dataset
        self.tile_in, self.tile_out = tile_in, tile_out
        self.settings = settings or AugmentSettings()
        self.seed = seed
        self.weights = weights or WeightSettings()
        given = dataset.class_weights() if class_weights is None else class_weights
        self.class_weights = np.asarray(given, np.float32)
        self._context = _core.Context(threads=threads)
        self._cache: dict[int, _Prepared] = {}
        self._cache_left = cache_bytes

    def slice_index(self, iteration: int) -> int:
        """Which slice the tile of an iteration comes from."""
        epoch, position = divmod(iteration, len(self.dataset))
        rng = self._rng(epoch, _SLICE_ORDER)
        return int(rng.permutation(len(self.dataset))[position])

    def sample(self, iteration: int) -> tuple[Array, Array, Array]:
        """The tile of an iteration >= 0: data, label, weight, all float32.

        data (1, C, tile_in, tile_in), channels contiguous in memory; label (1, 1, tile_out,
        tile_out) holds class numbers; weight likewise.
        """
        prepared = self._prepare(self.slice_index(iteration))
        rng = self._rng(iteration)
        settings = self.settings
        deformation = Deformation.draw(
            rng, settings, self.tile_in, self.tile_out, prepared.image.shape[:2]
        )
        coordinates = deformation.coordinates(self._context)
        data = np.empty((self.tile_in, self.tile_in, prepared.image.shape[2]), np.float32)
        cubic = settings.interpolation == "cubic"
        _core.sample_image(self._context, prepared.image, coordinates, cubic, data)
        if settings.varies_grey:
            self._vary_grey(rng, data)
        label, weight = self._sample_labels(prepared, coordinates)
        return data.transpose(2, 0, 1)[None], label[None, None], weight[None, None]

    def weight_map(self, index: int) -> Array:
        """Weight of each pixel of a slice in the loss, before any deformation, (H, W) float32."""
        return self._prepare(index).weight

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, *key])))

    def _vary_grey(self, rng: np.random.Generator, data: Array) -> None:
        low, high = self.dataset.normaliser.value_range
        curves = np.stack([grey_curve(rng, self.settings) for _ in low])
        curves = low[:, None] + curves * (high - low)[:, None]
        _core.apply_curves(self._context, data, curves, low, high)

    def _sample_labels(self, prepared: _Prepared, coordinates: Array) -> tuple[Array, Array]:
        border = (self.tile_in - self.tile_out) // 2
        middle = np.ascontiguousarray(_crop(coordinates, border))
        label = self._nearest(prepared.labels, middle)
        if self.settings.weights == "recomputed":
            weight = self._recomputed_weight(prepared, coordinates)
        else:
            weight = np.empty((*label.shape, 1), np.float32)
            _core.sample_image(self._context, prepared.weight[..., None], middle, False, weight)
            weight = weight[..., 0]
        if prepared.ignore is not None:
            weight[self._nearest(prepared.ignore, middle) > 0] = 0
        return label.astype(np.float32), weight

    def _recomputed_weight(self, prepared: _Prepared, coordinates: Array) -> Array:
        border = (self.tile_in - self.tile_out) // 2
        margin = min(border, int(np.ceil(self.weights.reach)))
        around = np.ascontiguousarray(_crop(coordinates, border - margin))
        weight = pixel_weights(
            self._nearest(prepared.instances, around),
            self._nearest(prepared.labels, around),
            self.weights,
            self.class_weights,
            context=self._context,
        )
        return np.ascontiguousarray(_crop(weight, margin))

    def _nearest(self, plane: np.ndarray, coordinates: Array) -> np.ndarray:
        out = np.empty(coordinates.shape[:2], plane.dtype)
        _core.sample_nearest(self._context, plane, coordinates, out)
        return out

    def _prepare(self, index: int) -> _Prepared:
        if index in self._cache:
            return self._cache[index]
        prepared = self._prepare_slice(self.dataset[index])
        if prepared.nbytes <= self._cache_left:
            self._cache_left -= prepared.nbytes
            self._cache[index] = prepared
        return prepared

    def _prepare_slice(self, item: Slice) -> _Prepared:
        weight = weight_map(
            item.instances,
            item.labels,
            settings=self.weights,
            class_weights=self.class_weights,
            ignore=item.ignore,
            context=self._context,
        )
        image = np.ascontiguousarray(item.image.transpose(1, 2, 0))
        labels = np.ascontiguousarray(item.labels, np.uint8)
        instances = np.ascontiguousarray(item.instances, np.int32)
        ignore = None if item.ignore is None else np.ascontiguousarray(item.ignore, np.uint8)
        return _Prepared(image, labels, instances, weight, ignore)


def _crop(array: np.ndarray, border: int) -> np.ndarray:
    """Without `border` pixels on each side of the first two axes."""
    return array[border : array.shape[0] - border, border : array.shape[1] - border]

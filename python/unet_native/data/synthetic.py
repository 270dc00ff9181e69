"""A synthetic stack that looks like serial-section electron micrographs of neural tissue.

For demonstrations and tests: no real image need be shipped. Cells are the regions of a warped
power diagram in space, cut plane by plane; membranes are dark lines of varying width and contrast
that fade where they are cut obliquely; mitochondria and vesicles are as dark as membranes, and the
staining is uneven. So no threshold finds the cells, while form and local contrast do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["synthetic_em"]

_CELL = 46.0  # typical diameter of a cell, px
_SECTION = 14.0  # distance between slices, px
_MEMBRANE = 2.6  # half the width of a labelled membrane, px
_CYTOPLASM, _DARKEST = 165.0, 45.0  # grey values


def synthetic_em(
    slices: int, size: int | tuple[int, int], seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a stack: images (slices, H, W) uint8 and labels (slices, H, W) uint8.

    Labels are 0 on membranes and 255 inside cells, as in the ISBI 2012 challenge. size: H = W, or
    (H, W). The same arguments give the same stack.
    """
    height, width = (size, size) if isinstance(size, int) else size
    stack = _generator(seed, 0)
    tissue = _Tissue(stack, slices, height, width)
    images = np.empty((slices, height, width), np.uint8)
    labels = np.empty_like(images)
    for index in range(slices):
        rng = _generator(seed, 1, index)
        cells = tissue.cut(index, rng)
        membrane_distance = _distance_to_membrane(cells)
        half_width = _MEMBRANE * np.exp(0.12 * _smooth_noise(rng, cells.shape, 25))
        labels[index] = np.where(membrane_distance > half_width, 255, 0)
        images[index] = _draw(rng, cells, membrane_distance, half_width)
    return images, labels


class _Tissue:
    """Seeds of cells in space, with a smooth warp that is common to all planes."""

    def __init__(self, rng: np.random.Generator, slices: int, height: int, width: int) -> None:
        from scipy.spatial import cKDTree

        margin = 2 * _CELL
        extent = np.array([slices * _SECTION, height, width]) + 2 * margin
        count = max(8, int(1.6 * np.prod(extent) / _CELL**3))
        seeds = rng.uniform(-margin, extent - margin, (count, 3))
        # A fourth coordinate turns nearest neighbours into a power diagram: cells of unequal size.
        handicap = 1.5 * _CELL * (1 - rng.beta(0.7, 2.5, count))
        self._tree = cKDTree(np.column_stack([seeds, handicap]))
        self._warp = [
            9 * _smooth_noise(rng, (height, width), 28) + 3 * _smooth_noise(rng, (height, width), 9)
            for _ in range(2)
        ]

    def cut(self, index: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The cell that each pixel of a plane belongs to, (H, W)."""
        shape = self._warp[0].shape
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
        depth = index * _SECTION + 4 * _smooth_noise(rng, shape, 40)
        rows += self._warp[0] + 0.8 * _smooth_noise(rng, shape, 5)
        columns += self._warp[1] + 0.8 * _smooth_noise(rng, shape, 5)
        points = np.stack([depth, rows, columns, np.zeros(shape)], -1)
        return self._tree.query(points.reshape(-1, 4))[1].reshape(shape)


def _distance_to_membrane(cells: np.ndarray) -> NDArray[np.float64]:
    """Distance (px) of each pixel to the nearest border between two cells, (H, W)."""
    from scipy import ndimage

    border = np.zeros(cells.shape, bool)
    border[:-1] |= cells[:-1] != cells[1:]
    border[:, :-1] |= cells[:, :-1] != cells[:, 1:]
    if not border.any():
        return np.full(cells.shape, np.inf)
    return ndimage.distance_transform_edt(~border)


def _draw(
    rng: np.random.Generator,
    cells: np.ndarray,
    membrane_distance: np.ndarray,
    half_width: np.ndarray,
) -> NDArray[np.uint8]:
    """The grey values of a plane."""
    from scipy import ndimage

    shape = cells.shape
    numbers, index = np.unique(cells, return_inverse=True)
    brightness = rng.normal(0, 8, len(numbers))[index.reshape(shape)]
    grain = 12 * _smooth_noise(rng, shape, 1.3) + 8 * _smooth_noise(rng, shape, 4)
    image = _CYTOPLASM + brightness + grain
    image = _add_mitochondria(rng, image, membrane_distance)
    image = _add_vesicles(rng, image, membrane_distance)

    # Obliquely cut membranes: wide and faint.
    oblique = np.clip(_smooth_noise(rng, shape, 22) - 1.3, 0, 1)
    spread = half_width * (0.75 + 1.2 * oblique)
    contrast = np.clip(0.97 + 0.07 * _smooth_noise(rng, shape, 6), 0, 1) * (1 - 0.35 * oblique)
    line = contrast * np.exp(-0.5 * (membrane_distance / spread) ** 2)
    image += line * (_DARKEST - image)

    image = ndimage.gaussian_filter(image, 0.9)
    image = 128 + (image - 128) * rng.uniform(0.85, 1.1) + rng.uniform(-12, 12)
    image += 36 * _smooth_noise(rng, shape, 55)  # uneven staining
    image += rng.normal(0, 9, shape) + 5 * _smooth_noise(rng, shape, 0.7)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _add_mitochondria(
    rng: np.random.Generator, image: np.ndarray, membrane_distance: np.ndarray
) -> np.ndarray:
    """Dark ellipses with a darker rim and cristae, inside cells wide enough for them."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for _ in range(rng.poisson(image.size / 3000)):
        y, x = rng.uniform(0, image.shape[0]), rng.uniform(0, image.shape[1])
        room = membrane_distance[int(y), int(x)]
        if not 10 < room < np.inf:
            continue
        short = rng.uniform(6, min(24, room - 3))
        length = short * rng.uniform(1, 1.5)
        window = _window(image.shape, y, x, length + 4)
        angle = rng.uniform(0, np.pi)
        dy, dx = rows[window] - y, columns[window] - x
        along, across = (
            np.cos(angle) * dy + np.sin(angle) * dx,
            np.cos(angle) * dx - np.sin(angle) * dy,
        )
        radius = np.hypot(along / length, across / short)
        inside = 1 / (1 + np.exp(np.minimum((radius - 1) * short / 0.7, 50)))
        rim = np.exp(-0.5 * ((radius - 0.93) * short / 1.5) ** 2)
        cristae = np.sin(along * rng.uniform(0.9, 1.3) + rng.uniform(0, 6) + 0.2 * across)
        body = rng.uniform(85, 110) + 22 * cristae
        patch = image[window]
        patch += inside * (body - patch)
        patch += 0.9 * rim * (_DARKEST + 8 - patch)
    return image


def _add_vesicles(
    rng: np.random.Generator, image: np.ndarray, membrane_distance: np.ndarray
) -> np.ndarray:
    """Clusters of small dark rings and spots."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for _ in range(rng.poisson(image.size / 9000)):
        cluster = rng.uniform(0, image.shape, 2)
        for y, x in cluster + rng.normal(0, 11, (rng.integers(3, 18), 2)):
            if not (0 <= y < image.shape[0] and 0 <= x < image.shape[1]):
                continue
            if membrane_distance[int(y), int(x)] < 4:
                continue
            radius = rng.uniform(0.6, 2.4)
            window = _window(image.shape, y, x, radius + 4)
            distance = np.hypot(rows[window] - y, columns[window] - x)
            ring = np.exp(-0.5 * ((distance - radius) / 0.9) ** 2)
            patch = image[window]
            patch += rng.uniform(0.5, 0.95) * ring * (_DARKEST - patch)
    return image


def _window(shape: tuple[int, int], y: float, x: float, reach: float) -> tuple[slice, slice]:
    """The pixels within `reach` of (y, x), cut at the image's edge."""
    return tuple(
        slice(max(0, int(at - reach)), min(side, int(at + reach) + 2))
        for at, side in zip((y, x), shape, strict=True)
    )


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float
) -> NDArray[np.float64]:
    """Gaussian noise blurred to `scale` px, with mean 0 and standard deviation about 1."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.standard_normal(shape), scale, mode="wrap", truncate=3)
    return noise * (2 * np.sqrt(np.pi) * scale)


def _generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

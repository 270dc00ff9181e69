"""The paper's augmentation: elastic deformation, rotation, shift, mirror, grey-value curves.

Section 3.1: "smooth deformations using random displacement vectors on a coarse 3 by 3 grid. The
displacements are sampled from a Gaussian distribution with 10 pixels standard deviation. Per-pixel
displacements are then computed using bicubic interpolation." Shift, rotation and grey-value
variation are named there without numbers; the ranges below are this project's. The layers that the
authors wrote for their plugin of 2019 (CreateDeformation, ValueAugmentation) are a second preset.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError

__all__ = ["PRESETS", "AugmentSettings", "Deformation", "grey_curve"]

#: Names that AugmentSettings.preset takes.
PRESETS = ("paper2015", "layer2019", "none")

_CURVE_KNOTS = 5  # where the slope of a grey-value curve is drawn
_CURVE_SAMPLES = 65


@dataclass(frozen=True)
class AugmentSettings:
    """What is drawn anew for each training tile.

    displacement   standard deviation (px) of each component of a displacement vector; 0 = none
    grid           displacement vectors per side of the input tile (first and last on its edge)
    spacing        distance (px) of displacement vectors that a uniform cubic B-spline smooths,
                   instead of a grid that is interpolated; 0 = the grid. Approximating, it lets
                   pixels move by less than the vectors
    rotation       range of angles (degrees), drawn uniformly
    mirror         flip left-right in every second tile
    shift          draw the position of the tile; False = the centre of the image
    slope          range of the slope of the grey-value curve; (1, 1) = straight
    curve          how it is drawn, see :func:`grey_curve`: "slopes" or "midpoints"
    black, white   ranges of what the 0.1 and 99.9 percentiles of the training images become, with
                   0 and 1 standing for these percentiles themselves
    interpolation  of the image: "cubic" or "linear"; bilinear blurs noise, so that rotated training
                   tiles would look smoother than the images to be segmented
    weights        "deformed": the weight map of the whole slice, deformed (bilinear);
                   "recomputed": a new one from the deformed instances
    """

    displacement: float = 10.0
    grid: int = 3
    spacing: float = 0.0
    rotation: tuple[float, float] = (0.0, 360.0)
    mirror: bool = True
    shift: bool = True
    slope: tuple[float, float] = (0.8, 1.25)
    black: tuple[float, float] = (-0.05, 0.05)
    white: tuple[float, float] = (0.95, 1.05)
    curve: str = "slopes"
    interpolation: str = "cubic"
    weights: str = "deformed"

    def __post_init__(self) -> None:
        if not self.displacement >= 0:
            raise UserError(f"displacement must be at least 0 px, got {self.displacement}")
        if self.grid < 2:
            raise UserError(f"the displacement grid needs at least 2 nodes a side, got {self.grid}")
        if not self.spacing >= 0:
            raise UserError(f"spacing must be at least 0 px, got {self.spacing}")
        if self.curve not in ("slopes", "midpoints"):
            raise UserError(f"curve {self.curve!r}: use 'slopes' or 'midpoints'")
        for name in ("rotation", "slope", "black", "white"):
            low, high = getattr(self, name)
            if not low <= high:
                raise UserError(f"{name} must be (lowest, highest), got ({low}, {high})")
        if not self.slope[0] > 0:
            raise UserError(f"slope must be positive, got {self.slope[0]}")
        if not self.black[1] < self.white[0]:
            raise UserError("the range of black must lie below the range of white")
        if self.interpolation not in ("cubic", "linear"):
            raise UserError(f"interpolation {self.interpolation!r}: use 'cubic' or 'linear'")
        if self.weights not in ("deformed", "recomputed"):
            raise UserError(f"weights {self.weights!r}: use 'deformed' or 'recomputed'")

    @classmethod
    def preset(cls, name: str) -> AugmentSettings:
        """Settings by name. Raises UserError for an unknown one.

        paper2015  the defaults
        layer2019  the plugin's network (2d_cell_net_v0): vectors 150 px apart, 10 px in standard
                   deviation, smoothed by a B-spline; any rotation; black -0.05 .. 0.05, white 0.95
                   .. 1.05, slope 0.8 .. 1.2. That layer draws mirror images but never applies them,
                   so there are none. The tile's position is drawn as here always
        none       see :meth:`none`
        """
        if name == "paper2015":
            return cls()
        if name == "layer2019":
            return cls(spacing=150.0, mirror=False, slope=(0.8, 1.2), curve="midpoints")
        if name == "none":
            return cls.none()
        raise UserError(f"augmentation {name!r} is unknown: use {', '.join(PRESETS)}")

    @classmethod
    def none(cls) -> AugmentSettings:
        """Only the position of the tile is drawn: pixels and grey values stay as they are."""
        return cls(
            displacement=0.0,
            rotation=(0.0, 0.0),
            mirror=False,
            slope=(1.0, 1.0),
            black=(0.0, 0.0),
            white=(1.0, 1.0),
        )

    @property
    def varies_grey(self) -> bool:
        return (self.slope, self.black, self.white) != ((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict) -> AugmentSettings:
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in stored.items()})


@dataclass(frozen=True)
class Deformation:
    """Where each pixel of a tile comes from.

    source = matrix * (position - centre + displacement(position)) + offset, all (row, column);
    centre is the middle of the tile. displacement is given at the nodes of a regular grid, (rows,
    columns, 2) px. spacing 0: the outer nodes lie on the outer pixels, and bicubic convolution
    (Keys 1981, a = -1/2) interpolates, with the outer nodes repeated. Otherwise nodes are `spacing`
    px apart, the first one as far before the tile, and weigh as uniform cubic B-splines.
    """

    size: tuple[int, int]
    displacement: NDArray[np.float32]
    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    spacing: float = 0.0

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        settings: AugmentSettings,
        tile: int,
        window: int,
        image: tuple[int, int],
    ) -> Deformation:
        """Draw one for a tile of `tile` pixels whose middle `window` pixels carry labels.

        The window's position is uniform: it may leave an image (H, W) by a quarter of its side, so
        that pixels near the border are learnt nearly as often as others while little of a tile is
        mirror image. Unrotated and undeformed, pixels fall on pixels.
        """
        nodes = int(tile / settings.spacing) + 4 if settings.spacing else settings.grid
        displacement = np.zeros((nodes, nodes, 2), np.float32)
        vectors = rng.standard_normal(displacement.shape) * settings.displacement
        displacement += vectors.astype(np.float32)
        angle = np.deg2rad(rng.uniform(*settings.rotation))
        flip = -1.0 if rng.random() < 0.5 and settings.mirror else 1.0
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix[:, 1] *= flip
        offset = []
        for size, share in zip(image, rng.random(2), strict=True):
            first, last = sorted((0, size - window))
            slack = window // 4
            corner = first - slack + int(share * (last - first + 2 * slack + 1))
            if not settings.shift:
                corner = (size - window) // 2
            offset.append(corner + (window - 1) / 2)
        return cls((tile, tile), displacement, matrix, np.array(offset), settings.spacing)

    def coordinates(self, context: _core.Context) -> NDArray[np.float32]:
        """The source (row, column) of each pixel, (H, W, 2) float32, in pixels."""
        out = np.empty((*self.size, 2), np.float32)
        rows, columns = (
            _spline_taps(side, self.spacing) if self.spacing else _cubic_taps(side, nodes)
            for side, nodes in zip(self.size, self.displacement.shape[:2], strict=True)
        )
        centre = [(side - 1) / 2 for side in self.size]
        matrix, offset = self.matrix.ravel().tolist(), self.offset.tolist()
        _core.deformed_coordinates(
            context, self.displacement, *rows, *columns, matrix, centre, offset, out
        )
        return out


def grey_curve(rng: np.random.Generator, settings: AugmentSettings) -> NDArray[np.float32]:
    """A smooth rising curve over 0 .. 1 at 65 equidistant points, (65,) float32.

    It runs from a random black to a random white. slopes: its slope relative to the straight line
    between them is drawn log-uniformly at 5 points and linear between those. midpoints
    (ValueAugmentation of 2019): the height in the middle of a piece is drawn uniformly so that the
    slopes on both sides stay in the range, twice over; then the curve is smoothed by a Gaussian of
    a quarter of the distance of the 5 points.
    """
    black, white = rng.uniform(*settings.black), rng.uniform(*settings.white)
    if settings.curve == "midpoints":
        return _midpoint_curve(rng, black, white, settings.slope)
    knots = np.exp(rng.uniform(*np.log(settings.slope), _CURVE_KNOTS))
    position = np.linspace(0, 1, _CURVE_SAMPLES)
    slope = np.interp(position, np.linspace(0, 1, _CURVE_KNOTS), knots)
    rise = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2)])
    return (black + (white - black) * rise / rise[-1]).astype(np.float32)


def _midpoint_curve(
    rng: np.random.Generator, black: float, white: float, slope: tuple[float, float]
) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_filter1d

    heights = [black, white]
    while len(heights) < _CURVE_KNOTS:
        half = 0.5 / (len(heights) - 1)
        finer = [heights[0]]
        for left, right in pairwise(heights):
            low = max(left + slope[0] * half, right - slope[1] * half)
            high = min(left + slope[1] * half, right - slope[0] * half)
            middle = rng.uniform(low, high) if low < high else (left + right) / 2
            finer += [middle, right]
        heights = finer
    position = np.linspace(0, 1, _CURVE_SAMPLES)
    straight = black + (white - black) * position
    bent = np.interp(position, np.linspace(0, 1, _CURVE_KNOTS), heights) - straight
    # What is smoothed is 0 at both ends, where it is continued with the opposite sign: so black and
    # white stay where they are.
    odd = np.concatenate([-bent[:0:-1], bent, -bent[-2::-1]])
    sigma = (_CURVE_SAMPLES - 1) / (_CURVE_KNOTS - 1) / 4
    smooth = gaussian_filter1d(odd, sigma)[_CURVE_SAMPLES - 1 : 2 * _CURVE_SAMPLES - 1]
    return (straight + smooth).astype(np.float32)


def _spline_taps(size: int, spacing: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Node indices (size, 4) and weights (size, 4) of a uniform cubic B-spline along one axis."""
    position = np.arange(size) / spacing
    base = np.floor(position)
    t = position - base
    weight = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ],
        axis=1,
    )
    return (base[:, None] + np.arange(4)).astype(np.int32), weight.astype(np.float32)


def _cubic_taps(size: int, nodes: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Node indices (size, 4) and weights (size, 4) of cubic convolution along one axis."""
    position = np.linspace(0, nodes - 1, size) if size > 1 else np.array([(nodes - 1) / 2])
    base = np.minimum(np.floor(position), nodes - 2)
    t = position - base
    weight = np.stack(
        [
            ((-0.5 * t + 1) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1,
            ((-1.5 * t + 2) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ],
        axis=1,
    )
    index = np.clip(base[:, None] + np.arange(-1, 3), 0, nodes - 1)
    return index.astype(np.int32), weight.astype(np.float32)

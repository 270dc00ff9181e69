"""The paper's per-pixel weights (section 3, equation 2).

    w(x) = w_c(x) + w0 * exp(-(d1(x) + d2(x))^2 / (2 sigma^2))

w_c balances the classes; d1 and d2 are the Euclidean distances to the nearest and the second
nearest instance, so that the thin gaps between touching cells weigh most.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError

__all__ = [
    "WeightSettings",
    "border_distances",
    "border_term",
    "class_counts",
    "class_weights",
    "weight_map",
]

_NEGLIGIBLE = 1e-6  # a border term below this is taken as 0


@dataclass(frozen=True)
class WeightSettings:
    """How weights are made. `preset` names the formula; settings of different presets never mix.

    paper2015: `w0` and `sigma` (px) of the formula above, w_c = inverse class frequencies.
    """

    preset: str = "paper2015"
    w0: float = 10.0
    sigma: float = 5.0

    def __post_init__(self) -> None:
        if self.preset != "paper2015":
            raise UserError(f"weight preset {self.preset!r} is unknown: use 'paper2015'")
        if not (self.w0 >= 0 and self.sigma > 0):
            raise UserError(
                f"weight map: w0 must be at least 0 and sigma positive, got w0 = {self.w0:g} and "
                f"sigma = {self.sigma:g}"
            )

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def reach(self) -> float:
        """d1 + d2 (px) beyond which the border term is below 1e-6 and taken as 0."""
        if self.w0 <= _NEGLIGIBLE:
            return 0.0
        return float(self.sigma * np.sqrt(2 * np.log(self.w0 / _NEGLIGIBLE)))


def border_distances(
    instances: np.ndarray,
    max_sum: float = np.inf,
    max_nearest: float = 0.0,
    *,
    context: _core.Context | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """d1, d2: distances (px) of background pixels to the nearest and second nearest instance.

    instances: (H, W) integers, 0 = background. d1, d2: (H, W) float32; 0 and inf on instances. A
    distance is exact where it can matter and inf elsewhere: d2 where d1 + d2 > `max_sum`, and there
    also d1 where d1 > `max_nearest`. Small limits make it fast.
    """
    instances = np.ascontiguousarray(instances, np.int32)
    d1, d2 = (np.empty(instances.shape, np.float32) for _ in range(2))
    context = context or _core.Context()
    _core.border_distances(context, instances, max_sum, max_nearest, d1, d2)
    return d1, d2


def border_term(
    instances: np.ndarray,
    settings: WeightSettings | None = None,
    *,
    context: _core.Context | None = None,
) -> NDArray[np.float32]:
    """w0 * exp(-(d1 + d2)^2 / (2 sigma^2)) on background, 0 on instances; (H, W) float32.

    0 everywhere with fewer than two instances. instances: (H, W) integers, 0 = background.
    """
    settings = settings or WeightSettings()
    d1, d2 = border_distances(instances, settings.reach, context=context)
    term = np.zeros(d1.shape, np.float32)
    near = np.isfinite(d2)
    term[near] = settings.w0 * np.exp((d1[near] + d2[near]) ** 2 / (-2 * settings.sigma**2))
    return term


def class_counts(
    labels: Iterable[np.ndarray], classes: int, ignore: Iterable[np.ndarray | None] | None = None
) -> NDArray[np.int64]:
    """Pixels of each class, (classes,) int64, over label images (H, W) of integers 0 .. classes-1.

    `ignore`: one (H, W) bool or None per label image; True pixels do not count.
    """
    counts = np.zeros(classes, np.int64)
    labels = list(labels)
    masks = [None] * len(labels) if ignore is None else ignore
    for label, mask in zip(labels, masks, strict=True):
        values = label.ravel() if mask is None else label[~mask]
        counts += np.bincount(values, minlength=classes)
    return counts


def class_weights(counts: Sequence[int] | np.ndarray) -> NDArray[np.float64]:
    """w_c: inverse class frequencies scaled so that a training pixel weighs 1 on average.

    counts: pixels of each class over the training set, (C,). w_c = sum(counts) / (C * counts[c]).
    Raises UserError if a class has no pixel.
    """
    counts = np.asarray(counts, np.float64)
    if not np.all(counts > 0):
        empty = ", ".join(str(c) for c in np.flatnonzero(counts == 0))
        raise UserError(
            f"no training pixel belongs to class {empty}: its weight would be infinite; check the "
            "labels and the foreground option"
        )
    return counts.sum() / (len(counts) * counts)


def weight_map(
    instances: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: Sequence[float] | np.ndarray | None = None,
    ignore: np.ndarray | None = None,
    preset: str = "paper2015",
    context: _core.Context | None = None,
) -> NDArray[np.float32]:
    """The weight of each pixel, (H, W) float32.

    instances      (H, W) integers, 0 = background (:func:`connected_instances` makes them from
                   class labels, :func:`separate_touching` opens gaps between those that touch)
    labels         (H, W) class of each pixel; None: 1 on instances, 0 elsewhere
    w0, sigma      of the formula at the top of this module; sigma in px
    class_weights  w_c, (C,); None: inverse frequencies of the classes within this one map
    ignore         (H, W) bool; True pixels get weight 0

    The border term is within 1e-5 of the formula. Raises ValueError if shapes differ.
    """
    settings = WeightSettings(preset, w0, sigma)
    instances = np.asarray(instances)
    labels = (instances != 0).astype(np.uint8) if labels is None else np.asarray(labels)
    for name, other in (("labels", labels), ("ignore", ignore)):
        if other is not None and other.shape != instances.shape:
            raise ValueError(
                f"weight_map: {name} must have the shape of instances "
                f"({name} {other.shape}, instances {instances.shape})"
            )
    if class_weights is None:
        counts = class_counts([labels], int(labels.max()) + 1, [ignore])
        present = counts > 0
        class_weights = np.zeros(len(counts))
        class_weights[present] = counts.sum() / (present.sum() * counts[present])
    weights = np.asarray(class_weights, np.float32)[labels]
    weights += border_term(instances, settings, context=context)
    if ignore is not None:
        weights[ignore] = 0
    return weights

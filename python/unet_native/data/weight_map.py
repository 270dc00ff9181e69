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
    "PRESETS",
    "WeightSettings",
    "border_distances",
    "border_term",
    "class_counts",
    "class_weights",
    "pixel_weights",
    "weight_map",
]

_NEGLIGIBLE = 1e-6  # a border term below this is taken as 0


#: Preset -> the parameters it has, with their defaults.
PRESETS: dict[str, dict[str, float]] = {
    "paper2015": {"w0": 10.0, "sigma": 5.0},
    "plugin2019": {"w0": 50.0, "sigma": 6.0, "v_bal": 0.1, "sigma_bal": 10.0},
    "uniform": {},
}


@dataclass(frozen=True)
class WeightSettings:
    """How weights are made. `preset` names the formula; parameters left out are the preset's own.

    paper2015   the formula at the top of this module; `w0` = 10, `sigma` = 5 px
    plugin2019  the authors' later plugin for Fiji, TrainingSample.java. Foreground 1, background
                    v_bal + sum over classes of w0 * exp(-(d1 + d2)^2 / (2 sigma^2))
                                             + (1 - v_bal) * exp(-d1^2 / (2 sigma_bal^2))
                d1 and d2 to instances of that class. `w0` = 50 (borderWeightFactor), `sigma` = 6 px
                (borderWeightSigmaPx), `v_bal` = 0.1 (foregroundBackgroundRatio), `sigma_bal` = 10
                px (sigma1Px). Classes are not balanced by their frequencies
    uniform     1 everywhere: what a training without a weight map has

    Ignored pixels have weight 0 in all. Raises UserError for a parameter the preset does not have.
    """

    preset: str = "paper2015"
    w0: float | None = None
    sigma: float | None = None
    v_bal: float | None = None
    sigma_bal: float | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            names = ", ".join(PRESETS)
            raise UserError(f"weight preset {self.preset!r} is unknown: use one of {names}")
        defaults = PRESETS[self.preset]
        for name in ("w0", "sigma", "v_bal", "sigma_bal"):
            value = getattr(self, name)
            if value is not None and name not in defaults:
                raise UserError(
                    f"weight map: the preset {self.preset} has no {name}; leave it out, or choose "
                    "another preset"
                )
            if value is None and name in defaults:
                value = defaults[name]
                object.__setattr__(self, name, value)
            if value is not None and not (value > 0 or (value == 0 and "sigma" not in name)):
                least = "positive" if "sigma" in name else "at least 0"
                raise UserError(f"weight map: {name} must be {least}, got {value:g}")
        if self.v_bal is not None and self.v_bal > 1:
            raise UserError(f"weight map: v_bal must be at most 1, got {self.v_bal:g}")

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def border_reach(self) -> float:
        """d1 + d2 (px) beyond which the border term is below 1e-6 and taken as 0."""
        return _reach(self.w0 or 0.0, self.sigma)

    @property
    def balance_reach(self) -> float:
        """d1 (px) beyond which the term with sigma_bal is below 1e-6 and taken as 0."""
        return 0.0 if self.v_bal is None else _reach(1 - self.v_bal, self.sigma_bal)

    @property
    def reach(self) -> float:
        """How far (px) from a pixel instances can matter for its weight."""
        return max(self.border_reach, self.balance_reach)


def _reach(height: float, sigma: float | None) -> float:
    """Where height * exp(-d^2 / (2 sigma^2)) becomes negligible."""
    if sigma is None or height <= _NEGLIGIBLE:
        return 0.0
    return float(sigma * np.sqrt(2 * np.log(height / _NEGLIGIBLE)))


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
    d1, d2 = border_distances(instances, settings.border_reach, context=context)
    return _border_term(d1, d2, settings)


def _border_term(d1: np.ndarray, d2: np.ndarray, settings: WeightSettings) -> NDArray[np.float32]:
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


def pixel_weights(
    instances: np.ndarray,
    labels: np.ndarray,
    settings: WeightSettings,
    class_weights: NDArray[np.float32],
    *,
    context: _core.Context | None = None,
) -> NDArray[np.float32]:
    """The weight of each pixel before ignored ones become 0, (H, W) float32.

    instances, labels: (H, W) integers. class_weights: w_c, (C,), which only paper2015 uses.
    """
    if settings.preset == "uniform":
        return np.ones(labels.shape, np.float32)
    if settings.preset == "paper2015":
        return class_weights[labels] + border_term(instances, settings, context=context)
    weights = np.full(labels.shape, settings.v_bal, np.float32)
    for value in np.unique(labels[labels != 0]):
        of_class = np.where(labels == value, instances, 0)
        d1, d2 = border_distances(
            of_class, settings.border_reach, settings.balance_reach, context=context
        )
        weights += _border_term(d1, d2, settings)
        weights += (1 - settings.v_bal) * np.exp(d1**2 / np.float32(-2 * settings.sigma_bal**2))
    weights[labels != 0] = 1
    return weights


def weight_map(
    instances: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    settings: WeightSettings | None = None,
    class_weights: Sequence[float] | np.ndarray | None = None,
    ignore: np.ndarray | None = None,
    context: _core.Context | None = None,
    **parameters: float | str,
) -> NDArray[np.float32]:
    """The weight of each pixel, (H, W) float32.

    instances      (H, W) integers, 0 = background (:func:`connected_instances` makes them from
                   class labels, :func:`separate_touching` opens gaps between those that touch)
    labels         (H, W) class of each pixel; None: 1 on instances, 0 elsewhere
    settings       None: the paper's, or those of `parameters`: preset, w0, sigma, v_bal, sigma_bal
    class_weights  w_c, (C,); None: inverse frequencies of the classes within this one map
    ignore         (H, W) bool; True pixels get weight 0

    Within 1e-5 of the formula. Raises ValueError if shapes differ, UserError for bad parameters.
    """
    settings = settings or WeightSettings(**parameters)
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
    balance = np.asarray(class_weights, np.float32)
    weights = pixel_weights(instances, labels, settings, balance, context=context)
    if ignore is not None:
        weights[ignore] = 0
    return weights

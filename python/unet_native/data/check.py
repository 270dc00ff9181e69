"""The data check before training: say what was understood, refuse what cannot work."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unet_native.data.dataset import DataSet
from unet_native.errors import UserError

__all__ = ["DataReport", "check_training_set"]

_RARE = 1e-3  # a class below this share of pixels is hardly learnt
_LISTED = 3  # names in a warning


@dataclass(frozen=True)
class DataReport:
    """What the data check found.

    notes     how files were understood: shapes, axes, types, pairs
    labels    what label values mean, polarity included
    counts    pixels of each class over the training slices
    weights   w_c of each class
    objects   instances over the training slices
    normaliser  in words
    warnings  what may spoil the result, in words
    """

    notes: tuple[str, ...]
    labels: str
    counts: tuple[int, ...]
    weights: tuple[float, ...]
    objects: int
    normaliser: str
    training: int
    validation: int
    warnings: tuple[str, ...] = field(default=())

    def text(self) -> str:
        """Several lines for people."""
        total = sum(self.counts)
        histogram = ", ".join(
            f"class {c} {100 * n / total:.4g} % (weight {w:.3g})"
            for c, (n, w) in enumerate(zip(self.counts, self.weights, strict=True))
        )
        lines = [
            *self.notes,
            f"labels: {self.labels}",
            f"classes: {histogram}; {self.objects} objects",
            f"normaliser: {self.normaliser}",
            f"slices: {self.training} to train on, {self.validation} to validate on",
            *(f"warning: {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)


def check_training_set(dataset: DataSet, validation: DataSet | None = None) -> DataReport:
    """Check slices to train on and, if given, to validate on.

    Raises UserError, one sentence naming the slice, for a constant image, a class without any
    pixel, and a validation set of other channels or classes. (Unreadable files, NaN, missing
    partners and unequal sizes are refused when the set is read.)
    """
    _refuse_constant(dataset)
    counts = dataset.class_counts()
    _refuse_empty_class(dataset, counts)
    if validation is not None:
        _refuse_constant(validation)
        if validation.channels != dataset.channels or validation.classes != dataset.classes:
            raise UserError(
                f"{validation[0].place}: the validation set has {validation.channels} channels and "
                f"{validation.classes} classes, the training set {dataset.channels} and "
                f"{dataset.classes}; they must agree"
            )
    objects = sum(len(np.unique(s.instances[s.instances > 0])) for s in dataset)
    return DataReport(
        notes=dataset.notes,
        labels=dataset.label_rule.describe() if dataset.label_rule else "given as arrays",
        counts=tuple(int(n) for n in counts),
        weights=tuple(float(w) for w in dataset.class_weights()),
        objects=objects,
        normaliser=dataset.normaliser.describe(),
        training=len(dataset),
        validation=len(validation) if validation is not None else 0,
        warnings=tuple(_warnings(dataset, validation, counts, objects)),
    )


def _refuse_constant(dataset: DataSet) -> None:
    for item in dataset:
        for c, channel in enumerate(item.raw):
            if channel.size > 1 and channel.min() == channel.max():
                which = f"channel {c} of the image" if len(item.raw) > 1 else "the image"
                raise UserError(
                    f"{item.place}: {which} is constant (every pixel is {channel.flat[0]:g}), so "
                    "nothing can be learnt from it; remove it, or check how it was exported"
                )


def _refuse_empty_class(dataset: DataSet, counts: np.ndarray) -> None:
    for c in np.flatnonzero(counts == 0):
        rule = dataset.label_rule.describe() if dataset.label_rule else "as given"
        raise UserError(
            f"{dataset[0].place} and the other {len(dataset) - 1} training slices: no pixel "
            f"belongs to class {c} (labels read as {rule}); choose other slices, or another "
            "--foreground"
        )


def _warnings(dataset: DataSet, validation: DataSet | None, counts, objects: int):
    for c, share in enumerate(counts / counts.sum()):
        if share < _RARE:
            yield (
                f"class {c} has only {100 * share:.2g} % of the pixels; such a class is hardly "
                "learnt, annotate more of it"
            )
    lone = [s.name for s in dataset if _classes_of(s) < 2]
    if lone:
        yield f"only one class in the labels of {_names(lone)}"
    if objects < 2:
        yield "fewer than two objects, so the weight map has no separation borders"
    seen = {_fingerprint(s.raw): s.name for s in dataset}
    for item in validation or ():
        twin = seen.get(_fingerprint(item.raw))
        if twin is not None:
            yield (
                f"the validation slice {item.name} equals the training slice {twin}; scores on it "
                "say nothing about new images"
            )


def _classes_of(item) -> int:
    labels = item.labels if item.ignore is None else item.labels[~item.ignore]
    return len(np.unique(labels))


def _names(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more slices" if rest > 0 else "")


def _fingerprint(array: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    from hashlib import blake2b

    return array.shape, blake2b(np.ascontiguousarray(array).tobytes()).digest()

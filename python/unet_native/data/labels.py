"""What label images mean: binary masks, classes or instances; which value is which class.

Class 0 is the background. In binary masks class 1, the foreground, is every value but 0 unless told
otherwise; so in the ISBI 2012 labels (membrane 0, interior 255) class 1 is the interior of cells,
whose connected components are the instances, and class 0 the membrane between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_native.data.instances import connected_instances, separate_touching
from unet_native.errors import UserError

__all__ = ["LABEL_KINDS", "LabelRule", "decide_label_rule", "label_plane", "single_pieces"]

LABEL_KINDS = ("binary", "classes", "instances")

_MOST_CLASSES = 32
_FEW_CLASSES = 8  # 8-bit labels 0 .. n with n below this are classes without a look at their form


@dataclass(frozen=True)
class LabelRule:
    """From the values of label files to classes and instances.

    kind        "binary", "classes" or "instances"
    values      raw value of each class, class 0 first; for instances (0,); for binary masks the
                values that occur, in ascending order
    foreground  binary masks: "nonzero", "zero" or the value of class 1
    ignore      raw value of pixels that do not count, or None
    """

    kind: str
    values: tuple[int, ...]
    foreground: str | int = "nonzero"
    ignore: int | None = None

    @property
    def classes(self) -> int:
        return len(self.values) if self.kind == "classes" else 2

    def foreground_mask(self, plane: np.ndarray) -> NDArray[np.bool_]:
        """Class 1 of a binary mask (H, W), by the `foreground` option."""
        if self.foreground == "nonzero":
            return plane != 0
        return plane == (0 if self.foreground == "zero" else self.foreground)

    def __call__(
        self, plane: np.ndarray
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.bool_] | None]:
        """labels, instances, ignore of a raw label plane, each (H, W); see :class:`Slice`.

        Instances that touch get a gap of one background pixel, in labels and instances.
        """
        ignore = None if self.ignore is None else plane == self.ignore
        if self.kind == "instances":
            instances = np.unique(plane, return_inverse=True)[1].reshape(plane.shape)
            instances += int(plane.min() != 0)  # 0 stays 0, others count from 1
            if ignore is not None:
                instances[ignore] = 0
            instances = separate_touching(instances)
            return (instances > 0).astype(np.uint8), instances, ignore
        if self.kind == "binary":
            labels = self.foreground_mask(plane).astype(np.uint8)
        else:
            labels = self._class_of(plane, ignore)
        if ignore is not None:
            labels[ignore] = 0
        return labels, connected_instances(labels), ignore

    def _class_of(self, plane: np.ndarray, ignore: np.ndarray | None) -> NDArray[np.uint8]:
        labels = np.searchsorted(self.values, plane).clip(max=self.classes - 1)
        unknown = np.take(self.values, labels) != plane
        if ignore is not None:
            unknown &= ~ignore
        if unknown.any():
            value = _value_text(int(plane[unknown][0]))
            raise UserError(
                f"labels hold the value {value}, which is none of the classes "
                f"({', '.join(map(_value_text, self.values))}); mend it, or say with --ignore that "
                "such pixels do not count"
            )
        return labels.astype(np.uint8)

    def describe(self) -> str:
        """One sentence for people."""
        ignored = f"; {self.ignore} is ignored" if self.ignore is not None else ""
        if self.kind == "instances":
            text = "instances: 0 is background (class 0), every other value one object (class 1)"
        elif self.kind == "classes":
            text = f"{self.classes} classes: " + ", ".join(
                f"class {c} = {_value_text(v)}" for c, v in enumerate(self.values)
            )
        else:
            ones = [v for v in self.values if self.foreground_mask(np.array([v]))[0]]
            zeros = [v for v in self.values if v not in ones]
            text = (
                f"binary: class 1 (foreground) = {_list_text(ones)}, class 0 (background) = "
                f"{_list_text(zeros)}, by foreground = {self.foreground}"
            )
        return text + ignored


def label_plane(path: object, channels: np.ndarray) -> np.ndarray:
    """One number per pixel from a label slice (C, H, W); (H, W) integers.

    Colours become red * 65536 + green * 256 + blue, or the grey value if all are grey. Raises
    UserError, naming `path`, for values that are no whole numbers and other numbers of channels.
    """
    if channels.dtype.kind == "f" and not np.array_equal(channels, np.rint(channels)):
        raise UserError(
            f"{path}: labels must be whole numbers, these hold fractions such as "
            f"{channels[channels != np.rint(channels)][0]:g}; save the labels, not probabilities "
            "or a resized picture of them"
        )
    planes = channels if channels.dtype.kind in "iu" else channels.astype(np.int64)
    if len(planes) == 1 or (len(planes) == 3 and np.all(planes == planes[0])):
        return planes[0]
    if len(planes) != 3 or channels.dtype != np.uint8:
        raise UserError(
            f"{path}: labels must have one channel (or 8-bit colours), these have {len(planes)}; "
            "save one label image per slice, or say with --axes which axis counts slices"
        )
    red, green, blue = planes.astype(np.int32)
    return red << 16 | green << 8 | blue


def decide_label_rule(
    planes: Sequence[np.ndarray],
    bits: int,
    *,
    kind: str = "auto",
    foreground: str | int | None = None,
    ignore: int | None = None,
    where: object = "labels",
) -> LabelRule:
    """Find out what label planes mean, over the whole set at once.

    planes      (H, W) integers each
    bits        of a label value in the files
    kind        "auto", or one of :data:`LABEL_KINDS`
    foreground  None, "nonzero", "zero" or the value that is class 1 (all but None and "nonzero"
                make the labels binary)
    ignore      value of pixels that do not count
    where       named in errors

    The automatic rule: at most two values are a binary mask. 8-bit labels of few values 0 .. n are
    classes. Else labels are instances if they have more than 8 bits, or if nearly every value
    forms a single piece in each image; otherwise classes, as long as there are at most 32.
    """
    found = [np.unique(plane).astype(np.int64) for plane in planes]
    values = np.unique(np.concatenate(found))
    if ignore is not None:
        values = values[values != ignore]
    if isinstance(foreground, str) and foreground not in ("nonzero", "zero"):
        foreground = _foreground_value(foreground)
    if kind not in ("auto", *LABEL_KINDS):
        raise UserError(f"label kind {kind!r}: use auto, {', '.join(LABEL_KINDS)}")
    if values.size and values[0] < 0:
        raise UserError(f"{where}: holds negative labels ({values[0]}); labels start at 0")
    if foreground is not None and foreground != "nonzero":
        if kind not in ("auto", "binary"):
            raise UserError(f"foreground = {foreground} makes sense for binary labels, not {kind}")
        kind = "binary"
    if kind == "auto":
        kind = _guess_kind(planes, values, bits, where)
    if kind == "binary":
        if foreground is None:
            foreground = "nonzero"
        rule = LabelRule("binary", _numbers(values), foreground, ignore)
        _refuse_one_sided(rule, where)
        return rule
    if kind == "classes":
        if len(values) > _MOST_CLASSES:
            raise UserError(
                f"{where}: {len(values)} different values are too many for class labels (at most "
                f"{_MOST_CLASSES}); if each object has a number of its own, say so with "
                "--label-kind instances"
            )
        if len(values) < 2:
            raise UserError(f"{where}: all labels have the value {_list_text(_numbers(values))}")
        return LabelRule("classes", _numbers(values), ignore=ignore)
    if values.size and values[0] != 0:
        raise UserError(
            f"{where}: instance labels without background (no pixel is 0); the background must be 0"
        )
    return LabelRule("instances", (0,), ignore=ignore)


def _guess_kind(planes: Sequence[np.ndarray], values: np.ndarray, bits: int, where: object) -> str:
    if len(values) <= 2:
        return "binary"
    if bits <= 8 and values[-1] < _FEW_CLASSES:
        return "classes"
    if bits in (16, 32, 64) or single_pieces(planes):
        return "instances"
    if len(values) <= _MOST_CLASSES:
        return "classes"
    raise UserError(
        f"{where}: its {len(values)} different values are neither classes (at most "
        f"{_MOST_CLASSES}) nor instances (one piece each); check that these are labels, or say "
        "with --label-kind what they are"
    )


def single_pieces(planes: Sequence[np.ndarray]) -> bool:
    """Whether nine in ten values but 0 form one 8-connected piece in their image."""
    from scipy import ndimage

    values = pieces = 0
    for plane in planes:
        for value in np.unique(plane):
            if value != 0 and values < 500:
                values += 1
                pieces += ndimage.label(plane == value, np.ones((3, 3)))[1] == 1
    return pieces >= 0.9 * values


def _refuse_one_sided(rule: LabelRule, where: object) -> None:
    ones = [bool(rule.foreground_mask(np.array([v]))[0]) for v in rule.values]
    if all(ones) or not any(ones):
        missing = "background" if all(ones) else "foreground"
        given = _list_text(rule.values)
        raise UserError(
            f"{where}: with foreground = {rule.foreground} no pixel is {missing} (the labels hold "
            f"{given}); choose another value with --foreground"
        )


def _foreground_value(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--foreground {text}: use a label value, nonzero or zero") from None


def _numbers(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in values)


def _list_text(values: Sequence[int]) -> str:
    if len(values) > 4:
        return f"{values[0]}, {values[1]}, ... {values[-1]}"
    return " or ".join(map(_value_text, values)) or "nothing"


def _value_text(value: int) -> str:
    return str(value) if value < 1 << 16 else f"#{value:06x}" if value < 1 << 24 else str(value)

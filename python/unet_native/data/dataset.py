"""A data set in memory: slices with images, labels and instances, and one normaliser for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from unet_native.data.labels import LabelRule
from unet_native.data.normaliser import Normaliser
from unet_native.data.weight_map import class_counts, class_weights

__all__ = ["DataSet", "Slice"]


@dataclass(frozen=True)
class Slice:
    """One image plane with what is known about it.

    name        "12", or "stack[12]" within a stack; unique within a data set
    raw         (C, H, W), grey values as they lie in the file
    labels      (H, W) uint8, class of each pixel, 0 .. classes - 1; None if unknown
    instances   (H, W) int32, 0 = background, one number per object, a gap where objects touch;
                None if unknown
    ignore      (H, W) bool, True where the label is not to be trusted; None if nowhere
    normaliser  what `image` applies
    path        of the image file, for messages; "" for arrays
    """

    name: str
    raw: np.ndarray
    labels: NDArray[np.uint8] | None = None
    instances: NDArray[np.int32] | None = None
    ignore: NDArray[np.bool_] | None = None
    normaliser: Normaliser | None = None
    path: str = ""

    @property
    def place(self) -> str:
        """What a message calls this slice: its file, and its name if that says more."""
        if not self.path:
            return f"slice {self.name}"
        return f"{self.path}: slice {self.name}" if "[" in self.name else self.path

    @property
    def image(self) -> NDArray[np.float32]:
        """The normalised image, (C, H, W) float32, computed on each access."""
        if self.normaliser is None:
            raise ValueError(f"{self.place}: its data set has no normaliser yet")
        return self.normaliser(self.raw, self.place)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.raw.shape[-2], self.raw.shape[-1]


@dataclass(frozen=True)
class DataSet(Sequence[Slice]):
    """Slices in natural order of their names, all with the same channels and classes.

    classes     number of classes
    label_rule  how label values became classes, for further label files of the same kind
    notes       sentences about how files were understood, for the data check to print
    """

    slices: tuple[Slice, ...]
    classes: int = 2
    label_rule: LabelRule | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_arrays(
        cls,
        images: Iterable[np.ndarray],
        labels: Iterable[np.ndarray],
        *,
        classes: int = 2,
        instances: Iterable[np.ndarray] | None = None,
        normaliser: str | Normaliser = "zscore",
    ) -> DataSet:
        """From arrays: images (H, W) or (C, H, W), class labels (H, W) of 0 .. classes - 1.

        instances default to the 4-connected components of each class but 0.
        """
        from unet_native.data.instances import connected_instances

        labels = [np.asarray(label, np.uint8) for label in labels]
        numbered = map(connected_instances, labels) if instances is None else instances
        slices = tuple(
            Slice(str(i), image if image.ndim == 3 else image[None], label, np.asarray(objects))
            for i, (image, label, objects) in enumerate(zip(images, labels, numbered, strict=True))
        )
        return cls(slices, classes=classes).normalised(normaliser)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index):
        """One slice, or a data set of the slices in a range."""
        return (
            self.subset(range(len(self))[index]) if isinstance(index, slice) else self.slices[index]
        )

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.slices)

    @property
    def channels(self) -> int:
        return len(self.slices[0].raw)

    @property
    def normaliser(self) -> Normaliser | None:
        return self.slices[0].normaliser

    def normalised(self, normaliser: str | Normaliser = "zscore") -> DataSet:
        """This data set with a normaliser: fitted on its own slices (a kind), or a given one."""
        if isinstance(normaliser, str):
            normaliser = Normaliser.fit([s.raw for s in self.slices], normaliser)
        return replace(self, slices=tuple(replace(s, normaliser=normaliser) for s in self.slices))

    def subset(self, indices: Iterable[int]) -> DataSet:
        """The slices at `indices`, in that order."""
        return replace(self, slices=tuple(self.slices[i] for i in indices))

    def class_counts(self) -> NDArray[np.int64]:
        """Pixels of each class over all slices, (classes,)."""
        labels = [s.labels for s in self.slices]
        return class_counts(labels, self.classes, [s.ignore for s in self.slices])

    def class_weights(self) -> NDArray[np.float64]:
        """w_c of the paper: inverse class frequencies with mean 1 over the pixels, (classes,)."""
        return class_weights(self.class_counts())

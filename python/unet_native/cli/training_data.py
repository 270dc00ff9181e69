"""The data that ``train`` is given, by its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unet_native.data.dataset import DataSet

__all__ = ["load_sets"]


def load_sets(source: dict[str, Any]) -> tuple[DataSet, DataSet | None]:
    """Training and validation set. source: the options of ``train`` that name them."""
    from unet_native.data.load import load_training_set, split_indices

    wish, normaliser = source["validation"], source["normaliser"]
    reading = {name: source[name] for name in ("axes", "label_kind", "foreground", "ignore")}
    dataset = load_training_set(
        source["images"], source["labels"], normaliser=normaliser, **reading
    )
    if wish is None:
        return dataset, None
    if not Path(wish).is_dir():
        training, held_back = (dataset.subset(part) for part in split_indices(wish, len(dataset)))
        training = training.normalised(normaliser)
        return training, held_back.normalised(training.normaliser)
    images, labels = _validation_folders(Path(wish))
    held_back = load_training_set(
        images,
        labels,
        axes=source["axes"],
        label_rule=dataset.label_rule,
        normaliser=dataset.normaliser,
    )
    return dataset, held_back


def _validation_folders(folder: Path) -> tuple[Path, Path | None]:
    """Where images and labels lie: in two subfolders, or together in the folder itself."""
    for images, labels in (
        ("images", "labels"),
        ("images", "masks"),
        ("imgs", "masks"),
        ("image", "label"),
    ):
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return folder / images, folder / labels
    return folder, None

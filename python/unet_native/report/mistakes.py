"""Where a segmentation is wrong: pixels, and objects found, missed, invented, split and merged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ObjectMistakes", "compare_objects", "wrong_pixels"]

_FRAGMENT = 0.1  # of a true object: smaller pieces of it do not make a split


def wrong_pixels(
    predicted: np.ndarray, labels: np.ndarray, ignore: NDArray[np.bool_] | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Three masks (H, W), from two of classes with 0 = background.

    "missed": another class that was taken for background; "false": background taken for another
    class; "confused": one for another of these. Ignored pixels are in none.
    """
    wrong = predicted != labels
    if ignore is not None:
        wrong = wrong & ~ignore
    return {
        "missed": wrong & (predicted == 0),
        "false": wrong & (labels == 0),
        "confused": wrong & (predicted != 0) & (labels != 0),
    }


@dataclass(frozen=True)
class ObjectMistakes:
    """Numbers of objects by what became of them.

    found     true objects that a predicted one matches: intersection over union above 0.5
    missed    true objects without such a partner
    invented  predicted objects without such a partner
    split     true objects that hold at least two predicted ones: more than half of each of these,
              each at least a tenth of the true one
    merged    predicted objects that hold at least two true ones: more than half of each
    """

    found: NDArray[np.int64]
    missed: NDArray[np.int64]
    invented: NDArray[np.int64]
    split: NDArray[np.int64]
    merged: NDArray[np.int64]


def compare_objects(predicted: np.ndarray, truth: np.ndarray) -> ObjectMistakes:
    """predicted, truth: (H, W) integers, 0 = background, any other number = one object.

    found, missed and invented are those that unet_native.metrics.ctc_scores counts as tp, fn, fp.
    """
    predicted_ids, columns, predicted_sizes = np.unique(
        predicted, return_inverse=True, return_counts=True
    )
    true_ids, rows, true_sizes = np.unique(truth, return_inverse=True, return_counts=True)
    pairs, overlap = np.unique(
        rows.ravel().astype(np.int64) * len(predicted_ids) + columns.ravel(), return_counts=True
    )
    row, column = np.divmod(pairs, len(predicted_ids))
    real = (true_ids[row] != 0) & (predicted_ids[column] != 0)
    row, column, overlap = row[real], column[real], overlap[real]
    true_size, predicted_size = true_sizes[row], predicted_sizes[column]

    match = 2 * overlap > true_size + predicted_size - overlap
    in_true = (2 * overlap > predicted_size) & (overlap >= _FRAGMENT * true_size)
    in_predicted = 2 * overlap > true_size
    return ObjectMistakes(
        found=true_ids[row[match]],
        missed=np.setdiff1d(true_ids[true_ids != 0], true_ids[row[match]]),
        invented=np.setdiff1d(predicted_ids[predicted_ids != 0], predicted_ids[column[match]]),
        split=_several(true_ids, row[in_true]),
        merged=_several(predicted_ids, column[in_predicted]),
    )


def _several(ids: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The ids whose index occurs more than once."""
    return ids[np.bincount(index, minlength=len(ids)) > 1]

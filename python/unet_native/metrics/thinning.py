"""Thinning: objects grown over the membrane until only one-pixel lines separate them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unet_native import _core
from unet_native.errors import UserError

__all__ = ["thinned_objects"]


def thinned_objects(interior: np.ndarray) -> NDArray[np.int32]:
    """The 4-connected objects of a mask, flooded over the rest of the image.

    It is the watershed that the ISBI 2012 challenge applies to a proposal before V_Rand and V_Info,
    in its order of flooding (csrc/image/flooding.h).

    interior: (H, W) booleans. Returns (H, W) int32: 0 on the lines between objects, 1, 2, .. on the
    objects, numbered column by column; one object everywhere if the mask is empty. Raises UserError
    for another shape or dtype.
    """
    interior = np.asarray(interior)
    if interior.dtype != bool or interior.ndim != 2 or interior.size == 0:
        raise UserError(
            f"interior: expected booleans (H, W), got {interior.dtype} of shape {interior.shape}"
        )
    basins = np.empty(interior.shape, np.int32)
    _core.flood_basins(np.ascontiguousarray(interior).view(np.uint8), basins)
    return basins

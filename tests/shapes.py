"""Shapes that tests of ops run over: one channel, channels around every vector width, odd sizes."""

from __future__ import annotations

# (N, C, H, W). Vectors hold 4, 8 or 16 floats, a panel of the matrix kernels two vectors.
BLOBS = [
    (1, 1, 1, 1),
    (1, 1, 1, 2),
    (1, 1, 3, 1),
    (1, 1, 2, 2),
    (2, 1, 5, 3),
    (1, 1, 7, 37),
    (1, 2, 1, 1),
    (1, 2, 4, 3),
    (3, 2, 6, 19),
    (1, 3, 2, 5),
    (2, 3, 7, 7),
    (1, 4, 1, 9),
    (2, 4, 6, 4),
    (1, 5, 5, 5),
    (1, 6, 3, 8),
    (1, 7, 9, 2),
    (2, 8, 4, 6),
    (1, 9, 2, 3),
    (1, 11, 6, 5),
    (1, 12, 8, 8),
    (3, 13, 3, 2),
    (1, 15, 1, 6),
    (1, 16, 5, 4),
    (2, 17, 3, 5),
    (1, 20, 2, 14),
    (1, 23, 4, 1),
    (1, 24, 7, 6),
    (1, 31, 3, 3),
    (2, 32, 2, 7),
    (1, 33, 5, 2),
    (1, 40, 6, 3),
    (1, 47, 1, 4),
    (1, 48, 4, 4),
    (2, 49, 2, 2),
    (1, 63, 3, 6),
    (1, 64, 6, 5),
    (1, 65, 2, 3),
    (1, 70, 4, 7),
]

# (N, IC, H, W, OC): blobs as they enter a layer with weights, and its number of outputs.
_OUTPUTS = (1, 2, 3, 5, 8, 4, 16, 7, 31, 1, 33, 12, 64, 2, 9, 70, 6, 32, 15)
LAYERS = [(*blob, _OUTPUTS[index % len(_OUTPUTS)]) for index, blob in enumerate(BLOBS)]


def shape_id(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))

"""What is laid over a slice: its errors in colours that those who see few colours can tell apart.

Blue is missed, orange is too much; purple is what is taken for another thing. (The colours are
those of Okabe and Ito, "Color Universal Design", 2008.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unet_native.data.instances import connected_instances
from unet_native.evaluate import ScoredObjects, ScoredSlice
from unet_native.objects import foreground_of
from unet_native.report.mistakes import ObjectMistakes, compare_objects, wrong_pixels
from unet_native.report.pictures import (
    SIDE,
    Layer,
    LayeredSlice,
    grey,
    image_picture,
    mapped,
    marks,
    outlines,
    shrunken,
)

__all__ = ["layered_objects", "layered_slice"]

_MISSED, _FALSE, _CONFUSED = "#56b4e9", "#e8660c", "#cc79a7"
_SPLIT, _FOUND, _TRUTH, _IGNORED = "#f0e442", "#12a67c", "#ffffff", "#8c8c8c"
#: Of classes 0, 1, ..; beyond, they begin again after the background.
_CLASSES = ("#202428", "#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")


def layered_slice(
    item: ScoredSlice, heading: str, ground: np.ndarray | None, inside: str = "interior"
) -> LayeredSlice:
    """Errors of the most probable classes, over the image or else over the probability.

    ground  (C, H, W) grey values of the image, or None
    inside  what class 1 is called where there are two classes
    """
    predicted = item.probabilities.argmax(axis=0)
    wrong = wrong_pixels(predicted, item.labels, item.ignore)
    counted = predicted.size if item.ignore is None else int(np.count_nonzero(~item.ignore))
    binary = len(item.probabilities) == 2
    what = inside if binary else "objects"
    names = {"missed": f"missed {what}", "false": f"false {what}", "confused": "wrong class"}
    colours = {"missed": _MISSED, "false": _FALSE, "confused": _CONFUSED}
    kinds = [kind for kind in wrong if not (binary and kind == "confused")]
    shares = {kind: 100 * np.count_nonzero(wrong[kind]) / max(1, counted) for kind in kinds}

    layers = _ground(foreground_of(item.probabilities), ground)
    if not binary:
        layers += [
            _classes("predicted classes", predicted),
            _classes("true classes", item.labels),
        ]
    layers += [
        _marks(names[kind], wrong[kind], colours[kind], f"{shares[kind]:.2f} % of the pixels")
        for kind in kinds
    ]
    said = ", ".join(f"{names[kind]} {shares[kind]:.2f} %" for kind in kinds)
    caption = [f"{said[:1].upper()}{said[1:]} of the pixels."]
    if binary:
        truth = _counting(item.labels == 1, item.ignore)
        found = _counting(predicted == 1, item.ignore)
        mistakes = compare_objects(found, truth)
        caption.append(_say(mistakes))
        layers += _objects(found, truth, mistakes, ("merged", "split"), shown=False)
    layers.append(_truth(item.labels))
    if item.ignore is not None and item.ignore.any():
        layers.append(_marks("ignored", item.ignore, _IGNORED, "pixels that do not count"))
    return LayeredSlice(heading, " ".join(caption), tuple(layers), _is_small(predicted))


def layered_objects(item: ScoredObjects, heading: str, ground: np.ndarray | None) -> LayeredSlice:
    """Objects found, missed and invented, over the image or else over the true objects."""
    if ground is None:
        shade = 0.32 * (item.truth != 0) - 0.1 * outlines(item.truth)
        layers = [Layer("", grey(shrunken(shade)), "True objects in grey")]
    else:
        layers = [Layer("", image_picture(ground), "The image")]
    mistakes = compare_objects(item.predicted, item.truth)
    kinds = ("missed", "invented", "merged", "split", "found")
    layers += _objects(item.predicted, item.truth, mistakes, kinds, shown=True)
    layers.append(_truth(item.truth))
    return LayeredSlice(heading, _say(mistakes), tuple(layers), _is_small(item.truth))


def _ground(probability: np.ndarray, ground: np.ndarray | None) -> list[Layer]:
    layer = Layer(
        "probability",
        grey(shrunken(probability)),
        "Probability of the foreground: black is 0, white is 1",
    )
    return [layer] if ground is None else [Layer("", image_picture(ground), "The image"), layer]


def _marks(
    name: str,
    where: NDArray[np.bool_],
    colour: str,
    said: str,
    shown: bool = True,
) -> Layer:
    alt = f"{name[:1].upper()}{name[1:]}: {said}"
    return Layer(name, marks(shrunken(where), colour), alt, colour, shown)


def _classes(name: str, classes: np.ndarray) -> Layer:
    count = len(_CLASSES)
    index = np.where(classes < count, classes, 1 + (classes - 1) % (count - 1)).astype(np.uint8)
    step = -(-max(index.shape) // SIDE)
    palette = np.array([tuple(bytes.fromhex(c[1:])) for c in _CLASSES], np.uint8)
    alt = f"{name[:1].upper()}{name[1:]}, a colour each"
    return Layer(name, mapped(index[::step, ::step], palette), alt)


def _truth(labels: np.ndarray) -> Layer:
    edges = outlines(labels)
    return _marks("outlines of the truth", edges, _TRUTH, "true borders", shown=False)


def _objects(
    predicted: np.ndarray,
    truth: np.ndarray,
    mistakes: ObjectMistakes,
    kinds: tuple[str, ...],
    *,
    shown: bool,
) -> list[Layer]:
    """A layer for each of these kinds that there is.

    A true object that is split is not shown as missed too, nor a predicted one that merges several
    as invented.
    """
    missed = np.setdiff1d(mistakes.missed, mistakes.split)
    invented = np.setdiff1d(mistakes.invented, mistakes.merged)
    of_kind = {
        "missed": ("missed", truth, missed, _MISSED),
        "invented": ("invented", predicted, invented, _FALSE),
        "merged": ("merged", predicted, mistakes.merged, _CONFUSED),
        "split": ("split", truth, mistakes.split, _SPLIT),
        "found": ("outlines of those found", truth, mistakes.found, _FOUND),
    }
    layers = []
    for kind in kinds:
        name, plane, ids, colour = of_kind[kind]
        if len(ids):
            where = np.isin(plane, ids)
            if kind in ("merged", "split", "found"):  # beside areas, not mixed with their colours
                where = _rims(np.where(where, plane, 0), 1 if kind == "found" else 2)
            layers.append(_marks(name, where, colour, _objects_text(len(ids)), shown))
    return layers


def _rims(objects: np.ndarray, width: int) -> NDArray[np.bool_]:
    """(H, W): the outermost `width` pixels of each object, (H, W) integers."""
    rims = outlines(objects)
    for _ in range(width - 1):
        rims |= outlines(np.where(rims, 0, objects))
    return rims


def _say(mistakes: ObjectMistakes) -> str:
    true, found = len(mistakes.found) + len(mistakes.missed), len(mistakes.found)
    return (
        f"{_objects_text(true)} in the truth: {found} found, {len(mistakes.missed)} missed, "
        f"{len(mistakes.split)} split. Of the predicted ones {len(mistakes.invented)} match none, "
        f"{len(mistakes.merged)} merge several."
    )


def _objects_text(count: int) -> str:
    return f"{count} object{'s' * (count != 1)}"


def _counting(inside: NDArray[np.bool_], ignore: NDArray[np.bool_] | None) -> NDArray[np.int32]:
    """Connected objects, in which ignored pixels have no part."""
    inside = inside if ignore is None else inside & ~ignore
    return connected_instances(inside.astype(np.uint8))


def _is_small(plane: np.ndarray) -> bool:
    return max(plane.shape) <= SIDE // 2

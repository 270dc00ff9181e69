"""The ISBI 2012 scores against the challenge's own implementation, field by field."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from shared import golden
from unet_native.metrics import isbi_scores, isbi_thresholds, thinned_objects, warp_label


def folder():
    """The folder of the cases: UNET_NATIVE_GOLDEN may name it, or the one around it."""
    if named := os.environ.get("UNET_NATIVE_GOLDEN"):
        cases = Path(named)
        if not (cases / "metrics").is_dir() and any(cases.glob("*.npz")):
            return cases
    return golden("metrics")


CASES = sorted(folder().glob("*.npz"))
IMAGES_AT = 5  # index of the threshold of the stored images
TOLERANCE = 1e-9


def differences(ours, theirs, where=""):
    """Every field that is missing or differs; integers must be equal, null is NaN."""
    if isinstance(theirs, dict):
        if set(ours) != set(theirs):
            yield f"{where}: fields {sorted(set(ours) ^ set(theirs))}"
        for name in set(ours) & set(theirs):
            yield from differences(ours[name], theirs[name], f"{where}.{name}")
    elif isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{where}: {len(ours)} entries instead of {len(theirs)}"
        for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(one, other, f"{where}[{index}]")
    elif theirs is None:
        if not math.isnan(ours):
            yield f"{where}: {ours!r} instead of NaN"
    elif isinstance(theirs, int):
        if ours != theirs:
            yield f"{where}: {ours!r} instead of {theirs!r}"
    elif not abs(ours - theirs) <= TOLERANCE:
        yield f"{where}: {ours!r} instead of {theirs!r}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_field(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    with np.load(path) as images:
        scores = isbi_scores(images["proposal"], images["label"], warping=True).to_dict()
    found = list(differences(scores["summary"], expected["summary"], "summary"))
    found += differences(list(scores["thresholds"]), expected["thresholds"], "thresholds")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_images(path):
    threshold = isbi_thresholds()[IMAGES_AT]
    with np.load(path) as images:
        proposal, label = images["proposal"], images["label"]
        for index in range(len(proposal)):
            interior = proposal[index].astype(np.float64) > threshold
            np.testing.assert_array_equal(thinned_objects(interior), images["thinned"][index])
            warped = warp_label(proposal[index], label[index], threshold)
            np.testing.assert_array_equal(warped, images["warped"][index])


def test_there_are_cases():
    assert CASES

"""The warping error: what may flip, what remains, and what it is called."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet_native.errors import UserError
from unet_native.metrics import MISMATCH_KINDS, classify_mismatches, isbi_scores, warp_label

EIGHT = np.ones((3, 3), int)


def picture(*rows):
    return np.array([[character == "#" for character in row] for row in rows], np.uint8)


def topology(label):
    """Numbers of 4-connected objects and of 8-connected pieces of background, frame included."""
    framed = np.pad(label, 1)
    return ndimage.label(framed)[1], ndimage.label(framed == 0, EIGHT)[1]


def kinds_of(label, proposal, **arguments):
    """The kinds of error that remain, by name and number of pixels."""
    proposal = proposal.astype(np.float32)
    kinds = classify_mismatches(proposal, warp_label(proposal, label), **arguments)
    counts = np.bincount(kinds.ravel(), minlength=len(MISMATCH_KINDS) + 1)[1:]
    return {kind: n for kind, n in zip(MISMATCH_KINDS, counts.tolist(), strict=True) if n}


@pytest.mark.parametrize("ring", range(256))
def test_a_pixel_flips_exactly_if_the_topology_stays(ring):
    """All 256 surroundings of a pixel, lost and gained."""
    label = np.zeros((3, 3), np.uint8)
    places = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    for k, place in enumerate(places):
        label[place] = ring >> k & 1
    for centre in (0, 1):
        label[1, 1] = centre
        target = label.copy()
        target[1, 1] ^= 1
        flipped = warp_label(target.astype(np.float32), label)[1, 1] != centre
        assert flipped == (topology(label) == topology(target))


@pytest.mark.parametrize("seed", range(6))
def test_warping_keeps_the_topology_and_ends_where_nothing_can_flip(seed):
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random((2, 50, 60)), (0, 1.5, 1.5))
    label = (noise[0] > np.median(noise[0])).astype(np.uint8)
    proposal = np.clip((noise[1] - noise[1].mean()) * 5 + 0.5, 0, 1).astype(np.float32)
    warped = warp_label(proposal, label)
    assert topology(warped) == topology(label)
    before, after = ((image != (proposal > 0.5)).sum() for image in (label, warped))
    assert after < before
    np.testing.assert_array_equal(warp_label(proposal, warped), warped)
    row = isbi_scores(proposal, label, [0.5], warping=True).thresholds[0]
    assert row.warp_classic == after / label.size
    assert sum(row.warp_counts.values()) == after


def test_the_strongest_disagreement_flips_first():
    """Either of two pixels may close the gap but not both; the surer one does."""
    label = picture("#..#")
    proposal = np.array([[1.0, 0.8, 0.9, 1.0]], np.float32)
    np.testing.assert_array_equal(warp_label(proposal, label), picture("#.##"))
    np.testing.assert_array_equal(warp_label(proposal[:, ::-1], label), picture("##.#"))


def test_ties_go_column_by_column():
    label = picture("#..#")
    np.testing.assert_array_equal(warp_label(np.ones((1, 4), np.float32), label), picture("##.#"))


def simple(framed, y, x):
    """Whether flipping a pixel keeps the topology of its surroundings."""
    around = framed[y - 1 : y + 2, x - 1 : x + 2].copy()
    before = topology(around)
    around[1, 1] ^= 1
    return topology(around) == before


def warped_pass_by_pass(proposal, label, threshold):
    """The definition: passes over all differing pixels until one of them changes nothing."""
    framed = np.pad(label, 1)
    strength = np.abs(proposal.astype(np.float64) - threshold)
    places = [(y, x) for x in range(label.shape[1]) for y in range(label.shape[0])]
    places.sort(key=lambda place: -strength[place])
    changed = True
    while changed:
        changed = False
        for y, x in places:
            differs = (float(proposal[y, x]) > threshold) != framed[y + 1, x + 1]
            if differs and simple(framed, y + 1, x + 1):
                framed[y + 1, x + 1] ^= 1
                changed = True
    return framed[1:-1, 1:-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 1.0, 2.0)), st.sampled_from((2, 5, 1000)))
def test_warping_equals_its_definition(seed, blur, levels):
    """Flips in the same order: few levels for many ties, no blur for many pixels that wait."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 14, 2))
    noise = ndimage.gaussian_filter(rng.random(shape), blur)
    label = (noise > np.quantile(noise, rng.uniform(0.2, 0.8))).astype(np.uint8)
    proposal = (rng.integers(0, levels, shape) / (levels - 1)).astype(np.float32)
    threshold = rng.choice([0.0, 0.25, 0.5, 0.75])
    expected = warped_pass_by_pass(proposal, label, threshold)
    np.testing.assert_array_equal(warp_label(proposal, label, threshold), expected)


def serpentine(size=512):
    """One line of a pixel's width, from one corner to the other."""
    label = np.zeros((size, size), np.uint8)
    label[::2] = 1
    label[1::4, -1] = label[3::4, 0] = 1
    return label


def ladder(size=512):
    """One object of loops as long as the image is wide: it can nowhere be told apart nearby."""
    label = np.zeros((size, size), np.uint8)
    label[::2] = label[:, 0] = label[:, -1] = 1
    return label


@pytest.mark.parametrize("label", [serpentine(), ladder()], ids=["serpentine", "ladder"])
@pytest.mark.parametrize("turn", [0, 1])
def test_what_differs_everywhere_is_cheap(label, turn):
    """A search of passes over the whole line, or of walks along whole loops, would be quadratic."""
    label = np.ascontiguousarray(np.rot90(label, turn))
    for proposal in (np.zeros(label.shape, np.float32), 1 - label.astype(np.float32)):
        began = time.process_time()
        warped = warp_label(proposal, label)
        classify_mismatches(proposal, warped)
        classify_mismatches(proposal, warped, radius=None)
        assert time.process_time() - began < 1
        assert topology(warped) == topology(label)


@pytest.mark.parametrize(
    ("label", "proposal", "kinds"),
    [
        (picture("#####"), picture("##.##"), {"splits": 1}),
        (picture("##.##"), picture("#####"), {"mergers": 1}),
        (picture("#.#", ".#.", "#.#"), picture("###", "###", "###"), {"mergers": 4}),
        (
            picture("#####", "#####", "#####"),
            picture("#####", "##.##", "#####"),
            {"hole_additions": 1},
        ),
        (
            picture("#####", "#...#", "#####"),
            picture("#####", "#####", "#####"),
            {"hole_deletions": 1},
        ),
        (picture("....."), picture("..#.."), {"object_additions": 1}),
        (picture(".###."), picture("....."), {"object_deletions": 1}),
    ],
)
def test_kinds_of_errors(label, proposal, kinds):
    assert kinds_of(label, proposal) == kinds


def test_an_object_at_a_corner_counts_as_beside():
    label = picture("##..", "##..", "....")
    assert kinds_of(label, picture("##..", "##..", "..#.")) == {"hole_additions": 1}


def test_objects_are_told_apart_within_the_radius():
    """Cutting a ring of 29 x 29 pixels looks like a split unless one sees all of it."""
    ring = np.zeros((31, 31), np.uint8)
    ring[1:-1, 1:-1] = 1
    ring[2:-2, 2:-2] = 0
    cut = ring.copy()
    cut[1, 15] = 0
    assert kinds_of(ring, cut, radius=20) == {"splits": 1}
    assert kinds_of(ring, cut, radius=28) == {"hole_additions": 1}
    assert kinds_of(ring, cut, radius=None) == {"hole_additions": 1}
    summary = isbi_scores(cut.astype(np.float32), ring, warping=True).summary
    assert summary.warp_min_splits_mergers == 1 / ring.size
    assert summary.warp_min_splits_mergers_whole_image == 0


def pieces_around(warped, y, x, radius):
    """Objects that an 8-neighbour of (y, x) belongs to without that pixel, near it."""
    without = warped.copy()
    without[y, x] = 0
    top, left = max(y - radius, 0), max(x - radius, 0)
    objects = ndimage.label(without[top : y + radius + 1, left : x + radius + 1])[0]
    v, u = y - top, x - left
    return len(set(objects[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2].ravel().tolist()) - {0})


@pytest.mark.parametrize("radius", [1, 3, 8, 1000])
def test_kinds_equal_brute_force(radius):
    rng = np.random.default_rng(radius)
    seen = set()
    for share in (0.3, 0.5, 0.7):
        warped = (rng.random((24, 26)) < share).astype(np.uint8)
        proposal = rng.random(warped.shape).astype(np.float32)
        kinds = classify_mismatches(proposal, warped, 0.5, None if radius == 1000 else radius)
        np.testing.assert_array_equal(kinds > 0, (proposal > 0.5) != warped)
        for y, x in zip(*np.nonzero(kinds), strict=True):
            pieces = min(pieces_around(warped, y, x, radius), 2)
            filled = warped[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].sum() == 8
            names = ("object", "hole", "split") if warped[y, x] else ("object", "hole", "merger")
            expected = f"{names[pieces]}s"
            if pieces < 2:
                gained = (pieces == 0) != bool(warped[y, x])
                gained = gained if pieces == 0 else not (filled and not warped[y, x])
                expected = f"{names[pieces]}_{'additions' if gained else 'deletions'}"
            assert MISMATCH_KINDS[kinds[y, x] - 1] == expected
            seen.add(expected)
    assert {"splits", "mergers", "hole_additions"} <= seen


def test_clusters_are_counted_once():
    label = picture("###.###", "###.###", "###.###")
    proposal = np.ones(label.shape, np.float32)
    summary = isbi_scores(proposal, label, warping=True).summary
    assert summary.warp_min_splits_mergers == 3 / label.size
    assert summary.warp_min_splits_mergers_clustered == 1 / label.size


@pytest.mark.parametrize(
    ("proposal", "label", "message"),
    [
        (np.ones((3, 3), np.float32), np.ones((3, 4), np.uint8), "same shape"),
        (np.ones((1, 3, 3), np.float32), np.ones((1, 3, 3), np.uint8), "one slice"),
        (np.full((3, 3), np.nan, np.float32), np.ones((3, 3), np.uint8), "NaN"),
        (np.ones((3, 3)), np.ones((3, 3), np.uint8), "float64"),
        (np.ones((3, 3), np.float32), np.full((3, 3), 255, np.uint8), "label > 0"),
    ],
)
def test_bad_input(proposal, label, message):
    with pytest.raises(UserError, match=message):
        warp_label(proposal, label)
    with pytest.raises(UserError, match=message):
        classify_mismatches(proposal, label)


def test_a_radius_must_be_positive():
    with pytest.raises(UserError, match="radius"):
        classify_mismatches(np.ones((3, 3), np.float32), np.ones((3, 3), np.uint8), radius=0)

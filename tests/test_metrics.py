"""The ISBI 2012 scores: closed forms, invariances, brute force over all pairs of pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from unet_native import _core
from unet_native.errors import UserError
from unet_native.metrics import isbi_scores, isbi_thresholds, thinned_objects, v_rand_thinned


def smooth(rng, shape, sigma=2.0):
    """float32 noise from 0 to 1 in blobs of a few pixels."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, sigma, sigma)[-len(shape) :])
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def grid(size=96, cell=24, shift=0):
    """(1, size, size) uint8: cells between lines of three pixels."""
    line = (np.arange(size) + shift) % cell // 3 == 4
    return (~(line[:, None] | line[None, :])).astype(np.uint8)[None]


def as_proposal(label):
    return label.astype(np.float32)


def restricted_f(truth, proposal):
    """F score of pairs of the truth's foreground, by looking at every pair."""
    foreground = truth > 0
    a, b = truth[foreground], proposal[foreground].copy()
    b[b == 0] = b.max() + 1 + np.arange((b == 0).sum())  # each an object of its own
    same_a, same_b = a[:, None] == a, b[:, None] == b
    both = (same_a & same_b).sum()
    precision, recall = both / same_b.sum(), both / same_a.sum()
    return 2 * precision * recall / (precision + recall)


def restricted_entropies(truth, proposal):
    """H(truth), H(proposal), H(both) of the truth's foreground."""
    foreground = truth > 0
    a, b = truth[foreground], proposal[foreground].copy()
    b[b == 0] = b.max() + 1 + np.arange((b == 0).sum())
    entropies = []
    for values in (a[:, None], b[:, None], np.stack([a, b], axis=1)):
        p = np.unique(values, axis=0, return_counts=True)[1] / len(a)
        entropies.append(-(p * np.log(p)).sum())
    return entropies


def numbers(mask, neighbours=4):
    labels = np.full(mask.shape, -7, np.int32)
    count = _core.label_components(np.ascontiguousarray(mask, np.uint8), neighbours, labels)
    assert count == labels.max()
    return labels


def flooded(interior):
    """The flooding as the challenge's notes describe it, in plain Python."""
    height, width = interior.shape
    basins = ndimage.label(interior.T)[0].T.copy()
    if not basins.any():
        return np.ones_like(basins)

    def around(y, x):
        for v, u in ((y, x - 1), (y - 1, x), (y, x + 1), (y + 1, x)):
            if 0 <= v < height and 0 <= u < width:
                yield v, u

    seen = interior.copy()
    queue = [
        (y, x)
        for x in range(width)
        for y in range(height)
        if not interior[y, x] and any(interior[v, u] for v, u in around(y, x))
    ]
    for y, x in queue:
        seen[y, x] = True
    for y, x in queue:  # grows while it is walked
        beside = {int(basins[v, u]) for v, u in around(y, x)} - {0}
        basins[y, x] = beside.pop() if len(beside) == 1 else 0
        for v, u in around(y, x):
            if not seen[v, u]:
                seen[v, u] = True
                queue.append((v, u))
    return basins


# Building blocks


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (17, 23)])
def test_components_equal_scipy(shape, neighbours):
    structure = ndimage.generate_binary_structure(2, 1 if neighbours == 4 else 2)
    for seed in range(8):
        mask = np.random.default_rng(seed).random(shape) < 0.55
        np.testing.assert_array_equal(numbers(mask, neighbours), ndimage.label(mask, structure)[0])


def test_components_refuse_what_is_not_a_mask():
    labels = np.zeros((3, 3), np.int32)
    with pytest.raises(ValueError, match="same shape"):
        _core.label_components(np.zeros((3, 4), np.uint8), 4, labels)
    with pytest.raises(ValueError, match="4 or 8"):
        _core.label_components(np.zeros((3, 3), np.uint8), 6, labels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (37, 23), (20, 41)])
def test_thinning_follows_the_order_of_flooding(shape):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        for share in (0.02, 0.2, 0.6):
            interior = rng.random(shape) < share
            np.testing.assert_array_equal(thinned_objects(interior), flooded(interior))


def test_thinned_objects_keep_their_pixels_and_never_touch():
    rng = np.random.default_rng(1)
    interior = smooth(rng, (80, 70)) > 0.55
    thin = thinned_objects(interior)
    objects, count = ndimage.label(interior)
    assert thin.max() == count
    for number in range(1, count + 1):
        assert len(np.unique(thin[objects == number])) == 1
        assert thin[objects == number].all()
    for one, other in ((thin[1:], thin[:-1]), (thin[:, 1:], thin[:, :-1])):
        assert ((one == other) | (one == 0) | (other == 0)).all()


def test_thinning_without_any_object_is_one_object():
    assert (thinned_objects(np.zeros((4, 5), bool)) == 1).all()


@pytest.mark.parametrize("interior", [np.zeros((3, 3)), np.zeros(3, bool), np.zeros((0, 3), bool)])
def test_thinning_refuses_what_is_not_a_mask(interior):
    with pytest.raises(UserError, match="interior"):
        thinned_objects(interior)


@pytest.mark.parametrize("seed", range(12))
def test_pairs_and_entropies_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, (14, 15)).astype(np.int32)
    proposal = rng.integers(0, 1 + seed % 7, truth.shape).astype(np.int32)
    scores = _core.partition_scores(truth, proposal)

    pairs = scores.restricted
    precision, recall = pairs.tp / (pairs.tp + pairs.fp), pairs.tp / (pairs.tp + pairs.fn)
    f = 2 * precision * recall / (precision + recall)
    assert f == pytest.approx(restricted_f(truth, proposal), rel=1e-12)
    total = pairs.tp + pairs.tn + pairs.fp + pairs.fn
    assert total == pytest.approx((truth > 0).sum() ** 2, rel=1e-12)

    of_truth, of_proposal, of_both = restricted_entropies(truth, proposal)
    entropies = scores.entropies
    expected = [of_truth, of_proposal, of_both - of_proposal, of_both - of_truth]
    expected.append(2 * of_both - of_truth - of_proposal)
    found = [
        entropies.truth,
        entropies.proposal,
        entropies.truth_given_proposal,
        entropies.proposal_given_truth,
        entropies.variation,
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)

    one, other = np.triu_indices(truth.size, 1)
    same_truth = truth.ravel()[one] == truth.ravel()[other]
    same_proposal = proposal.ravel()[one] == proposal.ravel()[other]
    standard = scores.standard
    assert standard.tp == (same_truth & same_proposal).sum()
    assert standard.fp == (~same_truth & same_proposal).sum()
    assert standard.fn == (same_truth & ~same_proposal).sum()
    assert standard.tn == (~same_truth & ~same_proposal).sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_numbering_of_objects_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, proposal = rng.integers(0, 9, (2, 12, 13)).astype(np.int32)
    order = np.concatenate([[0], 1 + rng.permutation(40)]).astype(np.int32)
    one = _core.partition_scores(truth, proposal)
    for renumbered in (
        _core.partition_scores(order[truth], proposal),
        _core.partition_scores(truth, order[proposal]),
    ):
        for kind in ("standard", "restricted"):
            for name in ("tp", "tn", "fp", "fn"):
                expected = getattr(getattr(one, kind), name)
                assert getattr(getattr(renumbered, kind), name) == pytest.approx(expected, abs=1e-8)
        for name in ("truth", "proposal", "variation"):
            expected = getattr(one.entropies, name)
            assert getattr(renumbered.entropies, name) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [-1, 10])
def test_object_numbers_out_of_range_are_refused(wrong):
    labels = np.zeros((3, 3), np.int32)
    bad = np.full((3, 3), wrong, np.int32)
    for pair in ((bad, labels), (labels, bad)):
        with pytest.raises(ValueError, match="object numbers"):
            _core.partition_scores(*pair)


# Scores


def test_thresholds_are_added_up():
    thresholds = isbi_thresholds()
    assert len(thresholds) == 11
    assert thresholds[3] == 0.30000000000000004
    assert thresholds[-1] == 0.9999999999999999


@pytest.mark.parametrize("seed", range(3))
def test_a_perfect_proposal_scores_one(seed):
    label = (smooth(np.random.default_rng(seed), (2, 60, 50)) > 0.5).astype(np.uint8)
    scores = isbi_scores(as_proposal(label), label, warping=True)
    summary = scores.summary
    for name in ("pixel_max_f", "rand_standard_max_f", "rand_fr_max_f", "v_info_fr_max"):
        assert getattr(summary, name) == pytest.approx(1, abs=1e-12)
    for score in (scores.v_rand, scores.v_info, summary.v_rand_thinned_max_pooled):
        assert score == pytest.approx(1, abs=1e-12)
    assert scores.pixel_error == scores.rand_error == scores.warping_error == 0


def test_interior_is_one():
    """Swapping the proposal's polarity ruins every score."""
    label = grid()
    right, wrong = (isbi_scores(p, label) for p in (as_proposal(label), as_proposal(1 - label)))
    assert right.v_rand == pytest.approx(1)
    assert wrong.v_rand < 0.5
    assert wrong.thresholds[0].pixel_error == 1
    assert right.thresholds[0].pixel.tp == label.sum()


def test_everything_merged_has_a_closed_form():
    label = grid()
    sizes = np.bincount(numbers(label[0]).ravel())[1:]
    a = ((sizes / sizes.sum()) ** 2).sum()
    scores = isbi_scores(np.ones(label.shape, np.float32), label)
    assert scores.v_rand == pytest.approx(2 * a / (1 + a), abs=1e-12)
    assert scores.summary.rand_fr_max_f == pytest.approx(2 * a / (1 + a), abs=1e-12)
    assert scores.v_info == 0
    p = label.mean()
    assert scores.pixel_error == pytest.approx(1 - 2 * p / (1 + p), abs=1e-12)


def test_everything_split_has_a_closed_form():
    """All membrane: every pixel is an object, but thinning makes one of them all."""
    label = grid()
    sizes = np.bincount(numbers(label[0]).ravel())[1:]
    n, shares = sizes.sum(), sizes / sizes.sum()
    a = (shares**2).sum()
    scores = isbi_scores(np.zeros(label.shape, np.float32), label, warping=True)
    row = scores.thresholds[0]
    assert row.rand_fr.precision == pytest.approx(1, abs=1e-12)
    assert row.rand_fr.f == pytest.approx(2 / (1 + n * a), abs=1e-12)
    explained = -(shares * np.log(shares)).sum() / np.log(n)
    assert row.v_info_fr == pytest.approx(2 * explained / (1 + explained), abs=1e-12)
    assert row.v_rand_thinned_per_slice == pytest.approx(2 * a / (1 + a), abs=1e-12)
    assert row.objects_proposal == (0,)
    assert row.objects_thinned == (1,)
    assert math.isnan(row.pixel.precision)
    assert row.pixel.recall == 0
    assert scores.pixel_error == 1
    assert row.warp_counts["object_deletions"] == len(sizes)
    assert row.warp_classic == len(sizes) / label.size


def test_one_object_on_each_side_carries_no_information():
    label = np.ones((1, 8, 9), np.uint8)
    scores = isbi_scores(as_proposal(label), label)
    assert scores.v_rand == 1
    assert scores.v_info == 0


def test_shifted_borders_cost_pixels_but_hardly_any_v_rand():
    label, shifted = grid(), grid(shift=1)
    scores = isbi_scores(as_proposal(shifted), label, warping=True)
    assert scores.v_rand > 1 - 1e-2
    assert scores.thresholds[5].pixel_error > 0.1
    assert scores.summary.rand_standard_max_f < 0.95
    assert scores.warping_error == 0


def test_stacks_are_averaged_by_slice_where_the_challenge_does():
    rng = np.random.default_rng(0)
    label = (smooth(rng, (3, 60, 60)) > 0.4).astype(np.uint8)
    proposal = smooth(rng, (3, 60, 60)) * 0.4 + label * np.float32(0.6)
    stack = isbi_scores(proposal, label, warping=True)
    slices = [isbi_scores(p, t, warping=True) for p, t in zip(proposal, label, strict=True)]
    for k, row in enumerate(stack.thresholds):
        rows = [s.thresholds[k] for s in slices]
        for name in ("v_rand_thinned_per_slice", "v_info_fr", "v_info_thinned", "warp_classic"):
            expected = np.mean([getattr(r, name) for r in rows])
            assert getattr(row, name) == pytest.approx(expected, abs=1e-12)
        for name in ("pixel", "rand_standard", "rand_fr", "rand_thinned"):
            for count in ("tp", "tn", "fp", "fn"):
                expected = sum(getattr(getattr(r, name), count) for r in rows)
                assert getattr(getattr(row, name), count) == pytest.approx(expected, rel=1e-12)
        for kind, count in row.warp_counts.items():
            assert count == sum(r.warp_counts[kind] for r in rows)
    assert stack.v_rand == max(r.v_rand_thinned_per_slice for r in stack.thresholds)
    assert v_rand_thinned(proposal, label) == stack.v_rand


def test_scores_do_not_depend_on_threads():
    rng = np.random.default_rng(2)
    label = smooth(rng, (2, 50, 40)) > 0.5
    proposal = smooth(rng, (2, 50, 40))
    one = isbi_scores(proposal, label, warping=True, threads=1)
    assert repr(isbi_scores(proposal, label, warping=True, threads=3)) == repr(one)


def test_thresholds_compare_in_double_precision():
    """float32(0.7) is below 0.7, float32(0.1) above 0.1: widened, they differ from the double."""
    label = np.ones((1, 2), np.uint8)
    proposal = np.array([[0.7, 0.1]], np.float32)
    (row,) = isbi_scores(proposal, label, [0.7]).thresholds
    assert row.pixel.tp == 0
    (row,) = isbi_scores(proposal, label, [0.1]).thresholds
    assert row.pixel.tp == 2


def test_warping_is_left_out_unless_asked_for():
    label = grid()
    scores = isbi_scores(as_proposal(label), label)
    assert scores.warping_error is None
    assert scores.thresholds[0].warp_counts is None
    assert scores.to_dict()["summary"]["warp_min_splits_mergers"] is None


def with_value(value):
    proposal = np.full((2, 4, 5), 0.5, np.float32)
    proposal[1, 2, 3] = value
    return proposal


GOOD_PROPOSAL = with_value(0.5)
GOOD_LABEL = np.ones((2, 4, 5), np.uint8)


@pytest.mark.parametrize(
    ("proposal", "label", "arguments", "message"),
    [
        (GOOD_PROPOSAL[:1], GOOD_LABEL, {}, "same shape"),
        (GOOD_PROPOSAL[:, :3], GOOD_LABEL, {}, "same shape"),
        (with_value(np.nan), GOOD_LABEL, {}, "found NaN"),
        (with_value(np.inf), GOOD_LABEL, {}, "from 0.5 to inf"),
        (with_value(-0.25), GOOD_LABEL, {}, "from -0.25 to 0.5"),
        (with_value(255), GOOD_LABEL, {}, "from 0.5 to 255"),
        (GOOD_PROPOSAL.astype(np.float64), GOOD_LABEL, {}, "float64"),
        (GOOD_LABEL, GOOD_LABEL, {}, "uint8"),
        (GOOD_PROPOSAL[0, 0], GOOD_LABEL, {}, "axes"),
        (GOOD_PROPOSAL[:0], GOOD_LABEL[:0], {}, "axes"),
        (GOOD_PROPOSAL, GOOD_LABEL.astype(np.float32), {}, "integers 0 and 1"),
        (GOOD_PROPOSAL, GOOD_LABEL * 255, {}, "label > 0"),
        (GOOD_PROPOSAL, -GOOD_LABEL.astype(np.int16), {}, "found values from -1"),
        (GOOD_PROPOSAL, GOOD_LABEL * np.uint8([[[1]], [[0]]]), {}, "slice 1 has no interior"),
        (GOOD_PROPOSAL, GOOD_LABEL, {"thresholds": []}, "thresholds"),
        (GOOD_PROPOSAL, GOOD_LABEL, {"thresholds": [0.5, 1.0]}, "thresholds"),
        (GOOD_PROPOSAL, GOOD_LABEL, {"thresholds": [np.nan]}, "thresholds"),
        (GOOD_PROPOSAL, GOOD_LABEL, {"threads": 0}, "threads"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(proposal, label, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        isbi_scores(proposal, label, **arguments)
    assert "\n" not in str(caught.value)

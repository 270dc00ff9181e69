"""From probabilities to numbered objects."""

import heapq
import itertools
import time

import numpy as np
import pytest
from scipy import ndimage

from unet_native import _core
from unet_native.data.instances import separate_touching
from unet_native.data.write import write_objects
from unet_native.errors import UserError
from unet_native.metrics import ctc_scores
from unet_native.objects import foreground_of, objects

CROSS = ndimage.generate_binary_structure(2, 1)


def disc(shape, y, x, radius):
    rows, columns = np.indices(shape)
    return np.hypot(rows - y, columns - x) < radius


def some_image(seed, shape=(30, 41)):
    """Blobs, some of them touching, that look like probabilities."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, 2)
    return (1 / (1 + np.exp(-6 * smooth / smooth.std()))).astype(np.float32)


def distances(mask, threads=1):
    out = np.full(mask.shape, np.nan, np.float32)
    _core.inner_distances(_core.Context(threads=threads), mask.astype(np.uint8), out)
    return out


def watershed(height, depth):
    labels = np.full(height.shape, -7, np.int32)
    count = _core.watershed(np.ascontiguousarray(height, np.float32), depth, labels)
    assert count == labels.max()
    return labels


def assert_numbered_by_rows(labels):
    _, first = np.unique(labels[labels > 0], return_index=True)
    assert (np.diff(first) > 0).all()
    assert set(np.unique(labels)) - {0} == set(range(1, labels.max() + 1))


# --- distances ---


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (13, 30), (40, 17)])
@pytest.mark.parametrize("share", [0.2, 0.9, 0.995])
def test_distances(shape, share):
    for seed in range(5):
        mask = np.random.default_rng(seed).random(shape) < share
        mask.flat[seed % mask.size] = False
        ground = np.argwhere(~mask)
        pixels = np.indices(shape).reshape(2, -1).T
        squares = ((pixels[:, None] - ground[None]) ** 2).sum(-1).min(1).reshape(shape)
        expected = np.sqrt(squares.astype(np.float64)).astype(np.float32)
        for threads in (1, 2):
            np.testing.assert_array_equal(distances(mask, threads), expected)


def test_distances_without_background():
    np.testing.assert_array_equal(distances(np.ones((3, 8))), 11)


# --- watershed ---


def reference_watershed(height, depth):
    """The same by definitions: reconstruction for the h-maxima, a queue in Python for the growth.
    Needs heights without equal values."""
    inside = height > 0
    marker = np.where(inside, height - depth, -np.inf)
    while True:  # the marker spreads under the height: reconstruction by dilation
        spread = np.minimum(ndimage.grey_dilation(marker, footprint=CROSS), height)
        spread = np.where(inside, spread, -np.inf)
        if (spread == marker).all():
            break
        marker = spread
    seeds, count = ndimage.label((marker < height) & inside, CROSS)
    # Of these components, those that hold a peak of their object: its height - depth is not reached
    # from outside.
    for number in range(1, count + 1):
        own = seeds == number
        peak = height[own].max()
        around, _ = ndimage.label(inside & (height > peak - depth), CROSS)
        near = around == around[own][height[own].argmax()]
        if height[near].max() > peak:
            seeds[own] = 0
    labels = np.zeros(height.shape, np.int32)
    peaks = sorted({height[seeds == n].max() for n in np.unique(seeds[seeds > 0])}, reverse=True)
    for number, peak in enumerate(peaks, 1):
        around, _ = ndimage.label(inside & (height > peak - depth), CROSS)
        labels[around == around[height == peak][0]] = number
    turn, queue = itertools.count(), []
    queued = np.zeros(height.shape, bool)

    def send(y, x, level):
        for v, u in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x)):
            if not (0 <= v < height.shape[0] and 0 <= u < height.shape[1]) or queued[v, u]:
                continue
            if inside[v, u] and not labels[v, u]:
                queued[v, u] = True
                at = min(level, height[v, u])
                heapq.heappush(queue, (-at, next(turn), v, u, labels[y, x]))

    for y, x in np.argwhere(labels):
        send(y, x, height[y, x])
    while queue:
        level, _, y, x, label = heapq.heappop(queue)
        labels[y, x] = label
        send(y, x, -level)
    return labels


def same_partition(one, other):
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("depth", [0.05, 0.5, 2.0])
def test_watershed(depth):
    several = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        height = ndimage.gaussian_filter(rng.standard_normal((19, 23)), 1.5)
        height = (3 * height / height.std() + 1).astype(np.float32)
        found, expected = watershed(height, depth), reference_watershed(height, depth)
        assert same_partition(found, expected)
        np.testing.assert_array_equal(found > 0, height > 0)
        assert_numbered_by_rows(found)
        regions = ndimage.label(height > 0, CROSS)[1]
        several += found.max() > regions
        for number in range(1, found.max() + 1):
            assert ndimage.label(found == number, CROSS)[1] == 1
    assert several, "nothing was ever cut"


def test_a_plateau_is_one_object_and_is_shared_evenly():
    assert watershed(np.ones((6, 9)), 1e-3).max() == 1
    height = np.ones((5, 12), np.float32)
    height[2, [0, 11]] = 4
    labels = watershed(height, 1)
    assert labels[2].tolist() == [1] * 6 + [2] * 6
    height[2, 0] = np.nan
    assert watershed(height, 1)[2, 0] == 0


def test_the_core_refuses():
    plane, labels = np.ones((4, 5), np.float32), np.zeros((4, 5), np.int32)
    for depth in (0, -1, np.nan):
        with pytest.raises(ValueError, match="depth must be positive"):
            _core.watershed(plane, depth, labels)
    with pytest.raises(ValueError, match="same shape"):
        _core.watershed(plane, 1, labels[:2])
    with pytest.raises(ValueError, match="same shape"):
        _core.inner_distances(_core.Context(), np.ones((4, 4), np.uint8), plane)
    with pytest.raises(ValueError, match="not be negative"):
        _core.close_gaps(labels - 1)


def test_gaps_go_to_the_larger_object():
    labels = np.array(
        [
            [1, 1, 0, 2, 0, 0],
            [1, 1, 0, 2, 0, 3],
            [1, 0, 0, 2, 0, 0],
            [1, 0, 4, 0, 0, 5],
        ],
        np.int32,
    )
    _core.close_gaps(labels)
    expected = [
        [1, 1, 1, 2, 2, 0],
        [1, 1, 1, 2, 2, 3],
        [1, 1, 1, 2, 2, 3],
        [1, 1, 4, 2, 2, 5],
    ]
    assert labels.tolist() == expected


# --- objects ---


def test_components():
    for seed in range(5):
        probability = some_image(seed)
        for threshold in (0.3, 0.5, 0.9):
            found = objects(
                probability, method="components", threshold=threshold, min_size=0, fill_holes=False
            )
            expected, _ = ndimage.label(probability > threshold, CROSS)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == np.int32


def test_what_touches_is_cut_at_the_waist():
    shape = (60, 90)
    one, other = disc(shape, 30, 30, 14), disc(shape, 30, 54, 14)
    probability = ndimage.gaussian_filter((one | other).astype(np.float32), 1)
    assert objects(probability, method="components").max() == 1
    found = objects(probability)
    assert found.max() == 2
    truth = np.where(disc(shape, 30, 54, 14), 2, 0)
    truth[one & (np.arange(90) < 42)] = 1
    assert ctc_scores(found, truth).seg > 0.95
    assert (found[probability > 0.5] > 0).all(), "a line between them"
    notches = (found > 0) & (probability <= 0.5)
    both = [ndimage.binary_dilation(found == n, np.ones((3, 3))) for n in (1, 2)]
    assert notches.sum() <= 4
    assert (both[0] & both[1])[notches].all()
    assert objects(probability, depth=6).max() == 1


def test_what_training_has_set_apart_is_given_back():
    rng = np.random.default_rng(3)
    points = rng.uniform(0, 120, (30, 2))
    at = np.indices((120, 120)).transpose(1, 2, 0)
    truth = 1 + np.hypot(*np.moveaxis(at[:, :, None] - points, -1, 0)).argmin(-1)
    truth[:, 105:] = 0
    apart = separate_touching(truth)
    found = objects((apart > 0).astype(np.float32), depth=1e3)
    lost = (truth > 0) & (apart == 0)
    assert (found[lost] > 0).mean() > 0.9
    before, after = ctc_scores(apart, truth), ctc_scores(found, truth)
    assert after.seg > before.seg + 0.02
    assert after.f1 == before.f1 == 1


def test_holes():
    probability = np.zeros((40, 70), np.float32)
    probability[disc(probability.shape, 18, 18, 15)] = 0.9
    probability[disc(probability.shape, 18, 18, 4)] = 0.1  # a hole
    probability[disc(probability.shape, 18, 18, 1.5)] = (
        0.8  # an object in it: no hole of one any more
    )
    ring = disc(probability.shape, 19, 52, 14) & ~disc(probability.shape, 19, 52, 5)
    probability[ring] = 0.9
    filled = objects(probability, method="components", min_size=0)
    assert filled[19, 52] == filled[19, 43] > 0
    assert filled[18, 15] == 0 < filled[18, 18] != filled[18, 8]
    kept = objects(probability, method="components", min_size=0, fill_holes=False)
    np.testing.assert_array_equal(kept > 0, probability > 0.5)
    assert objects(probability, fill_holes=True, min_size=0).max() == 3, "a ring is cut in pieces"
    open_ring = probability.copy()
    open_ring[19:, 52] = 0
    assert objects(open_ring, method="components")[19, 52] == 0
    corner = np.ones((6, 6), np.float32)
    corner[2, 2] = corner[1, 1] = corner[0, 0] = 0  # the ground reaches the edge by its corners
    assert objects(corner, method="components")[2, 2] == 0


def test_small_objects_are_left_out_and_the_others_numbered_by_rows():
    for seed, method in itertools.product(range(4), ("components", "watershed")):
        probability = some_image(seed)
        every = objects(probability, method=method, min_size=0)
        sizes = np.bincount(every.ravel())[1:]
        least = int(np.sort(sizes)[len(sizes) // 2])
        found = objects(probability, method=method, min_size=least)
        assert 0 < found.max() < every.max()
        if method == "components":  # no gap is closed, so that sizes are known
            assert found.max() == (sizes >= least).sum()
        assert np.bincount(found.ravel())[1:].min() >= least
        assert_numbered_by_rows(found)
        assert_numbered_by_rows(every)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (300, 200)])
@pytest.mark.parametrize("method", ["components", "watershed"])
def test_nothing_and_everything(method, shape):
    assert not objects(np.zeros(shape, np.float32), method=method).any()
    assert (objects(np.ones(shape, np.float32), method=method, min_size=0) == 1).all()


def test_threads_do_not_matter():
    probability = some_image(5, (200, 300))
    one, two = (objects(probability, context=_core.Context(threads=n)) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_several_classes_make_one_foreground():
    probabilities = np.array([[[0.2]], [[0.3]], [[0.5]]], np.float32)
    np.testing.assert_allclose(foreground_of(probabilities), [[0.8]])
    assert foreground_of(probabilities[1:]) == np.float32(0.5)


def test_objects_refuses():
    good = some_image(0)
    for arguments, options, text in [
        (good, {"method": "otsu"}, "'otsu' is unknown: use components or watershed"),
        (good, {"threshold": 1.5}, "from 0 to 1, got 1.5"),
        (good, {"depth": 0}, "must be positive"),
        (good, {"min_size": -1}, "must not be negative"),
        (good[None], {}, r"expected \(H, W\)"),
        (good[:0], {}, r"expected \(H, W\)"),
        ((255 * good).astype(np.uint8), {}, "uint8"),
        (2 * good, {}, "from 0 to 1, found"),
        (np.where(good > 0.9, np.nan, good), {}, "found nan"),
    ]:
        with pytest.raises(UserError, match=text):
            objects(arguments, **options)


def test_many_objects_take_32_bits(tmp_path):
    import tifffile

    chequered = np.indices((400, 400)).sum(axis=0) % 2
    many = objects(chequered.astype(np.float32), method="components", min_size=0, fill_holes=False)
    assert many.max() == 80_000
    for stack, dtype in ((many[None], np.uint32), (many[None, :50], np.uint16)):
        written = tifffile.imread(write_objects(tmp_path / "a.tif", stack))
        assert written.dtype == dtype
        np.testing.assert_array_equal(written, stack[0])


def test_speed():
    """22 ms for 512x512 on one core; five times as much would be a mistake."""
    probability = some_image(1, (512, 512))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        objects(probability, context=_core.Context(threads=1))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1

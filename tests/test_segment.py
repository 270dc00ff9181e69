"""Overlap-tile segmentation: any size, and no trace of the tiles."""

from math import prod

import numpy as np
import pytest

from unet_native import models
from unet_native.data.mirror import mirror_pad
from unet_native.data.normaliser import Normaliser
from unet_native.errors import UserError
from unet_native.model_file import Model
from unet_native.net import Net
from unet_native.segment import Segmenter, choose_tiling, depth_of


def small_net(depth=3, channels=1, classes=2):
    spec = models.fig1(
        depth=depth,
        base_width=4,
        channels=channels,
        classes=classes,
        tile=models.input_size(20, depth),
    )
    net = Net(spec, "TEST", seed=3, plan="lean")
    for blobs in net.params.values():  # so that a bias that is left out shows
        blobs[1].data[...] = np.linspace(-0.5, 0.5, blobs[1].count, dtype=np.float32)
    return net


def random_image(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).standard_normal((channels, height, width), np.float32)


def in_one_tile(net, image, algorithm="direct"):
    """Probabilities (classes, H, W) from a single pass over the whole mirrored image."""
    depth = depth_of(net.spec)
    border = models.border(depth)
    margins = []
    for extent in image.shape[1:]:
        out = models.input_size(extent, depth) - 2 * border
        margins.append((border, border + out - extent))
    data = mirror_pad(image, *margins)[None]
    whole = Net(net.spec, "TEST", plan="lean", params_of=net, algorithm=algorithm, data=data.shape)
    score = whole.forward(data=data)["score"][0].astype(np.float64)
    power = np.exp(score - score.max(axis=0))
    return (power / power.sum(axis=0))[:, : image.shape[1], : image.shape[2]]


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (7, 1), (2, 3), (5, 64), (33, 18), (61, 47), (100, 131)]
)
def test_any_size_equals_the_whole_image(size):
    net, image = small_net(), random_image(*size)
    expected = in_one_tile(net, image)
    for tile in (None, 60, 92):
        result = Segmenter(net.spec, net, algorithm="direct", tile=tile).probabilities(image)
        assert result.dtype == np.float32
        assert result.shape == (2, *size)
        np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_tiles_leave_no_trace(depth):
    net, image = small_net(depth), random_image(90, 75)
    sizes = [models.input_size(size, depth) for size in (20, 36, 90)]
    results = [
        Segmenter(net.spec, net, algorithm="direct", tile=tile).probabilities(image)
        for tile in sizes
    ]
    results.append(
        Segmenter(net.spec, net, algorithm="direct", memory_limit=1).probabilities(image)
    )
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def check_random_tilings(seed, turns):
    """Sizes from 1x1 and tiles of any size: bit for bit one pass over the whole image."""
    rng = np.random.default_rng(seed)
    nets = {depth: small_net(depth) for depth in (1, 2, 3, 4)}
    passes = 0
    for _ in range(turns):
        net = nets[depth := int(rng.integers(1, 5))]
        most = 8 if rng.random() < 0.2 else 110
        height, width = rng.integers(1, most, 2)
        image = random_image(height, width, seed=int(rng.integers(1 << 30)))
        tile = models.input_size(int(rng.integers(1, 60)), depth)
        if models.output_size(tile, depth) < min(2 ** (depth - 1), max(height, width)):
            tile += 2 ** (depth - 1)  # the smallest would leave gaps
        whole = Segmenter(net.spec, net, algorithm="direct", memory_limit=10**10)
        assert whole.tiling((height, width)).counts == (1, 1)
        cut = Segmenter(net.spec, net, algorithm="direct", tile=tile)
        passes += prod(cut.tiling((height, width)).counts)
        np.testing.assert_array_equal(
            cut.probabilities(image),
            whole.probabilities(image),
            err_msg=f"depth {depth}, {height}x{width} in tiles of {tile}",
        )
    assert passes > 3 * turns, "hardly anything was cut"


def test_random_tilings():
    check_random_tilings(seed=0, turns=60)


@pytest.mark.slow
def test_five_hundred_random_tilings():
    check_random_tilings(seed=1, turns=500)


def test_tiles_that_would_leave_gaps_are_refused():
    """With 5 levels tiles begin multiples of 16 apart; one of 188 pixels yields 4."""
    with pytest.raises(UserError, match=r"188 pixels yield 4, .* take tiles of 204 pixels or more"):
        choose_tiling((5, 5), 5, 1e9, tile=188)
    assert choose_tiling((4, 4), 5, 1e9, tile=188).counts == (1, 1)
    assert choose_tiling((5, 5), 5, 1e9, tile=204).counts == (1, 1)


def test_winograd_tiles_agree_within_rounding():
    spec = models.fig1(depth=2, base_width=16, tile=28)
    net, image = Net(spec, "TEST", seed=1, plan="lean"), random_image(70, 90)
    expected = in_one_tile(net, image)
    for tile in (None, 28):
        result = Segmenter(spec, net, tile=tile).probabilities(image)
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_the_next_image_may_have_another_size():
    net = small_net()
    segmenter = Segmenter(net.spec, net, algorithm="direct")
    for size in ((40, 50), (3, 200), (40, 50), (64, 64)):
        image = random_image(*size, seed=size[1])
        np.testing.assert_allclose(
            segmenter.probabilities(image), in_one_tile(net, image), atol=2e-6
        )


def test_channels_and_classes():
    net, image = small_net(channels=3, classes=4), random_image(31, 22, channels=3)
    result = Segmenter(net.spec, net, algorithm="direct", tile=60).probabilities(image)
    np.testing.assert_allclose(result, in_one_tile(net, image), atol=2e-6)
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-6)
    with pytest.raises(UserError, match="1 channels, the network wants 3"):
        Segmenter(net.spec, net).probabilities(image[:1])


def test_progress_counts_tiles():
    net, seen = small_net(), []
    segmenter = Segmenter(net.spec, net, tile=60)
    segmenter.probabilities(random_image(50, 30), lambda done, tiles: seen.append((done, tiles)))
    count = prod(segmenter.tiling((50, 30)).counts)
    assert count == 6
    assert seen == [(i, count) for i in range(count + 1)]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("max_pixels", [1, 1e5, 1e7])
def test_tilings_cover_and_start_at_multiples(depth, max_pixels):
    step = 2 ** (depth - 1)
    for size in [(1, 1), (4, 5), (16, 17), (388, 389), (512, 512), (999, 1300), (8, 5000)]:
        tiling = choose_tiling(size, depth, max_pixels)
        for axis in (0, 1):
            inner, outer = tiling.output_size[axis], tiling.input_size[axis]
            stride, count = tiling.stride[axis], tiling.counts[axis]
            assert models.output_size(outer, depth) == inner
            assert (count - 1) * stride + inner >= size[axis]
            assert count == 1 or (count - 2) * stride + inner < size[axis], "a tile too many"
            assert count == 1 or stride % step == 0
            assert stride <= inner
        if max_pixels > 1e6 and max(size) <= 1300:
            assert tiling.counts == (1, 1)


def test_a_limit_on_memory_is_kept():
    net = small_net(depth=4)
    shape = (1, 1, 400, 400)
    for limit in (4_000_000, 8_000_000):
        segmenter = Segmenter(net.spec, net, memory_limit=limit)
        tiling = segmenter.tiling(shape[2:])
        whole = Net(net.spec, "TEST", plan="lean", params_of=net, data=(1, 1, *tiling.input_size))
        assert limit / 2 < whole.plan.bytes <= limit


def test_a_tile_that_does_not_fit_is_refused():
    net = small_net()
    with pytest.raises(UserError, match="61 pixels"):
        Segmenter(net.spec, net, tile=61).probabilities(random_image(9, 9))


def test_model_file_brings_everything_back(tmp_path):
    image = np.random.default_rng(1).integers(0, 200, (41, 30), np.uint8)
    model = Model(small_net(), Normaliser.fit([image[None]]), {"iteration": 7})
    path = model.save(tmp_path / "model.safetensors")
    for place in (path, tmp_path):
        loaded = Model.load(place)
        assert loaded.provenance == {"iteration": 7}
        assert loaded.classes == 2
        np.testing.assert_array_equal(loaded.segment(image), model.segment(image))
        np.testing.assert_array_equal(loaded.segment(image[None]), model.segment(image))


def test_model_refuses_what_it_cannot_segment(tmp_path):
    image = np.random.default_rng(1).integers(0, 200, (20, 20), np.uint8)
    model = Model(small_net(), Normaliser.fit([image[None]]), {})
    with pytest.raises(UserError, match="uint16"):
        model.segment(image.astype(np.uint16))
    with pytest.raises(UserError, match="shape"):
        model.segment(np.zeros((0, 4), np.uint8))
    with pytest.raises(UserError, match="3 channels"):
        model.segment(np.zeros((3, 4, 4), np.uint8), name="rgb.tif")
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        Model.load(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = model.save(path).read_bytes()
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"model\.safetensors"):
            Model.load(path)

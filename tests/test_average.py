"""Averages over transforms of the image: what they are, and that no tile leaves a trace."""

import numpy as np
import pytest
from unet_native._core import Context

from test_segment import in_one_tile, random_image, small_net
from unet_native import models
from unet_native.average import AVERAGES, Part, Rotation, View, transforms
from unet_native.data.mirror import mirror_pad
from unet_native.data.normaliser import Normaliser
from unet_native.errors import UserError
from unet_native.model_file import Model
from unet_native.segment import Segmenter


def probabilities(net, image, average, **how):
    return Segmenter(net.spec, net, algorithm="direct", **how).probabilities(image, average=average)


def scores(net, image):
    """Raw scores up to a constant of each pixel, (classes, H, W) float64, in one pass."""
    return np.log(in_one_tile(net, np.ascontiguousarray(image)))


def softmax(score):
    power = np.exp(score - score.max(axis=0))
    return power / power.sum(axis=0)


def diagonal(array):
    return array.swapaxes(-1, -2)


def half_turn(array):
    return array[..., ::-1, ::-1]


# The eight symmetries of a square, each with the one that undoes it.
SYMMETRIES = [
    (lambda a: a, lambda a: a),
    (lambda a: a[..., ::-1], lambda a: a[..., ::-1]),
    (lambda a: a[..., ::-1, :], lambda a: a[..., ::-1, :]),
    (half_turn, half_turn),
    (lambda a: np.rot90(a, 1, (1, 2)), lambda a: np.rot90(a, -1, (1, 2))),
    (lambda a: np.rot90(a, -1, (1, 2)), lambda a: np.rot90(a, 1, (1, 2))),
    (diagonal, diagonal),
    (lambda a: diagonal(half_turn(a)), lambda a: half_turn(diagonal(a))),
]


@pytest.mark.parametrize("size", [(1, 1), (9, 30), (37, 22)])
@pytest.mark.parametrize(("average", "count"), [("none", 1), ("mirror4", 4), ("dihedral8", 8)])
def test_mirror_images_and_quarter_turns(average, count, size):
    """The softmax of the mean score of images that are made, segmented and undone one by one."""
    net, image = small_net(classes=3), random_image(*size)
    expected = [undo(scores(net, do(image))) for do, undo in SYMMETRIES[:count]]
    found = probabilities(net, image, average)
    np.testing.assert_allclose(found, softmax(np.mean(expected, axis=0)), atol=3e-6)


def interpolated(plane, y, x):
    """Keys' bicubic convolution of plane (C, H, W), mirrored, at positions y and x; float64."""
    margin = 60
    padded = mirror_pad(plane, (margin, margin)).astype(np.float64)

    def kernel(t):
        t = np.abs(t)
        near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
        return np.where(t < 1, near, np.where(t < 2, far, 0))

    total = 0
    for row in range(-1, 3):
        for column in range(-1, 3):
            at_y, at_x = np.floor(y) + row, np.floor(x) + column
            index = (at_y + margin).astype(int), (at_x + margin).astype(int)
            total = total + padded[:, index[0], index[1]] * kernel(y - at_y) * kernel(x - at_x)
    return total


def turned(plane, degrees, size):
    """A plane (C, H, W) turned about its centre, as one of `size`."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    y, x = y[:, None], x[None]
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    height, width = plane.shape[1:]
    return interpolated(plane, c * y - s * x + (height - 1) / 2, s * y + c * x + (width - 1) / 2)


@pytest.mark.parametrize("size", [(1, 1), (17, 11)])
def test_rotations(size):
    """Without pooling a network does not care where the frame of a rotation begins: against one
    that is larger than ours, in float64 but for the network."""
    net, image = small_net(depth=1), random_image(*size)
    expected = [scores(net, image)]
    for k in range(1, 7):
        height, width = Rotation(360 * k / 7).frame(size)
        source = turned(image, 360 * k / 7, (height + 14, width + 18)).astype(np.float32)
        expected.append(turned(scores(net, source), -360 * k / 7, size))
    found = probabilities(net, image, "rotate7")
    # Positions are rounded to 1/1024 px; the noise of this image changes by 1 and more in a pixel.
    np.testing.assert_allclose(found, softmax(np.mean(expected, axis=0)), atol=2e-3)
    if size != (1, 1):
        assert np.abs(found - probabilities(net, image, "none")).max() > 0.01


@pytest.mark.parametrize("average", AVERAGES)
def test_tiles_leave_no_trace(average):
    rng = np.random.default_rng(AVERAGES.index(average))
    nets = {depth: small_net(depth) for depth in (1, 3, 4)}
    for turn in range(6):
        depth = list(nets)[turn % 3]
        image = random_image(*rng.integers(1, (60, 80)), seed=turn)
        tile = models.input_size(2 ** (depth - 1) + 3 + int(rng.integers(30)), depth)
        whole = probabilities(nets[depth], image, average)
        assert np.isfinite(whole).all()
        found = probabilities(nets[depth], image, average, tile=tile)
        np.testing.assert_array_equal(found, whole, err_msg=f"{depth} {image.shape} {tile}")
    image = random_image(7, 19)
    found = probabilities(nets[3], image, average, memory_limit=1)
    np.testing.assert_array_equal(found, probabilities(nets[3], image, average))


@pytest.mark.parametrize("average", ["mirror4", "rotate7"])
def test_threads_and_out_do_not_matter(average):
    net, image = small_net(), random_image(40, 66)
    one, two = (
        probabilities(net, image, average, context=Context(threads=threads)) for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    stack = np.full((3, *one.shape), np.nan, np.float32)
    segmenter = Segmenter(net.spec, net, algorithm="direct", average=average, tile=60)
    assert segmenter.probabilities(image, out=stack[1]) is not None
    np.testing.assert_array_equal(stack[1], one)
    assert np.isnan(stack[[0, 2]]).all(), "written beside the result"


@pytest.mark.parametrize("degrees", [360 * k / 7 for k in range(1, 7)])
def test_every_pixel_has_its_surroundings_in_the_frame(degrees):
    """Each belongs to one part, and what its interpolation takes lies in the frame."""
    rotation = Rotation(degrees)
    for size in ((1, 1), (1, 9), (8, 3), (40, 57)):
        position = rotation._in_frame((0, size[0] - 1), (0, size[1] - 1), size)
        assert (np.floor(position) >= 1).all()
        assert (np.floor(position) + 2 < rotation.frame(size)).all()
        owned = np.zeros((1, *size), np.float32)
        ones = np.ones((1, 24, 24), np.float32)
        for y in range(0, rotation.frame(size)[0], 20):
            for x in range(0, rotation.frame(size)[1], 20):
                part = Part((y, x), (20, 20))
                before = owned.sum()
                rotation.add(ones, part, owned, True, Context())
                assert rotation.is_used(part, size) or owned.sum() == before
        np.testing.assert_allclose(owned, 1, atol=1e-6)


def test_progress_counts_the_tiles_of_all_transforms():
    net, seen = small_net(), []
    segmenter = Segmenter(net.spec, net, tile=60, average="dihedral8")
    segmenter.probabilities(random_image(50, 30), lambda *done: seen.append(done))
    assert seen == [(i, 8 * 6) for i in range(8 * 6 + 1)]


def test_the_net_changes_its_shape_once_for_quarter_turns(monkeypatch):
    net, image = small_net(), random_image(30, 90)
    segmenter = Segmenter(net.spec, net, average="dihedral8")
    segmenter.probabilities(image)
    shapes = []
    original = segmenter._score
    monkeypatch.setattr(
        segmenter, "_score", lambda net, data: (shapes.append(data.shape), original(net, data))[1]
    )
    segmenter.probabilities(image)
    assert shapes == sorted(shapes, key=lambda shape: shape[2])
    assert len(shapes) == 8
    assert len(set(shapes)) == 2


def test_names():
    assert [len(transforms(name)) for name in AVERAGES] == [1, 4, 7, 8]
    assert all(transforms(name)[0] == View() for name in AVERAGES), "the image itself comes first"
    net = small_net()
    with pytest.raises(UserError, match="'mirror' is unknown: use none, mirror4"):
        Segmenter(net.spec, net, average="mirror")
    with pytest.raises(UserError, match="'all' is unknown"):
        probabilities(net, random_image(9, 9), "all")


def test_a_model_says_how_it_wants_to_be_averaged(tmp_path):
    image = np.random.default_rng(1).integers(0, 200, (23, 30), np.uint8)
    made = Model(small_net(), Normaliser.fit([image[None]]), {"settings": {"average": "mirror4"}})
    path = made.save(tmp_path / "model.safetensors")
    model, plain = Model.load(path), Model.load(path, average="none")
    assert model.average == "mirror4"
    np.testing.assert_array_equal(model.segment(image), made.segment(image))
    np.testing.assert_array_equal(plain.segment(image, average="mirror4"), model.segment(image))
    np.testing.assert_array_equal(model.segment(image, average="none"), plain.segment(image))
    assert (model.segment(image) != plain.segment(image)).any()
    made.provenance = {"settings": {"average": "octave"}}
    made.save(path)
    with pytest.raises(UserError, match=r"model\.safetensors: asks for the unknown .*'octave'"):
        Model.load(path)
    assert Model.load(path, average="none").segment(image).shape == (2, 23, 30)

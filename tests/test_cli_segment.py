"""``unet-native segment``: averages and objects."""

import re

import numpy as np
import pytest
import tifffile

from command_line import contents
from unet_native import cli, models
from unet_native.data.normaliser import Normaliser
from unet_native.model_file import Model
from unet_native.net import Net
from unet_native.objects import foreground_of, objects


def said(capsys) -> str:
    """What a command wrote to stderr, in one line."""
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def images(tmp_path):
    """A folder with a stack that has a scale, and an image."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(
        tmp_path / "images" / "stack.tif",
        rng.integers(0, 256, (3, 40, 50)).astype(np.uint8),
        imagej=True,
        resolution=(2.5, 2.5),
        metadata={"axes": "ZYX", "spacing": 0.3, "unit": "um"},
    )
    tifffile.imwrite(
        tmp_path / "images" / "one.tif", rng.integers(0, 256, (33, 70)).astype(np.uint8)
    )
    return tmp_path / "images"


@pytest.fixture
def model(tmp_path, images):
    """Saves an untrained network, as often above 0.5 as below but for `background`, which is added
    to the score of class 0; returns its path."""

    def save(classes=2, background=0, **provenance):
        net = Net(models.fig1(depth=2, base_width=4, classes=classes), "TEST", seed=1, plan="lean")
        grey = tifffile.imread(images / "one.tif")
        made = Model(net, Normaliser.fit([grey[None]]), provenance)
        bias = list(net.params.values())[-1][1].data
        score = np.log(made.segment(grey, average="none"))
        bias -= np.median(score - score[:1], axis=(1, 2))
        bias[0] += background
        return made.save(tmp_path / "model.safetensors")

    return save


def segmented(path, images, out, *how):
    return cli.run(["segment", str(path), str(images), "-o", str(out), *how])


def test_a_model_is_averaged_as_it_asks(model, images, tmp_path, capsys):
    path = model(settings={"average": "mirror4"})
    grey = tifffile.imread(images / "one.tif")
    found = {}
    for name, how in {
        "asked": [],
        "given": ["--average", "mirror4"],
        "none": ["--average", "none"],
        "rotate7": ["--average", "rotate7"],
    }.items():
        assert segmented(path, images, tmp_path / name, *how) == 0
        found[name] = said(capsys)
        expected = Model.load(path).segment(grey, average=how[1] if how else "mirror4")[1]
        probability = tifffile.imread(tmp_path / name / "one_prob.tif")
        np.testing.assert_array_equal(probability, expected)
    assert (
        "averages 4 transforms of the image, as the model asks; --average none is 4 times faster"
        in found["asked"]
    )
    assert "averages 4 transforms of the image; --average none is 4 times" in found["given"]
    assert "averages 7 transforms" in found["rotate7"]
    assert "averages" not in found["none"]


def test_an_average_keeps_to_a_limit_on_memory(model, images, tmp_path, capsys):
    """What rotations take beside the tile is counted, and a smaller tile is found for it."""
    rng = np.random.default_rng(0)
    (tmp_path / "large").mkdir()
    tifffile.imwrite(
        tmp_path / "large" / "a.tif", rng.integers(0, 256, (700, 800)).astype(np.uint8)
    )
    assert segmented(model(), tmp_path / "large", tmp_path / "out", "--average", "rotate7") == 0
    needed = int(re.search(r"about (\d+) MB", said(capsys))[1])
    limit = ["--memory", str(needed - 25)]
    assert (
        segmented(model(), tmp_path / "large", tmp_path / "out", "--average", "rotate7", *limit)
        == 0
    )
    assert int(re.search(r"about (\d+) MB", said(capsys))[1]) <= needed - 25


def test_objects_are_written_like_the_image(model, images, tmp_path):
    path = model()
    how = ["--objects", "watershed", "--threshold", "0.52", "--min-size", "4", "--waist", "1"]
    assert segmented(path, images, tmp_path / "out", *how) == 0
    probability = tifffile.imread(tmp_path / "out" / "stack_prob.tif")
    with tifffile.TiffFile(tmp_path / "out" / "stack_objects.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == ("ZYX", (3, 40, 50))
        assert file.series[0].dtype == np.uint16
        assert file.imagej_metadata["spacing"] == 0.3
        assert file.pages[0].tags["XResolution"].value[0] / 2.5 > 0
        written = file.asarray()
    for numbers, plane in zip(written, probability, strict=True):
        expected = objects(plane, threshold=0.52, min_size=4, depth=1)
        assert expected.max() > 1
        np.testing.assert_array_equal(numbers, expected)


def test_which_objects_are_numbered(model, images, tmp_path, capsys):
    """auto: watershed if the model was trained on instance labels."""
    plane = images / "one.tif"

    def written(name, *how):
        out = tmp_path / name
        assert segmented(path, plane, out, *how) == 0
        probability = tifffile.imread(out / "one_prob.tif")
        file = out / "one_objects.tif"
        return tifffile.imread(file) if file.exists() else None, probability

    path = model(label_kind="binary")
    assert written("a")[0] is None
    found, probability = written("b", "--objects", "components", "--min-size", "0", "--keep-holes")
    np.testing.assert_array_equal(
        found, objects(probability, method="components", min_size=0, fill_holes=False)
    )
    assert (found != objects(probability, method="components", min_size=0)).any(), "no hole here"
    path = model(label_kind="instances")
    found, probability = written("c")
    np.testing.assert_array_equal(found, objects(probability))
    assert written("d", "--objects", "none")[0] is None
    assert "warning" not in said(capsys)
    assert written("c", "--objects", "none")[0] is not None, "nothing is deleted"
    assert "one_objects.tif: of an earlier run; number the objects again" in said(capsys)


def test_objects_of_several_classes(model, images, tmp_path):
    path = model(classes=3)
    how = ["--objects", "components", "--min-size", "2"]
    assert segmented(path, images / "one.tif", tmp_path / "out", *how) == 0
    probabilities = tifffile.imread(tmp_path / "out" / "one_prob.tif")
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out" / "one_objects.tif"),
        objects(foreground_of(probabilities), method="components", min_size=2),
    )


def test_segment_refuses_options_and_destroys_nothing(model, images, tmp_path, complaint):
    path, out = model(), tmp_path / "out"
    hand_made = tmp_path / "hand_made"
    hand_made.mkdir()
    tifffile.imwrite(hand_made / "one_objects.tif", np.zeros((33, 70), np.uint8))
    both = tmp_path / "both"
    both.mkdir()
    for name in ("a.tif", "a_objects.tif"):
        tifffile.imwrite(both / name, np.zeros((9, 9), np.uint8))
    before = contents(tmp_path)
    for arguments, text in [
        (("--average", "octave"), "--average octave: use none, mirror4"),
        (("--objects", "all"), "--objects all: use auto, none, components or watershed"),
        (("--threshold", "0.7"), "give --objects components or watershed too"),
        (("--keep-holes", "--objects", "none"), "give --objects components or watershed too"),
        (("--objects", "watershed", "--waist", "0"), "--waist 0: must be positive"),
        (("--objects", "watershed", "--threshold", "2"), "--threshold"),
        (("--objects", "watershed", "--min-size", "-1"), "--min-size"),
    ]:
        assert text in complaint("segment", path, images, "-o", out, *arguments)
    how = ("--objects", "components")
    for folder, target, text in [
        (images, hand_made, "one_objects.tif, which this command has not written"),
        (both, out, "two images would be written there"),
        (both / "a.tif", both, "one of the images"),
    ]:
        assert text in complaint("segment", path, folder, "-o", target, *how)
    assert contents(tmp_path) == before
    assert segmented(path, images, tmp_path / "again", *how) == 0
    assert segmented(path, images, tmp_path / "again", *how) == 0, "its own may be made again"


def test_a_result_of_one_colour_is_explained(model, images, tmp_path, capsys):
    path = model()
    how = ["--objects", "components", "--threshold"]
    for threshold, text in (
        ("1", r"no pixel is an object: the largest probability is [-\d.e]+, the threshold 1; "),
        ("0", r"every pixel is an object: the smallest probability is [-\d.e]+, the threshold 0; "),
    ):
        assert segmented(path, images, tmp_path / threshold, *how, threshold) == 0
        warning = said(capsys)
        assert re.search("warning: " + text + "the images hold grey values from 0 to 255", warning)
    assert segmented(path, images, tmp_path / "middle", *how, "0.5") == 0
    assert "warning" not in said(capsys)
    for background, text in ((30, "no pixel"), (-30, "every pixel")):
        path = model(background=background)
        dark = tmp_path / "dark.tif"
        tifffile.imwrite(dark, np.full((30, 30), 3, np.uint8))
        assert segmented(path, dark, tmp_path / f"dark{background}") == 0
        assert re.search(
            f"{text} is an object: .* threshold 0.5; the images hold grey values from 3 to 3, "
            r"most of those trained on from \d+ to 25\d: ",
            said(capsys),
        )

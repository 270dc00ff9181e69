"""Pairing files, reading data sets, and the data check."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from shared import shared
from unet_native.data.check import check_training_set
from unet_native.data.load import load_images, load_training_set, split_indices
from unet_native.errors import UserError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path, rng):
    """image/N.png and label/N.png for N = 0 .. 11, labels 0 and 255."""
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
    for i in range(12):
        image = rng.integers(0, 255, (9, 8)).astype(np.uint8)
        image[0, 0] = i
        Image.fromarray(image).save(tmp_path / "image" / f"{i}.png")
        label = np.where(image > 60, 255, 0).astype(np.uint8)
        label[0, 0] = 255 * (i % 2)
        Image.fromarray(label).save(tmp_path / "label" / f"{i}.png")
    return tmp_path


def refused(folder, **options):
    with pytest.raises(UserError) as caught:
        check_training_set(load_training_set(folder / "image", folder / "label", **options))
    return str(caught.value)


def test_two_folders(folder):
    dataset = load_training_set(folder / "image", folder / "label")
    assert [s.name for s in dataset] == [str(i) for i in range(12)]
    assert [int(s.raw[0, 0, 0]) for s in dataset] == list(range(12))
    assert [int(s.labels[0, 0]) for s in dataset] == [0, 1] * 6
    assert dataset[0].image.shape == (1, 9, 8)
    assert dataset[0].image.dtype == np.float32
    assert abs(np.mean([s.image for s in dataset])) < 0.05
    assert len(dataset[2:5]) == 3


def test_stack_with_stack(tmp_path, rng):
    images = rng.integers(0, 60000, (4, 9, 8)).astype(np.uint16)
    labels = (images > 20000).astype(np.uint8)
    tifffile.imwrite(tmp_path / "train.tif", images, photometric="minisblack")
    tifffile.imwrite(tmp_path / "truth.tif", labels, photometric="minisblack")
    dataset = load_training_set(tmp_path / "train.tif", tmp_path / "truth.tif")
    assert [s.name for s in dataset] == ["train[0]", "train[1]", "train[2]", "train[3]"]
    np.testing.assert_array_equal(dataset[3].labels, labels[3])
    tifffile.imwrite(tmp_path / "truth.tif", labels[:3], photometric="minisblack")
    with pytest.raises(UserError, match=r"truth\.tif: holds 3 slices.*4 slices"):
        load_training_set(tmp_path / "train.tif", tmp_path / "truth.tif")


def test_stack_with_folder(folder, rng):
    images = rng.integers(0, 255, (12, 9, 8)).astype(np.uint8)
    tifffile.imwrite(folder / "train.tif", images, photometric="minisblack")
    dataset = load_training_set(folder / "train.tif", folder / "label")
    assert [int(s.labels[0, 0]) for s in dataset] == [0, 1] * 6
    assert dataset[11].name == "train[11]"


@pytest.mark.parametrize("suffix", ["_masks", "_mask", "_labels", "_label"])
def test_masks_beside_images(tmp_path, rng, suffix):
    for name in ("b10", "b9"):
        image = rng.integers(0, 255, (9, 8)).astype(np.uint16)
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
        tifffile.imwrite(tmp_path / f"{name}{suffix}.tif", (image > 99).astype(np.uint8))
    for labels in (None, tmp_path):
        dataset = load_training_set(tmp_path, labels)
        assert [s.name for s in dataset] == ["b9", "b10"]
    (tmp_path / f"b9{suffix}.tif").unlink()
    with pytest.raises(UserError, match=r"image without label(?s:.)*b9\.tif"):
        load_training_set(tmp_path)


def test_numbers_at_the_end_pair_if_no_name_does(tmp_path, rng):
    for name in ("image", "label"):
        (tmp_path / name).mkdir()
    for i in range(3):
        image = rng.integers(0, 255, (9, 8)).astype(np.uint8)
        image[0, 0] = 255 * (i % 2)
        tifffile.imwrite(tmp_path / "image" / f"t{i:03}.tif", image)
        tifffile.imwrite(tmp_path / "label" / f"man_seg{i:03}.tif", (image > 99).astype(np.uint8))
    dataset = load_training_set(tmp_path / "image", tmp_path / "label")
    assert [int(s.labels[0, 0]) for s in dataset] == [0, 1, 0]
    assert "number at the end" in " ".join(dataset.notes)


def test_unmatched_names_are_tabled(folder):
    (folder / "label" / "3.png").rename(folder / "label" / "03.png")
    (folder / "image" / "7.png").unlink()
    message = refused(folder)
    assert "1 image and 2 labels have no partner" in message
    assert "3.png" in message
    assert "03.png" in message
    assert "7.png" in message
    for i in range(12):
        if (folder / "label" / f"{i}.png").exists():
            (folder / "label" / f"{i}.png").rename(folder / "label" / f"x{i}y.png")
    assert "... and 2 more" in refused(folder)


def test_no_masks_in_one_folder(folder):
    with pytest.raises(UserError, match=r"name_masks\.tif"):
        load_training_set(folder / "image")


def test_colour_images_and_axes(tmp_path, rng):
    array = rng.integers(0, 255, (3, 9, 8)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", (array[0] > 99).astype(np.uint8))
    dataset = load_training_set(tmp_path / "a.tif", tmp_path / "t.tif", axes="CYX")
    assert (len(dataset), dataset.channels) == (1, 3)
    assert len(dataset.normaliser.offset) == 3


def test_sizes_that_differ(folder):
    Image.fromarray(np.zeros((9, 7), np.uint8)).save(folder / "label" / "4.png")
    message = refused(folder)
    assert str(folder / "label" / "4.png") in message
    assert "9x7" in message
    assert "9x8" in message


def test_types_and_channels_that_differ(folder, rng):
    image = rng.integers(0, 255, (9, 8)).astype(np.uint16)
    Image.fromarray(image).save(folder / "image" / "4.png")
    assert "4.png: holds uint16" in refused(folder)
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / "image" / "4.png")
    assert "4.png: has 3 channels" in refused(folder)


def test_constant_image(folder):
    Image.fromarray(np.full((9, 8), 7, np.uint8)).save(folder / "image" / "4.png")
    expected = f"{folder / 'image' / '4.png'}: the image is constant (every pixel is 7)"
    assert refused(folder).startswith(expected)


def test_empty_class(folder):
    for i in range(12):
        Image.fromarray(np.full((9, 8), 255, np.uint8)).save(folder / "label" / f"{i}.png")
    assert "no pixel is background" in refused(folder)
    label = np.full((9, 8), 255, np.uint8)
    label[2, 2] = 0
    Image.fromarray(label).save(folder / "label" / "11.png")
    dataset = load_training_set(folder / "image", folder / "label")
    with pytest.raises(UserError, match=r"0\.png and the other 10 training slices: .*class 0"):
        check_training_set(dataset[:11], dataset[11:])


def test_damaged_label_is_named(folder):
    path = folder / "label" / "5.png"
    path.write_bytes(path.read_bytes()[:60])
    assert refused(folder).startswith(str(path))


def test_values_unseen_in_training_are_refused_in_validation(folder, rng):
    for i in range(12):
        label = rng.integers(0, 3, (9, 8)).astype(np.uint8)
        Image.fromarray(label).save(folder / "label" / f"{i}.png")
    training = load_training_set(folder / "image", folder / "label")
    assert training.classes == 3
    Image.fromarray(label + 3).save(folder / "label" / "4.png")
    message = refused(folder, label_rule=training.label_rule, normaliser=training.normaliser)
    assert str(folder / "label" / "4.png") in message


def test_report_tells_what_was_understood(folder):
    dataset = load_training_set(folder / "image", folder / "label", foreground="zero")
    report = check_training_set(dataset[:10], dataset[9:])
    text = report.text()
    for part in (
        "0.png and 11 more files, each 1 slice of 9x8, 1 channel, uint8 (axes YX",
        "pairs: 12 slices, paired by file name",
        "class 1 (foreground) = 0, class 0 (background) = 255",
        "zscore",
        "10 to train on, 3 to validate on",
        "warning: the validation slice 9 equals the training slice 9",
    ):
        assert part in text
    assert sum(report.counts) == 10 * 72
    assert np.dot(report.counts, report.weights) == pytest.approx(720)


def test_rare_class_and_lone_class_are_warned_of(rng):
    from unet_native.data.dataset import DataSet

    images = rng.integers(0, 255, (2, 50, 50)).astype(np.uint8)
    labels = np.zeros((2, 50, 50), np.uint8)
    labels[0, 4, 4] = 1
    report = check_training_set(DataSet.from_arrays(list(images), list(labels)))
    warnings = "\n".join(report.warnings)
    assert "class 1 has only 0.02 %" in warnings
    assert "one class in the labels of 1" in warnings
    assert "fewer than two objects" in warnings


@pytest.mark.parametrize(
    ("wish", "held"),
    [("20-23", [20, 21, 22, 23]), ("0.2", [19, 20, 21, 22, 23]), (" 1, 5-6", [1, 5, 6])],
)
def test_split(wish, held):
    training, validation = split_indices(wish, 24)
    assert validation == held
    assert sorted(training + validation) == list(range(24))


@pytest.mark.parametrize("wish", ["24", "5-3", "0-23", "1.5", "x", "", "0.0"])
def test_impossible_split(wish):
    with pytest.raises(UserError, match="validation slices"):
        split_indices(wish, 24)


@pytest.mark.parametrize(
    ("name", "images", "labels", "options", "slices", "foreground"),
    [
        ("isbi2012", "train/image", "train/label", {}, 24, 0.775),
        ("dic_hela", "labelled/images", "labelled/labels", {"foreground": "zero"}, 60, 0.470),
        ("vnc_stack1", "raw", "membranes", {"foreground": "zero"}, 16, 0.793),
        ("vnc_stack1", "raw", "labels", {"foreground": 255}, 16, 0.738),
        ("nuclei", "images", "labels", {}, 36, 0.230),
    ],
)
def test_real_sets_are_understood(name, images, labels, options, slices, foreground):
    folder = shared("data") / name
    dataset = load_training_set(folder / images, folder / labels, **options)
    report = check_training_set(dataset)
    assert len(dataset) == slices
    assert report.counts[1] / sum(report.counts) == pytest.approx(foreground, abs=2e-3)
    assert report.warnings == ()
    first = dataset[0]
    assert first.image.std() == pytest.approx(1, abs=0.7)
    if name == "nuclei":
        assert report.objects == 3332
    else:
        assert first.raw.mean(where=first.labels[None] == 1) != first.raw.mean()


def test_images_without_labels():
    dataset = load_images(shared("data") / "isbi2012" / "test")
    assert len(dataset) == 30
    assert dataset[29].name == "29"
    assert dataset[0].labels is None

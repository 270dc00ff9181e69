"""Outputs carry the axes and the scale of their inputs."""

import numpy as np
import pytest
import tifffile

from unet_native.data.images import open_image
from unet_native.data.write import write_labels, write_probabilities, write_stack


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_two_classes_are_black_and_white(tmp_path, rng):
    labels = rng.integers(0, 2, (1, 6, 5))
    path = write_labels(tmp_path / "a.tif", labels, 2)
    written = tifffile.imread(path)
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, labels[0] * 255)


def test_more_classes_keep_their_numbers_and_get_colours(tmp_path, rng):
    labels = rng.integers(0, 12, (3, 6, 5))
    path = write_labels(tmp_path / "a.tif", labels, 12)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].photometric.name == "PALETTE"
        colours = tiff.pages[0].colormap.T
        assert colours[0].tolist() == [0, 0, 0]
        assert len({tuple(c) for c in colours[:8].tolist()}) == 8
    np.testing.assert_array_equal(open_image(path, labels=True).read()[:, 0], labels)


@pytest.mark.parametrize("flavour", ["imagej", "ome"])
def test_hyperstack_keeps_axes_and_scale(tmp_path, rng, flavour):
    array = rng.integers(0, 9999, (2, 3, 2, 6, 5)).astype(np.uint16)
    metadata = {
        "imagej": {"axes": "TZCYX", "spacing": 2.5, "unit": "um", "finterval": 3.0},
        "ome": {
            "axes": "TZCYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeZ": 2.5,
            "PhysicalSizeZUnit": "µm",
        },
    }[flavour]
    tifffile.imwrite(
        tmp_path / "in.tif", array, metadata=metadata, resolution=(4, 4), **{flavour: True}
    )
    source = open_image(tmp_path / "in.tif")
    probabilities = rng.random((6, 2, 6, 5)).astype(np.float32)
    path = write_probabilities(tmp_path / "out_prob.tif", probabilities, source)
    labels = write_labels(tmp_path / "out.tif", probabilities.argmax(1), 2, source)
    for written, dtype in ((path, np.float32), (labels, np.uint8)):
        with tifffile.TiffFile(written) as tiff:
            series = tiff.series[0]
            assert (series.axes, series.shape, series.dtype) == ("TZYX", (2, 3, 6, 5), dtype)
            assert tiff.pages[0].tags["XResolution"].value == (4, 1)
            if flavour == "imagej":
                assert tiff.imagej_metadata["spacing"] == 2.5
                assert tiff.imagej_metadata["unit"] == "um"
            else:
                assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
                assert 'PhysicalSizeZ="2.5"' in tiff.ome_metadata
        file = open_image(written)
        assert file.metadata.flavour == flavour
        assert file.slice_axes == source.slice_axes
    np.testing.assert_array_equal(tifffile.imread(path).reshape(6, 6, 5), probabilities[:, 1])


def test_plain_stack_with_resolution(tmp_path, rng):
    array = rng.integers(0, 255, (4, 6, 5)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "in.tif",
        array,
        photometric="minisblack",
        resolution=(300, 200),
        resolutionunit=3,
    )
    source = open_image(tmp_path / "in.tif")
    out = open_image(write_stack(tmp_path / "out.tif", array, source))
    assert (out.axes, out.shape) == (source.axes, source.shape)
    assert out.metadata.resolution == (300, 200)
    assert out.metadata.unit == 3


def test_several_classes_of_probabilities_lie_along_c(tmp_path, rng):
    array = rng.integers(0, 255, (4, 6, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", array, imagej=True, metadata={"axes": "ZYX"})
    probabilities = rng.random((4, 3, 6, 5)).astype(np.float32)
    path = write_probabilities(tmp_path / "o.tif", probabilities, open_image(tmp_path / "in.tif"))
    out = open_image(path)
    assert out.axes == "ZCYX"
    np.testing.assert_array_equal(out.read(), probabilities)


def test_wide_integers_are_not_forced_into_imagej(tmp_path, rng):
    array = rng.integers(0, 255, (4, 6, 5)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", array, imagej=True, metadata={"axes": "ZYX"})
    instances = array.astype(np.uint32) * 70000
    path = write_stack(tmp_path / "o.tif", instances, open_image(tmp_path / "in.tif"))
    np.testing.assert_array_equal(open_image(path).read()[:, 0], instances)


def test_single_image_and_png_source(tmp_path, rng):
    from PIL import Image

    Image.fromarray(rng.integers(0, 255, (6, 5, 3)).astype(np.uint8)).save(tmp_path / "in.png")
    source = open_image(tmp_path / "in.png")
    path = write_probabilities(tmp_path / "o.tif", rng.random((1, 2, 6, 5)), source)
    assert tifffile.imread(path).shape == (6, 5)

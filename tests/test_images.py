"""Reading image files: axes, types, damage, and the remedy in each message."""

import contextlib
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_native.data.images import list_images, natural_key, open_image
from unet_native.errors import UserError


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 255, (5, 12, 10)).astype(np.uint8)


def save_pages(path, stack):
    """A multi-page TIFF as other programs write it: no description of its axes."""
    pages = [Image.fromarray(page) for page in stack]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def test_names_sort_naturally():
    names = ["s10.tif", "s2.tif", "S1.tif", "s02b.tif", "a.tif"]
    assert sorted(names, key=natural_key) == ["a.tif", "S1.tif", "s2.tif", "s02b.tif", "s10.tif"]


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64", ">u2"]
)
def test_stack_of_any_type(tmp_path, stack, dtype):
    array = stack.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    file = open_image(tmp_path / "a.tif")
    pixels = file.read()
    assert (file.slices, file.channels, file.size) == (5, 1, (12, 10))
    assert pixels.dtype == array.dtype.newbyteorder("=")
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels[:, 0], array)


def test_three_pages_are_slices_and_three_samples_are_channels(tmp_path, stack):
    save_pages(tmp_path / "pages.tif", stack[:3])
    rgb = np.stack(stack[:3], -1)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    pages, colours = open_image(tmp_path / "pages.tif"), open_image(tmp_path / "rgb.tif")
    assert (pages.slices, pages.channels) == (3, 1)
    assert (colours.slices, colours.channels) == (1, 3)
    np.testing.assert_array_equal(colours.read()[0], stack[:3])
    assert "3 slices of 12x10, 1 channel" in pages.describe()


def test_imagej_hyperstack(tmp_path):
    array = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TZCYX"})
    file = open_image(tmp_path / "a.tif")
    assert (file.slices, file.channels, file.size) == (6, 4, (5, 6))
    np.testing.assert_array_equal(file.read(), array.reshape(6, 4, 5, 6))
    assert "2 T x 3 Z" in file.describe()
    assert file.slice_name(4) == "a[4]"


def test_axes_can_be_overridden(tmp_path, stack):
    save_pages(tmp_path / "a.tif", stack[:3])
    file = open_image(tmp_path / "a.tif", axes="cyx")
    assert (file.slices, file.channels) == (1, 3)
    assert "--axes" in file.describe()
    np.testing.assert_array_equal(file.read()[0], stack[:3])
    turned = open_image(tmp_path / "a.tif", axes="ZXY")
    np.testing.assert_array_equal(turned.read()[:, 0], stack[:3].transpose(0, 2, 1))


@pytest.mark.parametrize("axes", ["YX", "ZZYX", "ZCX", "Z-X"])
def test_impossible_axes_are_refused(tmp_path, stack, axes):
    save_pages(tmp_path / "a.tif", stack)
    with pytest.raises(UserError, match="axes"):
        open_image(tmp_path / "a.tif", axes=axes)


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16", "RGB", "RGBA", "LA"])
def test_png_modes(tmp_path, stack, mode):
    page = stack[0]
    image = {
        "L": lambda: Image.fromarray(page),
        "1": lambda: Image.fromarray(page > 99),
        "P": lambda: Image.fromarray(page).convert("P"),
        "I;16": lambda: Image.fromarray(page.astype(np.uint16) * 257),
        "RGB": lambda: Image.fromarray(np.stack(stack[:3], -1)),
        "RGBA": lambda: Image.fromarray(np.stack(stack[:4], -1)),
        "LA": lambda: Image.fromarray(np.stack(stack[:2], -1)),
    }[mode]()
    image.save(tmp_path / "a.png")
    expected = {
        "L": page[None],
        "1": (page > 99).astype(np.uint8)[None],
        "P": np.stack([page] * 3),
        "I;16": page.astype(np.uint16)[None] * 257,
        "RGB": stack[:3],
        "RGBA": stack[:3],
        "LA": page[None],
    }[mode]
    file = open_image(tmp_path / "a.png")
    pixels = file.read()
    assert file.channels == len(expected)
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels[0], expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palette_gives_colours_for_images_and_indices_for_labels(tmp_path, suffix):
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    image = Image.fromarray(indices, "L").convert("L")
    image = image.convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([0, 0, 0, 200, 10, 20, 30, 250, 40])
    image.save(tmp_path / f"a{suffix}")
    labels = open_image(tmp_path / f"a{suffix}", labels=True)
    np.testing.assert_array_equal(labels.read()[0, 0], indices)
    picture = open_image(tmp_path / f"a{suffix}")
    assert picture.channels == 3
    np.testing.assert_array_equal(picture.read()[0, :, 0, 1], [200, 10, 20])


def test_alpha_is_left_out_of_tiff(tmp_path, stack):
    rgba = np.stack(stack[:4], -1)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    file = open_image(tmp_path / "a.tif")
    assert file.channels == 3
    np.testing.assert_array_equal(file.read()[0], stack[:3])


def test_folder_is_listed_naturally_without_hidden_and_other_files(tmp_path, stack):
    for name in ("10.png", "9.png", "1.tif", ".1.partial.png"):
        Image.fromarray(stack[0]).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert [f.path.name for f in list_images(tmp_path)] == ["1.tif", "9.png", "10.png"]
    Image.fromarray(stack[0]).save(tmp_path / "9.tif")
    with pytest.raises(UserError, match=r"9\.tif.*9\.png"):
        list_images(tmp_path)


def test_missing_and_empty(tmp_path):
    for path in (tmp_path / "none", tmp_path / "none.tif"):
        with pytest.raises(UserError, match="no such file"):
            list_images(path)
    with pytest.raises(UserError, match="holds no image"):
        list_images(tmp_path)
    (tmp_path / "a.czi").write_bytes(b"x")
    with pytest.raises(UserError, match="unknown format"):
        list_images(tmp_path / "a.czi")


@pytest.mark.parametrize("kept", [0, 3, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
@pytest.mark.parametrize("kind", ["plain", "imagej", "ome", "pages", "zlib", "rgb", "png"])
def test_truncated_files_are_named(tmp_path, stack, kind, kept):
    stack = np.random.default_rng(1).integers(0, 255, (5, 40, 30)).astype(np.uint8)
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    if kind == "pages":
        save_pages(path, stack)
    elif kind == "png":
        Image.fromarray(stack[0]).save(path)
    elif kind == "rgb":
        tifffile.imwrite(path, np.stack(stack[:3], -1), photometric="rgb")
    else:
        options = {
            "plain": {},
            "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
            "ome": {"ome": True, "metadata": {"axes": "ZYX"}},
            "zlib": {"compression": "zlib"},
        }[kind]
        tifffile.imwrite(path, stack, photometric="minisblack", **options)
    whole = path.read_bytes()
    open_image(path).read()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(UserError, match=str(path)) as caught:
        open_image(path).read()
    assert "copy or export it again" in str(caught.value) or "export it" in str(caught.value)


def test_text_that_calls_itself_tiff(tmp_path):
    (tmp_path / "a.tif").write_text("hello world, I am not a picture")
    with pytest.raises(UserError, match="not a TIFF"):
        open_image(tmp_path / "a.tif")


def test_files_of_random_bytes_are_refused_in_words(tmp_path, stack):
    rng = np.random.default_rng(2)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, photometric="minisblack")
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[rng.integers(8, 260)] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            open_image(path).read()
            continue
        refused += 1
        with pytest.raises(UserError, match=re.escape(str(path))):
            open_image(path).read()
    assert refused > 20


def test_compression_without_codec_names_the_remedy(tmp_path, stack):
    pytest.importorskip("PIL.features")
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        Image.fromarray(stack[0]).save(tmp_path / "a.tif", compression="tiff_lzw")
        with pytest.raises(UserError, match=r"LZW.*unet_native\[codecs\]"):
            open_image(tmp_path / "a.tif").read()
    else:
        pytest.skip("imagecodecs is installed and reads everything")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(tmp_path, stack, bad):
    array = stack.astype(np.float32)
    array[3, 2, 1] = bad
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif: 1 pixels in slice 3 are NaN"):
        open_image(tmp_path / "a.tif").read()


def test_complex_numbers_are_refused(tmp_path, stack):
    tifffile.imwrite(tmp_path / "a.tif", stack[0].astype(np.complex64))
    with pytest.raises(UserError, match="complex64"):
        open_image(tmp_path / "a.tif")


def test_pages_of_several_sizes_are_refused(tmp_path, stack):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(stack[0])
        tiff.write(stack[1][:7])
    with pytest.raises(UserError, match=r"12x10 and 7x10|7x10 and 12x10"):
        open_image(tmp_path / "a.tif")


def test_deep_colour_png_is_refused_rather_than_halved(tmp_path):
    import struct
    import zlib

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(12) for _ in range(2)))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(UserError, match="16 bits per colour"):
        open_image(tmp_path / "a.png")


def test_jpeg_labels_are_refused(tmp_path, stack):
    Image.fromarray(stack[0]).save(tmp_path / "a.jpg")
    open_image(tmp_path / "a.jpg").read()
    with pytest.raises(UserError, match="JPEG"):
        open_image(tmp_path / "a.jpg", labels=True)

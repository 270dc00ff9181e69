"""Damaged and hostile weight files: one sentence, at once, without much memory."""

from __future__ import annotations

import pickle
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from messages import (
    BLOB,
    claiming,
    doubles,
    floats,
    inside,
    layer,
    legacy,
    shape,
    unpacked,
    v1_layer,
    varint,
    whole,
)
from unet_native.caffe.caffemodel import read_caffemodel
from unet_native.caffe.solverstate import read_solverstate
from unet_native.errors import UserError

SECONDS = 1.0
SLACK = 64 << 20  # bytes beside four times the file's size, for Python's objects
MILLION = 1_000_000


def refused(reader: Callable[[Path], object], path: Path, problem: str) -> None:
    """`reader` raises one line, within the limits of time and memory, that says `problem`."""
    begin = time.perf_counter()
    with pytest.raises(UserError, match=problem) as caught:
        reader(path)
    assert time.perf_counter() - begin < SECONDS
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert len(text) < len(str(path)) + 400
    assert text.isprintable(), "more than one line, or characters that a terminal obeys"
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            reader(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < SLACK + 4 * (path.stat().st_size if path.is_file() else 0)


def blob_with(*parts: bytes) -> bytes:
    return layer(b"".join(parts))


MANY = "more fields than any network"
HOSTILE = {
    # millions of next to nothing
    "empty layers": (inside(100, b"") * 5 * MILLION, MANY),
    "empty old layers": (inside(2, b"") * 5 * MILLION, MANY),
    "empty messages in a layer": (inside(100, inside(6, b"") * 5 * MILLION), MANY),
    "empty blobs": (layer(*[b""] * 50_000), "layer 'conv': a blob has no shape"),
    "scalars": (layer(*[inside(7, b"") + floats(5, 1)] * 50_000), MANY),
    "empty chunks": (blob_with(floats(5) * 5 * MILLION), MANY),
    "empty shapes": (blob_with(inside(7, b"") * 5 * MILLION), MANY),
    "unknown fields of a blob": (blob_with(whole(99, 1) * 5 * MILLION), MANY),
    "numbers in the network": (whole(4, 1) * 5 * MILLION, MANY),
    "packed axes": (blob_with(inside(7, inside(1, b"\1" * 5 * MILLION))), "more than 32 numbers"),
    "axes": (blob_with(inside(7, whole(1, 1) * 5 * MILLION)), MANY),
    "short runs": (blob_with((unpacked(5, 1) + unpacked(6, 1)) * 2 * MILLION, shape(1)), MANY),
    "runs of two": (blob_with((unpacked(5, 1, 2) + floats(6)) * MILLION, shape(1)), MANY),
    "layers with many fields": (inside(100, inside(3, b"") * 5000) * 1000, MANY),
    # lies about sizes
    "256 TiB": (claiming(100, 1 << 48), "claims 281474976710656 bytes where 0 are left"),
    "64 bits of length": (claiming(100, -1), "claims 18446744073709551615 bytes"),
    "a blob longer than its layer": (inside(100, claiming(7, 50)) + bytes(99), "claims 50 bytes"),
    "data longer than their blob": (blob_with(claiming(5, 9, bytes(8))), "claims 9 bytes where 8"),
    "a number and a half": (blob_with(inside(5, bytes(6)), shape(1)), "ends within a number"),
    "a double and a half": (blob_with(inside(8, bytes(12)), shape(1)), "ends within a number"),
    "half a number": (blob_with(unpacked(5, 1)[:3]), "ends behind its message"),
    "product of axes overflows": (
        blob_with(shape(1 << 33, 1 << 33), floats(5)),
        r"claims the shape \(8589934592, 8589934592\)",
    ),
    "product is 0 in 64 bits": (blob_with(shape(*[1 << 16] * 4), floats(5)), "claims the shape"),
    "many axes, no numbers": (blob_with(shape(0, *[INT := (1 << 31) - 1] * 3)), "claims the shape"),
    "2^31": (blob_with(shape(1 << 31), BLOB), "claims the shape"),
    "negative axis": (blob_with(shape(-2), floats(5, 1, 2)), "claims the shape"),
    "negative old axis": (blob_with(legacy(-1, 1, 1, 1)), "field 1 is no whole number"),
    "33 axes": (blob_with(shape(*[1] * 33), floats(5, 1)), "more than 32"),
    "33 axes in two": (blob_with(shape(*[1] * 32), shape(1), floats(5, 1)), "more than 32 axes"),
    "fewer numbers": (blob_with(floats(5, 1, 2), shape(3)), r"shape \(3,\) has 2 numbers"),
    "more numbers": (blob_with(floats(5, 1, 2), shape(1)), r"shape \(1,\) has 2 numbers"),
    "no numbers": (blob_with(shape(4)), r"shape \(4,\) has 0 numbers"),
    "a short diff": (blob_with(BLOB, floats(6, 1)), r"shape \(2,\) has 1 numbers"),
    "no shape": (blob_with(floats(5, 1)), "a blob has no shape"),
    # wrong kinds of fields
    "group": (b"\x0b\x0c", "field 1 is of kind 3"),
    "group in a blob": (blob_with(b"\x2b\x2c"), "field 5 is of kind 3"),
    "kind 7": (b"\x0f", "kind 7"),
    "field 0": (b"\x02\x00", "no field has number 0"),
    "number of 11 bytes": (b"\x08" + b"\x80" * 10 + b"\1", "longer than 64 bits"),
    "number of 70 bits": (b"\x20" + b"\xff" * 9 + b"\x7f", "longer than 64 bits"),
    "breaks off": (b"\x20\x80", "breaks off within a number"),
    "number as name": (whole(1, 5), "field 1 holds no text"),
    "number as layer": (whole(100, 5), "field 100 holds no layer"),
    "number as old layer": (whole(2, 5), "field 2 holds no layer"),
    "number as blob": (layer(rest=whole(7, 5)), "field 7 holds no blob"),
    "number as data": (blob_with(whole(5, 1), shape(1)), "field 5 holds no numbers"),
    "double as data": (blob_with(b"\x29" + bytes(8), shape(1)), "field 5 holds no numbers"),
    "number as shape": (blob_with(whole(7, 1)), "shape of a blob is no message"),
    "number as axis": (blob_with(inside(7, b"\x0d" + bytes(4))), "field 1 holds no whole"),
    "text as old axis": (blob_with(inside(1, b"2")), "field 1 is no whole number"),
    "number as type": (inside(100, whole(2, 4)), "field 2 holds no text"),
    "text as old type": (inside(2, inside(5, b"ReLU")), "field 5 is no whole number"),
    "name in Latin-1": (layer(BLOB) + inside(1, b"\xe9"), "not UTF-8"),
    # names that would spoil the sentence
    "long name": (layer(b"", name="x" * 5 * MILLION), r"layer 'x{50,60}\.\.\."),
    "name of controls": (layer(b"", name="\x1b[2J\r\n"), r"layer '\\x1b\[2J\\r\\n'"),
    # other forms
    "both forms": (layer(BLOB) + v1_layer(BLOB), "has both `layers` and `layer`"),
    "form of 2013": (inside(2, inside(1, b"")), "2013; convert it with .*upgrade_net_proto_binary"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), r"is an HDF5 file; rename it to m\.caffemodel\.h5"),
    "pickle": (pickle.dumps({"conv": [1.0]}), "a pickle or an archive"),
    "old pickle": (pickle.dumps({"conv": [1.0]}, protocol=2), "a pickle or an archive"),
    "archive": (b"PK\x03\x04" + bytes(99), "a pickle or an archive"),
    "text": (b'name: "net"\nlayer { name: "a" }\n', "is text, not a .caffemodel"),
    "empty": (b"", "is empty"),
    "a state": (whole(1, 4) + inside(3, BLOB), "field 1 holds no text"),
    # values
    "NaN": (blob_with(floats(5, 1, np.nan), shape(2)), "blob 0 of layer 'conv' has values"),
    "infinity": (layer(BLOB, floats(5, np.inf, 1) + shape(2)), "blob 1 of layer 'conv' has values"),
    "large double": (blob_with(doubles(8, 1e300), shape(1)), "blob 0 of layer 'conv' has values"),
    "NaN at the end": (
        blob_with(floats(5, *[0] * 600_000, np.nan), shape(600_001)),
        "blob 0 of layer 'conv' has values that are not finite",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_weights_are_refused_at_once(tmp_path, name):
    content, problem = HOSTILE[name]
    path = tmp_path / "m.caffemodel"
    path.write_bytes(content)
    refused(read_caffemodel, path, problem)


STATES = {
    "empty histories": (whole(1, 4) + inside(3, b"") * 5 * MILLION, "a blob has no shape"),
    "scalars": (whole(1, 4) + inside(3, inside(7, b"") + floats(5, 1)) * MILLION, MANY),
    "no iteration": (inside(3, BLOB), "no iteration is stored"),
    "negative iteration": (whole(1, -4), "field 1 is no whole number"),
    "text as step": (whole(1, 4) + inside(4, b"2"), "field 4 is no whole number"),
    "number as path": (whole(1, 4) + whole(2, 4), "field 2 holds no text"),
    "NaN": (whole(1, 4) + inside(3, floats(5, np.nan) + shape(1)), "history 0 has values"),
    "weights": (inside(1, b"net") + layer(BLOB), "field 1 is no whole number"),
    "text": (b"iter: 4\n", "is text, not a .solverstate"),
}


@pytest.mark.parametrize("name", STATES)
def test_hostile_states_are_refused_at_once(tmp_path, name):
    content, problem = STATES[name]
    path = tmp_path / "s.solverstate"
    path.write_bytes(content)
    refused(read_solverstate, path, problem)


@pytest.mark.parametrize("reader", [read_caffemodel, read_solverstate])
def test_what_is_no_file_is_named(tmp_path, reader):
    refused(reader, tmp_path, "is no file")
    refused(reader, tmp_path / "absent", "cannot be read .No such file")
    refused(reader, Path("/dev/zero"), "is no file")


def test_as_many_layers_as_are_allowed_load_in_time(tmp_path):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(inside(100, b"") * (1 << 16))
    begin = time.perf_counter()
    assert len(read_caffemodel(path).layers) == 1 << 16
    assert time.perf_counter() - begin < SECONDS


# --- damage ---


def sound(kind: str) -> bytes:
    """A small file of each kind with every form of blob, so that each byte of it matters."""
    values = range(40)
    blobs = (floats(5, *values) + floats(6, *values) + shape(2, 4, 5), unpacked(5, *values))
    if kind == "state":
        return whole(1, 300) + inside(2, b"w.caffemodel") + inside(3, blobs[0]) * 2 + whole(4, 2)
    old = legacy(1, 2, 4, 5)
    if kind == "old":
        layers = v1_layer(old + blobs[1], name="a") + v1_layer(old + blobs[0], name="b")
    else:
        layers = layer(blobs[0], doubles(8, *values) + shape(40), name="a") + layer(
            blobs[1] + shape(40), name="b", rest=whole(10, 1) + inside(106, whole(1, 3))
        )
    return inside(1, b"net") + layers


READERS = {"current": read_caffemodel, "old": read_caffemodel, "state": read_solverstate}


def complaint(kind: str, path: Path, content: bytes) -> str | None:
    """What the reader says of a file with this content; None if it loads."""
    path.unlink(missing_ok=True)  # to overwrite a file is slow on some file systems
    path.write_bytes(content)
    begin = time.perf_counter()
    try:
        READERS[kind](path)
    except UserError as error:
        return str(error)
    finally:
        assert time.perf_counter() - begin < SECONDS
    return None


@pytest.mark.parametrize("kind", READERS)
def test_a_file_cut_short_is_refused_or_read(tmp_path, kind):
    content, path = sound(kind), tmp_path / "m.bin"
    cuts = [content[: len(content) * percent // 100] for percent in range(100)]
    texts = [text for text in (complaint(kind, path, cut) for cut in cuts) if text]
    assert len(texts) > 90  # a cut between two layers cannot be noticed
    assert all(text.startswith(f"{path}: ") for text in texts)


def flip(content: bytes, seed: int) -> bytes:
    """One to four bytes of `content` changed."""
    rng = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("flips", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_file_with_flipped_bytes_is_refused_or_read(tmp_path, kind, flips):
    content, path = sound(kind), tmp_path / "m.bin"
    texts = [complaint(kind, path, flip(content, seed)) for seed in range(flips)]
    refusals = [text for text in texts if text]
    assert flips / 10 < len(refusals) < flips
    assert all(text.isprintable() for text in refusals)


def test_the_tests_encoder_makes_sound_files(tmp_path):
    for kind, reader in READERS.items():
        path = tmp_path / kind
        path.write_bytes(sound(kind))
        reader(path)
    assert varint(-1) == b"\xff" * 9 + b"\1"

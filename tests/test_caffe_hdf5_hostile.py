"""Caffe's files in HDF5 that are damaged or hostile: one sentence, soon and at little cost."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stored_models import blob, model
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.solverstate import read_solverstate, write_solverstate
from unet_native.caffe.stored import SolverState, StoredLayer
from unet_native.errors import UserError

h5py = pytest.importorskip("h5py")

SECONDS = 1.0
SLACK = 64 << 20  # bytes beside four times the file's size


# --- hostile ---


def refused(reader: Callable[[Path], object], path: Path, problem: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    with pytest.raises(UserError, match=problem) as caught:
        reader(path)
    assert time.perf_counter() - begin < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < SLACK + 4 * path.stat().st_size
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


ONES = np.ones((2, 3), np.float32)


def contiguous(group, name: str, shape: tuple[int, ...], *, early: bool = False) -> None:
    """A dataset that claims `shape`; without `early` none of it is in the file."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY if early else h5py.h5d.ALLOC_TIME_LATE)
    space = h5py.h5s.create_simple(shape)
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plan)


def virtual(group) -> None:
    layout = h5py.VirtualLayout((2, 3), np.float32)
    layout[...] = h5py.VirtualSource("other.h5", "x", (2, 3))
    group.create_virtual_dataset("0", layout)


def link(place: str, target: object) -> Callable:
    return lambda file: file.__setitem__(place, target)


def blob_zero(**settings: object) -> Callable:
    return lambda file: file.create_dataset("data/a/0", **settings)


def twice(file) -> None:
    file["data/a/0"] = ONES
    file["data/b"] = file["data/a"]


def loop(file) -> None:
    file["data/a/b"] = file.create_group("data")


def many(kind: str) -> Callable:
    def make(file) -> None:
        for i in range(17_000 if kind == "flat" else 9000):
            file.create_group(f"data/a/{i}" if kind == "flat" else f"data/{i}/x")

    return make


HOSTILE_MODELS = {
    "external link": (link("data/a", h5py.ExternalLink("/etc/passwd", "/")), "links in a newer"),
    "soft link": (link("data/a", h5py.SoftLink("/data")), "link to another"),
    "data is a link": (link("data", h5py.ExternalLink("other.h5", "/data")), "links in a newer"),
    "loop": (loop, "linked to twice"),
    "group twice": (twice, "linked to twice"),
    "root": (lambda file: link("data/a", file["/"])(file), "linked to twice"),
    "named type": (lambda file: link("data/a", np.dtype("f4"))(file), "neither group nor dataset"),
    "external storage": (
        blob_zero(shape=(2, 3), dtype="f4", external=[("/etc/passwd", 0, 24)]),
        "another file",
    ),
    "virtual": (lambda file: virtual(file.create_group("data/a")), "h5repack"),
    "gzip": (blob_zero(data=ONES, compression="gzip"), "h5repack -l CONTI -f NONE"),
    "lzf": (blob_zero(data=ONES, compression="lzf"), "h5repack"),
    "checksums": (blob_zero(data=ONES, fletcher32=True), "h5repack"),
    "chunks of any size": (
        blob_zero(shape=(1 << 28,), maxshape=(None,), dtype="f4", chunks=(1 << 28,)),
        "claims 1073741824 bytes",
    ),
    "strings": (blob_zero(data=["a", "b"], dtype=h5py.string_dtype()), "does not write"),
    "ragged": (blob_zero(shape=(2,), dtype=h5py.vlen_dtype(np.float32)), "does not write"),
    "references": (blob_zero(shape=(2,), dtype=h5py.ref_dtype), "does not write"),
    "records": (blob_zero(data=np.zeros(2, [("a", "f4"), ("b", "f4")])), "does not write"),
    "whole numbers": (blob_zero(data=np.arange(3)), "blob 0 of 'a' is of type <i8"),
    "halves": (blob_zero(data=ONES.astype("f2")), "does not write"),
    "no space": (blob_zero(data=h5py.Empty("f4")), "no shape that Caffe knows"),
    "256 TiB": (
        lambda file: contiguous(file.create_group("data/a"), "0", (1 << 23, 1 << 23)),
        "claims 281474976710656 bytes",
    ),
    "2^63 bytes": (
        lambda file: contiguous(file.create_group("data/a"), "0", (1 << 30, 1 << 31)),
        "claims the shape",
    ),
    "never written": (
        lambda file: contiguous(file.create_group("data/a"), "0", (10,)),
        "claims 40 bytes",
    ),
    "groups in a layer": (many("flat"), "more groups and datasets than any"),
    "layers": (many("deep"), "more groups and datasets than any"),
    "100 levels": (lambda file: file.create_group("data" + "/a" * 100), "too deep"),
    "a gap": (link("data/a/1", ONES), "has no blob 0"),
    "a blob by name": (link("data/a/weight", ONES), "has no blob 0"),
    "a blob by a longer number": (link("data/a/00", ONES), "has no blob 0"),
    "a blob of no layer": (link("data/0", ONES), "belongs to no layer"),
    "data is no group": (link("data", ONES), "data is no group"),
    "a state": (link("history/0", ONES), "it has no data"),
    "NaN": (blob_zero(data=ONES * np.nan), "blob 0 of layer 'a' has values that are not finite"),
    "a name of controls": (link("data/\x1b[2J\n/0", ONES * np.nan), r"'\\x1b\[2J\\n' has values"),
    "a name in Latin-1": (lambda file: file.create_group(b"data/\xe9"), "not UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE_MODELS)
def test_hostile_weights_are_refused_at_once(tmp_path, name):
    make, problem = HOSTILE_MODELS[name]
    path = tmp_path / "m.caffemodel.h5"
    with h5py.File(path, "w") as file:
        make(file)
    refused(read_caffemodel, path, problem)


def test_diffs_must_fit_the_data(tmp_path):
    path = tmp_path / "m.caffemodel.h5"
    for place, array, problem in (
        ("diff/a/0", ONES[:1], "has another shape"),
        ("diff/b/0", ONES, "has no data beside it"),
    ):
        with h5py.File(path, "w") as file:
            file["data/a/0"], file[place] = ONES, array
        refused(read_caffemodel, path, problem)


def state_with(**changed: object) -> Callable:
    """Writes a sound state but for what is changed; None leaves it out."""

    def make(file) -> None:
        items = {"iter": np.int32([4]), "current_step": np.int32([0]), "history/0": ONES}
        for name, value in (items | changed).items():
            if value is not None:
                file[name] = value

    return make


HOSTILE_STATES = {
    "no iteration": (state_with(iter=None), "iter is missing"),
    "two iterations": (state_with(iter=np.int32([4, 5])), "iter is not one number"),
    "negative": (state_with(iter=np.int32([-1])), "iter is not one number from 0"),
    "too large": (
        state_with(current_step=np.int64([1 << 40])),
        "current_step is not one number from 0",
    ),
    "not whole": (state_with(iter=np.float32([4])), "iter is missing or no whole number"),
    "iteration is a group": (
        state_with(**{"iter": None, "iter/x": ONES}),
        "iter is missing or no whole number",
    ),
    "path of any length": (state_with(learned_net="x"), "does not write"),
    "two paths": (state_with(learned_net=np.array([b"a", b"b"])), "no string of fixed length"),
    "path in Latin-1": (state_with(learned_net=np.bytes_(b"\xe9")), "learned_net is not UTF-8"),
    "no history": (state_with(**{"history/0": None}), "it has no history"),
    "history is no group": (state_with(**{"history/0": None, "history": ONES}), "is no group"),
    "a gap": (state_with(**{"history/2": ONES}), "'history' has no blob 1"),
    "a group in it": (state_with(**{"history/1/x": ONES}), "history holds a group"),
    "NaN": (state_with(**{"history/0": ONES * np.inf}), "history 0 has values"),
    "weights": (link("data/a/0", ONES), "iter is missing"),
}


@pytest.mark.parametrize("name", HOSTILE_STATES)
def test_hostile_states_are_refused_at_once(tmp_path, name):
    make, problem = HOSTILE_STATES[name]
    path = tmp_path / "s.solverstate.h5"
    with h5py.File(path, "w") as file:
        make(file)
    refused(read_solverstate, path, problem)


@pytest.mark.parametrize("reader", [read_caffemodel, read_solverstate])
def test_other_files_are_named_for_what_they_are(tmp_path, reader):
    path = tmp_path / "m.h5"
    for content, problem in (
        (b"", "is empty"),
        (b'name: "net"\n', "is text"),
        (b"\x0a\x03net\xa2\x06\x00", "a binary file must not be named .h5"),
        (b"\x89HDF\r\n\x1a\n", "damaged"),
        (b"\x89HDF\r\n\x1a\n" + bytes(5000), "damaged"),
    ):
        path.write_bytes(content)
        refused(reader, path, problem)
    with pytest.raises(UserError, match="No such file"):
        reader(tmp_path / "absent.h5")


# --- damage ---


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[Callable, bytes]:
    """The bytes of a small file for each reader."""
    folder = tmp_path_factory.mktemp("sound")
    weights = model("a", "b", "c/d", diff=True)
    weights.layers += [StoredLayer(f"relu{i}") for i in range(12)]
    state = SolverState(4, "w.caffemodel.h5", 1, [blob(4, 2, 3, 3), blob(4)] * 4)
    return {
        read_caffemodel: write_caffemodel(folder / "m.caffemodel.h5", weights).read_bytes(),
        read_solverstate: write_solverstate(folder / "s.solverstate.h5", state).read_bytes(),
    }


def complaint(reader: Callable[[Path], object], path: Path, content: bytes) -> str | None:
    """What the reader says of a file with this content; None if it loads."""
    path.unlink(missing_ok=True)  # to overwrite a file is slow on some file systems
    path.write_bytes(content)
    begin = time.perf_counter()
    try:
        reader(path)
    except UserError as error:
        return str(error)
    finally:
        assert time.perf_counter() - begin < SECONDS
    return None


@pytest.mark.parametrize("reader", [read_caffemodel, read_solverstate])
def test_a_file_cut_short_is_refused(tmp_path, sound, reader):
    content, path = sound[reader], tmp_path / "m.h5"
    for percent in range(100):
        cut = content[: len(content) * percent // 100]
        assert complaint(reader, path, cut), percent


def test_other_layouts_of_hdf5_are_named(tmp_path):
    for version in ("v108", "latest"):
        path = tmp_path / f"{version}.caffemodel.h5"
        with h5py.File(path, "w", libver=(version, "latest")) as file:
            file["data/a/0"] = ONES
        refused(read_caffemodel, path, 'newer form of HDF5 .* "earliest"')


def test_an_index_that_holds_itself_is_refused(tmp_path, sound):
    # libhdf5 2.0 overflows its stack on the first and never returns from the second.
    content = sound[read_caffemodel]
    nodes = [i for i in range(len(content)) if content.startswith(b"TREE", i)]
    assert len(nodes) > 9
    for node in nodes:
        if content[node + 6 : node + 8] == bytes(2):
            continue  # the index of an empty group
        damaged = bytearray(content)
        damaged[node + 5] = 1
        damaged[node + 32 : node + 40] = node.to_bytes(8, "little")
        path = tmp_path / "m.h5"
        assert "linked to twice" in complaint(read_caffemodel, path, bytes(damaged))
        damaged = bytearray(content)
        damaged[node + 16 : node + 24] = node.to_bytes(8, "little")
        assert complaint(read_caffemodel, path, bytes(damaged)) is None  # siblings are not used


def test_datasets_that_share_their_bytes_are_refused(tmp_path):
    path = tmp_path / "m.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file["data/a/0"] = file["data/a/1"] = np.zeros(1500)
    content = path.read_bytes()
    for old, new in ((1500, 2900), (12000, 23200)):  # elements and bytes
        content = content.replace(old.to_bytes(8, "little"), new.to_bytes(8, "little"))
    size = (23200).to_bytes(8, "little")
    one, other = content.find(size), content.rfind(size)
    assert one < other
    content = content[: other - 8] + content[one - 8 : one] + content[other:]
    path.write_bytes(content)
    refused(read_caffemodel, path, "datasets share their bytes")


def test_a_deep_index_is_refused(tmp_path, sound):
    content = bytearray(sound[read_caffemodel])
    node = content.find(b"TREE")
    place = (node + 32, len(content))
    for _ in range(3000):  # each node says level 1 and has the next one as its only child
        content[place[0] : place[0] + 8] = place[1].to_bytes(8, "little")
        content += b"TREE\0\1\1\0" + b"\xff" * 16 + bytes(24)
        place = (place[1] + 32, len(content))
    content[node + 5] = 1
    assert "index of a group is damaged" in complaint(read_caffemodel, tmp_path / "m.h5", content)


def test_a_dataset_with_fewer_bytes_than_its_shape_has_is_refused(tmp_path):
    path = tmp_path / "m.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file["data/a/0"] = np.zeros(1500, np.float32)
    size, less = (n.to_bytes(8, "little") for n in (6000, 5999))
    content = path.read_bytes()
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, less))
    refused(read_caffemodel, path, "claims 6000 bytes that the file does not have")


@pytest.mark.parametrize("length", [0, (1 << 32) - 1, 1 << 20])
def test_a_string_of_absurd_length_is_refused(tmp_path, sound, length):
    old = len("w.caffemodel.h5") + 1
    kind = b"\x13\0\0\0"  # a string that ends with a zero byte
    content = sound[read_solverstate]
    assert content.count(kind + old.to_bytes(4, "little")) == 1
    damaged = content.replace(kind + old.to_bytes(4, "little"), kind + length.to_bytes(4, "little"))
    assert f"claims {length} bytes" in complaint(read_solverstate, tmp_path / "s.h5", damaged)


def test_a_network_of_a_thousand_layers_is_no_attack(tmp_path):
    names = [f"layer{i:04}" for i in range(1000)]
    path = write_caffemodel(tmp_path / "m.caffemodel.h5", model(*names))
    begin = time.perf_counter()
    assert [layer.name for layer in read_caffemodel(path).layers] == names
    assert time.perf_counter() - begin < SECONDS


def test_doubles_become_float32(tmp_path):
    path = tmp_path / "m.caffemodel.h5"
    for kind in ("<f8", "<f4"):
        with h5py.File(path, "w") as file:
            file["data/a/0"] = ONES.astype(kind)
        np.testing.assert_array_equal(
            read_caffemodel(path).layers[0].blobs[0].data, ONES, strict=True
        )


def damage(content: bytes, seed: int) -> bytes:
    """One to four bytes changed, or one to three of the words that HDF5 keeps its addresses in."""
    rng = random.Random(seed)
    damaged = bytearray(content)
    if seed % 2:
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        return bytes(damaged)
    words = len(content) // 8
    for _ in range(rng.randint(1, 3)):
        place, other = (8 * rng.randrange(words) for _ in range(2))
        values = (0, (1 << 64) - 1, 1 << 63, other, rng.randrange(len(content)))
        copied = bytes(damaged[other : other + 8])
        options = [*(value.to_bytes(8, "little") for value in values), copied]
        damaged[place : place + 8] = rng.choice(options)
    return bytes(damaged)


@pytest.mark.parametrize("reader", [read_caffemodel, read_solverstate])
@pytest.mark.parametrize("times", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_refused_or_read(tmp_path, sound, reader, times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / "m.h5"
    texts = [complaint(reader, path, damage(sound[reader], seed)) for seed in range(times)]
    refusals = [text for text in texts if text]
    assert times / 10 < len(refusals) < times
    assert all(text.isprintable() for text in refusals)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < SLACK

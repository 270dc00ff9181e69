"""Weight files and solver states: every form that protocol buffers allow, and what is written."""

from __future__ import annotations

import time
from functools import reduce

import numpy as np
import pytest

from messages import (
    BLOB,
    doubles,
    floats,
    inside,
    layer,
    legacy,
    shape,
    unpacked,
    unpacked_doubles,
    v1_layer,
    varint,
    whole,
)
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.solverstate import read_solverstate, write_solverstate
from unet_native.caffe.stored import CaffeModel, SolverState, StoredBlob, StoredLayer, matches
from unet_native.errors import UserError


@pytest.fixture
def model_of(tmp_path):
    def read(content: bytes) -> CaffeModel:
        path = tmp_path / "m.caffemodel"
        path.write_bytes(content)
        return read_caffemodel(path)

    return read


@pytest.fixture
def blob_of(model_of):
    """The blob of a network's only layer, from the blob's bytes."""

    def read(content: bytes) -> StoredBlob:
        return model_of(layer(content)).layers[0].blobs[0]

    return read


# --- blobs ---

EQUAL = {
    "packed": floats(5, 1, 2, 3) + shape(3),
    "shape first": shape(3) + floats(5, 1, 2, 3),
    "two chunks": floats(5, 1) + floats(5, 2, 3) + shape(3),
    "chunks around the shape": floats(5, 1, 2) + shape(3) + floats(5, 3),
    "an empty chunk": floats(5) + floats(5, 1, 2, 3) + floats(5) + shape(3),
    "unpacked": unpacked(5, 1, 2, 3) + shape(3),
    "one unpacked": floats(5, 1, 2) + unpacked(5, 3) + shape(3),
    "mixed": unpacked(5, 1) + floats(5, 2) + unpacked(5, 3) + shape(3),
    "unpacked in two runs": unpacked(5, 1, 2) + shape(3) + unpacked(5, 3),
    "doubles": doubles(8, 1, 2, 3) + shape(3),
    "unpacked doubles": unpacked_doubles(8, 1, 2, 3) + shape(3),
    "mixed doubles": unpacked_doubles(8, 1) + doubles(8, 2, 3) + shape(3),
    "dims unpacked": floats(5, 1, 2, 3) + inside(7, whole(1, 3)),
    "tag in two bytes": b"\xad\x00" + unpacked(5, 1)[1:] + floats(5, 2, 3) + shape(3),
    "fields of other programs": whole(40, 7) + floats(5, 1, 2, 3) + inside(12, b"x") + shape(3),
}


@pytest.mark.parametrize("content", EQUAL.values(), ids=EQUAL)
def test_every_form_of_numbers_gives_the_same_blob(blob_of, content):
    blob = blob_of(content)
    np.testing.assert_array_equal(blob.data, np.array([1, 2, 3], np.float32), strict=True)
    assert not blob.data.flags.writeable
    assert blob.diff is None
    assert not blob.legacy


def test_diffs_of_every_form(blob_of):
    for diff in (floats(6, 3, 4), unpacked(6, 3, 4), doubles(9, 3, 4), unpacked_doubles(9, 3, 4)):
        blob = blob_of(BLOB + diff)
        np.testing.assert_array_equal(blob.data, [1, 2])
        np.testing.assert_array_equal(blob.diff, np.array([3, 4], np.float32), strict=True)
    interleaved = unpacked(5, 1) + unpacked(6, 3) + unpacked(5, 2) + unpacked(6, 4) + shape(2)
    blob = blob_of(interleaved)
    assert (blob.data.tolist(), blob.diff.tolist()) == ([1, 2], [3, 4])


def test_runs_of_every_length_end_where_they_should(blob_of):
    for n in range(1, 70):
        values = np.arange(n, dtype=np.float32)
        blob = blob_of(unpacked(5, *values) + unpacked(6, *-values) + shape(n))
        np.testing.assert_array_equal(blob.data, values)
        np.testing.assert_array_equal(blob.diff, -values)


def test_a_million_unpacked_numbers_load_at_once(model_of):
    n = 1_000_000
    pairs = np.zeros(n, [("tag", "u1"), ("value", "<f4")])
    pairs["tag"], pairs["value"] = 5 << 3 | 5, np.arange(n)
    content = layer(pairs.tobytes() + shape(1000, 1000))
    begin = time.perf_counter()
    blob = model_of(content).layers[0].blobs[0]
    assert time.perf_counter() - begin < 0.5
    np.testing.assert_array_equal(blob.data.reshape(-1), np.arange(n, dtype=np.float32))


def test_packed_numbers_are_not_copied(model_of):
    data = model_of(layer(floats(5, *range(600)) + shape(2, 300))).layers[0].blobs[0].data
    while isinstance(data.base, np.ndarray):
        data = data.base
    assert isinstance(data.base, bytes)


@pytest.mark.parametrize("offset", range(4))
def test_numbers_may_begin_at_any_byte(model_of, offset):
    blob = model_of(layer(BLOB, name="x" * offset)).layers[0].blobs[0]
    assert (blob.data + 1).tolist() == [2, 3]


@pytest.mark.parametrize(
    "dims", [(), (1,), (0,), (2, 0, 3), (4, 1, 2, 3), (1,) * 32, (2, 1, 3, 1, 2)]
)
def test_shapes(blob_of, dims):
    values = np.arange(np.prod(dims, dtype=int), dtype=np.float32)
    blob = blob_of(floats(5, *values) + shape(*dims))
    np.testing.assert_array_equal(blob.data, values.reshape(dims), strict=True)
    assert blob.shape == dims


def test_old_shapes_have_four_axes(blob_of):
    blob = blob_of(legacy(1, 1, 2, 3) + floats(5, *range(6)))
    assert blob.legacy
    np.testing.assert_array_equal(blob.data, np.arange(6, dtype="f4").reshape(1, 1, 2, 3))
    # The old form wins over the new, and what is not stored of it is 0.
    assert blob_of(legacy(2, 1, 1, 1) + BLOB).shape == (2, 1, 1, 1)
    assert blob_of(whole(2, 5) + shape(3)).shape == (0, 5, 0, 0)


def test_caffes_rule_for_shapes():
    assert matches((3, 2), False, (3, 2))
    assert not matches((1, 1, 3, 2), False, (3, 2))
    assert not matches((2, 3), False, (3, 2))
    assert not matches((6,), False, (3, 2))
    for wanted in ((), (5,), (3, 5), (2, 3, 5), (7, 2, 3, 5)):
        padded = (1,) * (4 - len(wanted)) + wanted
        assert matches(padded, True, wanted)
        assert not matches((*padded[:3], 4), True, wanted)
        assert matches(padded, False, wanted) == (len(wanted) == 4)
    assert not matches((5, 1, 1, 1), True, (5,))
    assert not matches((1, 1, 1, 5), True, (1, 1, 1, 1, 5))


# --- layers and networks ---


def test_what_a_network_holds(model_of):
    a = layer(BLOB, BLOB, name="a", rest=whole(10, 1))
    content = inside(1, b"net") + inside(3, b"data") + a + layer(name="b") + inside(101, b"x")
    model = model_of(content)
    assert (model.name, model.v1) == ("net", False)
    assert (model.head, model.tail) == (inside(3, b"data"), inside(101, b"x"))
    assert [(x.name, x.type, len(x.blobs)) for x in model.layers] == [
        ("a", "Convolution", 2),
        ("b", "Convolution", 0),
    ]
    assert (model.layers[0].head, model.layers[0].tail) == (b"", whole(10, 1))


def test_what_an_old_network_holds(model_of):
    content = inside(1, b"net") + v1_layer(legacy(1, 1, 1, 2) + floats(5, 1, 2)) + inside(3, b"d")
    model = model_of(content)
    assert model.v1
    assert (model.head, model.tail) == (b"", inside(3, b"d"))
    assert [(x.name, x.type) for x in model.layers] == [("conv", 4)]
    assert model.layers[0].head == inside(2, b"data") + inside(3, b"conv")


WHOLE = {
    "current": inside(1, b"n") + whole(5, 1) + layer(BLOB, rest=whole(10, 0) + inside(106, b"x")),
    "no name": layer(BLOB),
    "an empty name": inside(1, b"") + layer(BLOB),
    "a diff": layer(floats(5, 1, 2) + floats(6, 3, 4) + shape(2)),
    "a number": layer(floats(5, 1) + inside(7, b"")),
    "no numbers": layer(shape(0, 3)),
    "twins": layer(BLOB, name="a") + layer(BLOB, BLOB, name="a"),
    "old": inside(1, b"n") + v1_layer(legacy(1, 1, 1, 2) + floats(5, 1, 2)) + whole(5, 1),
    "old with new shapes": v1_layer(BLOB),
    "no layers": inside(1, b"n") + inside(3, b"data") + whole(4, 1),
    "a long layer": layer(floats(5, *range(5000)) + shape(5000)),
    "100 levels": layer(
        BLOB, rest=reduce(lambda content, _: inside(106, content), range(100), b"")
    ),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_a_file_in_caffes_order_is_written_again_byte_for_byte(model_of, tmp_path, content):
    again = write_caffemodel(tmp_path / "again.caffemodel", model_of(content))
    assert again.read_bytes() == content


def test_a_file_in_another_order_is_written_in_caffes(model_of, tmp_path):
    content = layer(shape(2) + unpacked(5, 1, 2), rest=inside(3, b"d")) + inside(1, b"n")
    again = write_caffemodel(tmp_path / "again.caffemodel", model_of(content))
    inner = inside(1, b"conv") + inside(2, b"Convolution") + inside(3, b"d") + inside(7, BLOB)
    assert again.read_bytes() == inside(1, b"n") + inside(100, inner)


def test_arrays_of_any_memory_order_are_written(tmp_path):
    array = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    last = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    content = layer(floats(5, *array.reshape(-1)) + shape(2, 3, 4, 5))
    for form in (array, last, np.asfortranarray(array), array.astype(np.float64)):
        model = CaffeModel(None, [StoredLayer("conv", "Convolution", [StoredBlob(form)])])
        assert write_caffemodel(tmp_path / "m.caffemodel", model).read_bytes() == content


def test_an_old_blob_gets_four_axes(tmp_path):
    blob = StoredBlob(np.array([1, 2], np.float32), legacy=True)
    model = CaffeModel(None, [StoredLayer("conv", 4, [blob])], v1=True)
    path = write_caffemodel(tmp_path / "m.caffemodel", model)
    assert legacy(1, 1, 1, 2) + floats(5, 1, 2) in path.read_bytes()
    assert read_caffemodel(path).layers[0].blobs[0].shape == (1, 1, 1, 2)


def test_a_file_too_large_for_caffe_is_not_begun(tmp_path):
    blob = StoredBlob(np.broadcast_to(np.float32(0), (1 << 15, 1 << 14)))
    model = CaffeModel("", [StoredLayer("a", "Convolution", [blob])])
    with pytest.raises(UserError, match=r"m\.caffemodel: would be over 2 GiB"):
        write_caffemodel(tmp_path / "m.caffemodel", model)
    assert list(tmp_path.iterdir()) == []


# --- states ---


def state_bytes(step: bytes = whole(4, 2)) -> bytes:
    return whole(1, 300) + inside(2, b"a/b.caffemodel") + inside(3, BLOB) * 2 + step


def test_a_state(tmp_path):
    path = tmp_path / "s.solverstate"
    path.write_bytes(state_bytes())
    state = read_solverstate(path)
    assert (state.iter, state.learned_net, state.current_step) == (300, "a/b.caffemodel", 2)
    assert [blob.data.tolist() for blob in state.history] == [[1, 2], [1, 2]]


@pytest.mark.parametrize("step", [b"", whole(4, 0), whole(4, 7)], ids=["none", "0", "7"])
def test_states_are_written_again_byte_for_byte(tmp_path, step):
    path = tmp_path / "s.solverstate"
    path.write_bytes(state_bytes(step))
    again = write_solverstate(tmp_path / "again.solverstate", read_solverstate(path))
    assert again.read_bytes() == state_bytes(step)


def test_a_new_state_has_all_that_caffe_writes(tmp_path):
    path = write_solverstate(tmp_path / "s.solverstate", SolverState(0, "w.caffemodel"))
    assert path.read_bytes() == whole(1, 0) + inside(2, b"w.caffemodel") + whole(4, 0)
    assert varint(300) == b"\xac\x02"  # the tests' own encoder, against the documentation

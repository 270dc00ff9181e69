"""Caffe's files in HDF5: what is written is read again."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from stored_models import RNG, blob, model, same_blobs
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.solverstate import read_solverstate, write_solverstate
from unet_native.caffe.stored import CaffeModel, SolverState, StoredBlob, StoredLayer
from unet_native.errors import UserError

h5py = pytest.importorskip("h5py")


# --- what is written and read ---


@pytest.mark.parametrize("diff", [False, True])
def test_weights_come_back_in_the_order_of_names(tmp_path, diff):
    written = model("d", "b", "c", diff=diff)
    written.layers.insert(1, StoredLayer("a", "ReLU"))
    read = read_caffemodel(write_caffemodel(tmp_path / "m.caffemodel.h5", written))
    assert [layer.name for layer in read.layers] == ["a", "b", "c", "d"]
    by_name = {layer.name: layer for layer in written.layers}
    for layer in read.layers:
        same_blobs(layer.blobs, by_name[layer.name].blobs)
        assert (layer.type, layer.head, layer.tail) == ("", b"", b"")
    assert (read.name, read.v1) == (None, False)


def test_names_with_slashes_are_paths_of_groups(tmp_path):
    written = model("block/conv1", "block/conv2", "block2")
    written.layers += [StoredLayer("block/relu"), StoredLayer("deep/deeper/deepest")]
    # This one has blobs of its own beside the layer in it.
    written.layers += [
        StoredLayer("both", blobs=[blob(3)]),
        StoredLayer("both/in", blobs=[blob(2)]),
    ]
    read = read_caffemodel(write_caffemodel(tmp_path / "m.caffemodel.h5", written))
    by_name = {layer.name: layer for layer in written.layers}
    assert {layer.name for layer in read.layers} == set(by_name)
    for layer in read.layers:
        same_blobs(layer.blobs, by_name[layer.name].blobs)


def test_a_layer_may_have_more_than_ten_blobs(tmp_path):
    written = CaffeModel(layers=[StoredLayer("a", blobs=[blob(n) for n in range(1, 14)])])
    read = read_caffemodel(write_caffemodel(tmp_path / "m.caffemodel.h5", written))
    same_blobs(read.layers[0].blobs, written.layers[0].blobs)


@pytest.mark.parametrize("step", [0, 7])
def test_states_come_back(tmp_path, step):
    written = SolverState(300, "folder/σ.caffemodel.h5", step, [blob(3, 2), blob(3), blob()])
    read = read_solverstate(write_solverstate(tmp_path / "s.solverstate.h5", written))
    assert (read.iter, read.learned_net, read.current_step) == (300, written.learned_net, step)
    same_blobs(read.history, written.history)


def test_arrays_of_any_memory_order_and_no_elements(tmp_path):
    array = RNG.standard_normal((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    blobs = [StoredBlob(array), StoredBlob(np.zeros((0, 3), np.float32))]
    written = CaffeModel(layers=[StoredLayer("a", blobs=blobs)])
    read = read_caffemodel(write_caffemodel(tmp_path / "m.caffemodel.h5", written))
    same_blobs(read.layers[0].blobs, blobs)
    assert read.layers[0].blobs[0].data.flags.c_contiguous


def test_the_same_content_gives_the_same_bytes(tmp_path):
    written = model("a", "b")
    state = SolverState(iter=3, learned_net="m.caffemodel.h5", history=[blob(2, 3)])

    def files(prefix):
        return [
            write_caffemodel(tmp_path / f"{prefix}.caffemodel.h5", written).read_bytes(),
            write_solverstate(tmp_path / f"{prefix}.solverstate.h5", state).read_bytes(),
        ]

    one = files("one")
    time.sleep(1.1)  # HDF5 keeps times to the second
    assert files("two") == one


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("a", "a"), "two layers are named 'a'"),
        (("",), "cannot name a layer ''"),
        (("/a",), "cannot name a layer '/a'"),
        (("a//b",), "cannot name"),
        (("../a",), "cannot name"),
        (("a\0b",), "cannot name"),
        (("x/" * 16 + "x",), "cannot name"),
        (("a", "a/0"), "cannot be written"),
    ],
)
def test_names_that_hdf5_has_not_are_refused(tmp_path, names, problem):
    path = tmp_path / "m.caffemodel.h5"
    with pytest.raises(UserError, match=problem) as caught:
        write_caffemodel(path, model(*names))
    assert str(caught.value).startswith(f"{path}: ")
    assert list(tmp_path.iterdir()) == []


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write_caffemodel(tmp_path / "m.caffemodel.h5", model("a"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r'pip install "unet_native\[hdf5\]"'):
        write_caffemodel(path, model("a"))
    assert len(read_caffemodel(path).layers) == 1  # reading takes no library

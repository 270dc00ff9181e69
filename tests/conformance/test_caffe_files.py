"""Weight files and solver states that Caffe wrote: read, compared, and written again."""

from __future__ import annotations

import numpy as np
import pytest

from shared import golden, shared
from unet_native.caffe.caffemodel import read_caffemodel, write_caffemodel
from unet_native.caffe.solverstate import read_solverstate, write_solverstate

SOLVER, UNET, REAL = golden("solver"), golden("unet"), shared("data/caffemodels")
FOLDERS = (SOLVER, UNET, *sorted(REAL.iterdir()))


def files(pattern: str) -> list:
    found = [path for folder in FOLDERS for path in sorted(folder.glob(pattern))]
    assert found, pattern
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in found]


@pytest.mark.parametrize("path", files("*.caffemodel"))
def test_weights_are_written_again_byte_for_byte(path, tmp_path):
    again = write_caffemodel(tmp_path / "again.caffemodel", read_caffemodel(path))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", files("*.solverstate"))
def test_states_are_written_again_byte_for_byte(path, tmp_path):
    again = write_solverstate(tmp_path / "again.solverstate", read_solverstate(path))
    assert again.read_bytes() == path.read_bytes()


def same_params(model, arrays) -> None:
    """The blobs of `model` are the arrays `w:<layer>` and `b:<layer>`, no more and no fewer."""
    expected = {key for key in arrays if key[:2] in ("w:", "b:")}
    found = set()
    for layer in model.layers:
        for key, blob in zip("wb", layer.blobs, strict=False):
            assert blob.data.dtype == np.float32
            assert not blob.legacy
            np.testing.assert_array_equal(blob.data, arrays[f"{key}:{layer.name}"], strict=True)
            found.add(f"{key}:{layer.name}")
        assert len(layer.blobs) in (0, 2)
    assert found == expected


@pytest.mark.parametrize("form", ["caffemodel", "caffemodel.h5"])
def test_initial_weights(form):
    same_params(read_caffemodel(SOLVER / f"init.{form}"), np.load(SOLVER / "init.npz"))


@pytest.mark.parametrize("path", files("unet_*.caffemodel"))
def test_weights_of_whole_networks(path):
    model = read_caffemodel(path)
    assert model.name == path.stem
    assert not model.v1
    same_params(model, np.load(path.with_suffix(".npz")))


@pytest.mark.parametrize("path", files("*_iter_4.solverstate*"))
def test_states_hold_the_momentum_of_the_trajectory(path):
    case = path.name.partition("_iter_4")[0]
    state = read_solverstate(path)
    assert state.iter == 4
    assert state.learned_net == path.name.replace("solverstate", "caffemodel")
    if case == "log":
        return  # of this one no trajectory was kept
    stepped = case in ("multistep", "step")
    assert (state.current_step > 0) == stepped
    trajectory = np.load(path.with_name(f"{case}_traj.npz"))
    order = [layer.name for layer in read_caffemodel(SOLVER / "init.caffemodel").layers]
    layers = read_caffemodel(path.with_name(state.learned_net)).layers
    blobs = {
        f"{key}:{layer.name}": blob
        for layer in sorted(layers, key=lambda layer: order.index(layer.name))
        for key, blob in zip("wb", layer.blobs, strict=False)
    }
    assert len(blobs) == 8
    for (key, blob), history in zip(blobs.items(), state.history, strict=True):
        np.testing.assert_array_equal(history.data, trajectory[f"v{key}"][3])
        np.testing.assert_array_equal(blob.data, trajectory[key][4])
        if case == "snapshot_diff":
            np.testing.assert_array_equal(blob.diff, trajectory[f"v{key}"][3])
        else:
            assert blob.diff is None


@pytest.mark.parametrize("path", files("*.caffemodel.h5"))
def test_hdf5_is_the_binary_form_in_the_order_of_names(path, tmp_path):
    h5 = read_caffemodel(path)
    binary = path.with_suffix("")
    if binary.exists():
        model = read_caffemodel(binary)
        assert [layer.name for layer in h5.layers] == sorted(layer.name for layer in model.layers)
        blobs = {layer.name: layer.blobs for layer in model.layers}
        for layer in h5.layers:
            for one, other in zip(layer.blobs, blobs[layer.name], strict=True):
                np.testing.assert_array_equal(one.data, other.data, strict=True)
    pytest.importorskip("h5py")
    same_structure(path, write_caffemodel(tmp_path / "again.caffemodel.h5", h5))


def test_hdf5_states_are_written_as_caffe_does(tmp_path):
    pytest.importorskip("h5py")
    path = SOLVER / "poly_hdf5_iter_4.solverstate.h5"
    state = read_solverstate(path)
    assert (state.iter, state.current_step) == (4, 0)
    same_structure(path, write_solverstate(tmp_path / "again.solverstate.h5", state))


def same_structure(one, other) -> None:
    """Both HDF5 files have the same groups and datasets, of the same storage and content."""
    import h5py

    found: list[list] = []
    for path in (one, other):
        rows: list = []
        with h5py.File(path) as file:

            def look(name, member, rows=rows):
                row = [name, type(member).__name__, dict(member.attrs)]
                if isinstance(member, h5py.Dataset):
                    plan, kind = member.id.get_create_plist(), member.id.get_type()
                    row += [member.shape, kind.get_size(), kind.get_class(), member.dtype.str]
                    row += [plan.get_layout(), plan.get_nfilters(), member[()].tobytes()]
                    if kind.get_class() == h5py.h5t.STRING:
                        row += [kind.get_strpad(), kind.get_cset()]
                rows.append(row)

            file.visititems(look)
        found.append(rows)
    assert found[0]
    assert found[0] == found[1]


def test_layers_of_2014_are_in_their_old_form():
    model = read_caffemodel(REAL / "v1_mnist_lenet" / "lenet_iter_10000.caffemodel")
    assert model.v1
    assert model.name == "LeNet"
    ip1 = next(layer for layer in model.layers if layer.name == "ip1")
    assert ip1.type == 14  # INNER_PRODUCT
    assert [blob.shape for blob in ip1.blobs] == [(1, 1, 500, 800), (1, 1, 1, 500)]
    assert all(blob.legacy for blob in ip1.blobs)
    state = read_solverstate(REAL / "v1_mnist_lenet" / "lenet_iter_10000.solverstate")
    assert (state.iter, state.current_step) == (10000, None)


def test_crop_and_deconvolution_of_a_published_network():
    model = read_caffemodel(REAL / "v2_deconv_sr" / "sr.caffemodel")
    assert model.name == ""
    layers = {layer.name: layer for layer in model.layers}
    assert layers["upsample/deconv"].type == "Deconvolution"
    assert layers["Crop1"].type == "Crop"
    assert layers["upsample/deconv"].blobs[0].shape == (32, 1, 3, 3)

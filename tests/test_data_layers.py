"""Where data come from: HDF5Data, DummyData, Input; and what changes them: ValueTransformation."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from gradcheck import check_gradient
from unet_native.errors import UserError
from unet_native.fillers import FILLERS
from unet_native.net import Net

# --- HDF5Data ---


@pytest.fixture
def hdf5(tmp_path, net_of):
    """Writes files and a list of them; returns a maker of nets that read it."""

    def write(*files: dict[str, np.ndarray], tops: tuple[str, ...] = ("data",), **how):
        for i, arrays in enumerate(files):
            with h5py.File(tmp_path / f"{i}.h5", "w") as file:
                for name, array in arrays.items():
                    file.create_dataset(name, data=array, **how)
        (tmp_path / "list.txt").write_text("".join(f"{i}.h5\n" for i in range(len(files))))

        def net(batch: int, *, shuffle: bool = False, seed: int = 1) -> Net:
            names = " ".join(f"top: '{top}'" for top in tops)
            return Net(
                net_of(
                    f"layer {{ name: 'l' type: 'HDF5Data' {names} hdf5_data_param {{ source: "
                    f"'list.txt' batch_size: {batch} shuffle: {str(shuffle).lower()} }} }}"
                ),
                "TRAIN",
                seed=seed,
            )

        return net

    return write


def rows(first: int, last: int, *shape: int, dtype=np.float32) -> np.ndarray:
    """Rows of which each holds its number, everywhere."""
    numbers = np.arange(first, last, dtype=dtype).reshape(-1, *[1] * len(shape))
    return np.broadcast_to(numbers, (last - first, *shape)).copy()


def numbers_of(net: Net, passes: int) -> list[int]:
    found = []
    for _ in range(passes):
        data = net.forward()["data"]
        for row in data:
            assert (row == row.flat[0]).all(), "a row stays together"
            found.append(int(row.flat[0]))
    return found


def test_rows_come_in_order_over_all_files_and_round_again(hdf5):
    net = hdf5(*[{"data": rows(a, b, 2, 3)} for a, b in ((0, 3), (3, 4), (4, 7))])
    assert numbers_of(net(1), 16) == [*range(7), *range(7), 0, 1]
    assert net(1).blobs["data"].shape == (1, 2, 3)
    # Batches over the borders of files, and one of more than a whole round.
    assert numbers_of(net(3), 5) == [*range(7), *range(7), 0]
    assert numbers_of(net(16), 1) == [*range(7), *range(7), 0, 1]


def test_one_file_goes_round(hdf5):
    assert numbers_of(hdf5({"data": rows(0, 3)})(2), 4) == [0, 1, 2, 0, 1, 2, 0, 1]


def test_tops_stay_together(hdf5):
    data, label = rows(0, 5, 1, 4, 6), rows(0, 5) + 10
    net = hdf5({"label": label, "data": data, "other": data}, tops=("data", "label"))(
        3, shuffle=True
    )
    assert (net.blobs["data"].shape, net.blobs["label"].shape) == ((3, 1, 4, 6), (3,))
    seen = set()
    for _ in range(5):
        out = net.forward()
        np.testing.assert_array_equal(out["data"][:, 0, 0, 0] + 10, out["label"])
        seen |= set(out["label"])
    assert seen == set(label)


def test_shuffle_draws_files_and_rows_anew_each_round(hdf5):
    files = [range(6), range(6, 12), range(12, 18)]
    net = hdf5(*[{"data": rows(f.start, f.stop)} for f in files])
    found = numbers_of(net(1, shuffle=True), 18 * 6)
    rounds = [found[i : i + 18] for i in range(0, len(found), 18)]
    assert all(sorted(numbers) == list(range(18)) for numbers in rounds)
    assert len({tuple(numbers) for numbers in rounds}) == 6
    orders = set()
    for numbers in rounds:  # files are not mixed, they come one after the other
        parts = [numbers[i : i + 6] for i in range(0, 18, 6)]
        assert all(set(part) in [set(f) for f in files] for part in parts)
        orders.add(tuple(min(part) for part in parts))
    assert len(orders) > 1
    assert found != numbers_of(net(1, shuffle=True, seed=2), 18 * 6)
    assert found == numbers_of(net(1, shuffle=True), 18 * 6), "the seed decides"
    assert found == numbers_of(net(3, shuffle=True), 6 * 6), "the batch does not"


@pytest.mark.parametrize("dtype", ["u1", "i2", "<i4", ">i8", "<f4", ">f4", "<f8", "f2"])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunks": (2, 3, 2, 2)},
        {"chunks": (1, 3, 4, 4), "compression": "gzip", "compression_opts": 9, "shuffle": True},
        {"chunks": True, "compression": "gzip", "fletcher32": True},
    ],
)
def test_kinds_of_datasets(hdf5, dtype, how):
    values = np.random.default_rng(0).integers(0, 100, (5, 3, 4, 4))
    net = hdf5({"data": values.astype(dtype)}, **how)(5)
    found = net.forward()["data"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_the_position_is_not_the_nets_iteration(hdf5):
    """As in Caffe, whoever makes the net anew begins with the first row."""
    make = hdf5({"data": rows(0, 3)})
    net = make(1)
    assert numbers_of(net, 2) == [0, 1]
    assert net.iteration == 2
    net.iteration = 0
    assert numbers_of(net, 1) == [2]
    assert numbers_of(make(1), 1) == [0]


def test_names_mean_the_working_folder_first_and_then_the_lists(
    hdf5, tmp_path, monkeypatch, net_of
):
    net = hdf5({"data": rows(0, 2)})
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert numbers_of(net(1), 1) == [0]
    with h5py.File(other / "0.h5", "w") as file:
        file["data"] = rows(7, 8)
    assert numbers_of(net(1), 1) == [7]
    (tmp_path / "list.txt").write_text(f"{tmp_path / '0.h5'}\n\n   {tmp_path / '0.h5'}")
    assert numbers_of(net(3), 1) == [0, 1, 0]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ([{"label": rows(0, 2)}], r"0\.h5: has no dataset 'data', which a top is named after"),
        ([{"data": rows(0, 2)}, {"x": rows(0, 2)}], r"1\.h5: has no dataset 'data'"),
        ([{"data": rows(0, 2), "label": rows(0, 3)}], r"0\.h5: .*equally many rows.*2, 'label': 3"),
        ([{"data": rows(0, 0, 4), "label": rows(0, 0)}], "equally many rows, they have"),
        ([{"data": rows(0, 2, 3)}, {"data": rows(0, 2, 4)}], r"1\.h5: rows of shapes .*\(4,\)"),
        ([{"data": rows(0, 1, 1, 1, 1, 1)}], r"'data' has shape \(1, 1, 1, 1, 1\), 1 to 4 axes"),
        ([{"data": np.float32(3)}], r"'data' has shape \(\), 1 to 4 axes are wanted"),
        ([{"data": np.array([b"text"])}], r"'data' is of type \|S4"),
        ([{"data": np.ones((2, 2), np.complex64)}], "'data' is of type complex64"),
        ([], r"list\.txt: names no HDF5 file"),
    ],
)
def test_data_that_do_not_fit(hdf5, files, problem):
    tops = ("data", "label") if files and "label" in files[0] and "data" in files[0] else ("data",)
    make = hdf5(*files, tops=tops)
    with pytest.raises(UserError, match=problem):
        numbers_of(make(1), 5)


def test_files_that_cannot_be_read(hdf5, tmp_path):
    make = hdf5({"data": rows(0, 2)})
    listed = tmp_path / "list.txt"
    place = tmp_path / "0.h5"
    for content, problem in {
        "none.h5": r"none\.h5: cannot be read \(No such file or directory\)",
        f"{tmp_path}": "is no file; give the path of the file itself",
        "list.txt": r"list\.txt: is text, not a HDF5 file",
        "a\x07b": r"names a file 'a\\x07b', which cannot be one",
        "\n \n": "names no HDF5 file",
    }.items():
        listed.write_text(content)
        with pytest.raises(UserError, match=problem):
            make(1)
    listed.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"the list of HDF5 files cannot be read \(no text\)"):
        make(1)
    listed.unlink()
    with pytest.raises(UserError, match=r"list\.txt: the list .* cannot be read \(No such file"):
        make(1)
    listed.write_text("0.h5")
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"0\.h5: .*truncated file.*check the file"):
        make(1)
    place.write_bytes(b"")
    with pytest.raises(UserError, match="is empty"):
        make(1)


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual"])
def test_data_elsewhere_are_not_followed(hdf5, tmp_path, kind):
    make = hdf5({"data": rows(0, 2)}, {"data": rows(5, 7)})
    os.rename(tmp_path / "1.h5", tmp_path / "secret.h5")
    (tmp_path / "list.txt").write_text("0.h5")
    with h5py.File(tmp_path / "0.h5", "w") as file:
        if kind == "external link":
            file["data"] = h5py.ExternalLink("secret.h5", "/data")
        elif kind == "soft link":
            file["here"] = rows(0, 2)
            file["data"] = h5py.SoftLink("/here")
        elif kind == "external data":
            (tmp_path / "raw").write_bytes(bytes(8))
            file.create_dataset("data", (2,), "f4", external=[("raw", 0, 8)])
        else:
            layout = h5py.VirtualLayout((2,), "f4")
            layout[:] = h5py.VirtualSource("secret.h5", "data", (2,))
            file.create_virtual_dataset("data", layout)
    with pytest.raises(UserError, match=r"link to another place|another file|another layout"):
        make(1)


def test_a_dataset_that_was_never_written_is_no_data(hdf5, tmp_path):
    """Claims of terabytes cost nothing in the file."""
    make = hdf5({"data": rows(0, 2)})
    for how in ({}, {"chunks": (1, 1 << 20), "compression": "gzip"}):
        with h5py.File(tmp_path / "0.h5", "w") as file:
            file.create_dataset("data", (1 << 20, 1 << 20), "f4", **how)
        with pytest.raises(UserError, match="'data' claims 4398046511104 bytes"):
            make(1)


@pytest.mark.parametrize("p", ["source: 'a'", "batch_size: 1", "source: 'a' batch_size: 0"])
def test_what_hdf5data_needs(net_of, p):
    spec = net_of(f"layer {{ name: 'l' type: 'HDF5Data' top: 'd' hdf5_data_param {{ {p} }} }}")
    with pytest.raises(ValueError, match=r"line 1: layer 'l' .HDF5Data.: source and a batch_size"):
        Net(spec, "TRAIN")


# --- DummyData and Input ---


def dummy(net_of, fields: str, seed: int = 1) -> Net:
    content = f"layer {{ name: 'l' type: 'DummyData' dummy_data_param {{ {fields} }} "
    return Net(net_of(content + "top: 'a' top: 'b' }"), "TEST", seed=seed)


def test_dummy_data_is_filled(net_of):
    net = dummy(
        net_of,
        "shape { dim: 2 dim: 3 } shape { dim: 4000 } data_filler { value: 2.5 } "
        "data_filler { type: 'gaussian' mean: 5 std: 0.5 }",
    )
    out = {name: array.copy() for name, array in net.forward().items()}
    np.testing.assert_array_equal(out["a"], np.full((2, 3), 2.5))
    assert out["b"].mean() == pytest.approx(5, abs=0.05)
    assert out["b"].std() == pytest.approx(0.5, rel=0.1)
    again = net.forward()
    np.testing.assert_array_equal(again["a"], out["a"])
    assert not np.array_equal(again["b"], out["b"]), "numbers are drawn in each pass"
    net.iteration = 0
    np.testing.assert_array_equal(net.forward()["b"], out["b"])


def test_one_shape_and_filler_for_all_or_none(net_of):
    net = dummy(net_of, "shape { dim: 50 } data_filler { type: 'uniform' min: -2 max: -1 }")
    out = net.forward()
    assert all(((x >= -2) & (x < -1)).all() for x in out.values())
    assert not np.array_equal(out["a"], out["b"])
    net = dummy(net_of, "num: 2 channels: 1 height: 3 width: 4")
    assert all(x.shape == (2, 1, 3, 4) and not x.any() for x in net.forward().values())


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("shape", ["", "dim: 3", "dim: 2 dim: 3 dim: 2 dim: 2"])
def test_any_filler_fills_any_shape(net_of, filler, shape):
    fields = f"shape {{ {shape} }} data_filler {{ type: '{filler}' value: 1 sparse: 1 }}"
    assert np.isfinite(dummy(net_of, fields).forward()["a"]).all()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("", "2 tops, but 0 shapes"),
        ("shape { } shape { } shape { }", "2 tops, but 3 shapes"),
        ("shape { } data_filler { } data_filler { } data_filler { }", "2 tops, but 3 fillers"),
        ("shape { dim: 0 }", r"at most 4 axes .* wanted, got \(0,\)"),
        ("shape { } data_filler { type: 'bilinear' }", "filler 'bilinear' is none of constant"),
        ("num: 1 num: 2 num: 3 channels: 1 height: 1 width: 1", "2 tops, but 3 shapes"),
        ("num: 1 channels: 1", "2 tops, but 0 shapes"),
    ],
)
def test_dummy_data_that_cannot_be(net_of, fields, problem):
    with pytest.raises(ValueError, match=rf"layer 'l' .DummyData.: {problem}"):
        dummy(net_of, fields)


def test_input_keeps_what_it_is_given(net_of):
    shapes = "shape { dim: 2 dim: 3 } shape { dim: 1 }"
    content = f"layer {{ name: 'l' type: 'Input' top: 'a' top: 'b' input_param {{ {shapes} }} }}"
    net = Net(net_of(content), "TEST")
    assert net.inputs == ["a", "b"]
    net.forward(a=np.full((2, 3), 7), b=8)
    assert (net.blobs["a"].data == 7).all()
    assert net.forward()["b"] == [8]
    with pytest.raises(ValueError, match="2 tops, but 3 shapes"):
        Net(net_of(content.replace("shape { dim: 1 }", "shape { } shape { }")), "TEST")


# --- ValueTransformation ---


def transformation(net_of, fields: str, shape: str = "2, 3, 4, 5") -> Net:
    return Net(
        net_of(
            f"force_backward: true input: 'x' input_shape {{ dim: [{shape}] }} "
            "layer { name: 'l' type: 'ValueTransformation' bottom: 'x' top: 'y' "
            f"value_transformation_param {{ {fields} }} }}"
        ),
        "TEST",
    )


@pytest.mark.parametrize(
    ("fields", "offset", "scale"),
    [
        ("", [0], [1]),
        ("offset { v: -0.5 }", [-0.5], [1]),
        ("scale { v: 3 }", [0], [3]),
        ("offset { v: 1 v: 2 v: 3 } scale { v: -2 }", [1, 2, 3], [-2]),
        ("scale { v: 1 v: -2 v: 0 } offset { v: [5] }", [5], [1, -2, 0]),
    ],
)
@pytest.mark.parametrize("shape", ["2, 3, 4, 5", "2, 3", "1, 3, 7"])
def test_value_transformation(net_of, fields, offset, scale, shape):
    net = transformation(net_of, fields, shape)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(net.blobs["x"].shape, np.float32)
    dy = rng.standard_normal(x.shape, np.float32)
    axes = (-1,) + (1,) * (x.ndim - 2)
    o, s = (np.reshape(np.array(values, np.float64), axes) for values in (offset, scale))
    expected = (x + o) * s
    found = net.forward(x=x)["y"].copy()
    assert np.abs(found - expected).max() <= 5e-7 * max(np.abs(expected).max(), 1)

    def objective(moved: np.ndarray) -> float:
        return float((net.forward(x=moved)["y"].astype(np.float64) * dy).sum())

    net.blobs["y"].diff[...] = dy
    net.backward()
    check_gradient(objective, x, net.blobs["x"].diff.copy(), step=1.0)


@pytest.mark.parametrize(
    ("fields", "shape", "problem"),
    [
        ("offset { v: 1 v: 2 }", "2, 3, 4, 5", "2 values of offset for 3 channels"),
        ("scale { v: 1 v: 2 v: 3 v: 4 }", "2, 3", "4 values of scale for 3 channels"),
        ("", "3", r"a bottom with channels is wanted, got shape \(3,\)"),
    ],
)
def test_value_transformations_that_cannot_be(net_of, fields, shape, problem):
    with pytest.raises(ValueError, match=rf"layer 'l' .ValueTransformation.: {problem}"):
        transformation(net_of, fields, shape)

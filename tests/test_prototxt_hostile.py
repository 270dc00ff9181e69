"""Damaged and hostile prototxts: one sentence, at once, and no memory is asked for in vain."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import time

import pytest

from published_nets import cell_net_2019, deploy_2015, release_2015
from unet_native.caffe import solverfile, text
from unet_native.caffe.network import read_net, to_message
from unet_native.errors import UserError
from unet_native.net import Net

SECONDS = 2.0  # of the processor; here every case takes less than one
FILES = {
    "2015": deploy_2015(76, 76, release_2015(depth=3, width=2)),
    "2019": cell_net_2019(depth=2, width=2, size=44),
}


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Reads a network and builds it in both phases; returns the complaint, or nothing."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.prototxt"

    def attempt(content: str | bytes) -> str:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        begin, complaints = time.process_time(), []
        try:
            spec = read_net(path)
            to_message(spec)
            for phase in ("TRAIN", "TEST"):
                try:
                    Net(spec, phase, seed=1)
                except ValueError as error:
                    complaints.append(error)
        except ValueError as error:
            complaints.append(error)
        assert time.process_time() - begin < SECONDS
        for error in complaints:
            assert type(error) in (ValueError, UserError)
            assert str(error).isprintable(), "more than one line, or what a terminal obeys"
            assert len(str(error)) < 3000
        return " | ".join(map(str, complaints)).replace(f"{path}", "net.prototxt")

    return attempt


# --- damage ---


@pytest.mark.parametrize("name", FILES)
def test_cut_off(tried, name):
    content = FILES[name]
    complaints = [tried(content[: len(content) * percent // 100]) for percent in range(100)]
    assert sum(bool(complaint) for complaint in complaints) > 90
    whole = {"2015": "aug.txt: the list of HDF5 files", "2019": "the trainer does"}
    assert whole[name] in tried(content)


def damaged(content: str, rng: random.Random) -> bytes:
    data = bytearray(content.encode())
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        place = rng.randrange(len(data))
        kind = rng.random()
        if kind < 0.5:
            data[place] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            data[place] = rng.randrange(256)
        elif kind < 0.85:
            del data[place : place + rng.randrange(1, 9)]
        else:
            data[place:place] = rng.choice(
                [b"{", b"}", b"'", b"<", b"[", b"-", b"99999999999", b"\0", b"nan", b"\\", b"#"]
            )
    return bytes(data)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 1000), pytest.param(1000, 10_000, marks=pytest.mark.slow)]
)
def test_damaged_bytes(tried, first, last):
    complaints = set()
    for seed in range(first, last):
        rng = random.Random(seed)
        complaints.add(tried(damaged(rng.choice(list(FILES.values())), rng)))
    assert len(complaints) > 100


@pytest.mark.parametrize("seed", range(0, 300, 100))
def test_damaged_solvers(tmp_path, seed):
    (tmp_path / "net.prototxt").write_text("name: 'n'")
    content = (
        "net: 'net.prototxt' type: 'Adam' base_lr: 0.01 lr_policy: 'step' gamma: 0.5 stepsize: 10\n"
        "test_iter: 3 test_interval: 5 snapshot_prefix: 'a' stepvalue: 4 iter_size: 2 display: 1\n"
    )
    path = tmp_path / "solver.prototxt"
    for i in range(seed, seed + 100):
        path.write_bytes(damaged(content, random.Random(i)))
        with contextlib.suppress(UserError):
            solverfile.read_solver(path)


# --- malice ---

MANY = "so it is no network"
HOSTILE = {
    "nested": ("layer {" * 100, 'no field named "layer"'),
    "nested fillers": ("layer { convolution_param { weight_filler { " * 50, "no field named"),
    "messages": ("layer{}" * 20_001, f"has over 20000 messages, {MANY}"),
    "messages in brackets": ("layer<>" * 20_001, MANY),
    "messages in a list": ("layer: [" + "{}," * 20_000 + "{}]", MANY),
    "numbers in a list": ("input_dim: [" + "1," * 300_000 + "1]", MANY),
    "numbers": ("input_dim: 1 " * 80_000, "0 inputs, but shapes for 20000"),
    "inputs": ("input: 'a'\n" * 80_000, "80000 inputs, but shapes for 0"),
    "shapes": ("input_shape {}" * 19_000, "0 inputs, but shapes for 19000"),
    "comments": ("#\n" * (1 << 19), "has no layers"),
    "a long comment": ("#" * (1 << 20), "has no layers"),
    "too long": ("#" * ((1 << 20) + 1), "longer than 1 MB"),
    "a long word": ("a" * (1 << 20), "no field named"),
    "a long number": ("input_dim: " + "1" * 100_000, "line 1: "),
    "a long string": ("name: '" + "a" * 1_000_000 + "'", "has no layers"),
    "an open string": ("name: '" + "\\" * 1_000_000, "missing ending quote|found"),
    "joined strings": ("name: " + "'a'" * 200_000, "has no layers"),
    "braces": ("}" * 1_000_000, "Expected identifier"),
    "spaces": (" " * 1_000_000, "has no layers"),
    "NUL": ("\0" * 1000, r"Expected identifier or number, got \\x00"),
    "NUL in a string": ("name: 'a\0b'", "has no layers"),
    "an escape for terminals": ("\x1b[31m\x07", r"got \\x1b"),
    "binary": (bytes(range(256)) * 10, "not a text file"),
    "UTF-16": ("name: 'n'".encode("utf-16"), "not a text file"),
    "other types": ("[type.googleapis.com/caffe.NetParameter] { }", "extensions|Type|found"),
    "bytes that are no text": (r"name: '\xff\xfe'", "Couldn't parse string"),
    "names for terminals": (r"layer { name: '\x1b[2J' type: '\n\r' }", r"'\\x1b\[2J' of type"),
    "an infinite ratio": ("layer { name: 'd' type: 'Dropout' bottom: 'a' top: 'a' }", "no earlier"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(tried, name):
    content, problem = HOSTILE[name]
    complaint = tried(content)
    if problem:
        assert re.search(problem, complaint), complaint
    else:
        assert complaint == ""


# --- networks that cannot be ---


def test_a_network_of_too_many_layers_is_refused(tried):
    layers = ["layer { name: 'x' type: 'Input' top: 'b0' input_param { shape { dim: 1 } } }"]
    layers += [
        f"layer {{ name: 'r{i}' type: 'ReLU' bottom: 'b{i}' top: 'b{i + 1}' }}" for i in range(3000)
    ]
    assert "has 3001 layers, more than 3000" in tried("\n".join(layers))


def blob(*dims: int) -> str:
    shape = " ".join(f"dim: {n}" for n in dims)
    return f"layer {{ name: 'x' type: 'Input' top: 'x' input_param {{ shape {{ {shape} }} }} }}\n"


def conv(num_output: int, kernel_size: int = 1) -> str:
    return (
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'y' convolution_param { "
        f"num_output: {num_output} kernel_size: {kernel_size} }} }}\n"
    )


def dummies(count: int, size: int) -> str:
    return "".join(
        f"layer {{ name: 'd{i}' type: 'DummyData' top: 'd{i}' dummy_data_param {{ "
        f"shape {{ dim: {size} }} }} }}\n"
        for i in range(count)
    )


GIGA = 1_000_000_000
TOO_LARGE = {
    "terabytes": (blob(1, 1, 1 << 20, 1 << 20), r"top 'x' of shape .* takes 4398 GB of memory"),
    "more than 64 bits": (blob(*[1 << 30] * 4), "takes .* GB of memory, where this machine has"),
    "a long axis": (blob((1 << 63) - 1, 1, 3, 3), "an axis longer than 2147483647"),
    "overflow to 0": (blob(1 << 32, 1 << 32, 1, 1), "longer than 2147483647"),
    "layers in between": (blob(1, 1, 50_000, 50_000) + conv(10_000), "top 'y' of shape"),
    "channels": (blob(1, 1, 3, 3) + conv((1 << 32) - 1), "longer than 2147483647"),
    "a parameter": (blob(1, 1 << 20, 1, 1) + conv(1 << 20), "a parameter of shape"),
    "batch": (blob((1 << 32) - 1, 1, 3, 3), "longer than"),
    "many inputs": (
        "".join(blob(2 * GIGA).replace("'x'", f"'x{i}'") for i in range(300)),
        "network '' takes 4800 GB of memory, where this machine has .*; make its inputs smaller",
    ),
    "many blobs": (dummies(300, 2 * GIGA), "network '' takes 4800 GB of memory"),
    "no pixels": (blob(1, 1, 0, 5), r"at least 1 element are wanted, got \(1, 1, 0, 5\)"),
    "fewer": (blob(1, 1, -5, -5), "at least 1 element are wanted"),
    "five axes": (blob(1, 1, 1, 1, 1), "at most 4 axes"),
    "no outputs": (blob(1, 1, 3, 3) + conv(0), "num_output must be at least 1"),
    "a large kernel": (blob(1, 1, 2, 2) + conv(1, 3), "2x2 pixels is too small"),
}
TANGLED = {
    "one name twice": (blob(3) + blob(3), "the net has an earlier layer of that name"),
    "one top twice": (blob(3) + blob(3).replace("name: 'x'", "name: 'z'"), "a top named 'x' too"),
    "a circle": (
        "layer { name: 'a' type: 'ReLU' bottom: 'q' top: 'p' }\n"
        "layer { name: 'b' type: 'ReLU' bottom: 'p' top: 'q' }",
        "layer 'a' .ReLU.: no earlier layer has a top named 'q'",
    ),
    "itself": ("layer { name: 'a' type: 'ReLU' bottom: 'p' top: 'p' }", "no earlier layer"),
    "no bottom": (blob(3) + "layer { name: 'a' type: 'ReLU' top: 'p' }", "1 bottom blobs wanted"),
    "no top": (blob(3) + "layer { name: 'a' type: 'ReLU' bottom: 'x' }", "1 top blobs wanted"),
    "no type": ("layer { name: 'a' }", "'a' of type '' .net.prototxt, line 1."),
    "no filler": (
        blob(1, 1, 3, 3)
        + conv(1).replace("num_output", "weight_filler { type: 'zero' } num_output"),
        r"line 2: layer 'c' .Convolution.: filler 'zero' is not supported",
    ),
    "a NUL in a file's name": (
        r"layer { type: 'HDF5Data' top: 'd' hdf5_data_param { source: 'a\0b' batch_size: 1 } }",
        r"names a file 'a\\x00b', which cannot be one",
    ),
    "a long file's name": (
        "layer { type: 'HDF5Data' top: 'd' hdf5_data_param { source: '%s' batch_size: 1 } }"
        % ("a" * 2000),
        "cannot be read .File name too long.",
    ),
    "a folder for a file": (
        "layer { type: 'HDF5Data' top: 'd' hdf5_data_param { source: '/' batch_size: 1 } }",
        "cannot be read .Is a directory.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [*TOO_LARGE, *TANGLED])
def test_networks_that_cannot_be(tried, name):
    content, problem = (TOO_LARGE | TANGLED)[name]

    assert re.search(problem, tried(content))


def test_nothing_is_allocated_for_what_is_too_large(tmp_path):
    """With an address space that holds this process and a little more."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    path = tmp_path / "net.prototxt"
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limits[1]))
    try:
        for content, problem in TOO_LARGE.values():
            path.write_text(content)
            with pytest.raises(ValueError, match=problem):
                Net(read_net(path), "TEST")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_reshaping_to_what_is_too_large(net_of):
    net = Net(net_of(blob(1, 1, 4, 4) + conv(2)), "TEST")
    with pytest.raises(ValueError, match=r"a blob of shape .* takes 8796 GB of memory"):
        net.blobs["x"].reshape(1, 1, 1 << 20, 1 << 20)
    with pytest.raises(ValueError, match="top 'x' of shape"):
        Net(net.spec, "TEST", x=(1, 1, 1 << 20, 1 << 20))


def test_limits_are_beyond_any_known_network():
    assert len(release_2015()) * 50 < text.SIZE_LIMIT
    assert sum(map(release_2015().count, "{<,")) * 50 < text.MESSAGES_LIMIT

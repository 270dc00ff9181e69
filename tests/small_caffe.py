"""A small network in Caffe's files, as its users keep them: nets, a solver, data in HDF5."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

DATA = """
layer { name: "loaddata" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "files.txt" batch_size: 2 } }
"""

INPUT = """
layer { name: "input" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 1 dim: 16 dim: 16 } } }
"""

LOSS = """
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""

ACCURACY = """
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""


def _conv(name: str, bottom: str, top: str, channels: int, kernel: int, more: str = "") -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{top}"
  param {{ lr_mult: 1 decay_mult: 1 }} param {{ lr_mult: 2 decay_mult: 0 }}
  convolution_param {{ num_output: {channels} kernel_size: {kernel}
    weight_filler {{ type: "msra" }} {more} }} }}
"""


def trunk(classes: int = 2, width: int = 3, score: str = "conv_u0c-score") -> str:
    """Two levels from "data" to "score": 16x16 pixels become 10x10."""
    return f"""
{_conv("conv_d0a-b", "data", "d0b", width, 3)}
layer {{ name: "relu_d0b" type: "ReLU" bottom: "d0b" top: "d0b" }}
layer {{ name: "pool_d0b-1a" type: "Pooling" bottom: "d0b" top: "d1a"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
{_conv("conv_d1a-b", "d1a", "d1b", 2 * width, 3)}
layer {{ name: "relu_d1b" type: "ReLU" bottom: "d1b" top: "d1b" }}
layer {{ name: "upconv_d1b_u0a" type: "Deconvolution" bottom: "d1b" top: "u0a"
  convolution_param {{ num_output: {width} kernel_size: 2 stride: 2
    weight_filler {{ type: "msra" }} }} }}
layer {{ name: "crop_d0b" type: "Crop" bottom: "d0b" bottom: "u0a" top: "d0c"
  crop_param {{ axis: 2 offset: 2 }} }}
layer {{ name: "concat_u0b" type: "Concat" bottom: "u0a" bottom: "d0c" top: "u0b" }}
{_conv(score, "u0b", "score", classes, 1)}
"""


def train_net(**how) -> str:
    return 'name: "small"' + DATA + trunk(**how) + LOSS + ACCURACY


def deploy_net(head: str = "", **how) -> str:
    softmax = 'layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }'
    return f'name: "small_deploy" {head}' + INPUT + trunk(**how) + softmax


SOLVER = {
    "net": '"net.prototxt"',
    "base_lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "lr_policy": '"fixed"',
    "max_iter": 6,
    "display": 1,
    "snapshot": 4,
    "snapshot_prefix": '"run"',
    "random_seed": 5,
    "test_iter": 2,
    "test_interval": 3,
}


def solver_text(**fields) -> str:
    """The solver file, with other values for fields; None leaves a field out."""
    values = {name: v for name, v in (SOLVER | fields).items() if v is not None}
    lists = {name: v if isinstance(v, list) else [v] for name, v in values.items()}
    return "".join(f"{name}: {value}\n" for name, given in lists.items() for value in given)


def samples(count: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 1, 16, 16) and labels (count, 1, 10, 10): where the image is bright."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((count, 1, 16, 16), np.float32)
    label = (data[:, :, 3:13, 3:13] > 0).astype(np.float32)
    return data, label


def write_data(folder: Path, count: int = 4) -> None:
    data, label = samples(count)
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"], file["label"] = data, label
    (folder / "files.txt").write_text("data.h5\n")


def write_all(folder: Path, *, network: str | None = None, **fields) -> Path:
    """Data, net.prototxt, deploy.prototxt and solver.prototxt; returns the last."""
    write_data(folder)
    (folder / "net.prototxt").write_text(train_net() if network is None else network)
    (folder / "deploy.prototxt").write_text(deploy_net())
    solver = folder / "solver.prototxt"
    solver.write_text(solver_text(**fields))
    return solver

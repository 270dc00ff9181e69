"""``unet-native inspect``: what a model, a network or a solver's state holds."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    file: Annotated[
        Path,
        typer.Argument(help="A .safetensors, .caffemodel, .solverstate (also .h5) or .prototxt."),
    ],
) -> None:
    """Show what a file holds: layers, shapes of parameters, iteration. Nothing is run."""
    name = file.name.removesuffix(".h5")
    if name.endswith(".safetensors") or file.is_dir():
        _show_model_file(file / "model.safetensors" if file.is_dir() else file)
    elif name.endswith(".prototxt"):
        _show_prototxt(file)
    elif name.endswith(".solverstate"):
        _show_state(file)
    else:
        _show_caffemodel(file)


def _show_caffemodel(file: Path) -> None:
    from unet_native.caffe.caffemodel import read_caffemodel
    from unet_native.caffe.upgrade import v1_type_names

    model = read_caffemodel(file)
    form = "V1" if model.v1 else "HDF5" if file.suffix == ".h5" else "current"
    print(f"{file}: network {model.name or ''!r}, {form} form, {len(model.layers)} layers")
    rows, total = [], 0
    for layer in model.layers:
        kind = layer.type
        if model.v1:
            kind = v1_type_names().get(layer.type, f"type {layer.type}")
        rows.append((layer.name, kind, [blob.shape for blob in layer.blobs]))
        total += sum(blob.data.size for blob in layer.blobs)
    _print_layers(rows)
    print(f"{total:,} parameters")


def _show_state(file: Path) -> None:
    from unet_native.caffe.solverstate import read_solverstate

    state = read_solverstate(file)
    print(f"{file}: iteration {state.iter}, step {state.current_step or 0} of the learning rate")
    print(f"weights in {state.learned_net or 'no file'}")
    for i, blob in enumerate(state.history):
        print(f"  history {i}: {_shape(blob.shape)}")


def _show_model_file(file: Path) -> None:
    from unet_native import snapshot

    model = snapshot.read(file)
    print(f"{file}: network {model.spec.name!r}, iteration {model.iteration}")
    layers: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in model.shapes.items():
        layer = name.rpartition(".")[0]
        if layer in {spec.name for spec in model.spec.layers}:
            layers.setdefault(layer, []).append(shape)
    types = {spec.name: spec.type for spec in model.spec.layers}
    _print_layers((name, types[name], shapes) for name, shapes in layers.items())
    print(f"{sum(prod(shape) for shapes in layers.values() for shape in shapes):,} parameters")
    print("with the solver's state" if model.has_history else "weights only")


def _show_prototxt(file: Path) -> None:
    from unet_native.caffe import text
    from unet_native.caffe.network import read_net
    from unet_native.errors import UserError
    from unet_native.layers import LAYER_TYPES, TRAINERS_WORK

    try:
        spec = read_net(file)
    except UserError:
        message = text.read(file, "SolverParameter")  # its own error, if it is no solver either
        print(f"{file}: a solver\n{text.to_text(message)}", end="")
        return
    print(f"{file}: network {spec.name!r}, {len(spec.layers)} layers")
    for layer in spec.layers:
        arrow = f"{', '.join(layer.bottom)} -> {', '.join(layer.top)}"
        phase = f" ({layer.include} only)" if layer.include else ""
        note = ""
        if layer.type in TRAINERS_WORK:
            note = "  [the trainer's work]"
        elif layer.type not in LAYER_TYPES or layer.problem:
            note = f"  [not run here: {layer.problem or 'unknown type'}]"
        print(f"  {layer.name:28} {layer.type:18} {arrow}{phase}{note}")


def _print_layers(rows: Iterable[tuple[str, str, list[tuple[int, ...]]]]) -> None:
    for name, kind, shapes in rows:
        print(f"  {name:28} {kind:18} {' '.join(map(_shape, shapes))}".rstrip())


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"

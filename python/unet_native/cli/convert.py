"""``unet-native convert``: models and networks into Caffe's files, and between their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODELS = (".safetensors", ".caffemodel", ".h5")


def convert(
    source: Annotated[
        Path, typer.Argument(help="A run's folder, .safetensors, .caffemodel[.h5] or .prototxt.")
    ],
    target: Annotated[Path, typer.Argument(help=".caffemodel, .caffemodel.h5 or .prototxt.")],
) -> None:
    """Convert a model or a network into Caffe's files.

    From a model: its weights (.caffemodel, .caffemodel.h5); from one of this program also its
    network (.prototxt). From a prototxt of an older form: the current form. Older binary files are
    brought into the current form, too.
    """
    from unet_native.errors import UserError

    if source.is_dir():
        source = source / "model.safetensors"
    if target.exists():
        raise UserError(f"{target}: exists already; give another name")
    if target.suffix == ".prototxt":
        _write_network(source, target)
    elif target.suffix in (".caffemodel", ".h5") and source.suffix in _MODELS:
        from unet_native.caffe.convert import convert_model

        convert_model(source, target)
    else:
        raise UserError(f"{source} cannot become {target}: see unet-native convert --help")
    print(f"{source} -> {target}")


def _write_network(source: Path, target: Path) -> None:
    from unet_native.caffe import network, text, upgrade
    from unet_native.errors import UserError

    if source.suffix == ".safetensors":
        from unet_native import snapshot

        network.write_net(target, snapshot.read(source).spec)
    elif source.suffix == ".prototxt":
        message = text.read(source, "NetParameter")
        text.write(target, upgrade.upgraded_net(message, str(source)))
    else:
        raise UserError(f"{source}: Caffe's model files hold no whole network; use its prototxt")

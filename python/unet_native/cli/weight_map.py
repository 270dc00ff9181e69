"""``unet-native weight-map``: the weights that the loss would give to each pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unet_native.cli import options


def weight_map(
    labels: Annotated[Path, typer.Argument(help="Folder of label images, or one image or stack.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the maps, or a .tif file for one.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            metavar="paper2015|plugin2019|uniform",
            help="Formula: the paper's, or that of the authors' later plugin.",
        ),
    ] = "paper2015",
    w0: Annotated[
        float | None,
        typer.Option("--w0", help="Height of the border term: 10, or 50 in plugin2019."),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", help="Width of the border term, px: 5, or 6 in plugin2019."),
    ] = None,
    v_bal: Annotated[
        float | None,
        typer.Option("--v-bal", help="plugin2019: weight of background far from objects, 0.1."),
    ] = None,
    sigma_bal: Annotated[
        float | None,
        typer.Option("--sigma-bal", help="plugin2019: how far from objects it falls to that, 10."),
    ] = None,
    foreground: options.Foreground = None,
    label_kind: options.LabelKind = "auto",
    ignore: options.Ignore = None,
    axes: options.Axes = None,
    threads: options.Threads = 0,
) -> None:
    """Compute the weight map of the paper (section 3, equation 2) from labels.

    Writes float32 TIFFs, NAME_weights.tif, with axes and resolution of the labels. In paper2015
    classes are balanced over all labels given, as training does.
    """
    import numpy as np

    from unet_native._core import Context
    from unet_native.data.images import list_images
    from unet_native.data.labels import decide_label_rule, label_plane
    from unet_native.data.weight_map import WeightSettings, class_counts, class_weights
    from unet_native.data.weight_map import weight_map as compute
    from unet_native.data.write import write_stack

    settings = WeightSettings(preset, w0, sigma, v_bal, sigma_bal)
    files = list_images(labels, axes, labels=True)
    targets = _targets(files, output)
    stacks = [[label_plane(file.path, plane) for plane in file.read()] for file in files]
    rule = decide_label_rule(
        [plane for stack in stacks for plane in stack],
        8 * max(file.dtype.itemsize for file in files),
        kind=label_kind,
        foreground=foreground,
        ignore=ignore,
        where=labels,
    )
    read = [[rule(plane) for plane in stack] for stack in stacks]
    flat = [triple for stack in read for triple in stack]
    counts = class_counts([t[0] for t in flat], rule.classes, [t[2] for t in flat])
    balance = class_weights(counts)
    context = Context(threads=threads)
    print(f"labels: {rule.describe()}")
    for file, stack, target in zip(files, read, targets, strict=True):
        maps = [
            compute(
                instances,
                classes,
                settings=settings,
                class_weights=balance,
                ignore=ignored,
                context=context,
            )
            for classes, instances, ignored in stack
        ]
        write_stack(target, np.stack(maps), file)
        low, high = min(m.min() for m in maps), max(m.max() for m in maps)
        print(f"{target}: weights {low:.3g} to {high:.3g}")


def _targets(files: list, output: Path) -> list[Path]:
    from unet_native.errors import UserError

    if output.suffix.lower() in (".tif", ".tiff"):
        if len(files) > 1:
            raise UserError(f"{output}: {len(files)} maps do not fit into one file; give a folder")
        targets = [output]
    elif output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; give a folder, or a .tif file for one map")
    else:
        targets = [output / f"{file.stem}_weights.tif" for file in files]
    inputs = {file.path.resolve() for file in files}
    for target in targets:
        if target.resolve() in inputs:
            raise UserError(f"{target}: is one of the labels; give another name with -o")
    return targets

"""``unet-native augment``: training tiles to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unet_native.cli import options


def augment(
    images: Annotated[
        Path, typer.Option("--images", help="Folder of images, or one image or stack.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture, a .png file.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder, image or stack of labels.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=64, help="Tiles to show.")] = 8,
    seed: Annotated[int, typer.Option("--seed", min=0, help="That of the training.")] = 0,
    tile: Annotated[int, typer.Option("--tile", help="Side of the input tile, px.")] = 572,
    depth: Annotated[int, typer.Option("--depth", help="Levels of the network.")] = 5,
    augmentation: Annotated[
        str,
        typer.Option("--augmentation", metavar="paper2015|layer2019|none", help="As for train."),
    ] = "paper2015",
    weight_map: Annotated[
        str,
        typer.Option("--weight-map", metavar="paper2015|plugin2019|uniform", help="As for train."),
    ] = "paper2015",
    normaliser: Annotated[
        str,
        typer.Option(
            "--normaliser", metavar="zscore|percentile|minmax|dtype", help="As for train."
        ),
    ] = "zscore",
    foreground: options.Foreground = None,
    label_kind: options.LabelKind = "auto",
    ignore: options.Ignore = None,
    axes: options.Axes = None,
    threads: options.Threads = 0,
) -> None:
    """Draw the first tiles of a training: deformed images, labels and weights.

    They are the very tiles that `train` makes of the same images, labels, seed and options: look
    whether labels lie on what they should, and whether the deformed images are still plausible.
    """
    from unet_native._core import default_threads
    from unet_native.contact_sheet import draw_contact_sheet
    from unet_native.data.augment import AugmentSettings
    from unet_native.data.check import check_training_set
    from unet_native.data.load import load_training_set
    from unet_native.data.sampler import Sampler
    from unet_native.data.weight_map import WeightSettings
    from unet_native.errors import UserError
    from unet_native.train import TrainSettings

    if output.suffix.lower() != ".png":
        raise UserError(f"{output}: give the name of a .png file for the picture")
    settings = TrainSettings(
        tile=tile,
        depth=depth,
        seed=seed,
        augment=AugmentSettings.preset(augmentation),
        weights=WeightSettings(weight_map),
    )
    dataset = load_training_set(
        images,
        labels,
        axes=axes,
        label_kind=label_kind,
        foreground=foreground,
        ignore=ignore,
        normaliser=normaliser,
    )
    print(check_training_set(dataset).text(), flush=True)
    sampler = Sampler(
        dataset,
        settings.tile,
        settings.tile_out,
        settings.augment,
        settings.seed,
        weights=settings.weights,
        threads=threads or default_threads(),
    )
    draw_contact_sheet(output, sampler, count)
    print(f"{count} tile{'s' * (count != 1)} -> {output}")

"""``unet-native segment``: from images to label images and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_native.cli import options
from unet_native.cli.console import progress

if TYPE_CHECKING:
    from unet_native.data.images import ImageFile


def segment(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a model file.")],
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image or stack.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    axes: options.Axes = None,
    threads: options.Threads = 0,
) -> None:
    """Segment images of any size with a trained network.

    For each image: NAME.tif, labels (0 and 255 for two classes, else class numbers in colour), and
    NAME_prob.tif, float32 probabilities (of class 1 for two classes, else of all, along axis C).
    Axes and resolution are those of the image; a stack stays a stack.
    """
    from unet_native._core import Context
    from unet_native.data.images import list_images
    from unet_native.model_file import Model

    model = Model.load(run, context=Context(threads=threads))
    files = list_images(images, axes)
    targets = _targets(files, output)
    slices = sum(file.slices for file in files)
    done = 0
    with progress("segment") as update:
        for file, (label_path, probability_path) in zip(files, targets, strict=True):
            done = _segment_file(model, file, label_path, probability_path, done, slices, update)
    plural = "s" * (len(files) != 1)
    print(f"{len(files)} image{plural} ({slices} slice{'s' * (slices != 1)}) -> {output}")


def _segment_file(
    model, file: ImageFile, label_path: Path, probability_path: Path, done: int, slices: int, update
) -> int:
    """Segments one file; returns how many slices are done then."""
    import numpy as np

    from unet_native.data.write import write_labels, write_probabilities

    planes = file.read()
    labels = np.empty((len(planes), *file.size), np.uint8)
    probabilities = np.empty((len(planes), model.classes, *file.size), np.float32)
    for index, plane in enumerate(planes):
        name = file.slice_name(index)

        def tiles(part: int, tiles: int, before: int = done, name: str = name) -> None:
            update(before + part / tiles, slices, name)

        probabilities[index] = model.segment(plane, tiles, str(file.path))
        labels[index] = probabilities[index].argmax(axis=0)
        done += 1
    write_probabilities(probability_path, probabilities, file)
    write_labels(label_path, labels, model.classes, file)
    return done


def _targets(files: list[ImageFile], output: Path) -> list[tuple[Path, Path]]:
    """Paths of labels and probabilities for each file; UserError if something would be lost."""
    from unet_native.errors import UserError

    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; give a folder for the results")
    inputs = {file.path.resolve() for file in files}
    targets = [(output / f"{file.stem}.tif", output / f"{file.stem}_prob.tif") for file in files]
    taken: set[Path] = set()
    for pair in targets:
        for path in pair:
            if path.resolve() in inputs:
                raise UserError(f"{path}: is one of the images; give another folder with -o")
            if path in taken:
                raise UserError(f"{path}: two images would be written there; rename one of them")
            taken.add(path)
    _refuse_foreign(files, output)
    return targets


def _refuse_foreign(files: list[ImageFile], output: Path) -> None:
    """UserError if the folder holds images of the same names that this command has not written:
    labels made by hand, most likely."""
    from unet_native.data.images import SUFFIXES
    from unet_native.errors import UserError

    found = output.iterdir() if output.is_dir() else ()
    present = {path.name: path for path in found if path.suffix.lower() in SUFFIXES}
    stems = {file.stem for file in files}
    for name, path in present.items():
        own = path.suffix == ".tif" and f"{path.stem}_prob.tif" in present
        if path.stem in stems and not own:
            raise UserError(
                f"{output}: holds {name}, which this command has not written; give another folder "
                "with -o"
            )

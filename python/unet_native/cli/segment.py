"""``unet-native segment``: from images to label images and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unet_native.cli import options
from unet_native.cli.console import Progress, note, progress

if TYPE_CHECKING:
    import numpy as np

    from unet_native.data.images import ImageFile
    from unet_native.model_file import Model


def segment(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or a model file.")],
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image or stack.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    axes: options.Axes = None,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile", help="Side of the input tiles, px. Without it: what is fastest in the memory."
        ),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory", min=1, metavar="MB", help="What the process may take, 10^6 bytes."
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Sum directly, several times slower: the same bits however the image is cut.",
        ),
    ] = False,
    threads: options.Threads = 0,
) -> None:
    """Segment images of any size with a trained network.

    For each image: NAME.tif, labels (0 and 255 for two classes, else class numbers in colour), and
    NAME_prob.tif, float32 probabilities (of class 1 for two classes, else of all, along axis C).
    Axes and resolution are those of the image; a stack stays a stack. First it says how the largest
    image will be cut and what that takes.
    """
    from unet_native._core import Context
    from unet_native.cli.segment_estimate import estimate
    from unet_native.data.images import list_images
    from unet_native.model_file import Model

    algorithm = "direct" if exact else "auto"
    model = Model.load(run, context=Context(threads=threads), tile=tile, algorithm=algorithm)
    files = list_images(images, axes)
    _refuse_losses(files, output)
    slices = sum(file.slices for file in files)
    if said := estimate(model, files, memory):
        note(said)
    done = 0
    with progress("segment") as update:
        for file in files:

            def part(count: float, total: float, text: str, before: int = done) -> None:
                update(before + count, slices, text)

            segment_file(model, file, output, part)
            done += file.slices
    plural = "s" * (len(files) != 1)
    print(f"{len(files)} image{plural} ({slices} slice{'s' * (slices != 1)}) -> {output}")


def segment_file(model: Model, file: ImageFile, output: Path, update: Progress) -> np.ndarray:
    """Segments one file and writes the two results into the folder `output`.

    Returns the probabilities, (slices, classes, H, W) float32. update: told slices done, in all.
    """
    import numpy as np

    from unet_native.data.write import write_labels, write_probabilities

    planes = file.read()
    probabilities = np.empty((len(planes), model.classes, *file.size), np.float32)
    labels = np.empty((len(planes), *file.size), np.uint8)
    for index, plane in enumerate(planes):
        name = file.slice_name(index)

        def tiles(done: int, count: int, before: int = index, name: str = name) -> None:
            update(before + done / count, len(planes), name)

        model.segment(plane, tiles, str(file.path), out=probabilities[index])
        for row in range(file.size[0]):  # not at once: argmax takes eight bytes a pixel
            labels[index, row] = probabilities[index, :, row].argmax(axis=0)
    label_path, probability_path = _targets(file, output)
    write_probabilities(probability_path, probabilities, file)
    write_labels(label_path, labels, model.classes, file)
    return probabilities


def _targets(file: ImageFile, output: Path) -> tuple[Path, Path]:
    """Paths of labels and probabilities."""
    return output / f"{file.stem}.tif", output / f"{file.stem}_prob.tif"


def _refuse_losses(files: list[ImageFile], output: Path) -> None:
    """UserError if writing the results would destroy something."""
    from unet_native.errors import UserError

    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; give a folder for the results")
    inputs = {file.path.resolve() for file in files}
    taken: set[Path] = set()
    for file in files:
        for path in _targets(file, output):
            if path.resolve() in inputs:
                raise UserError(f"{path}: is one of the images; give another folder with -o")
            if path in taken:
                raise UserError(f"{path}: two images would be written there; rename one of them")
            taken.add(path)
    _refuse_foreign(files, output)


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

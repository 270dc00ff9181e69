"""``unet-native segment``: from images to label images, probabilities and objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unet_native.cli import options
from unet_native.cli.console import Progress, note, progress, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from unet_native.cli.segment_findings import Findings
    from unet_native.data.images import ImageFile
    from unet_native.model_file import Model

_OBJECTS = "Objects"


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
    average: Annotated[
        str | None,
        typer.Option(
            "--average",
            metavar="none|mirror4|dihedral8|rotate7",
            help="Segment mirror images (4), quarter turns too (8), or 7 rotations by multiples of "
            "360/7 degrees (the paper does not say which), and average the scores. Without it: "
            "what the model asks for.",
        ),
    ] = None,
    objects: Annotated[
        str,
        typer.Option(
            "--objects",
            metavar="auto|none|components|watershed",
            help="Number the objects: connected ones, or those cut at their waists too. auto: "
            "watershed for a model trained on instance labels, else none.",
            rich_help_panel=_OBJECTS,
        ),
    ] = "auto",
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            help="Probability above which a pixel belongs to an object.",
            show_default="0.5",
            rich_help_panel=_OBJECTS,
        ),
    ] = None,
    min_size: Annotated[
        int | None,
        typer.Option(
            "--min-size",
            min=0,
            metavar="PX",
            help="Smaller objects are left out.",
            show_default="10",
            rich_help_panel=_OBJECTS,
        ),
    ] = None,
    waist: Annotated[
        float | None,
        typer.Option(
            "--waist",
            metavar="PX",
            help="watershed cuts where an object is nearer to the background by this much than on "
            "both sides: more for large objects with rough outlines.",
            show_default="2",
            rich_help_panel=_OBJECTS,
        ),
    ] = None,
    keep_holes: Annotated[
        bool,
        typer.Option(
            "--keep-holes", help="Do not fill the holes of objects.", rich_help_panel=_OBJECTS
        ),
    ] = False,
    device: options.Device = "auto",
    gpu: options.Gpu = 0,
    math: options.Math = "fp32",
    threads: options.Threads = 0,
) -> None:
    """Segment images of any size with a trained network.

    For each image: NAME.tif, labels (0 and 255 for two classes, else class numbers in colour), and
    NAME_prob.tif, float32 probabilities (of class 1 for two classes, else of all, along axis C);
    with --objects NAME_objects.tif too, 0 and one number for each object of a slice, whatever its
    class. Axes and resolution are those of the image; a stack stays a stack. First it says how the
    largest image will be cut and what that takes.
    """
    from unet_native.cli.device import context_of
    from unet_native.cli.segment_estimate import averages, estimate
    from unet_native.cli.segment_findings import Findings
    from unet_native.data.images import list_images
    from unet_native.model_file import Model

    _refuse_average(average)
    context = context_of(device, gpu, threads, math)
    algorithm = "direct" if exact else "auto"
    model = Model.load(run, context=context, tile=tile, algorithm=algorithm, average=average)
    given = {"threshold": threshold, "min_size": min_size, "depth": waist}
    given = {key: value for key, value in given.items() if value is not None}
    number = _numbering(objects, model.separates_objects, given, keep_holes, context)
    files = list_images(images, axes)
    _refuse_losses(files, output, number is not None)
    slices = sum(file.slices for file in files)
    if said := estimate(model, files, memory, number is not None):
        note(said)
        if said := averages(model, files, asked=average is None):
            note(said)
    _say_what_is_left(files, output, number is not None)
    findings = Findings(None if number is None else given.get("threshold", 0.5))
    done = 0
    with progress("segment") as update:
        for file in files:

            def part(count: float, total: float, text: str, before: int = done) -> None:
                update(before + count, slices, text)

            segment_file(model, file, output, part, number, findings)
            done += file.slices
    if said := findings.explain(model):
        warn(said)
    plural = "s" * (len(files) != 1)
    print(f"{len(files)} image{plural} ({slices} slice{'s' * (slices != 1)}) -> {output}")


def segment_file(
    model: Model,
    file: ImageFile,
    output: Path,
    update: Progress,
    number: Callable[[np.ndarray], np.ndarray] | None = None,
    findings: Findings | None = None,
) -> np.ndarray:
    """Segments one file and writes the results into the folder `output`.

    Returns the probabilities, (slices, classes, H, W) float32. update: told slices done, in all.
    number: from the probability (H, W) of any object to numbered objects; None: no such file.
    """
    import numpy as np

    from unet_native.data.write import write_labels, write_objects, write_probabilities
    from unet_native.objects import foreground_of

    planes = file.read()
    probabilities = np.empty((len(planes), model.classes, *file.size), np.float32)
    labels = np.empty((len(planes), *file.size), np.uint8)
    numbered: list[np.ndarray] = []
    for index, plane in enumerate(planes):
        name = file.slice_name(index)

        def tiles(done: int, count: int, before: int = index, name: str = name) -> None:
            update(before + done / count, len(planes), name)

        model.segment(plane, tiles, str(file.path), out=probabilities[index])
        for row in range(file.size[0]):  # not at once: argmax takes eight bytes a pixel
            labels[index, row] = probabilities[index, :, row].argmax(axis=0)
        foreground = foreground_of(probabilities[index])
        if findings is not None:
            findings.add(plane, foreground, labels[index])
        if number is not None:
            numbered.append(_compact(number(foreground)))
    label_path, probability_path, objects_path = _targets(file, output)
    write_probabilities(probability_path, probabilities, file)
    write_labels(label_path, labels, model.classes, file)
    if number is not None:
        write_objects(objects_path, np.stack(numbered), file)
    return probabilities


def _compact(numbers: np.ndarray) -> np.ndarray:
    """Half the memory for a slice without many objects."""
    return numbers.astype("uint16") if numbers.max() < 1 << 16 else numbers.astype("uint32")


def _refuse_average(average: str | None) -> None:
    from unet_native.average import AVERAGES
    from unet_native.errors import UserError

    if average is not None and average not in AVERAGES:
        raise UserError(f"--average {average}: use {', '.join(AVERAGES)}")


def _numbering(
    objects: str, wanted: bool, given: dict[str, Any], keep_holes: bool, context: Any
) -> Callable[[np.ndarray], np.ndarray] | None:
    """What numbers the objects of a slice; None if nothing is to. wanted: what auto decides."""
    from functools import partial

    from unet_native.errors import UserError
    from unet_native.objects import METHODS
    from unet_native.objects import objects as number

    if objects not in ("auto", "none", *METHODS):
        raise UserError(f"--objects {objects}: use auto, none, {' or '.join(METHODS)}")
    method = ("watershed" if wanted else "none") if objects == "auto" else objects
    if not given.get("depth", 1) > 0:
        raise UserError(f"--waist {given['depth']:g}: must be positive")
    if method == "none":
        if given or keep_holes:
            raise UserError(
                "--threshold, --min-size, --waist and --keep-holes are about objects; give "
                f"--objects {' or '.join(METHODS)} too"
            )
        return None
    return partial(number, method=method, fill_holes=not keep_holes, context=context, **given)


def _targets(file: ImageFile, output: Path) -> list[Path]:
    """Paths of labels, probabilities and objects."""
    return [output / f"{file.stem}{suffix}.tif" for suffix in ("", "_prob", "_objects")]


def _refuse_losses(files: list[ImageFile], output: Path, with_objects: bool) -> None:
    """UserError if writing the results would destroy something."""
    from unet_native.errors import UserError

    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; give a folder for the results")
    inputs = {file.path.resolve() for file in files}
    taken: set[Path] = set()
    for file in files:
        for path in _targets(file, output)[: 3 if with_objects else 2]:
            if path.resolve() in inputs:
                raise UserError(f"{path}: is one of the images; give another folder with -o")
            if path in taken:
                raise UserError(f"{path}: two images would be written there; rename one of them")
            taken.add(path)
    _refuse_foreign(files, output, with_objects)


def _say_what_is_left(files: list[ImageFile], output: Path, with_objects: bool) -> None:
    """A warning if objects of an earlier run will lie beside results that they do not belong to."""
    left = [path for file in files if (path := _targets(file, output)[2]).exists()]
    if left and not with_objects:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        warn(f"{left[0]}{more}: of an earlier run; number the objects again (--objects), or delete")


def _refuse_foreign(files: list[ImageFile], output: Path, with_objects: bool) -> None:
    """UserError if the folder holds images of the same names that this command has not written:
    labels made by hand, most likely."""
    from unet_native.data.images import SUFFIXES
    from unet_native.errors import UserError

    found = output.iterdir() if output.is_dir() else ()
    present = {path.name: path for path in found if path.suffix.lower() in SUFFIXES}
    stem_of = {file.stem: file.stem for file in files}
    if with_objects:
        stem_of |= {f"{stem}_objects": stem for stem in stem_of}
    for name, path in present.items():
        stem = stem_of.get(path.stem)
        own = path.suffix == ".tif" and f"{stem}_prob.tif" in present
        if stem is not None and not own:
            raise UserError(
                f"{output}: holds {name}, which this command has not written; give another folder "
                "with -o"
            )

"""The networks of a training: one to train, one to validate with."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from unet_native import models
from unet_native._core import Context, device_room
from unet_native.data.dataset import DataSet
from unet_native.errors import UserError
from unet_native.room import largest_fitting, tile_bytes, training_bytes
from unet_native.segment import MEMORY_LIMIT, Segmenter
from unet_native.solver import Feed, SGDSolver
from unet_native.train.settings import TrainSettings


def make_nets(
    settings: TrainSettings,
    training: DataSet,
    validation: DataSet | None,
    feed: Feed,
    context: Context,
) -> tuple[SGDSolver, Segmenter]:
    """The solver, and a segmenter with the weights of its net.

    Raises UserError if both do not fit a device's memory, with a tile that does.
    """
    spec = settings.network(training.channels, training.classes)
    if context.device != "cpu":
        _check_room(settings, training, validation, context)
    solver = SGDSolver(
        settings.solver(),
        spec,
        feed=feed,
        plan="lean",
        algorithm=settings.algorithm,
        context=context,
    )
    return solver, Segmenter(spec, solver.net, context=context, algorithm=settings.algorithm)


def _validation_bytes(settings: TrainSettings, validation: DataSet, context: Context) -> int:
    """At most what a segmenter takes: for tiles that are whole slices, or as large as it makes
    them; and for the input, data and diff."""
    spec = settings.network(validation.channels, validation.classes)
    rows, columns = (
        max(models.input_size(item.size[axis], settings.depth) for item in validation)
        for axis in (0, 1)
    )
    shape = (1, validation.channels, rows, columns)
    tile = tile_bytes(spec, context, settings.algorithm, shape)
    return min(MEMORY_LIMIT, tile) + 8 * prod(shape)


def _check_room(
    settings: TrainSettings, training: DataSet, validation: DataSet | None, context: Context
) -> None:
    def taken(tile: int) -> int:
        spec = replace(settings, tile=tile).network(training.channels, training.classes)
        return training_bytes(spec, context, settings.algorithm)

    free, total = device_room(context)
    beside = 0 if validation is None else _validation_bytes(settings, validation, context)
    needed = taken(settings.tile) + beside
    if needed <= free:
        return
    least, step = models.input_size(1, settings.depth), 2 ** (settings.depth - 1)
    fitting = largest_fitting(range(least, settings.tile, step), taken, free - beside)
    raise UserError(
        f"the training needs {needed / 1e9:.3g} GB of the device's memory, of which "
        f"{free / 1e9:.3g} of {total / 1e9:.3g} GB are free; "
        + (f"--tile {fitting} fits" if fitting else "use a smaller --base-width, or --device cpu")
    )

"""``unet-native train``: from images and labels to a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unet_native.cli import options
from unet_native.cli.console import note, progress
from unet_native.cli.train_observer import observer_on_console

if TYPE_CHECKING:
    from unet_native.model_file import Model
    from unet_native.train import Trainer, TrainSettings

_SETTINGS = "Network and training"
_DATA = "Data"


def _setting(name: str, default: str, text: str, **more: Any) -> Any:
    """An option that overrides a setting of TrainSettings, or of the run that is resumed."""
    return typer.Option(name, help=text, show_default=default, rich_help_panel=_SETTINGS, **more)


def _caffe(name: str, text: str, **more: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel="Caffe's files", **more)


def _data(name: str, text: str, **more: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel=_DATA, **more)


def train(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the run.")
    ] = None,
    images: Annotated[
        Path | None, _data("--images", "Folder of images, or one image or stack.")
    ] = None,
    labels: Annotated[
        Path | None,
        _data(
            "--labels",
            "Folder of labels, or one image or stack. Not needed where NAME_masks.tif lies beside "
            "each NAME.tif.",
        ),
    ] = None,
    validation: Annotated[
        str | None,
        _data(
            "--validation",
            "Slices to hold back: numbers counted from 0, or a fraction (the last ones), or a "
            "folder with NAME_masks.tif files or with subfolders images and labels.",
            metavar="DIR|20-23|0.2",
        ),
    ] = None,
    foreground: options.Foreground = None,
    label_kind: options.LabelKind = "auto",
    ignore: options.Ignore = None,
    axes: options.Axes = None,
    normaliser: Annotated[
        str,
        _data("--normaliser", "Of grey values.", metavar="zscore|percentile|minmax|dtype"),
    ] = "zscore",
    net: Annotated[
        str | None, _setting("--net", "fig1", "Network.", metavar="fig1|phseg_v5")
    ] = None,
    base_width: Annotated[
        int | None, _setting("--base-width", "64", "Channels of the first level.")
    ] = None,
    depth: Annotated[int | None, _setting("--depth", "5", "Levels.")] = None,
    tile: Annotated[int | None, _setting("--tile", "572", "Side of the input tile, px.")] = None,
    iterations: Annotated[int | None, _setting("--iterations", "5000", "How many in all.")] = None,
    seed: Annotated[int | None, _setting("--seed", "0", "Decides whatever is random.")] = None,
    base_lr: Annotated[
        float | None, _setting("--base-lr", "0.001", "Learning rate at the start.")
    ] = None,
    lr_policy: Annotated[
        str | None,
        _setting(
            "--lr-policy",
            "inv",
            "How the rate falls; poly: evenly, to 0 at the last iteration.",
            metavar="inv|poly|fixed",
        ),
    ] = None,
    warmup: Annotated[
        int | None, _setting("--warmup", "0", "Iterations over which the rate rises from 0.")
    ] = None,
    weight_map: Annotated[
        str | None,
        _setting(
            "--weight-map",
            "paper2015",
            "Weights of the pixels in the loss.",
            metavar="paper2015|plugin2019|uniform",
        ),
    ] = None,
    w0: Annotated[
        float | None,
        _setting("--w0", "10, or 50 in plugin2019", "Height of the weight map's border term."),
    ] = None,
    augmentation: Annotated[
        str | None,
        _setting(
            "--augmentation",
            "paper2015",
            "Deformation and grey values of tiles.",
            metavar="paper2015|layer2019|none",
        ),
    ] = None,
    average: Annotated[
        str | None,
        _setting(
            "--average",
            "none",
            "Transforms of an image that segment averages over.",
            metavar="none|mirror4|dihedral8|rotate7",
        ),
    ] = None,
    test_interval: Annotated[
        int | None, _setting("--test-interval", "250", "Iterations between two validations.")
    ] = None,
    choose_by: Annotated[
        str | None,
        _setting(
            "--choose-by",
            "auto",
            "Validation score that chooses the network; auto: SEG if labels number objects, else "
            "V_Rand for two classes and IoU for more.",
            metavar="auto|v_rand|v_info|iou|seg|f1",
        ),
    ] = None,
    snapshot: Annotated[
        str | None,
        _setting(
            "--snapshot",
            "250",
            "Iterations between two snapshots; with --solver, the state to resume from.",
            metavar="N|FILE",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        _setting("--algorithm", "auto", "Of the 3x3 convolutions.", metavar="auto|direct"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            help="Start from the network of an earlier run; with --solver, from model files of "
            "Caffe, separated by commas.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder.")
    ] = False,
    solver: Annotated[
        Path | None,
        _caffe("--solver", "Train what a solver prototxt says, with Caffe's log and snapshots."),
    ] = None,
    sigint_effect: Annotated[
        str, _caffe("--sigint-effect", "Of Ctrl-C.", metavar="stop|snapshot|none")
    ] = "stop",
    sighup_effect: Annotated[
        str, _caffe("--sighup-effect", "Of a hang-up.", metavar="stop|snapshot|none")
    ] = "snapshot",
    device: options.Device = "auto",
    gpu: options.Gpu = 0,
    math: options.Math = "fp32",
    threads: options.Threads = 0,
) -> int | None:
    """Train a network.

    The data are checked first. The run's folder gets model.safetensors (the network that validated
    best, or else the latest), report.html (scores, curves and pictures, to look at in a browser),
    log.csv, curves.png and snapshots. Ctrl-C lets the iteration finish and leaves a snapshot to
    --resume from; a second Ctrl-C leaves at once.

    With --solver, Caffe's files say everything: see docs/coming-from-caffe.md.
    """
    if solver is not None:
        _refuse_with_solver(
            output=output,
            images=images,
            labels=labels,
            validation=validation,
            foreground=foreground,
            ignore=ignore,
            axes=axes,
            net=net,
            base_width=base_width,
            depth=depth,
            tile=tile,
            iterations=iterations,
            seed=seed,
            base_lr=base_lr,
            lr_policy=lr_policy,
            warmup=warmup,
            weight_map=weight_map,
            w0=w0,
            augmentation=augmentation,
            average=average,
            test_interval=test_interval,
            choose_by=choose_by,
            resume=resume or None,
        )
        from unet_native.cli.solve import solve

        return solve(
            solver,
            weights=weights,
            snapshot=snapshot,
            algorithm=algorithm or "auto",
            device=device,
            gpu=gpu,
            math=math,
            threads=threads,
            sigint_effect=sigint_effect,
            sighup_effect=sighup_effect,
        )
    from unet_native.cli.device import context_of
    from unet_native.cli.training_data import load_sets
    from unet_native.data.augment import AugmentSettings
    from unet_native.data.check import check_training_set
    from unet_native.data.weight_map import WeightSettings
    from unet_native.errors import UserError
    from unet_native.model_file import Model
    from unet_native.train import Trainer
    from unet_native.train.run_directory import RunDirectory

    source = {
        "images": _absolute(images),
        "labels": _absolute(labels),
        "validation": validation,
        "foreground": foreground,
        "label_kind": label_kind,
        "ignore": ignore,
        "axes": axes,
        "normaliser": normaliser,
    }
    given = {
        "net": net,
        "base_width": base_width,
        "depth": depth,
        "tile": tile,
        "iterations": iterations,
        "seed": seed,
        "base_lr": base_lr,
        **_policy(lr_policy),
        "warmup": warmup,
        "weights": WeightSettings(weight_map or "paper2015", w0)
        if weight_map or w0 is not None
        else None,
        "augment": None if augmentation is None else AugmentSettings.preset(augmentation),
        "average": average,
        "test_interval": test_interval,
        "choose_by": choose_by,
        "snapshot": _interval(snapshot),
        "algorithm": algorithm,
    }
    if output is None:
        raise UserError("-o / --output is missing: give the folder for the run (or --solver)")
    directory = RunDirectory(output)
    if resume:
        if weights is not None:
            raise UserError("--weights starts a new run, --resume continues one: give one of them")
        if images is None:
            source = directory.read_settings()["source"]
    else:
        directory.refuse_existing()
        if images is None:
            raise UserError("--images is missing: give the folder or stack to train on")
    model = None if weights is None else Model.load(weights)
    settings = _settings(given, directory if resume else None, model)
    training, held_back = load_sets(source)
    check = check_training_set(training, held_back).text()
    print(check, flush=True)
    trainer = Trainer(
        output,
        training,
        held_back,
        settings,
        weights=model,
        resume=resume,
        context=context_of(device, gpu, threads, math),
        source=source,
        check=check,
    )
    print(_describe(trainer), flush=True)
    return _run(trainer)


def _refuse_with_solver(**given: Any) -> None:
    from unet_native.errors import UserError

    for name, value in given.items():
        if value is not None:
            name = name.replace("_", "-")
            raise UserError(f"--{name} does not go with --solver, whose file says everything")


def _policy(name: str | None) -> dict[str, Any]:
    """Learning rate policy and its power: each policy has the one that suits it."""
    from unet_native.errors import UserError

    powers = {"inv": 0.75, "poly": 1.0, "fixed": 0.0}
    if name is None:
        return {}
    if name not in powers:
        raise UserError(f"--lr-policy {name}: use {', '.join(powers)}")
    return {"lr_policy": name, "power": powers[name]}


def _interval(snapshot: str | None) -> int | None:
    from unet_native.errors import UserError

    if snapshot is None:
        return None
    if not snapshot.isdecimal():
        raise UserError(f"--snapshot {snapshot}: give a number of iterations (a file: --solver)")
    return int(snapshot)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _settings(given: dict[str, Any], resumed: Any, model: Model | None) -> TrainSettings:
    """What was given on the command line, over the settings of the run, over the defaults."""
    from dataclasses import replace

    from unet_native.train import TrainSettings

    settings = TrainSettings()
    if resumed is not None:
        settings = TrainSettings.from_dict(resumed.read_settings()["settings"])
    elif model is not None and "settings" in model.provenance:
        old = TrainSettings.from_dict(model.provenance["settings"])
        settings = replace(settings, net=old.net, depth=old.depth, base_width=old.base_width)
    return replace(settings, **{name: v for name, v in given.items() if v is not None})


def _describe(trainer: Trainer) -> str:
    settings, net = trainer.settings, trainer.solver.net
    count = sum(param.blob.count for param in net.parameters)
    memory = sum(trainer.solver.memory().values())
    start = f"; resumed at iteration {trainer.iteration}" if trainer.iteration else ""
    return (
        f"network: {settings.net}, {settings.depth} levels, base width {settings.base_width}, "
        f"{count:,} parameters; tile {settings.tile} -> {settings.tile_out}; {memory / 1e9:.2f} GB "
        f"for weights, momentum and one tile; {settings.iterations} iterations{start}"
    )


def _run(trainer: Trainer) -> int | None:
    """Trains until the end, or until a signal asks to stop."""
    from unet_native.train.interrupt import Interrupt

    def acknowledge(signal: str) -> None:
        _say_now(
            f"{signal}: finishing this iteration, then a snapshot is written; "
            "once more leaves at once without it"
        )

    with (
        Interrupt(acknowledge, lambda signal: _say_now(f"{signal}: left at once")) as interrupt,
        progress("train") as update,
    ):
        trainer.observer = observer_on_console(update)
        finished = trainer.train(stop=lambda: interrupt)
    if not finished:
        note(f"stopped after iteration {trainer.iteration}; go on with --resume")
        return interrupt.exit_status
    best = trainer.best_score
    said = "" if best is None else f", best validation: {trainer.choosing_score} {best:.4f}"
    print(f"{trainer.iteration} iterations{said} -> {trainer.run.model}")
    print(f"look at {trainer.run.report}")
    return None


def _say_now(text: str) -> None:
    """From any thread, past every buffer."""
    os.write(2, f"\n{text}\n".encode())

"""The Typer application: the list of commands."""

from __future__ import annotations

from inspect import cleandoc
from typing import Annotated

import typer

from unet_native.cli.augment import augment
from unet_native.cli.convert import convert
from unet_native.cli.demo import demo
from unet_native.cli.evaluate import evaluate
from unet_native.cli.info import info
from unet_native.cli.inspect import inspect
from unet_native.cli.segment import segment
from unet_native.cli.time import time
from unet_native.cli.train import train
from unet_native.cli.weight_map import weight_map

_COMMANDS = (train, segment, evaluate, augment, weight_map, time, inspect, convert, info, demo)


def build_app() -> typer.Typer:
    """The application with all commands, in the order in which a user meets them."""
    app = typer.Typer(
        name="unet-native",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for command in _COMMANDS:
        app.command(command.__name__.replace("_", "-"), help=_paragraphs(command.__doc__))(command)
    return app


def _paragraphs(docstring: str) -> str:
    """A docstring with one line for each paragraph, for Typer to break as the terminal is wide."""
    return "\n\n".join(
        " ".join(paragraph.split()) for paragraph in cleandoc(docstring).split("\n\n")
    )


def _show_version(wanted: bool) -> None:
    if wanted:
        from unet_native import __version__

        print(f"unet_native {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
) -> None:
    """Train the U-Net of 2015 on a few annotated images and segment with it."""

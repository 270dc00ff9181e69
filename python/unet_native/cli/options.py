"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Axes = Annotated[
    str | None,
    typer.Option(
        "--axes",
        metavar="LETTERS",
        help="What the axes of the images are, e.g. ZYX or YXC, if the files do not say so.",
    ),
]
Foreground = Annotated[
    str | None,
    typer.Option(
        "--foreground",
        metavar="VALUE|nonzero|zero",
        help="Which label value is class 1, the objects; the rest is background. "
        "Without it: nonzero, for labels of two values.",
    ),
]
LabelKind = Annotated[
    str,
    typer.Option(
        "--label-kind",
        metavar="auto|binary|classes|instances",
        help="What label values mean; instances: one number per object.",
    ),
]
Ignore = Annotated[
    int | None,
    typer.Option("--ignore", metavar="VALUE", help="Label value of pixels that do not count."),
]
Threads = Annotated[
    int,
    typer.Option("--threads", min=0, help="CPU threads; 0 = all that this process may use."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where the network runs; auto: on the GPU if there is one that can be used.",
    ),
]
Math = Annotated[
    str,
    typer.Option(
        "--math",
        metavar="fp32|tf32|bf16",
        help="How a GPU multiplies in convolutions: exactly, or on its tensor cores, rounded.",
    ),
]
Gpu = Annotated[int, typer.Option("--gpu", min=0, help="Which GPU, counted from 0.")]

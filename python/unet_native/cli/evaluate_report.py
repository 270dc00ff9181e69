"""The report that ``unet-native evaluate`` leaves when it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_native.cli.console import note

if TYPE_CHECKING:
    import numpy as np

    from unet_native.evaluate import ScoredObjects, ScoredSlice

__all__ = ["check_report_options", "leave_report"]


def check_report_options(report: Path | None, images: Path | None) -> None:
    """Raises UserError, before anything is scored, for what cannot work."""
    from unet_native.errors import UserError

    if report is None:
        if images is not None:
            raise UserError("--images are to draw errors on in a report: give --report FILE.html")
    elif report.suffix.lower() not in (".html", ".htm") or report.is_dir():
        raise UserError(f"{report}: give the name of an .html file for the report")


def leave_report(
    report: Path,
    result: dict[str, Any],
    slices: Sequence[ScoredSlice] | Sequence[ScoredObjects],
    images: Path | None,
    **facts: object,
) -> None:
    """Writes the report. facts: what was scored and how."""
    from unet_native.report.evaluate_report import write_evaluation

    shown = {
        name.replace("_", " "): value.name if isinstance(value, Path) else value
        for name, value in facts.items()
        if value is not None
    }
    grounds = None if images is None else _images(images, slices)
    title = f"Evaluation: {shown.get('prediction') or 'result'}"
    write_evaluation(report, result, slices, title=title, facts=shown.items(), images=grounds)
    note(f"report -> {report}")


def _images(
    path: Path, slices: Sequence[ScoredSlice] | Sequence[ScoredObjects]
) -> dict[str, np.ndarray]:
    """The image of each slice, (C, H, W), by its name; or by its number, if all are in one file."""
    from unet_native.data.images import list_images
    from unet_native.errors import UserError

    files = list_images(path)
    planes = {file.slice_name(k): plane for file in files for k, plane in enumerate(file.read())}
    if len(files) == 1 and len(planes) == len(slices):
        planes = {item.name: plane for item, plane in zip(slices, planes.values(), strict=True)}
    for item in slices:
        size = (item.truth if hasattr(item, "truth") else item.labels).shape
        if item.name not in planes:
            raise UserError(f"{path}: holds no image for the slice {item.name}; leave out --images")
        if planes[item.name].shape[1:] != size:
            found = "x".join(map(str, planes[item.name].shape[1:]))
            raise UserError(
                f"{path}: the image of slice {item.name} has {found} pixels, its labels "
                f"{'x'.join(map(str, size))}; give the images that were segmented"
            )
    return {item.name: planes[item.name] for item in slices}

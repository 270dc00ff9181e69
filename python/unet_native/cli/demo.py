"""``unet-native demo``: the whole job on a synthetic set."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unet_native.cli import options
from unet_native.cli.console import duration, progress

if TYPE_CHECKING:
    import numpy as np

    from unet_native.model_file import Model
    from unet_native.train import TrainSettings

_TRAINING_SLICES, _TEST_SLICES, _SIZE = 10, 4, 384
_TRAINING_SEED, _TEST_SEED = 1, 2  # two pieces of tissue: no test slice neighbours a training slice
_SHOWN = 0  # the test slice in the picture
_RUN_REPORT = "run/report.html"


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for data, network and results.")
    ] = Path("unet-native-demo"),
    device: options.Device = "auto",
    gpu: options.Gpu = 0,
    math: options.Math = "fp32",
    threads: options.Threads = 0,
) -> None:
    """Train, segment and evaluate on synthetic images that look like electron micrographs.

    Takes a few minutes and needs no data. The folder gets the images and labels, a run, the
    segmentation of slices from another piece of tissue, scores.json, demo.png and report.html.
    """
    import json

    from unet_native.cli.device import context_of
    from unet_native.errors import UserError
    from unet_native.files import write_text
    from unet_native.model_file import Model

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists already; give another folder with -o")
    start = perf_counter()
    context = context_of(device, gpu, threads, math)
    _make_set(output, "training", _TRAINING_SLICES, _TRAINING_SEED)
    images, labels = _make_set(output, "test", _TEST_SLICES, _TEST_SEED)
    _train(output, context)
    trained = perf_counter()
    probabilities = _segment(Model.load(output / "run", context=context), output)
    scores = _score(images, labels, probabilities, output / "report.html")
    scores["seconds"] = round(perf_counter() - start, 1)
    scores["training_seconds"] = round(trained - start, 1)
    write_text(output / "scores.json", json.dumps(scores, indent=2) + "\n")
    _draw(output / "demo.png", images[_SHOWN], labels[_SHOWN], probabilities[_SHOWN, 1], scores)
    _report(output, scores)


def settings() -> TrainSettings:
    """A small network for small images; its learning rate falls to 0 at the end."""
    from unet_native.train import TrainSettings

    return TrainSettings(
        depth=3,
        base_width=16,
        tile=180,
        iterations=2500,
        base_lr=3e-3,
        lr_policy="poly",
        power=1.0,
        warmup=300,
        snapshot=1000,
    )


def _make_set(output: Path, name: str, slices: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, which are written as TIFF stacks too."""
    from unet_native.data.synthetic import synthetic_em
    from unet_native.data.write import write_stack

    images, labels = synthetic_em(slices, _SIZE, seed)
    write_stack(output / f"{name}-images.tif", images)
    write_stack(output / f"{name}-labels.tif", labels)
    return images, labels


def _train(output: Path, context: Any) -> None:
    from unet_native.cli.train_observer import observer_on_console
    from unet_native.data.load import load_training_set
    from unet_native.train import Trainer

    dataset = load_training_set(output / "training-images.tif", output / "training-labels.tif")
    with progress("train") as update:
        Trainer(
            output / "run",
            dataset,
            settings=settings(),
            context=context,
            observer=observer_on_console(update),
        ).train()


def _segment(model: Model, output: Path) -> np.ndarray:
    """Probabilities (slices, classes, H, W) of the test stack; also written, as `segment` does."""
    from unet_native.cli.segment import segment_file
    from unet_native.data.images import open_image

    file = open_image(output / "test-images.tif")
    folder = output / "segmentation"
    with progress("segment") as update:
        return segment_file(model, file, folder, update)


def _score(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, report: Path
) -> dict[str, Any]:
    """Scores of the network, with a report, and of the raw image at the best of 64 thresholds."""
    import numpy as np

    from unet_native.evaluate import ScoredSlice, evaluate
    from unet_native.metrics import isbi_scores
    from unet_native.report.evaluate_report import write_evaluation

    truth = (labels > 0).astype(np.uint8)
    slices = [
        ScoredSlice(str(index), probability, label)
        for index, (probability, label) in enumerate(zip(probabilities, truth, strict=True))
    ]
    scores = evaluate(slices)
    grounds = {item.name: image[None] for item, image in zip(slices, images, strict=True)}
    write_evaluation(
        report, scores, slices, title="Demo: synthetic slices not trained on", images=grounds
    )
    raw = isbi_scores(images.astype(np.float32) / 255, truth, np.arange(64) / 64)
    scores["raw_image"] = {
        "v_rand": raw.v_rand,
        "v_info": raw.v_info,
        "pixel_error": raw.pixel_error,
    }
    return scores


def _draw(
    path: Path,
    image: np.ndarray,
    label: np.ndarray,
    probability: np.ndarray,
    scores: dict[str, Any],
) -> None:
    import numpy as np

    from unet_native.data.instances import connected_instances
    from unet_native.data.weight_map import weight_map
    from unet_native.picture import draw_overview

    truth = (label > 0).astype(np.uint8)
    draw_overview(
        path,
        image,
        truth,
        probability,
        weight_map(connected_instances(truth), truth),
        threshold=scores["v_rand_threshold"],
        caption=f"Synthetic slices that the network has not seen: V_Rand {scores['v_rand']:.3f}, "
        f"best threshold of the raw image {scores['raw_image']['v_rand']:.3f}",
    )


def _report(output: Path, scores: dict[str, Any]) -> None:
    raw = scores["raw_image"]
    print(f"{scores['slices']} test slices      network   raw image at its best threshold")
    for key, title in (("v_rand", "V_Rand"), ("v_info", "V_Info"), ("pixel_error", "pixel error")):
        print(f"{title:18} {scores[key]:8.4f}   {raw[key]:8.4f}")
    print(f"{'IoU':18} {scores['iou']:8.4f}")
    print(f"{duration(scores['seconds'])} in all; look at {output / 'demo.png'}")
    print(f"how good it is: {output / 'report.html'}; how it was trained: {output / _RUN_REPORT}")
    print("With your own images:")
    for line in (
        "train --images IMAGES --labels LABELS --validation 0.2 -o RUN",
        "segment RUN IMAGES -o RESULT",
        "evaluate RESULT LABELS",
    ):
        print(f"  unet-native {line}")

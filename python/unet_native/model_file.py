"""Model: a trained network with all that is needed to segment with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from unet_native import models, ops, snapshot
from unet_native.average import AVERAGES
from unet_native.blob import Array
from unet_native.data.normaliser import Normaliser
from unet_native.errors import UserError
from unet_native.net import Net
from unet_native.segment import MEMORY_LIMIT, Segmenter, depth_of
from unet_native.spec import NetSpec

__all__ = ["Model", "load", "model_metadata"]


def model_metadata(normaliser: Normaliser, provenance: dict[str, Any]) -> dict[str, str]:
    """What a model file says beyond network and weights."""
    return {
        "normaliser": json.dumps(normaliser.to_dict()),
        "provenance": json.dumps(provenance),
    }


class Model:
    """A network with its weights and the normaliser of its training images.

    spec         the network
    net          holds the weights
    normaliser   from grey values of a file to what the network sees
    classes      how many; class 0 is the background
    provenance   how it came about: settings, data, iteration, scores
    """

    def __init__(self, net: Net, normaliser: Normaliser, provenance: dict[str, Any]) -> None:
        self.net = net
        self.normaliser = normaliser
        self.provenance = provenance
        self._segmenter: Segmenter | None = None

    @property
    def spec(self) -> NetSpec:
        return self.net.spec

    @property
    def classes(self) -> int:
        return self.net.blobs["score"].shape[1]

    @property
    def average(self) -> str:
        """Over which transforms of an image this model asks to average: one of
        unet_native.average.AVERAGES."""
        return (self.provenance.get("settings") or {}).get("average", "none")

    @property
    def separates_objects(self) -> bool:
        """Whether it was trained on instance labels, with gaps between objects that touch."""
        return self.provenance.get("label_kind") == "instances"

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        context: ops.Context | None = None,
        algorithm: str = "auto",
        memory_limit: int = MEMORY_LIMIT,
        tile: int | None = None,
        average: str | None = None,
    ) -> Model:
        """Reads a run's folder, its model.safetensors or one of its snapshots.

        The options are those of :class:`Segmenter`; average None: what the model asks for. Raises
        UserError if there is no model, or a damaged one, or it asks for an unknown average. Loading
        runs none of the file's content.
        """
        path = Path(path)
        if path.is_dir():
            file = path / "model.safetensors"
            if not file.exists():
                raise UserError(f"{path}: holds no model.safetensors; give the folder of a run")
        else:
            file = path
        described = snapshot.read(file)
        try:
            normaliser = Normaliser.from_dict(json.loads(described.metadata["normaliser"]))
            provenance = json.loads(described.metadata["provenance"])
            depth = depth_of(described.spec)
            channels = _channels(described.spec)
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{file}: holds no normaliser to segment with ({error})") from error
        side = models.input_size(1, depth)
        net, _ = snapshot.load_model(
            file, "TEST", plan="lean", context=context, data=(1, channels, side, side)
        )
        model = cls(net, normaliser, provenance)
        if average is None and model.average not in AVERAGES:
            raise UserError(
                f"{file}: asks for the unknown average {model.average!r}; choose one of "
                f"{', '.join(AVERAGES)} instead"
            )
        model._segmenter = Segmenter(
            net.spec,
            net,
            context=context,
            algorithm=algorithm,
            memory_limit=memory_limit,
            tile=tile,
            average=model.average if average is None else average,
        )
        return model

    def save(self, path: str | Path) -> Path:
        """Writes a model file, whole or not at all."""
        return snapshot.save_model(path, self.net, model_metadata(self.normaliser, self.provenance))

    def segment(
        self,
        image: np.ndarray,
        progress: Callable[[int, int], None] | None = None,
        name: str = "image",
        *,
        out: Array | None = None,
        average: str | None = None,
    ) -> Array:
        """Class probabilities at every pixel of an image of any size from 1x1 up.

        image     (H, W) or (C, H, W), grey values as in the training files, of the same dtype
        progress  called with (tiles done, tiles in all), those of all transforms
        name      of the image in errors
        out       (classes, H, W) float32 to write to; None: a new array
        average   over which transforms of the image, one of unet_native.average.AVERAGES; None:
                  as loaded, which is what the model asks for unless told otherwise

        Returns (classes, H, W) float32. Raises UserError for other channels or another dtype, and
        for an unknown average.
        """
        image = np.asarray(image)
        if image.ndim == 2:
            image = image[None]
        if image.ndim != 3 or 0 in image.shape:
            raise UserError(
                f"{name}: expected an image (H, W) or (C, H, W), got shape {image.shape}"
            )
        return self.segmenter.probabilities(
            image,
            progress,
            normalise=lambda tile: self.normaliser(tile, name),
            out=out,
            average=average,
        )

    @property
    def segmenter(self) -> Segmenter:
        if self._segmenter is None:
            self._segmenter = Segmenter(self.spec, self.net, average=self.average)
        return self._segmenter


def load(path: str | Path, **options: Any) -> Model:
    """The network of a run's folder or model file, ready to segment; see :meth:`Model.load`."""
    return Model.load(path, **options)


def _channels(spec: NetSpec) -> int:
    for layer in spec.layers:
        if layer.type == "Input" and "data" in layer.top:
            return layer.input_param.shape[0][1]
    raise ValueError("the network has no input named data")

"""What a training run is made of, and this project's choices where the paper is silent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from unet_native import models
from unet_native.average import check_average
from unet_native.data.augment import AugmentSettings
from unet_native.data.weight_map import WeightSettings
from unet_native.errors import UserError
from unet_native.solver import SolverSettings
from unet_native.spec import NetSpec

__all__ = ["ALGORITHMS", "CHOICES", "TrainSettings"]

ALGORITHMS = ("auto", "direct", "winograd")
CHOICES = ("auto", "v_rand", "v_info", "iou", "seg", "f1")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run. With the data they decide its weights, bit for bit.

    From the paper: one large tile per iteration and a momentum of 0.99 (section 3), the weight map
    and the augmentation. Not in the paper, chosen by experiment and this project's own: base_lr,
    its schedule, the warm-up, weight_decay and the number of iterations.

    The schedule depends on the iteration alone, not on how many are planned: so a run may be
    prolonged, and N iterations followed by N more are the same as 2 N. With a momentum of 0.99 a
    gradient acts, in sum, 100 times: base_lr 0.001 moves the weights as 0.1 would without momentum.

    net, depth, base_width   which network, see unet_native.models
    tile                     side of the input tile (px)
    iterations               how many in all
    seed                     decides initial weights, dropout, the order of slices, deformations
    warmup                   iterations over which the rate rises evenly from 0. The initial loss is
                             large (the paper's initialisation lets the variance grow along the
                             expanding path), and with a momentum of 0.99 the first gradients push
                             for a hundred iterations, which can leave units dead
    test_interval            iterations between two validations
    snapshot                 iterations between two snapshots
    choose_by                the validation score by which the best network is chosen; auto: seg for
                             labels with one number an object, else v_rand for two classes and iou
                             for more
    algorithm                of the 3x3 convolutions, see unet_native.net.Net
    average                  transforms over which the finished model averages when it segments, see
                             unet_native.average; validations during training do without
    """

    net: str = "fig1"
    depth: int = 5
    base_width: int = 64
    tile: int = 572
    iterations: int = 5000
    seed: int = 0
    base_lr: float = 1e-3
    lr_policy: str = "inv"
    gamma: float = 1e-3
    power: float = 0.75
    warmup: int = 0
    momentum: float = 0.99
    weight_decay: float = 5e-4
    test_interval: int = 250
    snapshot: int = 250
    choose_by: str = "auto"
    algorithm: str = "auto"
    average: str = "none"
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)

    def __post_init__(self) -> None:
        if self.net not in models.MODELS:
            raise UserError(f"--net {self.net}: use {' or '.join(models.MODELS)}")
        for name in ("depth", "base_width", "iterations", "test_interval", "snapshot"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be at least 1, got {getattr(self, name)}")
        if self.algorithm not in ALGORITHMS:
            raise UserError(f"--algorithm {self.algorithm}: use {', '.join(ALGORITHMS)}")
        if self.choose_by not in CHOICES:
            raise UserError(f"--choose-by {self.choose_by}: use {', '.join(CHOICES)}")
        check_average(self.average)
        if not self.base_lr > 0:
            raise UserError(f"--base-lr must be positive, got {self.base_lr:g}")
        if self.warmup < 0:
            raise UserError(f"warmup must be at least 0 iterations, got {self.warmup}")
        if self.seed < 0:
            raise UserError(f"--seed must be at least 0, got {self.seed}")
        try:
            models.output_size(self.tile, self.depth)
        except ValueError as error:
            raise UserError(f"--tile {self.tile}: {error}") from None

    @property
    def tile_out(self) -> int:
        """Side of the network's output for a tile."""
        return models.output_size(self.tile, self.depth)

    def network(self, channels: int, classes: int) -> NetSpec:
        """The network for images of `channels` channels and that many classes."""
        return models.MODELS[self.net](
            depth=self.depth,
            base_width=self.base_width,
            channels=channels,
            classes=classes,
            tile=self.tile,
        )

    def warmup_factor(self, iteration: int) -> float:
        """What the rate of an iteration, counted from 0, is multiplied by."""
        return min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0

    def solver(self) -> SolverSettings:
        """The part that is Caffe's. Snapshots are left to the trainer."""
        return SolverSettings(
            base_lr=self.base_lr,
            lr_policy=self.lr_policy,
            gamma=self.gamma,
            power=self.power,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            max_iter=self.iterations,
            random_seed=self.seed,
        )

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists only: ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> TrainSettings:
        """What :meth:`to_dict` stored. Raises UserError for unknown or missing settings."""
        try:
            stored = dict(stored)
            stored["augment"] = AugmentSettings.from_dict(stored["augment"])
            stored["weights"] = WeightSettings(**stored["weights"])
            return cls(**stored)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"the settings of the run are of another version of unet_native ({error}); go on "
                "with that version, or start a new run with --weights"
            ) from error

    def differences(self, other: TrainSettings) -> list[str]:
        """Names of settings that differ and would change the weights of a resumed run."""
        free = {"iterations", "test_interval", "snapshot", "average"}
        return [
            f.name
            for f in fields(self)
            if f.name not in free and getattr(self, f.name) != getattr(other, f.name)
        ]

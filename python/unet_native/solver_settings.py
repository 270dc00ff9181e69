"""SolverSettings: what a solver does, in the names of Caffe's SolverParameter."""

from __future__ import annotations

from dataclasses import dataclass

from unet_native.learning_rate import Schedule

SNAPSHOT_FORMATS = ("SAFETENSORS", "BINARYPROTO", "HDF5")


@dataclass(frozen=True)
class SolverSettings:
    """Caffe's SolverParameter: its names and defaults.

    Caffe has no default for base_lr, momentum and weight_decay: unset is 0. type, momentum2 and
    delta matter to :func:`unet_native.solver.make_solver` and to Adam. snapshot_format SAFETENSORS
    is this project's own; BINARYPROTO and HDF5 are Caffe's.
    """

    type: str = "SGD"
    base_lr: float = 0.0
    lr_policy: str = "fixed"
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0
    momentum: float = 0.0
    momentum2: float = 0.999
    delta: float = 1e-8
    weight_decay: float = 0.0
    regularization_type: str = "L2"
    clip_gradients: float = -1.0
    iter_size: int = 1
    average_loss: int = 1
    random_seed: int = -1
    display: int = 0
    test_iter: tuple[int, ...] = ()
    test_interval: int = 0
    test_initialization: bool = True
    snapshot: int = 0
    snapshot_prefix: str = ""
    snapshot_after_train: bool = True
    snapshot_diff: bool = False
    snapshot_format: str = "SAFETENSORS"

    def __post_init__(self):
        if self.regularization_type not in ("L2", "L1"):
            raise ValueError(f"regularization_type {self.regularization_type!r}: use L2 or L1")
        for name in ("iter_size", "average_loss"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_iter", "display", "test_interval", "snapshot"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if any(passes < 1 for passes in self.test_iter):
            raise ValueError(f"test_iter must be at least 1, got {min(self.test_iter)}")
        if self.snapshot_format not in SNAPSHOT_FORMATS:
            formats = ", ".join(SNAPSHOT_FORMATS)
            raise ValueError(f"snapshot_format {self.snapshot_format!r}: use {formats}")
        self.schedule()

    def schedule(self) -> Schedule:
        """The learning rate policy. Raises ValueError for one that is unknown or incomplete."""
        names = ("lr_policy", "base_lr", "gamma", "power", "stepsize", "stepvalue", "max_iter")
        return Schedule(**{name: getattr(self, name) for name in names})

"""Caffe's learning rate policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp

#: Fields that a policy needs beside base_lr; the others may be 0.
REQUIRED: dict[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma",),
    "multistep": ("gamma",),
    "poly": ("max_iter",),
    "sigmoid": ("gamma",),
}


@dataclass(frozen=True)
class Schedule:
    """The learning rate of an iteration.

    lr_policy  rate at iteration t (counted from 0)
    fixed      base_lr
    step       base_lr * gamma ^ floor(t / stepsize)
    exp        base_lr * gamma ^ t
    inv        base_lr * (1 + gamma * t) ^ -power
    multistep  base_lr * gamma ^ current_step
    poly       base_lr * (1 - t / max_iter) ^ power
    sigmoid    base_lr / (1 + exp(-gamma * (t - stepsize)))

    Source: Caffe sgd_solver.cpp, GetLearningRate.
    """

    lr_policy: str
    base_lr: float
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0

    def __post_init__(self):
        if self.lr_policy not in REQUIRED:
            raise ValueError(f"lr_policy {self.lr_policy!r}: use {', '.join(REQUIRED)}")
        for name in REQUIRED[self.lr_policy]:
            if not getattr(self, name):
                raise ValueError(f"lr_policy {self.lr_policy!r} needs {name}")

    def current_step(self, iteration: int, before: int = 0) -> int:
        """The steps taken by now: of multistep, from those `before` this iteration; of step.

        multistep is stateful, as in Caffe: it takes at most one step for each iteration asked, and
        a run that is restored goes on from the step that was saved.
        """
        if self.lr_policy == "step":
            return iteration // self.stepsize
        if self.lr_policy == "multistep":
            due = before < len(self.stepvalue) and iteration >= self.stepvalue[before]
            return before + due
        return 0

    def rate(self, iteration: int, current_step: int) -> float:
        """The learning rate; `current_step` as :meth:`current_step` gives it."""
        factor: dict[str, Callable[[], float]] = {
            "fixed": lambda: 1.0,
            "step": lambda: self.gamma**current_step,
            "exp": lambda: self.gamma**iteration,
            "inv": lambda: (1 + self.gamma * iteration) ** -self.power,
            "multistep": lambda: self.gamma**current_step,
            "poly": lambda: (1 - iteration / self.max_iter) ** self.power,
            "sigmoid": lambda: 1 / (1 + exp(-self.gamma * (iteration - self.stepsize))),
        }
        return self.base_lr * factor[self.lr_policy]()

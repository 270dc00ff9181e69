"""SGDSolver: Caffe's training loop, step by step.

One iteration (Caffe solver.cpp, Step, and sgd_solver.cpp, ApplyUpdate):

    clear the parameters' diffs; test, if it is time
    iter_size times: forward, backward            diffs accumulate
    loss = mean of the iter_size losses
    clip       all diffs *= clip_gradients / norm, if their common L2 norm is larger
    normalize  diff /= iter_size
    regularize diff += weight_decay * decay_mult * weight        L1: * sign(weight)
    update     history = momentum * history + rate * lr_mult * diff;  weight -= history
    iteration += 1; snapshot, if it is time

The rate is inside the history, so a lower rate acts by and by. Normalize to update are one pass
over the memory, ops.sgd_update. With plan="lean", iter_size 1 and no clipping, a parameter is
updated in the middle of the backward pass, as soon as its diff is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np

from unet_native import ops, parameters
from unet_native.learning_rate import Schedule
from unet_native.net import Net
from unet_native.ops import Context
from unet_native.ops.arrays import Array, flat_memory
from unet_native.parameters import Parameter
from unet_native.spec import NetSpec, Shape


@dataclass(frozen=True)
class SolverSettings:
    """Caffe's SolverParameter: its names and defaults.

    Caffe has no default for base_lr, momentum and weight_decay: unset is 0. snapshot_format
    SAFETENSORS is this project's own.
    """

    base_lr: float = 0.0
    lr_policy: str = "fixed"
    gamma: float = 0.0
    power: float = 0.0
    stepsize: int = 0
    stepvalue: tuple[int, ...] = ()
    max_iter: int = 0
    momentum: float = 0.0
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
    snapshot_format: str = "SAFETENSORS"

    def __post_init__(self):
        if self.regularization_type not in ("L2", "L1"):
            raise ValueError(f"regularization_type {self.regularization_type!r}: use L2 or L1")
        for name in ("iter_size", "average_loss"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.snapshot_format != "SAFETENSORS":
            raise ValueError(f"snapshot_format {self.snapshot_format!r}: use SAFETENSORS")
        self.schedule()

    def schedule(self) -> Schedule:
        """The learning rate policy. Raises ValueError for one that is unknown or incomplete."""
        names = ("lr_policy", "base_lr", "gamma", "power", "stepsize", "stepvalue", "max_iter")
        return Schedule(**{name: getattr(self, name) for name in names})


#: Gives the inputs, by blob name, of the k-th forward pass; it should depend on k alone, so that a
#: run that is resumed sees what it would have seen.
Feed = Callable[[int], Mapping[str, Array]]


class SGDSolver:
    """Trains `spec` with stochastic gradient descent and momentum, as Caffe does.

    feed       inputs of the training net's pass k = iteration * iter_size + i; without it, the
               net's input blobs are as the caller has filled them
    test_feed  inputs of a test net's pass k; there is one test net if settings.test_iter is set
    plan, algorithm, context, shapes: as for Net. The lean plan leaves parameters alone on which no
               loss depends; Caffe, and the observable plan, let them decay

    Attributes as in pycaffe: `net`, `test_nets`, `iter`, `lr`. Beyond: `loss` of the last
    iteration, `smoothed_loss` over the last average_loss ones, `history` (momentum, one array for
    each of net.parameters), `current_step` (of the learning rate policy), `test_scores` (mean
    outputs of each test net at the last test), `metadata` (text that goes into snapshots).
    """

    def __init__(
        self,
        settings: SolverSettings,
        spec: NetSpec,
        *,
        feed: Feed | None = None,
        test_feed: Feed | None = None,
        plan: str = "observable",
        algorithm: str = "auto",
        context: Context | None = None,
        metadata: Mapping[str, str] | None = None,
        **shapes: Shape,
    ):
        self.settings = settings
        self.feed = feed
        self.test_feed = test_feed
        self.metadata = dict(metadata or {})
        self._schedule = settings.schedule()
        self._context = context
        self._updates_at_once = (
            plan == "lean" and settings.iter_size == 1 and settings.clip_gradients < 0
        )
        seed = None if settings.random_seed < 0 else settings.random_seed
        options = {"plan": plan, "algorithm": algorithm, "context": context, **shapes}
        self.net = Net(
            spec, "TRAIN", seed=seed, transient_param_diffs=self._updates_at_once, **options
        )
        self.test_nets = [
            Net(spec, "TEST", seed=self.net.seed, params_of=self.net, **options)
            for _ in settings.test_iter
        ]
        self.history = parameters.like(self.net.parameters)
        self._history_of = dict(zip(self.net.parameters, self.history, strict=True))
        self.iter = 0
        self.current_step = 0
        self.loss = 0.0
        self.smoothed_loss = 0.0
        self.test_scores: list[dict[str, Array]] = []
        self._losses: list[float] = []
        self._first_iter = 0
        self._callbacks: list[tuple[Callable[[], None], Callable[[], None]]] = []

    def memory(self) -> dict[str, int]:
        """Bytes that training holds, by use."""
        return self.net.memory() | {"history": sum(array.nbytes for array in self.history)}

    @property
    def lr(self) -> float:
        """Learning rate of the iteration that comes next."""
        step = self._schedule.current_step(self.iter, self.current_step)
        return self._schedule.rate(self.iter, step)

    def add_callback(
        self, on_start: Callable[[], None], on_gradients_ready: Callable[[], None]
    ) -> None:
        """Calls the first at the start of every iteration, the second before the update.

        Raises ValueError where updates do not wait for all gradients.
        """
        if self._updates_at_once:
            raise ValueError("the lean plan updates within the backward pass; use 'observable'")
        self._callbacks.append((on_start, on_gradients_ready))

    def solve(self) -> None:
        """Runs up to max_iter, then takes a snapshot and tests, unless that has just been done."""
        s = self.settings
        self.step(s.max_iter - self.iter)
        if s.snapshot_after_train and (not s.snapshot or self.iter % s.snapshot):
            self.snapshot()
        if s.test_interval and self.iter % s.test_interval == 0:
            self._test_all()

    def step(self, iterations: int = 1) -> None:
        """Runs that many iterations."""
        s = self.settings
        self._losses, self._first_iter, self.smoothed_loss = [], self.iter, 0.0
        for _ in range(iterations):
            if not self._updates_at_once:
                self.net.clear_param_diffs()
            due = s.test_interval and self.iter % s.test_interval == 0
            if due and (self.iter > 0 or s.test_initialization):
                self._test_all()
            for on_start, _ in self._callbacks:
                on_start()
            self.loss = self._forward_backward()
            self._smooth()
            for _, on_gradients_ready in self._callbacks:
                on_gradients_ready()
            if not self._updates_at_once:
                self.apply_update()
            self.iter += 1
            if s.snapshot and self.iter % s.snapshot == 0:
                self.snapshot()

    def test(self, index: int = 0) -> dict[str, Array]:
        """The mean outputs of a test net over its test_iter passes."""
        net, passes = self.test_nets[index], self.settings.test_iter[index]
        sums: dict[str, Array] = {}
        for k in range(passes):
            outputs = net.forward(**(self.test_feed(k) if self.test_feed else {}))
            for name, values in outputs.items():
                sums[name] = sums.get(name, 0) + values
        return {name: total / passes for name, total in sums.items()}

    def _test_all(self) -> None:
        self.test_scores = [self.test(i) for i in range(len(self.test_nets))]

    def apply_update(self) -> None:
        """Clips the diffs and updates all parameters by them, at this iteration's rate.

        Afterwards the diffs hold the update that was subtracted, as in Caffe.
        """
        for param in self.net.parameters:
            param.inner.pull("data", "diff")
        rate, scale = self._begin_update(), self._clipping() / self.settings.iter_size
        for param in self.net.parameters:
            self._update(param, rate, scale, keep_update=True)

    def snapshot(self, path: str | Path | None = None) -> Path:
        """Writes parameters, history and iteration to a file; returns its path.

        path: by default <snapshot_prefix>_iter_<N>.safetensors.
        """
        from unet_native import snapshot

        path = path or f"{self.settings.snapshot_prefix}_iter_{self.iter}.safetensors"
        return snapshot.save_solver(path, self)

    def restore(self, path: str | Path) -> None:
        """Continues from a snapshot: parameters, history, iteration and learning rate step."""
        from unet_native import snapshot

        snapshot.restore_solver(path, self)

    # --- the parts of an iteration ---

    def _forward_backward(self) -> float:
        """iter_size passes; returns their mean loss."""
        net, total = self.net, 0.0
        for i in range(self.settings.iter_size):
            net.iteration = k = self.iter * self.settings.iter_size + i
            net.forward(**(self.feed(k) if self.feed else {}))
            total += net.loss
            if self._updates_at_once:
                net.backward(on_param_diff=partial(self._update, rate=self._begin_update()))
            else:
                net.backward()
        return total / self.settings.iter_size

    def _smooth(self) -> None:
        """The mean loss of the last average_loss iterations since step() began."""
        window = self.settings.average_loss
        if len(self._losses) < window:
            self._losses.append(self.loss)
        else:
            self._losses[(self.iter - self._first_iter) % window] = self.loss
        self.smoothed_loss = sum(self._losses) / len(self._losses)

    def _begin_update(self) -> float:
        self.current_step = self._schedule.current_step(self.iter, self.current_step)
        return self._schedule.rate(self.iter, self.current_step)

    def _clipping(self) -> float:
        """The factor that brings the norm of all diffs together down to clip_gradients."""
        limit = self.settings.clip_gradients
        if limit < 0:
            return 1.0
        norm = sqrt(sum(_sum_of_squares(p.inner.diff) for p in self.net.parameters if p.learns))
        return limit / norm if norm > limit else 1.0

    def _update(
        self, param: Parameter, rate: float, scale: float = 1.0, keep_update: bool = False
    ) -> None:
        s = self.settings
        ops.sgd_update(
            param.inner.data,
            param.inner.diff,
            self._history_of[param],
            rate=rate * param.spec.lr_mult,
            momentum=s.momentum,
            weight_decay=s.weight_decay * param.spec.decay_mult,
            regularization=s.regularization_type,
            scale=scale,
            keep_update=keep_update,
            context=self._context,
        )
        param.inner.push("data", "diff")


def _sum_of_squares(array: Array) -> float:
    """In double precision and one fixed order, whatever the number of threads."""
    flat, block = flat_memory(array, "diff"), 1 << 18
    blocks = (flat[start : start + block] for start in range(0, flat.size, block))
    return float(sum(np.square(block, dtype=np.float64).sum() for block in blocks))

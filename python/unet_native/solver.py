"""The solvers: Caffe's training loop, step by step, and the updates of SGD and Adam.

One iteration (Caffe solver.cpp, Step, and sgd_solver.cpp, ApplyUpdate):

    clear the parameters' diffs; test, if it is time
    iter_size times: forward, backward            diffs accumulate
    loss = mean of the iter_size losses
    clip       all diffs *= clip_gradients / norm, if their common L2 norm is larger
    normalize  diff /= iter_size
    regularize diff += weight_decay * decay_mult * weight        L1: * sign(weight)
    update     SGD: history = momentum * history + rate * lr_mult * diff;  weight -= history
    iteration += 1; snapshot, if it is time

The rate is inside the history, so a lower rate acts by and by. Normalize to update are one pass
over the memory, ops.sgd_update or ops.adam_update. With plan="lean", iter_size 1 and no clipping, a
parameter is updated in the middle of the backward pass, as soon as its diff is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np

from unet_native import arena, ops, parameters
from unet_native.device_array import is_on_host, on_host
from unet_native.net import Net
from unet_native.observed import ObservableArray
from unet_native.ops import Context
from unet_native.ops.arrays import Array, flat_memory
from unet_native.parameters import Parameter
from unet_native.replay import Replay
from unet_native.solver_observer import SolverObserver
from unet_native.solver_settings import SolverSettings
from unet_native.spec import NetSpec, Shape

__all__ = ["Feed", "SGDSolver", "SolverObserver", "SolverSettings"]

#: Gives the inputs, by blob name, of the k-th forward pass; it should depend on k alone, so that a
#: run that is resumed sees what it would have seen.
Feed = Callable[[int], Mapping[str, Array]]


class SGDSolver:
    """Trains `spec` with stochastic gradient descent and momentum, as Caffe does.

    feed       inputs of the training net's pass k = iteration * iter_size + i; without it, the
               net's input blobs are as the caller has filled them, or its data layers fill them
    test_feed  inputs of a test net's pass k
    test_specs networks of the test nets; None: `spec` for each of settings.test_iter
    observer   is told what happens
    action     asked after every iteration and test pass: "stop", "snapshot" or None
               (Caffe's SetActionFunction)
    plan, algorithm, context, shapes: as for Net. The lean plan leaves parameters alone on which no
               loss depends; Caffe, and the observable plan, let them decay

    Attributes as in pycaffe: `net`, `test_nets`, `iter`, `lr`. Beyond: `loss` of the last
    iteration, `smoothed_loss` over the last average_loss ones, `history` (momentum), `current_step`
    (of the learning rate policy), `test_scores` (mean outputs of each test net at the last test),
    `stopped` (by `action`), `metadata` (text that goes into snapshots of this project's own
    format).
    """

    #: Arrays of history for each parameter.
    histories = 1

    def __init__(
        self,
        settings: SolverSettings,
        spec: NetSpec,
        *,
        feed: Feed | None = None,
        test_feed: Feed | None = None,
        test_specs: Sequence[NetSpec] | None = None,
        observer: SolverObserver | None = None,
        action: Callable[[], str | None] = lambda: None,
        plan: str = "observable",
        algorithm: str = "auto",
        context: Context | None = None,
        metadata: Mapping[str, str] | None = None,
        **shapes: Shape,
    ):
        self.settings = settings
        self.feed = feed
        self.test_feed = test_feed
        self.observer = observer or SolverObserver()
        self.action = action
        self.metadata = dict(metadata or {})
        self._schedule = settings.schedule()
        self._context = context
        self._updates_at_once = (
            plan == "lean"
            and settings.iter_size == 1
            and settings.clip_gradients < 0
            and not settings.snapshot_diff
        )
        seed = None if settings.random_seed < 0 else settings.random_seed
        options = {"plan": plan, "algorithm": algorithm, "context": context, **shapes}
        self.net = Net(
            spec, "TRAIN", seed=seed, transient_param_diffs=self._updates_at_once, **options
        )
        if test_specs is None:
            test_specs = [spec] * len(settings.test_iter)
        self.test_nets = [
            Net(test_spec, "TEST", seed=self.net.seed, params_of=self.net, **options)
            for test_spec in test_specs
        ]
        self._history = [
            ObservableArray(array)
            for _ in range(self.histories)
            for array in parameters.like(self.net.parameters)
        ]
        count = len(self.net.parameters)
        self._history_of = {
            param: self._history[i::count] for i, param in enumerate(self.net.parameters)
        }
        on_host = context is None or context.device == "cpu"
        reads_rate = self._updates_at_once or not on_host
        self._rate_there = arena.allocate(4, context).view(np.float32) if reads_rate else None
        self._replay: Replay | None = None
        if self._updates_at_once:
            self._replay = Replay(self.net, partial(self._update, rate=0.0))
        self.iter = 0
        self.current_step = 0
        self.loss = 0.0
        self.smoothed_loss = 0.0
        self.stopped = False
        self.test_scores: list[dict[str, Array]] = []
        self._losses: list[float] = []
        self._callbacks: list[tuple[Callable[[], None], Callable[[], None]]] = []

    def memory(self) -> dict[str, int]:
        """Bytes that training holds, by use."""
        return self.net.memory() | {"history": sum(array.inner.nbytes for array in self._history)}

    @property
    def history(self) -> list[Array]:
        """Momentum, one array for each of net.parameters, to read and write between iterations.

        Of Adam, the first moments of all parameters, then the second ones.
        """
        return [h.inner if is_on_host(h.inner) else h.observe() for h in self._history]

    @property
    def latest_history(self) -> list[Array]:
        """The same for snapshots: on a device, the arrays there that nobody has asked to see."""
        return [array.latest for array in self._history]

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

    # --- the loop ---

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Runs up to max_iter, then takes a snapshot and tests, unless that has just been done.

        resume_file: a snapshot to restore first.
        """
        s, start = self.settings, self.iter
        self.observer.solving(self)
        self.stopped = False
        if resume_file is not None:
            self.restore(resume_file)
            start = self.iter
        self.step(s.max_iter - self.iter)
        if s.snapshot_after_train and (not s.snapshot or self.iter % s.snapshot):
            self.snapshot()
        if not self.stopped:
            if s.display and self.iter % s.display == 0:
                self.net.forward(**(self.feed(self.iter * s.iter_size) if self.feed else {}))
                self._smooth(self.net.loss, start)
                self.observer.ended(self)
            if s.test_interval and self.iter % s.test_interval == 0:
                self.test_all()
        self.observer.done(self.stopped)

    def step(self, iterations: int = 1) -> None:
        """Runs that many iterations, or fewer if `action` says stop."""
        s, start = self.settings, self.iter
        self._losses, self.smoothed_loss = [], 0.0
        self.stopped = False
        for _ in range(iterations):
            if not self._updates_at_once:
                self.net.clear_param_diffs()
            due = s.test_interval and self.iter % s.test_interval == 0
            if due and (self.iter > 0 or s.test_initialization):
                self.test_all()
                if self.stopped:
                    return
            for on_start, _ in self._callbacks:
                on_start()
            if self._replay and self._replay.is_possible and not self._displays:
                self._replayed()
                self._smooth(self.loss, start)
            else:
                self._iterate(start)
            request = self.action()
            self.iter += 1
            if (s.snapshot and self.iter % s.snapshot == 0) or request == "snapshot":
                self.snapshot()
            if request == "stop":
                self.stopped = True
                return

    def test(self, index: int = 0) -> dict[str, Array]:
        """The mean outputs of a test net over its test_iter passes."""
        net, passes = self.test_nets[index], self.settings.test_iter[index]
        sums: dict[str, Array] = {}
        for k in range(passes):
            request = self.action()
            if request == "snapshot":
                self.snapshot()
            elif request == "stop":
                self.stopped = True
                return {}
            outputs = net.forward(**(self.test_feed(k) if self.test_feed else {}))
            for name, values in outputs.items():
                sums[name] = sums.get(name, 0) + values
        return {name: total / passes for name, total in sums.items()}

    def test_all(self) -> None:
        """Tests all test nets; the means are in `test_scores`."""
        scores = []
        for i, net in enumerate(self.test_nets):
            self.observer.testing(self, i)
            scores.append(self.test(i))
            if self.stopped:
                self.observer.test_interrupted()
                return
            self.observer.tested(net, scores[i])
        self.test_scores = scores

    def apply_update(self) -> None:
        """Clips the diffs and updates all parameters by them, at this iteration's rate.

        Afterwards the diffs hold the update that was subtracted, as in Caffe.
        """
        for param in self.net.parameters:
            param.inner.pull("data", "diff")
        rate, scale = self._begin_update(), self._clipping() / self.settings.iter_size
        for param in self.net.parameters:
            self._update(param, rate, scale, keep_update=True)

    # --- snapshots ---

    def snapshot(self, path: str | Path | None = None) -> Path:
        """Writes parameters, history and iteration; returns the file that restore() takes.

        path: of a file in this project's own format, .safetensors. By default the name is
        <snapshot_prefix>_iter_<N>, and the format that of the settings: .safetensors, or Caffe's
        pairs .caffemodel and .solverstate, binary or (.h5) HDF5.
        """
        from unet_native import snapshot

        if path is None and self.settings.snapshot_format != "SAFETENSORS":
            from unet_native.caffe import snapshot as caffes

            return caffes.save_solver(self)
        path = path or f"{self.settings.snapshot_prefix}_iter_{self.iter}.safetensors"
        return snapshot.save_solver(path, self)

    def restore(self, path: str | Path) -> None:
        """Continues from a snapshot: parameters, history, iteration and learning rate step.

        path: .safetensors, or Caffe's .solverstate or .solverstate.h5, which name the model file.
        """
        if Path(path).suffix == ".safetensors":
            from unet_native import snapshot

            snapshot.restore_solver(path, self)
        else:
            from unet_native.caffe import snapshot as caffes

            caffes.restore_solver(path, self)

    # --- the parts of an iteration ---

    def _iterate(self, start: int) -> None:
        self.loss = self._passes()
        self._smooth(self.loss, start)
        if self._displays:
            self.observer.displayed(self)
        for _, on_gradients_ready in self._callbacks:
            on_gradients_ready()
        if self._updates_at_once:
            self.net.backward(on_param_diff=partial(self._update, rate=self._begin_update()))
        else:
            self.apply_update()

    def _replayed(self) -> None:
        """The same in one launch, so that it shows nothing on the way."""
        self._begin_update()
        self.net.iteration = self.iter
        self._replay.step(self.feed(self.iter) if self.feed else {})
        self.loss = self.net.loss

    @property
    def _displays(self) -> bool:
        display = self.settings.display
        return display > 0 and self.iter % display == 0

    def _passes(self) -> float:
        """iter_size passes, forward and, unless that updates at once, back; their mean loss."""
        net, total = self.net, 0.0
        for i in range(self.settings.iter_size):
            net.iteration = k = self.iter * self.settings.iter_size + i
            net.forward(**(self.feed(k) if self.feed else {}))
            total += net.loss
            if not self._updates_at_once:
                net.backward()
        return total / self.settings.iter_size

    def _smooth(self, loss: float, start: int) -> None:
        """The mean loss of the last average_loss iterations since `start`."""
        window = self.settings.average_loss
        if len(self._losses) < window:
            self._losses.append(loss)
        else:
            self._losses[(self.iter - start) % window] = loss
        self.smoothed_loss = sum(self._losses) / len(self._losses)

    def _begin_update(self) -> float:
        before = self.current_step
        self.current_step = self._schedule.current_step(self.iter, before)
        if self.settings.lr_policy == "multistep" and self.current_step != before:
            self.observer.stepped(self)
        rate = self._schedule.rate(self.iter, self.current_step)
        if self._displays:
            self.observer.rated(self, rate)
        if self._rate_there is not None:
            self._rate_there[...] = rate * self._correction()
        return rate

    def _correction(self) -> float:
        """What the update multiplies the rate by in this iteration."""
        return 1.0

    def _clipping(self) -> float:
        """The factor that brings the norm of all diffs together down to clip_gradients."""
        limit = self.settings.clip_gradients
        if limit < 0:
            return 1.0
        norm = sqrt(sum(_sum_of_squares(p.inner.diff) for p in self.net.parameters if p.learns))
        if norm <= limit:
            return 1.0
        self.observer.clipped(norm, limit)
        return limit / norm

    def _update(
        self, param: Parameter, rate: float, scale: float = 1.0, keep_update: bool = False
    ) -> None:
        s, there, histories = self.settings, self._rate_there, self._history_of[param]
        for array in histories:
            array.pull()
        factor = rate * self._correction() if there is None else 1.0
        self._apply(
            param.inner.data,
            param.inner.diff,
            *(array.inner for array in histories),
            rate=factor * param.spec.lr_mult,
            rate_factor=there,
            weight_decay=s.weight_decay * param.spec.decay_mult,
            regularization=s.regularization_type,
            scale=scale,
            keep_update=keep_update,
            context=self._context,
        )
        param.inner.push("data", "diff")
        for array in histories:
            array.push()

    def _apply(self, weight: Array, diff: Array, history: Array, **how) -> None:
        ops.sgd_update(weight, diff, history, momentum=self.settings.momentum, **how)


def _sum_of_squares(array: Array) -> float:
    """In double precision and one fixed order, whatever the number of threads."""
    flat, block = flat_memory(on_host(array), "diff"), 1 << 18
    blocks = (flat[start : start + block] for start in range(0, flat.size, block))
    return float(sum(np.square(block, dtype=np.float64).sum() for block in blocks))

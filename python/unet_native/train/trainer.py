"""The training loop: tiles in, weights, log, snapshots and validations out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from unet_native import _core, snapshot
from unet_native.blob import Array
from unet_native.data.dataset import DataSet
from unet_native.data.prefetch import Prefetcher
from unet_native.data.sampler import Sampler
from unet_native.device_array import on_host
from unet_native.errors import UserError
from unet_native.model_file import Model, model_metadata
from unet_native.report.train_report import TrainReport
from unet_native.train.curves import draw_curves
from unet_native.train.health import HealthCheck, dead_layer
from unet_native.train.log import Log, Row
from unet_native.train.nets import make_nets
from unet_native.train.observer import Observer
from unet_native.train.run_directory import RunDirectory
from unet_native.train.settings import TrainSettings
from unet_native.train.validation import Validation, choosing_score, validate

__all__ = ["DivergenceError", "Trainer"]

_KEPT_SNAPSHOTS = 2
_SMOOTHING = 0.95  # of the exponential mean of the loss
_CURVES_SECONDS = 60.0  # between two pictures


class DivergenceError(UserError):
    """The loss is no longer a finite number."""


class Trainer:
    """Trains one network on a data set, in a folder of its own.

    run          folder for the results, see RunDirectory
    training     slices with labels
    validation   slices held back; None = no validation
    settings     None = the defaults
    weights      model to start from (fine-tuning); None = random weights
    resume       continue from the newest snapshot in `run`
    observer     is told what happens
    context      device and threads. The weights do not depend on the number of threads
    source       where the data come from, as JSON; kept in settings.json
    check        what the data check said, for the report

    With a validation set, model.safetensors is the network that validated best (by
    `choosing_score`, which settings.choose_by decides); without, the latest. The latest is in the
    newest snapshot in any case.

    Nothing is written before :meth:`train`. Raises UserError if `run` holds a run already (or none
    to resume), and for settings or data that differ from those of the run to resume.
    """

    def __init__(
        self,
        run: str | Path,
        training: DataSet,
        validation: DataSet | None = None,
        settings: TrainSettings | None = None,
        *,
        weights: Model | None = None,
        resume: bool = False,
        observer: Observer | None = None,
        context: _core.Context | None = None,
        source: dict[str, Any] | None = None,
        check: str = "",
    ) -> None:
        self.run = RunDirectory(run)
        self.settings = settings or TrainSettings()
        self.training, self.validation = training, validation
        self.observer = observer or Observer()
        self._context = context or _core.Context()
        self._source, self._check = source, check
        self._provenance = {
            "version": _core.version,
            "settings": self.settings.to_dict(),
            "data": {"training": _fingerprint(training), "classes": training.classes},
            "label_rule": training.label_rule and training.label_rule.describe(),
            "label_kind": training.label_rule and training.label_rule.kind,
        }
        self.choosing_score = choosing_score(self.settings.choose_by, training)
        if resume:
            self._check_same_run()
        else:
            self.run.refuse_existing()
        self._report = TrainReport(self.run.report, self.run.report_state, resume=resume)
        self.sampler = Sampler(
            training,
            self.settings.tile,
            self.settings.tile_out,
            self.settings.augment,
            self.settings.seed,
            weights=self.settings.weights,
        )
        self._tiles: Iterator | None = None
        self.solver, self.segmenter = make_nets(
            self.settings, training, validation, self._feed, self._context
        )
        if weights is not None:
            self._start_from(weights)
        self._health = HealthCheck(training.classes)
        self._data: Array | None = None  # the tile of this iteration
        self._smoothed = 0.0
        self._best: float | None = None
        self._validated = 0  # iteration of the last validation
        self._curves_drawn = -math.inf
        if resume:
            self._restore()

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.solver.iter

    @property
    def best_score(self) -> float | None:
        """The best `choosing_score` of the validations so far."""
        return self._best

    def train(self, stop: Callable[[], object] = lambda: False) -> bool:
        """Runs until settings.iterations; returns whether it got there (last validation and all).

        stop: asked after every iteration, and during validations; if true, a snapshot is written
        and the run can be resumed. Raises DivergenceError as soon as the loss is not finite;
        snapshots are then those from before.
        """
        total = self.settings.iterations
        self.run.write_settings(
            {
                "settings": self.settings.to_dict(),
                "data": self._provenance["data"],
                "source": self._source,
            }
        )
        self._log = Log(self.run.log, keep=self.iteration)
        self._smoothed = self._log.rows[-1].smoothed_loss if self._log.rows else 0.0
        self._report.begin(
            self.sampler,
            self.iteration,
            self._check,
            version=_core.version,
            seed=self.settings.seed,
            threads=self._context.threads,
            instructions=self._context.isa,
        )
        try:
            self._catch_up(stop)
            with Prefetcher(self.sampler.sample, self.iteration, total) as self._tiles:
                while self.iteration < total and not stop():
                    self._iterate(stop)
            self._save_snapshot(retry=True)
            if self._best is None:
                self._save_model()
        except DivergenceError:
            self._write_report("diverged")
            raise
        finally:
            self._log.close()
        self._draw_curves()
        finished = self.iteration == total and not self._validation_is_due()
        if finished and self.validation is not None and self._best is None:
            self._validate(stop, choose=False)  # too short a run for any
        self._write_report("finished" if finished else "stopped")
        return finished

    # --- one iteration ---

    def _iterate(self, stop: Callable[[], object]) -> None:
        start = time.perf_counter()
        factor = self.settings.warmup_factor(self.iteration)
        rate = factor * self.solver.lr
        # Caffe's policies know no warm-up; a weight of the loss has the same effect.
        self.solver.net.weigh_losses(factor)
        self.solver.step(1)
        loss = self.solver.loss
        if not math.isfinite(loss):
            raise self._diverged(loss)
        before = self._smoothed if self._log.rows else loss
        self._smoothed = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        seconds = time.perf_counter() - start
        scores = self._validate(stop) if self._validation_is_due() else {}
        row = Row(self.iteration, loss, self._smoothed, rate, seconds, scores)
        self._log.append(row)
        self.observer.iteration(row, self.settings.iterations)
        self._look_at_health()
        going_on = self.iteration < self.settings.iterations
        saves = going_on and self.iteration % self.settings.snapshot == 0
        if saves:
            self._save_snapshot()
            if self.validation is None:
                self._save_model()
        if going_on and (scores or (saves and self.validation is None)):
            self._write_report("running")
        if scores or time.monotonic() - self._curves_drawn > _CURVES_SECONDS:
            self._draw_curves()

    def _look_at_health(self) -> None:
        health, now = self._health, (self.iteration, self._smoothed)
        if health.has_learnt_nothing(*now):
            self._warn(health.explain(*now, dead_layer(self.solver.net, self._data)))
        if complaint := health.explosion(*now):
            self._warn(complaint)

    def _feed(self, iteration: int) -> dict:
        data, label, weight = next(self._tiles)
        self._health.add(label, weight)
        self._data = data
        return {"data": data, "label": label, "weight": weight}

    def _diverged(self, loss: float) -> DivergenceError:
        kept = self.run.snapshot_paths()
        where = f"the snapshot {kept[0]} is from before" if kept else "there is no snapshot yet"
        return DivergenceError(
            f"iteration {self.iteration}: the loss is {loss}, the training has diverged ({where}); "
            f"start again with a lower --base-lr (now {self.settings.base_lr:g})"
        )

    # --- validation ---

    def _validation_is_due(self) -> bool:
        """At fixed iterations only: otherwise the choice of the best would depend on stops."""
        due = self.iteration % self.settings.test_interval == 0
        return self.validation is not None and due and self._validated != self.iteration

    def _catch_up(self, stop: Callable[[], object]) -> None:
        """A validation that was interrupted."""
        if self.iteration and self._validation_is_due() and (scores := self._validate(stop)):
            self._log.amend(scores)

    def _validate(self, stop: Callable[[], object], choose: bool = True) -> dict[str, float]:
        """Scores, or nothing if `stop` became true meanwhile. choose: keep the model if best."""
        found = validate(
            self.segmenter, self.validation, self.choosing_score, self.observer.validating, stop
        )
        self.segmenter.release()
        if found is None:
            return {}
        scores = found.scores
        if complaint := self._health.one_class(self.iteration, found.predicted):
            self._warn(complaint)
        if not choose:
            self._report_validation(found)
            self.observer.validated(self.iteration, scores, False)
            return scores
        self._validated = self.iteration
        score = scores.get(self.choosing_score, -math.inf)
        best = self._best is None or score > self._best
        if best:
            self._best = score
            self._save_model(scores)
            self._report_validation(found)
        self.observer.validated(self.iteration, scores, best)
        return scores

    # --- files ---

    def _save_model(self, scores: dict[str, float] | None = None) -> None:
        metadata = self._metadata(scores)
        snapshot.save_model(self.run.model, self.solver.net, metadata)

    def _metadata(self, scores: dict[str, float] | None = None) -> dict[str, str]:
        provenance = self._provenance | {"iteration": self.iteration}
        if scores:
            provenance["scores"] = scores
        return model_metadata(self.training.normaliser, provenance)

    def _save_snapshot(self, retry: bool = False) -> None:
        state = {"best": self._best, "validated": self._validated}
        self.solver.metadata = self._metadata() | {"training": json.dumps(state)}
        path = self.run.snapshot_path(self.iteration)
        parameters = [on_host(p.inner.latest("data")) for p in self.solver.net.parameters]
        if not all(np.isfinite(array).all() for array in parameters):
            raise self._diverged(math.nan)
        try:
            self.solver.snapshot(path)
        except UserError as error:
            if retry:
                self.run.keep_newest(1)  # may free what is missing
                self.solver.snapshot(path)
            else:
                self._warn(f"{error}; training goes on, the next snapshot tries again")
                return
        self.run.keep_newest(_KEPT_SNAPSHOTS)
        self.observer.snapshot(path)

    def _draw_curves(self) -> None:
        self._curves_drawn = time.monotonic()
        try:
            draw_curves(self.run.curves, self._log.rows, self.run.path.name)
        except UserError as error:
            self._warn(str(error))

    def _report_validation(self, found: Validation) -> None:
        images = {item.name: item.raw for item in self.validation}
        self._report.validated(
            self.iteration, self.choosing_score, found.result, found.slices, found.objects, images
        )

    def _write_report(self, state: str) -> None:
        parameters = sum(param.blob.count for param in self.solver.net.parameters)
        try:
            self._report.write(
                state, self._log.rows, self.settings.to_dict(), self._source, parameters
            )
        except UserError as error:
            self._warn(str(error))

    def _warn(self, text: str) -> None:
        self._report.warn(text)
        self.observer.warning(text)

    # --- starting from something ---

    def _start_from(self, model: Model) -> None:
        """Copies the weights; the last layer starts anew if the classes are others."""
        net = self.solver.net
        given = {name: [blob.data for blob in blobs] for name, blobs in model.net.params.items()}
        if model.classes != self.training.classes:
            last = next(layer.name for layer in net.spec.layers if "score" in layer.top)
            given.pop(last, None)
        try:
            unknown = net.load_params(given)
        except ValueError as error:
            raise UserError(
                f"the weights do not fit this network: {error}; leave out --net, --base-width and "
                "--depth, and use images of as many channels"
            ) from error
        if unknown or not given:
            raise UserError(f"the weights are of another network: it has no layer {unknown[0]!r}")

    def _check_same_run(self) -> None:
        stored = self.run.read_settings()
        before = TrainSettings.from_dict(stored["settings"])
        if changed := self.settings.differences(before):
            texts = [f"{n} ({getattr(before, n)} in the run)" for n in changed]
            raise UserError(
                f"{self.run.path}: cannot be resumed with other settings: {', '.join(texts)}; "
                "leave these options out, or start a new run with --weights"
            )
        if stored["data"] != self._provenance["data"]:
            raise UserError(
                f"{self.run.path}: cannot be resumed with other training data; give the same "
                "images and labels, or start a new run with --weights"
            )

    def _restore(self) -> None:
        """From the newest snapshot that can be read; from the beginning if there is none."""
        for path in self.run.snapshot_paths():
            try:
                snapshot.restore_solver(path, self.solver)
                state = json.loads(snapshot.read(path).metadata["training"])
                self._best, self._validated = state["best"], state["validated"]
            except (UserError, KeyError, ValueError) as error:
                self._warn(f"{error}; trying the snapshot before")
                continue
            if self.iteration > self.settings.iterations:
                raise UserError(
                    f"{self.run.path}: has done {self.iteration} iterations already; resume it "
                    "with a larger --iterations"
                )
            return


def _fingerprint(dataset: DataSet) -> str:
    """A text that changes with any pixel or label."""
    digest = blake2b(digest_size=16)
    for item in dataset:
        for array in (item.raw, item.labels, item.instances, item.ignore):
            if array is not None:
                digest.update(f"{array.shape} {array.dtype}".encode())
                digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()

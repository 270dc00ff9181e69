"""Net: layers over named blobs, planned before they run. The surface is pycaffe's.

A step of training, from the top:

    net = Net(models.fig1(), "TRAIN", seed=1)
    net.forward(data=..., label=..., weight=...)      # {"loss": array}
    net.clear_param_diffs()
    net.backward()                                    # net.params["conv_d0a-b"][0].diff
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from math import isnan, prod

import numpy as np

from unet_native import arena, layers, observed, parameters
from unet_native._core import device_wait
from unet_native.blob import Blob, ObservedBlob
from unet_native.exchange import ParameterExchange
from unet_native.graph import Graph
from unet_native.layers import Execution, Layer, crop
from unet_native.ops import Context
from unet_native.ops.arrays import Array, context_or_default
from unet_native.parameters import Parameter
from unet_native.plan import Plan
from unet_native.replay import Recording, is_recordable
from unet_native.runner import OnStep, Runner
from unet_native.spec import NetSpec, Shape


class Net(ParameterExchange):
    """The layers of `spec` that belong to `phase`, ready to run.

    seed       decides the initial parameters and the dropout masks; None draws one (see `seed`)
    plan       "observable": every blob and diff can be read and written, in C order as in pycaffe
               (see unet_native.observed); "lean": only inputs and outputs (see unet_native.plan)
    algorithm  of the 3x3 convolutions: "auto", "direct" or "winograd"
    params_of  another net, whose parameters this one uses instead of its own
    fill       whether to fill the parameters; if not, they are 0 until they are loaded
    transient_param_diffs   lean only: diffs of parameters exist only while backward() hands them
               to its `on_param_diff`
    shapes     of inputs, by blob name, in place of those in `spec`: data=(1, 1, 572, 572)

    Attributes beyond pycaffe's: `spec`, `phase`, `plan`, `parameters` (all, in order), and
    `on_step`, called after each pass of a layer with its name, the pass and the seconds it took.

    With a `context` on a device all blobs lie there, and whoever reads one sees a copy
    (unet_native.observed).
    """

    def __init__(
        self,
        spec: NetSpec,
        phase: str = "TRAIN",
        *,
        seed: int | None = None,
        context: Context | None = None,
        plan: str = "observable",
        algorithm: str = "auto",
        params_of: Net | None = None,
        fill: bool = True,
        transient_param_diffs: bool = False,
        **shapes: Shape,
    ):
        self.spec = spec = spec.with_input_shapes(shapes)
        self.phase = phase
        self._loss: float | None = 0.0
        self._loss_layers: list[Layer] = []
        self.on_step: OnStep | None = None
        self._runner: Runner | None = None
        self._recording = Recording()
        seed = secrets.randbits(63) if seed is None else seed
        self._execution = Execution(phase, seed, algorithm, context)
        if params_of is not None and _place(params_of) != _place(self):
            raise ValueError(
                f"the parameters lie on {_place(params_of)}, the net on {_place(self)}; give both "
                "one context"
            )
        self.layers = layers.create_all(spec.for_phase(phase), self._execution, spec.name)
        self._layer_names = [layer.name for layer in self.layers]
        self.layer_dict = OrderedDict(zip(self._layer_names, self.layers, strict=True))
        lean = plan == "lean"
        if transient_param_diffs and not lean:
            raise ValueError("transient_param_diffs needs plan='lean'")
        self._transient = transient_param_diffs
        self._graph = Graph(self.layers, force_backward=spec.force_backward and not lean)
        self.inputs = self._graph.inputs
        self.outputs = self._graph.outputs
        first_shapes = self._graph.shapes({})
        self._make_plan(plan, first_shapes)
        self._all_blobs = OrderedDict(
            (
                name,
                Blob.zeros(shape, resizable=True, context=context)
                if name in self.inputs
                else Blob(None, None),
            )
            for name, shape in first_shapes.items()
        )
        seen = {*self.inputs, *self.outputs} if lean else first_shapes.keys()
        as_they_are = lean and self._execution.is_on_host
        self.blobs = OrderedDict(
            (k, blob if as_they_are else ObservedBlob(blob))
            for k, blob in self._all_blobs.items()
            if k in seen
        )
        for layer in self.layers:
            layer.bottom = [self._all_blobs[name] for name in layer.spec.bottom]
            layer.top = [self._all_blobs[name] for name in layer.spec.top]
        self.parameters = parameters.of_layers(self.layers)
        parameters.make(
            self.parameters,
            first_shapes,
            seed=seed,
            source={} if params_of is None else params_of._inner_params,
            fill=fill,
            diffs=not self._transient and (phase == "TRAIN" or not lean),
        )
        for layer in self.layers:
            layer.blobs = layer.params if as_they_are else [ObservedBlob(b) for b in layer.params]
        self.params = OrderedDict((layer.name, layer.blobs) for layer in self.layers if layer.blobs)
        self._inner_params = {layer.name: layer.params for layer in self.layers if layer.params}
        self._bind()

    # --- how it hangs together ---

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """By layer, the names of its tops."""
        return OrderedDict((layer.name, list(layer.spec.top)) for layer in self.layers)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """By layer, the names of its bottoms."""
        return OrderedDict((layer.name, list(layer.spec.bottom)) for layer in self.layers)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """By blob, its weight in the objective; 0: not part of it."""
        weights = OrderedDict.fromkeys(self._all_blobs, 0.0)
        for layer in self.layers:
            for i, name in enumerate(layer.spec.top):
                weights[name] = layer.loss_weight(i) or weights[name]
        return weights

    @property
    def notices(self) -> list[str]:
        """What of this net has two meanings in Caffe's files, and which one applies here."""
        return crop.notices(self.layers)

    # --- shapes, memory ---

    def reshape(self) -> None:
        """Follows the inputs' shapes, if they changed; arrays of other blobs are new afterwards.

        As in Caffe, forward() does so by itself. Raises ValueError if a layer cannot take them.
        """
        bound = self._bound_inputs
        if any(self._all_blobs[name].data is not data for name, data in bound.items()):
            shapes = self._graph.shapes({name: self.blobs[name].shape for name in self.inputs})
            for param in self.parameters:
                wanted, shape = parameters.shape_of(param, shapes), param.inner.shape
                if wanted != shape:
                    raise param.layer.refuse(f"parameters of shape {shape} do not fit: {wanted}")
            self._make_plan(self.plan.kind, shapes)
            self._bind()

    def memory(self) -> dict[str, int]:
        """Bytes that the net holds, by use. The system counts pages only once they are touched."""
        blobs = [param.inner for param in self.parameters]
        own_diffs = [blob for blob in blobs if blob.diff is not None and not self._transient]
        return {
            "parameters": 4 * sum(blob.count for blob in blobs),
            "diffs of parameters": 4 * sum(blob.count for blob in own_diffs),
            "inputs": 4 * sum(self.blobs[name].count for name in self.inputs),
            "blobs, diffs and workspace": self.plan.bytes,
            "observed arrays": sum(b.twin_bytes for b in (*self._all_blobs.values(), *blobs)),
        }

    def summary(self) -> str:
        """The memory and the plan, a few lines for people."""
        uses = [f"{name}: {nbytes / 1e6:.1f} MB" for name, nbytes in self.memory().items()]
        return "\n".join([", ".join(uses), self.plan.summary()])

    def _make_plan(self, kind: str, shapes: dict[str, Shape]) -> None:
        self.plan = Plan(
            kind,
            self._graph,
            shapes,
            backward=kind == "observable" or self.phase == "TRAIN",
            transient_param_diffs=self._transient,
        )
        inputs = 8 * sum(prod(shapes[name]) for name in self.inputs)
        if why := arena.excess(self.plan.bytes + inputs):
            raise ValueError(f"network {self.spec.name!r} {why}; make its inputs smaller")

    def _bind(self) -> None:
        """Lays the blobs into new memory; the old one goes first."""
        self._runner = None
        for name, blob in self._all_blobs.items():
            if name not in self.inputs:
                blob.bind(data=None, diff=None)
        for layer in self.layers:
            layer.release()
        self._runner = Runner(
            self.layers, self.plan, self._all_blobs, self.inputs, self._execution.context
        )
        self._bound_inputs = {name: self._all_blobs[name].data for name in self.inputs}

    # --- running ---

    @property
    def loss(self) -> float:
        """The weighted sum of the losses of the last forward pass; a device is waited for.

        On a device this is what raises UserError for a label that is none.
        """
        if self._loss is None:
            self._loss = sum(
                weight * float(blob.data.sum())
                for layer in self._loss_layers
                for i, blob in enumerate(layer.top)
                if (weight := layer.loss_weight(i))
            )
            if isnan(self._loss) and not self._execution.is_on_host:
                for layer in self._loss_layers:
                    layer.check_labels()
        return self._loss

    @property
    def context(self) -> Context:
        """Where the net runs."""
        return context_or_default(self._execution.context)

    @property
    def seed(self) -> int:
        """Decides, with `iteration`, the dropout masks."""
        return self._execution.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._execution.seed = seed

    @property
    def iteration(self) -> int:
        """Forward passes so far: decides, with `seed`, the dropout masks of the next one."""
        return self._execution.iteration

    @iteration.setter
    def iteration(self, iteration: int) -> None:
        self._execution.iteration = iteration

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Array,
    ) -> dict[str, Array]:
        """Runs the layers from `start` to `end`, both included; None: the first, the last.

        inputs: values of all inputs of the net, by blob name. Returns the data, by blob name, of
        the net's outputs (or of the tops of `end`) and of the further `blobs`: the arrays
        themselves, which the next pass overwrites.
        """
        first, last = self._range(start, end, 0, len(self.layers) - 1)
        self.take(inputs)
        tops = self.outputs if end is None else self.layer_dict[end].spec.top
        wanted = self._visible([*tops, *(blobs or ())])
        running = self.layers[first : last + 1]
        observed.before_forward(running)
        if self.plan.lean and self._execution.is_on_host and is_recordable(self):
            self._recording.run(self, partial(self.run_forward, first, last))
        else:
            self.run_forward(first, last)
        observed.after_forward(running)
        if self._execution.is_on_host:
            self._loss = self.loss
        if first == 0:
            self.iteration += 1
        return {name: self.blobs[name].data for name in wanted}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        *,
        on_param_diff: Callable[[Parameter], None] | None = None,
        **output_diffs: Array,
    ) -> dict[str, Array]:
        """Runs the layers back from `start` to `end`, both included; None: the last, the first.

        Diffs of parameters are added to, those of blobs overwritten. output_diffs: diffs of all
        outputs of the net, by blob name. on_param_diff: called for each parameter as soon as its
        diff is complete and its value no longer needed. Returns the diffs, by blob name, of the
        net's inputs (or of the bottoms of `end`) and of the further `diffs`.
        """
        last, first = self._range(start, end, len(self.layers) - 1, 0)
        if output_diffs:
            if set(output_diffs) != set(self.outputs):
                raise ValueError(
                    f"diffs of {sorted(output_diffs)} given, of {sorted(self.outputs)} wanted"
                )
            for name, value in output_diffs.items():
                _assign(self._all_blobs[name].latest("diff"), value, name)
        if self._transient and on_param_diff is None:
            raise ValueError("backward: a net with transient_param_diffs needs on_param_diff")
        bottoms = self.inputs if end is None else self.layer_dict[end].spec.bottom
        wanted = self._visible([*bottoms, *(diffs or ())])
        running = set(self.layers[first : last + 1])
        observed.before_backward(running)
        self.run_backward(running, on_param_diff)
        observed.after_backward(running)
        return {name: self.blobs[name].diff for name in wanted}

    def weigh_losses(self, factor: float) -> None:
        """Multiplies the weights of all losses, from the next backward pass on.

        The same can be done by writing to their diffs, but on a device those would be copied around
        each pass from then on.
        """
        for layer in self.layers:
            for i, blob in enumerate(layer.top):
                if weight := layer.loss_weight(i):
                    blob.latest("diff")[...] = weight * factor

    def wait(self) -> None:
        """Waits until a device has done all that was launched; the CPU has when a pass returns."""
        if not self._execution.is_on_host:
            device_wait(self.context)

    # --- the parts of a pass, for forward, backward and unet_native.replay ---

    def take(self, inputs: Mapping[str, Array]) -> None:
        """Brings the inputs, and the number of the pass, where the layers read them."""
        if inputs:
            if set(inputs) != set(self.inputs):
                raise ValueError(f"inputs {sorted(inputs)} given, {sorted(self.inputs)} wanted")
            for name, value in inputs.items():
                _assign(self._all_blobs[name].latest("data"), value, name)
        self.reshape()
        self._execution.iteration_there[...] = self.iteration

    def passed(self, layers: Sequence[Layer] | None = None) -> None:
        """These layers, or all, have run forward: there is a new loss to be asked for."""
        self._loss, self._loss_layers = None, self.layers if layers is None else layers

    def run_forward(self, first: int, last: int) -> None:
        """The layers from `first` to `last`; leaves the loss to be asked for."""
        self._runner.on_step = self.on_step
        self._runner.forward(first, last)
        self.passed(self.layers[first : last + 1])

    def run_backward(
        self, running: Collection[Layer], on_param_diff: Callable[[Parameter], None] | None
    ) -> None:
        """The backward passes of the layers `running`."""
        self._runner.on_step = self.on_step
        self._runner.backward(
            running, self.parameters, on_param_diff, accumulate=not self._transient
        )

    def _range(self, start: str | None, end: str | None, first: int, last: int) -> tuple[int, int]:
        for name in (start, end):
            if name is None:
                continue
            if self.plan.lean:
                raise ValueError("a net with plan='lean' runs all its layers; use 'observable'")
            if name not in self.layer_dict:
                raise ValueError(f"the net has no layer named {name!r}")
        names = self._layer_names
        return (
            first if start is None else names.index(start),
            last if end is None else names.index(end),
        )

    def _visible(self, names: Sequence[str]) -> list[str]:
        for name in names:
            if name not in self._all_blobs:
                raise ValueError(f"the net has no blob named {name!r}")
            if name not in self.blobs:
                raise ValueError(f"plan='lean' does not keep blob {name!r}; use 'observable'")
        return list(dict.fromkeys(names))

    def clear_param_diffs(self) -> None:
        """Sets the diffs of all parameters to 0, as Caffe's solver does before each iteration."""
        for param in self.parameters:
            if (diff := param.inner.latest("diff")) is not None:
                diff[...] = 0


def _place(net: Net) -> str:
    where = net.context
    return where.device if where.gpu == 0 else f"{where.device}:{where.gpu}"


def _assign(target: Array, value: Array, name: str) -> None:
    try:
        target[...] = value
    except ValueError:
        raise ValueError(
            f"{name!r} wants shape {target.shape}, got {np.shape(value)}; "
            "reshape the blob first if that is meant"
        ) from None

"""What all layers have in common: shapes, parameters, and up to three passes.

A layer owns no memory. The net gives it blobs, workspace and buffers before it runs, and asks the
layer beforehand what it will need:

  top_shapes       shapes of the tops, from those of the bottoms (Caffe's Reshape)
  param_shapes     shapes of the parameters, from those of the bottoms
  kept_buffers     what the forward pass leaves for the backward passes, beside the blobs
  workspace_bytes  scratch memory of one pass
  *_reads          which data the backward passes still read: this decides how long they live

Passes: forward; backward_weights, which adds to the diffs of the parameters; backward_data, which
writes or adds to the diffs of the bottoms. Every layer calls the ops of the core and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unet_native import arena
from unet_native.blob import Blob
from unet_native.errors import UserError
from unet_native.ops import Context
from unet_native.ops.arrays import Array
from unet_native.spec import FillerParameter, LayerSpec, Shape


@dataclass
class Execution:
    """How the layers of one net run.

    `iteration` counts the forward passes of a training run: together with `seed` and the layer's
    index it decides which dropout mask is drawn. `iteration_there` is the same number where the
    ops read it, one uint64.
    """

    phase: str
    seed: int
    algorithm: str = "auto"
    context: Context | None = None
    iteration: int = 0
    iteration_there: NDArray[np.uint64] = field(init=False)

    def __post_init__(self) -> None:
        self.iteration_there = arena.allocate(8, self.context).view(np.uint64)

    @property
    def is_on_host(self) -> bool:
        return self.context is None or self.context.device == "cpu"


@dataclass(frozen=True)
class CoordinateMap:
    """Where the pixels of a blob lie in the data: scale * pixel + shift, for rows and columns."""

    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def window(self, step: float, row: float, column: float) -> CoordinateMap:
        """The map of a blob whose pixels lie `step` pixels of this one apart, the first there."""
        first_row, first_column = self.shift
        return CoordinateMap(
            self.scale * step, (first_row + self.scale * row, first_column + self.scale * column)
        )


def refusal(spec: LayerSpec, why: str) -> ValueError:
    """The error that says what a layer cannot do, and where it stands."""
    place = f"{spec.where}: " if spec.where else ""
    return ValueError(f"{place}layer {spec.name!r} ({spec.type}): {why}")


class Layer:
    """One layer of a net.

    bottom, top   the blobs it reads and writes; an in-place layer has the same blob in both
    params        its parameters: weight and bias of a (de)convolution
    blobs         its parameters as the net's user sees them, under pycaffe's name
    needs_backward, learns   whether backward_data and backward_weights run at all
    propagate     for each bottom, whether its diff is wanted
    param_propagate   the same for each parameter
    accumulate    for each bottom, whether another layer has written that diff before
    parts         the two blobs to read in place of bottom[0], where that has no data
    bottom_diffs  for each bottom, where its diff goes
    workspace     scratch memory of the pass that runs, float32
    kept          what `kept_buffers` asked for, by name
    """

    num_bottoms: tuple[int, int] = (1, 1)
    num_tops: tuple[int, int] = (1, 1)
    transposed_filter = False

    #: Data that the backward passes read, beside the top's diff: "bottom", "top", or both.
    backward_weights_reads: tuple[str, ...] = ()
    backward_data_reads: tuple[str, ...] = ()

    #: Whether forward() takes the negative_slope of a ReLU to apply to what it writes.
    can_fuse_relu = False

    #: Whether a top may be its bottom.
    works_in_place = False

    #: Whether backward_data can itself add to a diff; if not, the net adds for it.
    can_accumulate = False

    #: Whether a pass computes on the host and not by ops, also when the net is on a device.
    works_on_host = False

    #: Whether backward_data is so cheap and its bottoms' diffs so large that it had better wait
    #: until those are needed.
    backward_may_wait = False

    def __init__(self, spec: LayerSpec, index: int, execution: Execution):
        self.spec = spec
        self.name = spec.name
        self.index = index
        self.execution = execution
        self.bottom: list[Blob] = []
        self.top: list[Blob] = []
        self.params: list[Blob] = []
        self.blobs: list[Blob] = []
        self.needs_backward = False
        self.learns = False
        self.propagate: list[bool] = []
        self.param_propagate: list[bool] = []
        self.accumulate: list[bool] = []
        self.parts: list[Blob] = []
        self.bottom_diffs: list[Array | None] = []
        self.workspace: Array | None = None
        self.kept: dict[str, NDArray] = {}
        self._check_count("bottom", len(spec.bottom), self.num_bottoms)
        self._check_count("top", len(spec.top), self.num_tops)

    @property
    def type(self) -> str:
        return self.spec.type

    @property
    def in_place(self) -> bool:
        return self.spec.top[0] in self.spec.bottom

    def refuse(self, why: str) -> ValueError:
        """The error that says what this layer cannot do."""
        return refusal(self.spec, why)

    def refuse_data(self, why: str) -> UserError:
        """The error for data that no layer of this kind can take."""
        return UserError(str(refusal(self.spec, why)))

    def _check_count(self, what: str, count: int, limits: tuple[int, int]) -> None:
        low, high = limits
        if not low <= count <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            raise self.refuse(f"{wanted} {what} blobs wanted, {count} given")

    def release(self) -> None:
        """Lets go of all arrays but the parameters."""
        self.parts, self.bottom_diffs, self.workspace, self.kept = [], [], None, {}

    # --- what the net asks before it runs ---

    def top_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        """Shapes of the tops. Raises ValueError for bottoms that the layer cannot take."""
        return [bottoms[0]]

    def param_shapes(self, bottoms: list[Shape]) -> list[Shape]:
        return []

    def fillers(self) -> list[FillerParameter]:
        """How to fill each parameter at first."""
        return []

    def kept_buffers(self, bottoms: list[Shape]) -> dict[str, tuple[Shape, type]]:
        """Shape and dtype, by name, of what the forward pass leaves for the backward passes."""
        return {}

    def workspace_bytes(self, step: str, bottoms: list[Shape]) -> int:
        """Scratch bytes of "forward", "backward_weights" or "backward_data"."""
        return 0

    def backpropagates_to(self, bottom: int) -> bool:
        """Whether the layer has a gradient with respect to that bottom at all."""
        return True

    def is_cheap(self, bottoms: list[Shape]) -> bool:
        """Whether its top had better be computed again than kept for the backward pass."""
        return False

    def absorbs_relu(self, bottoms: list[Shape]) -> bool:
        """Whether backward_data had better do that of a ReLU in place that made the bottom as well:
        it then gets its negative_slope, and reads the bottom's data."""
        return False

    def reads_only_shape(self, bottom: int) -> bool:
        """Whether that bottom only lends its shape."""
        return False

    def takes_parts(self, parts: list[Shape]) -> bool:
        """Whether it can read two such blobs in place of their concat, for equal bits."""
        return False

    def coordinates(self, bottoms: list[CoordinateMap]) -> CoordinateMap:
        """Where the pixels of the tops lie, from where those of the bottoms lie."""
        return bottoms[0] if bottoms else CoordinateMap()

    def loss_weight(self, top: int) -> float:
        """Weight of that top in the objective; 0: not part of it."""
        return self.spec.loss_weight[top] if top < len(self.spec.loss_weight) else 0.0

    # --- the passes ---

    def forward(self) -> None:
        """Writes the data of the tops."""
        raise NotImplementedError

    def backward_weights(self, *, accumulate: bool = True) -> None:
        """Adds to the diffs of the parameters (or overwrites them)."""

    def backward_data(self) -> None:
        """Writes the diffs of those bottoms that `propagate` names to `bottom_diffs`."""

    def check_labels(self) -> None:
        """Raises UserError if the last forward pass had a label that is none, and did not look."""

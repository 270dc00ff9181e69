"""How much memory a network takes, planned without taking it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from unet_native import layers, parameters
from unet_native.graph import Graph
from unet_native.layers import Execution
from unet_native.ops import Context
from unet_native.plan import Plan
from unet_native.spec import NetSpec, Shape


def _planned(
    spec: NetSpec, phase: str, context: Context | None, algorithm: str
) -> tuple[Plan, list[str], int]:
    """The lean plan, the names of the inputs, and the number of all parameters."""
    run = Execution(phase, 0, algorithm, context)
    own = layers.create_all(spec.for_phase(phase), run, spec.name)
    graph = Graph(own, force_backward=False)
    shapes, training = graph.shapes({}), phase == "TRAIN"
    plan = Plan("lean", graph, shapes, backward=training, transient_param_diffs=training)
    weights = sum(prod(parameters.shape_of(p, shapes)) for p in parameters.of_layers(own))
    return plan, graph.inputs, weights


def tile_bytes(spec: NetSpec, context: Context | None, algorithm: str, data: Shape) -> int:
    """Bytes of the blobs and workspace of a lean net that segments tiles of the shape `data`."""
    return _planned(spec.with_input_shapes({"data": data}), "TEST", context, algorithm)[0].bytes


def training_bytes(spec: NetSpec, context: Context | None, algorithm: str = "auto") -> int:
    """Bytes of a lean training net, its inputs, its weights and their momentum."""
    plan, inputs, weights = _planned(spec, "TRAIN", context, algorithm)
    return plan.bytes + 4 * (2 * sum(prod(plan.shapes[name]) for name in inputs) + 2 * weights)


def largest_fitting(sides: Sequence[int], bytes_of: Callable[[int], int], room: int) -> int | None:
    """The largest of the tiles `sides`, in ascending order, that takes at most `room` bytes.

    None if not even the first one does.
    """
    low, high = -1, len(sides)  # sides[low] fits, sides[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if bytes_of(sides[middle]) <= room:
            low = middle
        else:
            high = middle
    return sides[low] if low >= 0 else None

"""How much memory a training takes, planned without taking it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import prod

from unet_native import layers, parameters
from unet_native.graph import Graph
from unet_native.layers import Execution
from unet_native.ops import Context
from unet_native.plan import Plan
from unet_native.spec import NetSpec


def training_bytes(spec: NetSpec, context: Context, histories: int = 1) -> int:
    """Bytes of a lean training net with weights and `histories` arrays of momentum for each."""
    run = Execution("TRAIN", 0, context=context)
    own = layers.create_all(spec.for_phase("TRAIN"), run, spec.name)
    graph = Graph(own)
    shapes = graph.shapes({})
    plan = Plan("lean", graph, shapes, backward=True, transient_param_diffs=True)
    inputs = sum(2 * prod(shapes[name]) for name in graph.inputs)  # data and diff
    weights = sum(prod(parameters.shape_of(p, shapes)) for p in parameters.of_layers(own))
    return plan.bytes + 4 * (inputs + (1 + histories) * weights)


def largest_fitting(
    sides: Iterable[int], spec_of: Callable[[int], NetSpec], context: Context, room: int
) -> int | None:
    """The largest of the tiles `sides`, given in ascending order, whose training fits `room` bytes.

    None if not even the first one does.
    """
    sides = list(sides)
    low, high = -1, len(sides)  # sides[low] fits, sides[high] does not
    while high - low > 1:
        middle = (low + high) // 2
        if training_bytes(spec_of(sides[middle]), context) <= room:
            low = middle
        else:
            high = middle
    return sides[low] if low >= 0 else None

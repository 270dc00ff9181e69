"""The net as Caffe runs it: one phase, and a Split layer behind each blob with several readers.

Here the readers of a blob share it, and no Split is needed (see unet_native.graph); in Caffe's logs
and model files they stand as layers of their own.
Source: Caffe insert_splits.cpp; net.cpp, Init and FilterNet.
"""

from __future__ import annotations

from collections import Counter

from google.protobuf.message import Message

from unet_native.caffe import schema
from unet_native.caffe.network import to_message
from unet_native.spec import NetSpec

PHASES = {"TRAIN": 0, "TEST": 1}


def of_phase(network: NetSpec, phase: str) -> Message:
    """The layers of one phase as NetParameter, without Split layers, with the net's state."""
    whole = to_message(network)
    message = schema.new("NetParameter")
    message.name = whole.name
    if whole.force_backward:
        message.force_backward = True
    message.state.phase = PHASES[phase]
    message.layer.extend(whole.layer[index] for index, _ in network.for_phase(phase))
    return message


def inserted(net: Message) -> Message:
    """A copy of the net with Split layers, as Caffe's model files hold it.

    Every layer is told its phase, and a loss the weight 1 that it has unless it says otherwise.
    """
    sources, readers = _sources(net)
    result = schema.new("NetParameter")
    result.CopyFrom(net)
    result.ClearField("layer")
    used: Counter[tuple[int, int]] = Counter()  # by (layer, top): how many copies are taken
    for i, layer in enumerate(net.layer):
        copy = result.layer.add()
        copy.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            top = sources[i, j]
            if readers[top] > 1:
                copy.bottom[j] = _blob_name(net.layer[top[0]].name, blob, top[1], used[top])
                used[top] += 1
        for j, blob in enumerate(layer.top):
            if readers[i, j] < 2:
                continue
            split = result.layer.add(name=_layer_name(layer.name, blob, j), type="Split")
            split.bottom.append(blob)
            split.top.extend(_blob_name(layer.name, blob, j, k) for k in range(readers[i, j]))
            if weight := _loss_weight(layer, j):
                split.loss_weight.extend([weight] + [0] * (readers[i, j] - 1))
                copy.ClearField("loss_weight")
                used[i, j] += 1
    for layer in result.layer:
        if not layer.HasField("phase"):
            layer.phase = net.state.phase
        if layer.type.endswith("Loss") and not layer.loss_weight:
            layer.loss_weight.append(1)
    return result


def _sources(net: Message) -> tuple[dict[tuple[int, int], tuple[int, int]], Counter]:
    """Which (layer, top) each (layer, bottom) reads, and how many readers each of those has."""
    latest: dict[str, tuple[int, int]] = {}
    sources: dict[tuple[int, int], tuple[int, int]] = {}
    readers: Counter[tuple[int, int]] = Counter()
    for i, layer in enumerate(net.layer):
        for j, blob in enumerate(layer.bottom):
            sources[i, j] = latest[blob]
            readers[latest[blob]] += 1
        for j, blob in enumerate(layer.top):
            latest[blob] = (i, j)
            readers[i, j] += _loss_weight(layer, j) != 0  # the objective reads it, too
    return sources, readers


def _loss_weight(layer: Message, top: int) -> float:
    return layer.loss_weight[top] if top < len(layer.loss_weight) else 0.0


def _layer_name(layer: str, blob: str, top: int) -> str:
    return f"{blob}_{layer}_{top}_split"


def _blob_name(layer: str, blob: str, top: int, copy: int) -> str:
    return f"{_layer_name(layer, blob, top)}_{copy}"

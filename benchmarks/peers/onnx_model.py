"""The network as an ONNX file, for the peers that read one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.problem import Problem


def write(problem: Problem, path: Path) -> Path:
    """Writes the network with its weights; input "data", output "score"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, sizes = [], [], {"data": problem.tile}
    params = {name: (kind, arrays) for name, kind, arrays in problem.layers()}

    def constant(name: str, array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array, name))
        return name

    for spec in problem.spec.for_phase("TEST"):
        layer = spec[1]
        bottom, top = list(layer.bottom), layer.top[0]
        if layer.type in ("Convolution", "Deconvolution"):
            _, (weight, bias) = params[layer.name]
            inputs = [bottom[0], constant(f"{layer.name}.w", weight)]
            inputs.append(constant(f"{layer.name}.b", bias))
            up = layer.type == "Deconvolution"
            kernel, stride = list(weight.shape[2:]), [2, 2] if up else [1, 1]
            relu = f"{top}.linear" if _has_relu(problem, top) else top
            nodes.append(
                helper.make_node(
                    "ConvTranspose" if up else "Conv",
                    inputs,
                    [relu],
                    kernel_shape=kernel,
                    strides=stride,
                )
            )
            size = sizes[bottom[0]]
            sizes[top] = 2 * size if up else size - kernel[0] + 1
        elif layer.type == "ReLU":
            nodes.append(helper.make_node("Relu", [f"{top}.linear"], [top]))
        elif layer.type == "Pooling":
            nodes.append(
                helper.make_node("MaxPool", bottom, [top], kernel_shape=[2, 2], strides=[2, 2])
            )
            sizes[top] = sizes[bottom[0]] // 2
        elif layer.type == "Crop":
            start, length = layer.crop_param.offset[0], sizes[bottom[1]]
            for end, value in (("from", start), ("to", start + length), ("axes", None)):
                values = [2, 3] if value is None else [value, value]
                constant(f"{layer.name}.{end}", np.array(values, np.int64))
            names = [f"{layer.name}.{end}" for end in ("from", "to", "axes")]
            nodes.append(helper.make_node("Slice", [bottom[0], *names], [top]))
            sizes[top] = length
        elif layer.type == "Concat":
            nodes.append(helper.make_node("Concat", bottom, [top], axis=1))
            sizes[top] = sizes[bottom[0]]

    def value(name: str, channels: int):
        shape = [1, channels, sizes[name], sizes[name]]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(nodes, "fig1", [value("data", 1)], [value("score", 2)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _has_relu(problem: Problem, blob: str) -> bool:
    return any(x.type == "ReLU" and x.top[0] == blob for x in problem.spec.layers)

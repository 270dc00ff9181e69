"""Caffe's log, line by line, so that its log parsers and its users' eyes find what they know.

A line is what glog 0.3 wrote in Caffe's time, with the place in Caffe's source that writes it:

    I1124 09:05:03.123456 25680 solver.cpp:239] Iteration 0 (4.1 iter/s, 0.24s/1 iters), loss = 0.7

Source: Caffe caffe.cpp, solver.cpp, sgd_solver.cpp, net.cpp, hdf5_data_layer.cpp; the parsers
tools/extra/parse_log.py and extract_seconds.py. The values are those of this project; a layer that
Caffe would insert (Split) is named, though here there is none.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from math import prod
from typing import TextIO

import numpy as np
from google.protobuf.message import Message

from unet_native.caffe import splits, text
from unet_native.layers import Layer
from unet_native.net import Net
from unet_native.ops.arrays import Array
from unet_native.solver import SGDSolver, SolverObserver


def number(value: float) -> str:
    """A float32 as C++ prints it: six digits."""
    return f"{float(np.float32(value)):g}"


class CaffeLog(SolverObserver):
    """Writes Caffe's log to a stream, by default stderr; that nobody reads it ends no training."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream
        self._since = time.perf_counter()  # the last display
        self._displayed: int | None = None  # its iteration
        self._hdf5_seen = False

    def write(self, place: str, message: str) -> None:
        now = datetime.now()
        stamp = f"I{now:%m%d %H:%M:%S.%f} {os.getpid():5d} {place}] "
        with suppress(OSError):
            print(stamp + message.removesuffix("\n"), file=self._stream or sys.stderr, flush=True)

    # --- before the first iteration ---

    def parameters(self, solver: Message) -> None:
        """The solver's settings as text."""
        self.write(
            "solver.cpp:45", f"Initializing solver from parameters: \n{text.to_text(solver)}"
        )

    def net(self, net: Net, state: Message) -> None:
        """All that Caffe says when it sets up a net; `state`: beyond the phase, a NetState."""
        phase = splits.PHASES[net.phase]
        for layer in net.spec.layers:
            if layer.include not in (None, net.phase):
                self.write(
                    "net.cpp:296",
                    f"The NetState phase ({phase}) differed from the phase "
                    f"({splits.PHASES[layer.include]}) specified by a rule in layer {layer.name}",
                )
        own = splits.of_phase(net.spec, net.phase)
        own.state.MergeFrom(state)
        self.write("net.cpp:53", f"Initializing net from parameters: \n{text.to_text(own)}")
        whole = splits.inserted(own)
        nbytes = 0
        for layer in whole.layer:
            nbytes = self._layer(net, layer, nbytes)
        for layer in reversed(whole.layer):
            if _needs_backward(net, layer):
                self.write("net.cpp:200", f"{layer.name} needs backward computation.")
            else:
                self.write("net.cpp:202", f"{layer.name} does not need backward computation.")
        for name in net.outputs:
            self.write("net.cpp:244", f"This network produces output {name}")
        self.write("net.cpp:257", "Network initialization done.")

    def _layer(self, net: Net, layer: Message, nbytes: int) -> int:
        """One layer's lines; returns the bytes of the tops so far."""
        self.write("layer_factory.hpp:77", f"Creating layer {layer.name}")
        self.write("net.cpp:86", f"Creating Layer {layer.name}")
        for blob in layer.bottom:
            self.write("net.cpp:408", f"{layer.name} <- {blob}")
        for blob in layer.top:
            if blob in layer.bottom:
                self.write("net.cpp:369", f"{layer.name} -> {blob} (in-place)")
            else:
                self.write("net.cpp:382", f"{layer.name} -> {blob}")
        if layer.type == "HDF5Data":
            self._hdf5(net.layer_dict[layer.name])
        if layer.type == "SoftmaxWithLoss":  # it has a Softmax layer of its own inside
            self.write("layer_factory.hpp:77", f"Creating layer {layer.name}")
        self.write("net.cpp:124", f"Setting up {layer.name}")
        for i, blob in enumerate(layer.top):
            name = layer.bottom[0] if layer.type == "Split" else blob
            shape = net.plan.shapes[name]
            nbytes += 4 * prod(shape)
            sizes = "".join(f"{size} " for size in shape)
            self.write("net.cpp:131", f"Top shape: {sizes}({prod(shape)})")
            if i < len(layer.loss_weight) and layer.loss_weight[i]:
                weight = number(layer.loss_weight[i])
                self.write("net.cpp:134", f"    with loss weight {weight}")
        self.write("net.cpp:139", f"Memory required for data: {nbytes}")
        return nbytes

    def _hdf5(self, layer: Layer) -> None:
        source = layer.spec.hdf5_data_param.source
        place = "hdf5_data_layer.cpp"
        self.write(f"{place}:81", f"Loading list of HDF5 filenames from: {source}")
        self.write(f"{place}:95", f"Number of HDF5 files: {len(layer.files)}")
        if not self._hdf5_seen:
            self._hdf5_seen = True
            self.write("hdf5.cpp:33", "Datatype class: H5T_FLOAT")

    # --- while it solves ---

    def solving(self, solver: SGDSolver) -> None:
        self.write("solver.cpp:289", f"Solving {solver.net.spec.name}")
        self.write("solver.cpp:290", f"Learning Rate Policy: {solver.settings.lr_policy}")
        self._since = time.perf_counter()

    def displayed(self, solver: SGDSolver) -> None:
        now = time.perf_counter()
        seconds = now - self._since
        before = solver.iter - 1 if self._displayed is None else self._displayed
        speed = (solver.iter - before) / max(seconds, 1e-9)
        self._since, self._displayed = now, solver.iter
        self.write(
            "solver.cpp:239",
            f"Iteration {solver.iter} ({number(speed)} iter/s, {number(seconds)}s/"
            f"{solver.settings.display} iters), loss = {number(solver.smoothed_loss)}",
        )
        outputs = {name: solver.net.blobs[name].data for name in solver.net.outputs}
        self._outputs("solver.cpp:258", "Train", solver.net, outputs)

    def rated(self, solver: SGDSolver, rate: float) -> None:
        self.write("sgd_solver.cpp:112", f"Iteration {solver.iter}, lr = {number(rate)}")

    def stepped(self, solver: SGDSolver) -> None:
        step = solver.current_step
        text = f"MultiStep Status: Iteration {solver.iter}, step = {step}"
        self.write("sgd_solver.cpp:50", text)

    def clipped(self, norm: float, limit: float) -> None:
        self.write(
            "sgd_solver.cpp:99",
            f"Gradient clipping: scaling down gradients (L2 norm {number(norm)} > {number(limit)}) "
            f"by scale factor {number(limit / norm)}",
        )

    def testing(self, solver: SGDSolver, index: int) -> None:
        self.write("solver.cpp:347", f"Iteration {solver.iter}, Testing net (#{index})")

    def tested(self, net: Net, scores: Mapping[str, Array]) -> None:
        self._outputs("solver.cpp:414", "Test", net, scores)

    def test_interrupted(self) -> None:
        self.write("solver.cpp:396", "Test interrupted.")

    def _outputs(self, place: str, kind: str, net: Net, outputs: Mapping[str, Array]) -> None:
        weights = net.blob_loss_weights
        index = 0
        for name in net.outputs:
            for value in np.asarray(outputs[name]).ravel():
                weight = weights[name]
                loss = f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""
                self.write(place, f"    {kind} net output #{index}: {name} = {number(value)}{loss}")
                index += 1

    def snapshotting(self, model: str, state: str) -> None:
        if model.endswith(".h5"):
            self.write("solver.cpp:476", f"Snapshotting to HDF5 file {model}")
            self.write("sgd_solver.cpp:296", f"Snapshotting solver state to HDF5 file {state}")
        else:
            self.write("solver.cpp:464", f"Snapshotting to binary proto file {model}")
            self.write(
                "sgd_solver.cpp:284", f"Snapshotting solver state to binary proto file {state}"
            )

    def ended(self, solver: SGDSolver) -> None:
        loss = number(solver.smoothed_loss)
        self.write("solver.cpp:327", f"Iteration {solver.iter}, loss = {loss}")

    def done(self, stopped: bool) -> None:
        if stopped:
            self.write("solver.cpp:311", "Optimization stopped early.")
        else:
            self.write("solver.cpp:332", "Optimization Done.")


def _needs_backward(net: Net, layer: Message) -> bool:
    if layer.type != "Split":
        return net.layer_dict[layer.name].needs_backward
    return any(
        wanted
        for reader in net.layers
        for name, wanted in zip(reader.spec.bottom, reader.propagate, strict=True)
        if name == layer.bottom[0]
    )

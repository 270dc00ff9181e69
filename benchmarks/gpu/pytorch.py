"""The peer PyTorch: channels last, eager, cudnn.benchmark on. Imports it only where it runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.cases import Case
from benchmarks.gpu.clock import FLUSHED
from benchmarks.gpu.network import Convolution
from benchmarks.gpu.operands import SEEDS, blob, filters
from benchmarks.peers.problem import Problem


def obstacle() -> str:
    """Why PyTorch cannot be raced, or ""."""
    if find_spec("torch") is None:
        return "PyTorch is not installed"
    import torch

    return "" if torch.cuda.is_available() else f"torch {torch.__version__} sees no GPU"


class PyTorch:
    """Passes of single layers, and the whole network, on one GPU."""

    def __init__(self, gpu: int):
        import torch

        self._torch = torch
        self._gpu = torch.device("cuda", gpu)
        self._flushed = torch.empty(FLUSHED, dtype=torch.uint8, device=self._gpu)
        torch.backends.cudnn.benchmark = True

    @property
    def version(self) -> str:
        return f"{self._torch.__version__} with cuDNN {self._torch.backends.cudnn.version()}"

    def set_math(self, math: str) -> None:
        """Whether float32 may be rounded to TF32; bf16 is a matter of the tensors."""
        self._torch.backends.cudnn.allow_tf32 = math == "tf32"
        self._torch.backends.cuda.matmul.allow_tf32 = math == "tf32"

    def prepare(self, case: Case, math: str) -> NDArray:
        """Runs a case once and keeps it for :meth:`seconds`; returns what it gave."""
        assert case.convolution is not None
        self.set_math(math)
        self._run = self._call(case.convolution, case.pass_name, math)
        result = self._run()
        self._torch.cuda.synchronize(self._gpu)
        return result.float().cpu().numpy()

    def seconds(self, repeats: int) -> list[float]:
        """Of each repetition of what was prepared last, its operands in memory."""
        torch = self._torch
        with torch.cuda.device(self._gpu), torch.no_grad():
            self._run()
            marks = []
            for _ in range(repeats):
                self._flushed.zero_()
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                self._run()
                end.record()
                marks.append((begin, end))
            torch.cuda.synchronize(self._gpu)
        return [begin.elapsed_time(end) * 1e-3 for begin, end in marks]

    def _call(self, layer: Convolution, pass_name: str, math: str) -> Callable:
        torch, transposed = self._torch, layer.op == "up_conv2x2"
        first = (layer.ic, layer.oc) if transposed else (layer.oc, layer.ic)
        x = self._tensor(blob((1, layer.ic, layer.size, layer.size), SEEDS["bottom"]), math)
        dy = self._tensor(
            blob((1, layer.oc, layer.top_size, layer.top_size), SEEDS["top_diff"]), math
        )
        shape = (*first, layer.kernel, layer.kernel)
        w = self._tensor(filters(shape, SEEDS["weight"], transposed=transposed), math)
        stride = [2, 2] if transposed else [1, 1]
        options = (stride, [0, 0], [1, 1], transposed, [0, 0], 1)
        if pass_name == "forward":
            return lambda: torch.ops.aten.convolution(x, w, None, *options)
        mask = [pass_name == "backward_data", pass_name == "backward_weights", False]
        backward = torch.ops.aten.convolution_backward
        return lambda: backward(dy, x, w, None, *options, mask)[mask.index(True)]

    def _tensor(self, array: NDArray, math: str):
        torch = self._torch
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._gpu)
        tensor = tensor.bfloat16() if math == "bf16" else tensor
        return tensor.contiguous(memory_format=torch.channels_last)

    def step(self, problem: Problem, math: str) -> Callable[[], float]:
        """A step of training with the loss of :class:`Problem`; returns the loss."""
        torch = self._torch
        self.set_math(math)
        data, label, weight = self._inputs(problem)
        net = self._net(problem)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.99)

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=math == "bf16"):
                score = net(data)
            nll = torch.nn.functional.cross_entropy(score.float(), label, reduction="none")
            loss = (nll * weight).sum() / weight.sum()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def forward(self, problem: Problem, math: str) -> Callable[[], NDArray]:
        """Inference; returns the scores, (1, 2, H, W)."""
        torch = self._torch
        self.set_math(math)
        data, net = self._inputs(problem)[0], self._net(problem).eval()

        def forward() -> NDArray:
            with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=math == "bf16"):
                return net(data).float().cpu().numpy()

        return forward

    def _net(self, problem: Problem):
        from benchmarks.peers.pytorch_net import UNet

        net = UNet(problem.width)
        net.load(problem.parameters())
        return net.to(self._gpu, memory_format=self._torch.channels_last)

    def _inputs(self, problem: Problem) -> tuple:
        torch = self._torch
        arrays = (problem.data, problem.label, problem.weight)
        data, label, weight = (torch.from_numpy(array).to(self._gpu) for array in arrays)
        data = data.contiguous(memory_format=torch.channels_last)
        return data, label[:, 0].long(), weight[:, 0]

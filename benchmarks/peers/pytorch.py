"""The network in PyTorch: eager or compiled, contiguous or channels last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.peers.problem import Problem


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    """name: "torch", "torch_channels_last", each perhaps with "_compiled"."""
    import torch
    from torch.nn import functional

    from benchmarks.peers.pytorch_net import UNet

    torch.set_num_threads(threads)
    data, label, weight = map(torch.from_numpy, (problem.data, problem.label, problem.weight))
    label, weight = label[:, 0].long(), weight[:, 0]
    net = UNet(problem.width)
    net.load(problem.parameters())
    if "channels_last" in name:
        net = net.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.99)
    run = torch.compile(net) if "compiled" in name else net

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        nll = functional.cross_entropy(run(data), label, reduction="none")
        ((nll * weight).sum() / weight.sum()).backward()
        optimizer.step()

    def forward() -> np.ndarray:
        with torch.no_grad():
            return run(data).numpy()

    if mode == "step":
        return step
    net.eval()
    return forward

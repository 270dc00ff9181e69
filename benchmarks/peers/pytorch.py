"""The network in PyTorch: eager or compiled, contiguous or channels last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.peers.problem import Problem


def make(name: str, mode: str, problem: Problem, threads: int) -> Callable[[], object]:
    """name: "torch", "torch_channels_last", each perhaps with "_compiled"."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)
    width = problem.width

    def block(ic: int, oc: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(ic, oc, 3), nn.ReLU(True), nn.Conv2d(oc, oc, 3), nn.ReLU(True)
        )

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width << level for level in range(5)]
            self.down = nn.ModuleList(map(block, [1, *widths[:-1]], widths))
            self.up = nn.ModuleList(
                nn.ConvTranspose2d(2 * c, c, 2, 2) for c in reversed(widths[:-1])
            )
            self.merge = nn.ModuleList(block(2 * c, c) for c in reversed(widths[:-1]))
            self.score = nn.Conv2d(width, 2, 1)

        def in_order(self):
            """The layers with parameters, in the order of Problem.parameters."""
            for down in self.down:
                yield from (down[0], down[2])
            for up, merge in zip(self.up, self.merge, strict=True):
                yield from (up, merge[0], merge[2])
            yield self.score

        def forward(self, x):
            skips = []
            for level, down in enumerate(self.down):
                x = down(x)
                if level >= 3:
                    x = functional.dropout(x, 0.5, self.training)
                if level < 4:
                    skips.append(x)
                    x = functional.max_pool2d(x, 2)
            for up, merge in zip(self.up, self.merge, strict=True):
                x = up(x)
                skip = skips.pop()
                border = (skip.shape[2] - x.shape[2]) // 2
                skip = skip[:, :, border : border + x.shape[2], border : border + x.shape[3]]
                x = merge(torch.cat([x, skip], 1))
            return self.score(x)

    data, label, weight = map(torch.from_numpy, (problem.data, problem.label, problem.weight))
    label, weight = label[:, 0].long(), weight[:, 0]
    net: nn.Module = UNet()
    with torch.no_grad():
        for module, (w, b) in zip(net.in_order(), problem.parameters(), strict=True):
            module.weight.copy_(torch.from_numpy(w))
            module.bias.copy_(torch.from_numpy(b))
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

"""The network and its training step as each competitor does them.

:func:`make` returns a function that runs one iteration. All competitors compute the same thing:
the paper's network (`fig1`) with dropout, a pixel-weighted softmax cross-entropy divided by its sum
of weights, momentum 0.99, one image of ``tile`` x ``tile`` pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def make(name: str, mode: str, tile: int, width: int, threads: int) -> Callable[[], object]:
    """One iteration of competitor `name`: "unet_native" or "torch[_channels_last][_compiled]"."""
    if name == "unet_native":
        return _unet_native(mode, tile, width, threads)
    if name.startswith("torch"):
        return _torch(name, mode, tile, width, threads)
    raise ValueError(f"unknown competitor {name!r}")


def _sample(tile: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    out = tile - 184
    data = rng.standard_normal((1, 1, tile, tile), dtype=np.float32)
    label = rng.integers(0, 2, (1, 1, out, out)).astype(np.float32)
    weight = rng.uniform(0.5, 1.5, (1, 1, out, out)).astype(np.float32)
    return data, label, weight


def _unet_native(mode: str, tile: int, width: int, threads: int) -> Callable[[], object]:
    from unet_native import models
    from unet_native.net import Net
    from unet_native.ops import Context
    from unet_native.solver import SGDSolver, SolverSettings

    data, label, weight = _sample(tile)
    spec = models.fig1(base_width=width, tile=tile)
    context = Context(threads=threads)
    if mode == "forward":
        net = Net(spec, "TEST", seed=1, plan="lean", context=context)
        return lambda: net.forward(data=data)
    solver = SGDSolver(
        SolverSettings(base_lr=1e-4, momentum=0.99, random_seed=1),
        spec,
        feed=lambda _: {"data": data, "label": label, "weight": weight},
        plan="lean",
        context=context,
    )
    return lambda: solver.step(1)


def _torch(name: str, mode: str, tile: int, width: int, threads: int) -> Callable[[], object]:
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)

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

    data, label, weight = map(torch.from_numpy, _sample(tile))
    label, weight = label[:, 0].long(), weight[:, 0]
    net: nn.Module = UNet()
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

    def forward() -> None:
        with torch.no_grad():
            run(data)

    if mode == "step":
        return step
    net.eval()
    return forward

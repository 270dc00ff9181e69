"""The network as a PyTorch module. Needs PyTorch, so only what races it imports this."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["UNet"]


class UNet(nn.Module):
    """`fig1` for two classes and images of one channel: (1, 1, S, S) -> (1, 2, S-184, S-184).

    width    channels of the first level
    dropout  from the map of level 3 or 4 and its level to the map without what is dropped; None:
             PyTorch's own random numbers
    """

    def __init__(self, width: int, dropout: Callable[[Tensor, int], Tensor] | None = None) -> None:
        super().__init__()
        widths = [width << level for level in range(5)]
        self.down = nn.ModuleList(map(_block, [1, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, 2) for c in reversed(widths[:-1]))
        self.merge = nn.ModuleList(_block(2 * c, c) for c in reversed(widths[:-1]))
        self.score = nn.Conv2d(width, 2, 1)
        self._dropout = dropout or self._random_dropout

    def in_order(self) -> Iterator[nn.Module]:
        """The layers with parameters, in the order of the network's own."""
        for down in self.down:
            yield from (down[0], down[2])
        for up, merge in zip(self.up, self.merge, strict=True):
            yield from (up, merge[0], merge[2])
        yield self.score

    def load(self, parameters: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Copies weight and bias of each layer, in Caffe's shapes, which are PyTorch's too."""
        with torch.no_grad():
            for module, (weight, bias) in zip(self.in_order(), parameters, strict=True):
                module.weight.copy_(torch.from_numpy(weight))
                module.bias.copy_(torch.from_numpy(bias))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, down in enumerate(self.down):
            x = down(x)
            if level >= 3:
                x = self._dropout(x, level)
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

    def _random_dropout(self, x: Tensor, level: int) -> Tensor:
        return functional.dropout(x, 0.5, self.training)


def _block(ic: int, oc: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(ic, oc, 3), nn.ReLU(True), nn.Conv2d(oc, oc, 3), nn.ReLU(True))

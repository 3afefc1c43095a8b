"""What E and D see of a picture: a few features of every place, and maps of where things are.

The paper trains its encoder for tens of thousands of steps on a large model's frames. Here the body has to be learnt
on one CPU core, so that the encoder reads a picture through maps whose first ones are taught where the joints are
(a third auxiliary task, on driver and reference; the paper has them on D alone). The others are free.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

STRIDE = 4
"""Pixels between two places."""
DILATIONS = (1, 2, 4, 2, 1)


class Sight(NamedTuple):
    """Of a picture (B, 3, S, S). features: (B, width, S / 4, S / 4). maps: logits (B, K, S / 4, S / 4)."""

    features: Tensor
    maps: Tensor

    def places(self) -> Tensor:
        """The middle of each map's weight: (B, K, 2), x and y in sides of the picture."""
        side = self.maps.shape[-1]
        share = self.maps.float().flatten(2).softmax(2).unflatten(2, (side, side))
        centre = (torch.arange(side, device=share.device) + 0.5) / side
        return torch.stack([(share.sum(2) * centre).sum(2), (share.sum(3) * centre).sum(2)], 2)


class Eye(nn.Module):
    """A picture (B, 3, S, S) in -1..1 to a `Sight`: two halvings, then dilated convolutions, each with a shortcut."""

    def __init__(self, width: int, maps: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(3, width // 2, 2), convolution(width // 2, width, 2))
        self.wider = nn.ModuleList(convolution(width, width, dilation=d) for d in DILATIONS)
        self.maps = nn.Conv2d(width, maps, 1)

    def forward(self, picture: Tensor) -> Sight:
        x = self.stem(picture)
        for layer in self.wider:
            x = x + layer(x)
        return Sight(x, self.maps(x))


def convolution(a: int, b: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3 x 3, from a to b channels, normalised, with its nonlinearity."""
    return nn.Sequential(nn.Conv2d(a, b, 3, stride, dilation, dilation), nn.GroupNorm(1, b), nn.SiLU())

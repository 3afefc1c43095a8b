"""E: the body token, from the whole driving picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from realtime.engines.unimotion.eye import Sight


class BodyEncoder(nn.Module):
    """What is seen of a driving picture to the token z (B, length) in -1..1.

    The paper has a one-dimensional token of the whole picture. Choices: the token is made of where the eye's maps
    have their weight and of the features' mean, straight and by two layers; its length, and its range (a hyperbolic
    tangent, so that tracks of tokens have a range).
    """

    def __init__(self, eye: int, maps: int, width: int, length: int) -> None:
        super().__init__()
        seen = 2 * maps + eye
        self.straight = nn.Linear(seen, length)
        self.token = nn.Sequential(nn.Linear(seen, 2 * width), nn.SiLU(), nn.Linear(2 * width, length))

    def forward(self, sight: Sight) -> Tensor:
        seen = torch.cat([sight.places().flatten(1) * 4 - 2, sight.features.mean((2, 3))], 1)
        return torch.tanh(self.straight(seen) + self.token(seen))

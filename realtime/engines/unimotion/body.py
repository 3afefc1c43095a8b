"""E: the body token, from the whole driving picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from realtime.engines.unimotion.eye import Sight


class BodyEncoder(nn.Module):
    """What is seen of a driving picture to the token z (B, length) in -1..1.

    The paper has a one-dimensional token of the whole picture. Choices: the token is made of where the eye's maps
    have their weight and of the features' mean; its length, and its range (a hyperbolic tangent, so that tracks of
    tokens have a range).
    """

    def __init__(self, eye: int, maps: int, width: int, length: int) -> None:
        super().__init__()
        self.token = nn.Sequential(
            nn.Linear(2 * maps + eye, 2 * width), nn.SiLU(), nn.Linear(2 * width, length), nn.Tanh()
        )

    def forward(self, sight: Sight) -> Tensor:
        return self.token(torch.cat([sight.places().flatten(1) * 4 - 2, sight.features.mean((2, 3))], 1))

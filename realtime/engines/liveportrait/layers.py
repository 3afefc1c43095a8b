"""What LivePortrait's networks share. Batch normalisation has eps 1e-5 and runs on its stored statistics."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINTS = 21
DEPTH = 16
"""Depth of the feature volume."""
VOLUME = 32
"""Channels of the feature volume."""

Trace = dict[str, Tensor]
"""Receives intermediate results by name, for tests."""


def note(trace: Trace | None, name: str, value: Tensor) -> Tensor:
    """`value`, also kept in `trace` where there is one."""
    if trace is not None:
        trace[name] = value
    return value


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and ReLU, in two or three dimensions.

    slope: of the leaky ReLU, 0 for the plain one.
    """

    def __init__(self, c_in: int, c_out: int, *, flat: bool, kernel: int = 3, slope: float = 0.0) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.Conv3d
        self.norm: nn.BatchNorm2d | nn.BatchNorm3d
        if flat:
            self.conv, self.norm = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2), nn.BatchNorm2d(c_out)
        else:
            self.conv, self.norm = nn.Conv3d(c_in, c_out, kernel, padding=kernel // 2), nn.BatchNorm3d(c_out)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), self.slope)


def as_volume(x: Tensor) -> Tensor:  # (B, C * 16, H, W) -> (B, C, 16, H, W), channel-major
    """A map as a volume of depth 16."""
    return x.unflatten(1, (-1, DEPTH))


def as_map(x: Tensor) -> Tensor:  # (B, C, D, H, W) -> (B, C * D, H, W), channel-major
    """A volume as a map."""
    return x.flatten(1, 2)

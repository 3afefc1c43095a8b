"""LivePortrait's small heads S: stitching, and retargeting of eyes and lips. Fractions of a millisecond."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from realtime.engines.liveportrait.layers import KEYPOINTS

STITCHING = (6 * KEYPOINTS, 128, 128, 64, 3 * KEYPOINTS + 2)
LIP = (3 * KEYPOINTS + 2, 128, 128, 64, 3 * KEYPOINTS)
EYE = (3 * KEYPOINTS + 3, 256, 256, 128, 128, 64, 3 * KEYPOINTS)


class Head(nn.Module):
    """Linear layers with ReLU between them, none after the last. Parameter names are those of
    `stitching_retargeting_module.pth` without their prefix."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:  # (B, widths[0]) -> (B, widths[-1])
        return self.mlp(x)

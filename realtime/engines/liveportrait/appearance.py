"""LivePortrait's appearance extractor F: the portrait as a volume of features. Run once per portrait."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.liveportrait.layers import DEPTH, VOLUME, ConvNorm, Trace, as_volume, note

RESIDUALS = 6


class VolumeResidual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), nothing after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm3d(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, D, H, W)
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class AppearanceExtractor(nn.Module):
    """Parameter names are those of `appearance_feature_extractor.pth`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ConvNorm(3, 64, flat=True)
        self.down_blocks = nn.ModuleList([ConvNorm(64, 128, flat=True), ConvNorm(128, 256, flat=True)])
        self.second = nn.Conv2d(256, VOLUME * DEPTH, 1)
        self.resblocks_3d = nn.Sequential()
        for k in range(RESIDUALS):
            self.resblocks_3d.add_module(f"3dr{k}", VolumeResidual(VOLUME))

    def forward(self, x: Tensor, trace: Trace | None = None) -> Tensor:  # (B, 3, S, S) 0..1 -> (B, 32, 16, S/4, S/4)
        x = note(trace, "first", self.first(x))
        for k, block in enumerate(self.down_blocks):
            x = note(trace, f"down{k}", F.avg_pool2d(block(x), 2))
        x = as_volume(note(trace, "second", self.second(x)))
        for k, residual in enumerate(self.resblocks_3d):
            x = note(trace, f"res{k}", residual(x))
        return x

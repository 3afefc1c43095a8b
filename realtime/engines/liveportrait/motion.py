"""LivePortrait's motion extractor M: pose, expression and canonical keypoints of one picture. Run once per frame.

The backbone is ConvNeXt V2 Tiny (Woo et al., arXiv 2301.00808): every layer normalisation has eps 1e-6.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.liveportrait.layers import KEYPOINTS, Trace, note

DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)
BINS = 66
"""Classes of each angle, 3 degrees apart."""
OUTPUTS = {
    "kp": 3 * KEYPOINTS, "scale": 1, "pitch": BINS, "yaw": BINS, "roll": BINS, "t": 3, "exp": 3 * KEYPOINTS,
}  # fmt: skip
"""Numbers that each head gives; xyz innermost where there are 63."""


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.zeros(channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return x.permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """Global response normalisation: gamma * x * n + beta + x, n the norm of a channel over the picture, divided by
    the mean of the norms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma, self.beta = (nn.Parameter(torch.zeros(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:  # (B, H, W, C)
        g = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        n = g / (g.mean(-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.beta, x, self.gamma * n + 1)


class ConvNextBlock(nn.Module):
    """Depthwise 7 x 7, normalisation, four times the width and back, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.grn = ResponseNorm(4 * channels)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        h = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + self.pwconv2(self.grn(F.gelu(self.pwconv1(h)))).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """The backbone with LivePortrait's seven linear heads."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample_layers = nn.ModuleList([nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, 4), ChannelNorm(WIDTHS[0]))])
        for a, b in itertools.pairwise(WIDTHS):
            self.downsample_layers.append(nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, 2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNextBlock(width) for _ in range(depth)))
            for depth, width in zip(DEPTHS, WIDTHS, strict=True)
        )
        self.norm = nn.LayerNorm(WIDTHS[-1], eps=1e-6)
        for name, count in OUTPUTS.items():
            self.add_module(f"fc_{name}", nn.Linear(WIDTHS[-1], count))

    def forward(self, x: Tensor, trace: Trace | None = None) -> dict[str, Tensor]:
        for k, (down, stage) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = note(trace, f"down{k}", down(x))
            for j, block in enumerate(stage.children()):
                x = note(trace, f"stage{k}.{j}", block(x))
            note(trace, f"stage{k}", x)
        features = note(trace, "norm", self.norm(x.mean((2, 3))))  # (B, 768)
        return {name: self.get_submodule(f"fc_{name}")(features) for name in OUTPUTS}


class MotionExtractor(nn.Module):
    """Parameter names are those of `motion_extractor.pth`."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = ConvNext()

    def forward(self, x: Tensor, trace: Trace | None = None) -> dict[str, Tensor]:
        """(B, 3, S, S) in 0..1 -> pitch, yaw, roll (B, 66) logits, t (B, 3), exp, kp (B, 63), scale (B, 1)."""
        return self.detector(x, trace)

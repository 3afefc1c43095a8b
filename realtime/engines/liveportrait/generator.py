"""LivePortrait's generator G: from moved features to the picture, twice as large as what F reads.

Residual blocks whose normalisations are modulated by the features themselves (SPADE, Park et al., arXiv 1903.07291).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.liveportrait.layers import Trace, note

MIDDLE = 6
HIDDEN = 128
"""Channels between the features and a modulation."""


class SpectralConv(nn.Module):
    """Convolution whose weight is divided by u . (W v), with u and v as stored; nothing is iterated."""

    def __init__(self, c_in: int, c_out: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.zeros(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        self.weight_u: Tensor
        self.weight_v: Tensor
        self.register_buffer("weight_u", torch.ones(c_out))
        self.register_buffer("weight_v", torch.ones(c_in * kernel * kernel))

    def weight(self) -> Tensor:
        """The weight to convolve with."""
        return self.weight_orig / torch.dot(self.weight_u, self.weight_orig.flatten(1) @ self.weight_v)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, padding=self.weight_orig.shape[-1] // 2)


class Modulation(nn.Module):
    """SPADE: instance normalisation times 1 + gamma plus beta, both convolved from the features."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Conv2d(features, HIDDEN, 3, padding=1), nn.ReLU())
        self.mlp_gamma, self.mlp_beta = (nn.Conv2d(HIDDEN, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:  # (B, C, H, W), (B, 256, H, W)
        a = self.mlp_shared(features)
        return F.instance_norm(x, eps=1e-5) * (1 + self.mlp_gamma(a)) + self.mlp_beta(a)


class ModulatedResidual(nn.Module):
    """Two modulated convolutions, plus the input, or plus a 1 x 1 convolution of it where the widths differ."""

    def __init__(self, c_in: int, c_out: int, features: int) -> None:
        super().__init__()
        middle = min(c_in, c_out)
        self.conv_0, self.conv_1 = SpectralConv(c_in, middle, 3), SpectralConv(middle, c_out, 3)
        self.norm_0, self.norm_1 = Modulation(c_in, features), Modulation(middle, features)
        self.widens = c_in != c_out
        if self.widens:
            self.conv_s, self.norm_s = SpectralConv(c_in, c_out, 1, bias=False), Modulation(c_in, features)

    def forward(self, x: Tensor, features: Tensor, trace: Trace | None = None, name: str = "") -> Tensor:
        """x: (B, C, H, W); features: (B, 256, h, w), enlarged to it by repetition."""
        features = F.interpolate(features, x.shape[-2:])
        y = note(trace, f"{name}.norm_0", self.norm_0(x, features))
        y = self.conv_0(F.leaky_relu(y, 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, features), 0.2))
        if self.widens:
            x = self.conv_s(note(trace, f"{name}.norm_s", self.norm_s(x, features)))
        return note(trace, name, x + y)


class Generator(nn.Module):
    """Parameter names are those of `spade_generator.pth`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(256, 512, 3, padding=1)
        for k in range(MIDDLE):
            self.add_module(f"G_middle_{k}", ModulatedResidual(512, 512, 256))
        self.up_0, self.up_1 = ModulatedResidual(512, 256, 256), ModulatedResidual(256, 64, 256)
        self.conv_img = nn.Sequential(nn.Conv2d(64, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, features: Tensor, trace: Trace | None = None) -> Tensor:
        """(B, 256, H, W) -> (B, 3, 8 H, 8 W) in 0..1."""
        x = note(trace, "fc", self.fc(features))
        for k in range(MIDDLE):
            x = self.get_submodule(f"G_middle_{k}")(x, features, trace, f"G_middle_{k}")
        for name in ("up_0", "up_1"):
            x = self.get_submodule(name)(F.interpolate(x, scale_factor=2.0), features, trace, name)
        return torch.sigmoid(self.conv_img(F.leaky_relu(x, 0.2)))

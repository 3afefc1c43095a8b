"""What the unsupervised animation networks share: parts that move, and the blocks their networks are made of.

A *part* has a keypoint t (where it is) and an affine matrix A (how its neighbourhood is turned, stretched and
sheared), both from a latent reference picture. Coordinates are (x, y) in -1..1, the centres of the corner pixels
being exactly -1 and 1.

Sources: Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019 (FOMM); Tao et al., "Motion
Transformer for Unsupervised Image Animation", ECCV 2022. Module names follow FOMM's published checkpoints.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

P = ParamSpec("P")
R = TypeVar("R")


class PartMotion(NamedTuple):
    """Motion of the K parts of a batch of pictures.

    points: (B, K, 2), the keypoints t, (x, y) in about -1..1. affine: (B, K, 2, 2), the matrices A.
    """

    points: Tensor
    affine: Tensor

    def flat(self) -> Tensor:
        """(B, 6 K): per part t_x, t_y, A_xx, A_xy, A_yx, A_yy."""
        both = torch.cat([self.points, self.affine.flatten(2)], dim=2)  # (B, K, 6)
        return both.flatten(1)

    @staticmethod
    def from_flat(values: Tensor) -> PartMotion:
        """Inverse of `flat`: values (B, 6 K)."""
        each = values.unflatten(1, (-1, 6))
        return PartMotion(each[..., :2], each[..., 2:].unflatten(2, (2, 2)))

    def detach(self) -> PartMotion:
        return PartMotion(self.points.detach(), self.affine.detach())


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Keep `function` out of mixed precision: autocast would round coordinates and matrices to half precision in
    every product, an eighth of a pixel and more, also those that come in as float32."""

    @functools.wraps(function)
    def wide(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            return function(*args, **kwargs)

    return wide


def dtype_of(module: nn.Module) -> torch.dtype:
    """What the weights of a module are stored in: its input must have the same."""
    return next(module.parameters()).dtype


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width, 2): the (x, y) of every pixel centre in -1..1, with the dtype and device of `like`."""
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def gaussian_maps(points: Tensor, grid: Tensor, variance: float) -> Tensor:
    """(B, K, H, W): a bell of height 1 around each of `points` (B, K, 2), at the coordinates `grid` (H, W, 2)."""
    away = grid - points[:, :, None, None, :]
    return torch.exp(-0.5 * away.square().sum(-1) / variance)


def inverse_2x2(matrix: Tensor, least: float = 1e-3) -> Tensor:
    """Inverse of 2x2 matrices (..., 2, 2) in closed form (no solver, so that it can be captured in a CUDA graph).

    A determinant nearer to zero than `least` is taken as `least` with its own sign: an untrained network gives
    singular matrices, and a part that is squeezed flat must not throw its pixels to infinity.
    """
    a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
    det = a * d - b * c
    det = torch.where(det < 0, det.clamp(max=-least), det.clamp(min=least))
    rows = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return rows / det[..., None, None]


def sample(picture: Tensor, flow: Tensor) -> Tensor:
    """`picture` (B, C, H, W) read at the coordinates `flow` (B, h, w, 2); zero outside. Gives (B, C, h, w).

    Corner pixels are at -1 and 1 as in `coordinate_grid`, so that the identity flow gives the picture itself.
    Coordinates stay float32 for half-precision pictures: half a pixel of a large map is below half precision.
    """
    wide = picture.to(flow.dtype)
    return F.grid_sample(wide, flow, align_corners=True).to(picture.dtype)


def resize_flow(flow: Tensor, height: int, width: int) -> Tensor:
    """A flow (B, h, w, 2) on another raster: (B, height, width, 2)."""
    if flow.shape[1:3] == (height, width):
        return flow
    channels = flow.permute(0, 3, 1, 2)
    resized = F.interpolate(channels, size=(height, width), mode="bilinear", align_corners=True)
    return resized.permute(0, 2, 3, 1)


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class SameBlock(_ConvNorm):
    """Convolution, normalisation, ReLU: the size stays."""


class DownBlock(_ConvNorm):
    """The size is halved by averaging."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), 2)


class UpBlock(_ConvNorm):
    """The size is doubled by repeating pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResBlock(nn.Module):
    """Two convolutions, each after normalisation and ReLU, beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class HourglassEncoder(nn.Module):
    """`blocks` halvings; gives the picture itself and every smaller map."""

    def __init__(self, inputs: int, base: int, blocks: int, limit: int) -> None:
        super().__init__()
        widths = [inputs, *(min(limit, base * 2 ** (i + 1)) for i in range(blocks))]
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for block in self.down_blocks:
            maps.append(block(maps[-1]))
        return maps


class HourglassDecoder(nn.Module):
    """Back to the first size; the encoder's map of each size is appended to the channels."""

    def __init__(self, base: int, blocks: int, limit: int) -> None:
        super().__init__()
        self.up_blocks = nn.ModuleList()
        for i in reversed(range(blocks)):
            inputs = min(limit, base * 2 ** (i + 1)) * (1 if i == blocks - 1 else 2)
            self.up_blocks.append(UpBlock(inputs, min(limit, base * 2**i)))

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for block, skip in zip(self.up_blocks, reversed(maps[:-1]), strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return x


class Hourglass(nn.Module):
    """A U-Net whose last map holds `base` + `inputs` channels at the size of the input, which is a multiple of
    2**blocks."""

    def __init__(self, inputs: int, base: int, blocks: int, limit: int) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(inputs, base, blocks, limit)
        self.decoder = HourglassDecoder(base, blocks, limit)
        self.out_channels = base + inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class SmoothDown(nn.Module):
    """Gaussian blur, then every `factor`-th pixel. The kernel is a buffer named "weight", as in the checkpoints."""

    weight: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        sigma = (factor - 1) / 2
        size = 2 * round(4 * sigma) + 1
        at = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        bell = torch.exp(-at.square() / (2 * sigma**2)) if sigma else torch.ones(1)
        kernel = torch.outer(bell, bell)
        self.register_buffer("weight", (kernel / kernel.sum()).expand(channels, 1, size, size).clone())
        self.factor, self.pad = factor, size // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.factor == 1:
            return x
        # A strided convolution computes only the pixels that stay.
        return F.conv2d(x, self.weight.to(x.dtype), stride=self.factor, padding=self.pad, groups=x.shape[1])

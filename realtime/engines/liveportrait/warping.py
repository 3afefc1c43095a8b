"""LivePortrait's warp W: from two sets of keypoints to the moved features of the portrait.

A coarse motion per keypoint (a pure shift), 22 warps of a thin copy of the volume, an hourglass that weighs them
pixel by pixel, and one warp of the whole volume by the weighed motion. Both warps sample with align_corners False on
a grid whose corners lie on the ends: the identity grid is not quite the identity, as in the published networks.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtime.engines.liveportrait.layers import (
    DEPTH,
    KEYPOINTS,
    VOLUME,
    ConvNorm,
    Trace,
    as_map,
    note,
)

MOTIONS = KEYPOINTS + 1
THIN = 4
"""Channels of the thin copy."""
INPUT = MOTIONS * (THIN + 1)
"""Channels that the hourglass reads: for each motion its heat, then the thin volume moved by it."""
WIDTHS = (64, 128, 256, 512, 1024)
VARIANCE = 0.01
"""Of the Gaussians around the keypoints."""


def identity_grid(depth: int, height: int, width: int, like: Tensor) -> Tensor:  # (D, H, W, 3), x y z
    """Coordinates -1..1, the corners on the ends."""
    z, y, x = (torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in (depth, height, width))
    return torch.stack(torch.broadcast_tensors(x[None, None], y[None, :, None], z[:, None, None]), -1)


def heats(grid: Tensor, keypoints: Tensor) -> Tensor:  # (D, H, W, 3), (B, K, 3) -> (B, K, D, H, W)
    """A Gaussian around every keypoint."""
    away = grid - keypoints[:, :, None, None, None]
    return torch.exp(-0.5 / VARIANCE * away.square().sum(-1))


def sample(volume: Tensor, grid: Tensor) -> Tensor:  # (B, C, D, H, W), (B, D', H', W', 3) -> (B, C, D', H', W')
    """Trilinear, zeros outside."""
    return F.grid_sample(volume, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


class Encoder(nn.Module):
    """Five halvings of height and width; the depth stays."""

    def __init__(self) -> None:
        super().__init__()
        pairs = itertools.pairwise((INPUT, *WIDTHS))
        self.down_blocks = nn.ModuleList(ConvNorm(a, b, flat=False) for a, b in pairs)

    def forward(self, x: Tensor, trace: Trace | None = None) -> list[Tensor]:  # the input first, the deepest last
        maps = [x]
        for k, block in enumerate(self.down_blocks):
            maps.append(note(trace, f"down{k}", F.avg_pool3d(block(maps[-1]), (1, 2, 2))))
        return maps


class Decoder(nn.Module):
    """Five doublings, each followed by the encoder's map of that size."""

    def __init__(self) -> None:
        super().__init__()
        outs = (*WIDTHS[-2::-1], 32)
        skips = (*WIDTHS[-2::-1], INPUT)
        ins = [WIDTHS[-1]] + [a + b for a, b in zip(outs, skips, strict=True)]
        self.up_blocks = nn.ModuleList(ConvNorm(a, b, flat=False) for a, b in zip(ins, outs, strict=False))
        self.conv = nn.Conv3d(ins[-1], ins[-1], 3, padding=1)
        self.norm = nn.BatchNorm3d(ins[-1])

    def forward(self, maps: list[Tensor], trace: Trace | None = None) -> Tensor:  # -> (B, 142, D, H, W)
        x = maps[-1]
        for k, (block, skip) in enumerate(zip(self.up_blocks, maps[-2::-1], strict=True)):
            x = note(trace, f"up{k}", block(F.interpolate(x, scale_factor=(1.0, 2.0, 2.0))))
            x = torch.cat([x, skip], 1)
        return F.relu(self.norm(self.conv(x)))


class Hourglass(nn.Module):
    """Encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, x: Tensor, trace: Trace | None = None) -> Tensor:
        return self.decoder(self.encoder(x, trace), trace)


class DenseMotion(nn.Module):
    """Where every point of the moved volume comes from, and how much of it is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.hourglass = Hourglass()
        channels = self.hourglass.decoder.norm.num_features
        self.mask = nn.Conv3d(channels, MOTIONS, 7, padding=3)
        self.compress = nn.Conv3d(VOLUME, THIN, 1)
        self.norm = nn.BatchNorm3d(THIN)
        self.occlusion = nn.Conv2d(channels * DEPTH, 1, 7, padding=3)

    def forward(
        self, feature: Tensor, source: Tensor, driving: Tensor, trace: Trace | None = None
    ) -> tuple[Tensor, Tensor]:
        """feature: (B, 32, 16, H, W); keypoints (B, 21, 3). Returns the deformation (B, 16, H, W, 3) and the
        occlusion (B, 1, H, W)."""
        thin = note(trace, "compress", F.relu(self.norm(self.compress(feature))))
        b, _, d, h, w = thin.shape
        grid = identity_grid(d, h, w, thin)
        shifts = F.pad(source - driving, (0, 0, 1, 0))  # (B, 22, 3), the first is none
        motions = grid + shifts[:, :, None, None, None]  # (B, 22, D, H, W, 3)
        many = thin[:, None].expand(-1, MOTIONS, -1, -1, -1, -1).flatten(0, 1)
        moved = sample(many, motions.flatten(0, 1)).unflatten(0, (b, MOTIONS))  # (B, 22, 4, D, H, W)
        heat = F.pad(heats(grid, driving) - heats(grid, source), (0, 0, 0, 0, 0, 0, 1, 0))  # (B, 22, D, H, W)
        note(trace, "heat", heat)
        note(trace, "deformed", moved)
        p = note(trace, "hourglass", self.hourglass(torch.cat([heat[:, :, None], moved], 2).flatten(1, 2), trace))
        logits = note(trace, "mask_logit", self.mask(p))
        mask = note(trace, "mask", logits.softmax(1))
        deformation = note(trace, "deformation", (mask[..., None] * motions).sum(1))
        occlusion = note(trace, "occlusion", torch.sigmoid(self.occlusion(as_map(p))))
        return deformation, occlusion


class WarpingModule(nn.Module):
    """Parameter names are those of `warping_module.pth`."""

    def __init__(self) -> None:
        super().__init__()
        self.dense_motion_network = DenseMotion()
        self.third = ConvNorm(VOLUME * DEPTH, 256, flat=True, slope=0.01)
        self.fourth = nn.Conv2d(256, 256, 1)

    def forward(self, feature: Tensor, source: Tensor, driving: Tensor, trace: Trace | None = None) -> Tensor:
        """feature: (B, 32, 16, H, W), keypoints (B, 21, 3) -> (B, 256, H, W)."""
        deformation, occlusion = self.dense_motion_network(feature, source, driving, trace)
        warped = note(trace, "warped", sample(feature, deformation))
        third = note(trace, "third", self.third(as_map(warped)))
        return note(trace, "out", self.fourth(third) * occlusion)

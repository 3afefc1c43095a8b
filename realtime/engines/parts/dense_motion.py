"""From the motion of parts to a flow for every pixel: equations 1 and 2, the mask predictor, the occlusion map.

Source: Tao et al., "Motion Transformer for Unsupervised Image Animation", ECCV 2022, section 3.1; the network is
FOMM's (NeurIPS 2019, section 3.1), whose checkpoint names it keeps; the background predictor follows the idea of
MRAA (CVPR 2021, section 3.3).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from realtime.engines.parts.motion import (
    Hourglass,
    HourglassEncoder,
    PartMotion,
    SmoothDown,
    coordinate_grid,
    dtype_of,
    full_precision,
    gaussian_maps,
    inverse_2x2,
    sample,
)

VARIANCE = 0.01
"""Of the bells drawn around the keypoints, in squared coordinate units (FOMM)."""


class DenseMotion(NamedTuple):
    """What the mask predictor says, at a quarter of the picture's size (h, w).

    flow: (B, h, w, 2), where in the portrait each pixel of the result comes from (equation 2).
    masks: (B, K + 1, h, w), summing to 1 over the parts; index 0 is the background.
    occlusion: (B, 1, h, w) in 0..1: 1 where the warped portrait shows what is needed, 0 where it must be invented.
    part_flows: (B, K + 1, h, w, 2), the flow of each part on its own (equation 1); index 0 is the background.
    """

    flow: Tensor
    masks: Tensor
    occlusion: Tensor
    part_flows: Tensor


@full_precision
def part_flows(source: PartMotion, driving: PartMotion, grid: Tensor) -> Tensor:
    """Equation 1: t_S + A_S A_Z^-1 (c - t_Z) for every part and coordinate.

    grid: (H, W, 2), the coordinates c of the driving picture. Gives (B, K, H, W, 2): coordinates in the source.
    """
    relative = source.affine @ inverse_2x2(driving.affine)  # (B, K, 2, 2)
    away = grid - driving.points[:, :, None, None, :]  # (B, K, H, W, 2)
    return torch.einsum("bkij,bkhwj->bkhwi", relative, away) + source.points[:, :, None, None, :]


def blend_flows(masks: Tensor, flows: Tensor) -> Tensor:
    """Equation 2: the mask-weighted sum. masks (B, K, H, W), flows (B, K, H, W, 2); gives (B, H, W, 2)."""
    return (masks.unsqueeze(-1) * flows).sum(1)


@full_precision
def background_flow(affine: Tensor | None, grid: Tensor, batch: int) -> Tensor:
    """(B, 1, H, W, 2): the background stays, or moves by `affine` (B, 2, 3)."""
    if affine is None:
        return grid.expand(batch, 1, *grid.shape)
    moved = torch.einsum("bij,hwj->bhwi", affine[:, :, :2], grid) + affine[:, None, None, :, 2]
    return moved.unsqueeze(1)


class MaskPredictor(nn.Module):
    """Looks at the portrait warped by every part's flow and says which part each pixel belongs to."""

    def __init__(self, parts: int = 10, *, base: int = 64, blocks: int = 5, limit: int = 1024) -> None:
        super().__init__()
        self.parts = parts
        self.hourglass = Hourglass((parts + 1) * 4, base, blocks, limit)
        self.mask = nn.Conv2d(self.hourglass.out_channels, parts + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)
        self.down = SmoothDown(3, 4)

    def forward(
        self,
        portrait: Tensor,
        source: PartMotion,
        driving: PartMotion,
        background: Tensor | None = None,
    ) -> DenseMotion:
        """portrait: (B, 3, H, W) in 0..1. background: (B, 2, 3), the affine motion of a background that moves."""
        return self.predict(self.down(portrait), source, driving, background)

    def predict(
        self, small: Tensor, source: PartMotion, driving: PartMotion, background: Tensor | None = None
    ) -> DenseMotion:
        """`forward` from the portrait at a quarter of its size, `down(portrait)`, which a live engine keeps."""
        batch, _, h, w = small.shape
        source, driving = (PartMotion(m.points.float(), m.affine.float()) for m in (source, driving))
        grid = coordinate_grid(h, w, driving.points)
        flows = torch.cat([background_flow(background, grid, batch), part_flows(source, driving, grid)], dim=1)
        copies = small[:, None].expand(-1, self.parts + 1, -1, -1, -1).flatten(0, 1)
        warped = sample(copies, flows.flatten(0, 1)).unflatten(0, (batch, self.parts + 1))  # (B, K+1, 3, h, w)
        heat = gaussian_maps(driving.points, grid, VARIANCE) - gaussian_maps(source.points, grid, VARIANCE)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], dim=1)  # the background has no keypoint
        seen = torch.cat([heat.to(warped.dtype).unsqueeze(2), warped], dim=2).flatten(1, 2)  # (B, 4 (K+1), h, w)
        features = self.hourglass(seen.to(dtype_of(self.hourglass)))
        masks = torch.softmax(self.mask(features).float(), dim=1)
        occlusion = torch.sigmoid(self.occlusion(features).float())
        return DenseMotion(blend_flows(masks, flows), masks, occlusion, flows)


class BackgroundPredictor(nn.Module):
    """Affine motion (B, 2, 3) of the background from the driving to the source picture; the identity at first."""

    def __init__(self, *, base: int = 32, blocks: int = 5, limit: int = 1024) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(6, base, blocks, limit)
        self.head = nn.Linear(min(limit, base * 2**blocks), 6)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.eye(2, 3).flatten())

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        deepest = self.encoder(torch.cat([source, driving], dim=1))[-1]
        return self.head(deepest.mean((2, 3))).float().unflatten(1, (2, 3))

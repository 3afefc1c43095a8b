"""Auxiliary head: heat maps of the joints, on D's guidance. Used in training and for looking, not for drawing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS = 2
"""Cells of a heat map along a patch's side."""


class JointHead(nn.Module):
    """The guidance's features (B, width, h, h) to one map of logits per joint, (B, J, 2 h, 2 h)."""

    def __init__(self, width: int, joints: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(width, joints * CELLS**2, 1)

    def forward(self, guidance: Tensor) -> Tensor:
        return F.pixel_shuffle(self.maps(guidance), CELLS)


def target_maps(joints: Tensor, side: int, spread: float = 0.8) -> Tensor:
    """The maps that a head shall give: (B, J, side, side), each summing to 1. joints (B, J, 2) in sides of the
    picture; spread: of the Gaussian, in cells. A joint outside the picture lies at its edge."""
    centre = (torch.arange(side, device=joints.device) + 0.5) / side
    away = (joints.clamp(0, 1)[..., None] - centre) * side / spread  # (B, J, 2, side)
    x, y = torch.exp(-0.5 * away.square()).unbind(2)
    maps = y[..., :, None] * x[..., None, :]
    return maps / maps.sum((2, 3), keepdim=True)


def map_loss(logits: Tensor, joints: Tensor) -> Tensor:
    """Cross entropy between the maps and those of the true joints (a choice; the paper names no loss)."""
    wanted = target_maps(joints, logits.shape[-1])
    return -(wanted.flatten(2) * logits.float().flatten(2).log_softmax(2)).sum(2).mean()


def joints_of(logits: Tensor) -> Tensor:
    """Where the maps have their weight: (B, J, 2) in sides of the picture. The mean over the cells near the
    greatest one, so that a second peak far off does not pull."""
    side = logits.shape[-1]
    share = logits.float().flatten(2).softmax(2).unflatten(2, (side, side))
    peak = share.flatten(2).argmax(2)
    centre = torch.arange(side, device=logits.device, dtype=torch.float32)
    near = (centre - (peak // side)[..., None]).abs() <= 2, (centre - (peak % side)[..., None]).abs() <= 2
    share = share * near[0][..., :, None] * near[1][..., None, :]
    share = share / share.sum((2, 3), keepdim=True)
    x, y = (share.sum(2) * (centre + 0.5)).sum(2), (share.sum(3) * (centre + 0.5)).sum(2)
    return torch.stack([x, y], 2) / side

"""Auxiliary head: the hands' normals, on D's guidance. Used in training and for looking, not for drawing."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class NormalHead(nn.Module):
    """The guidance's features (B, width, h, h) and fine maps (B, fine, S, S) to normals (B, 3, S, S), of no fixed
    length, and to how sure it is that a hand is there, logits (B, 1, S, S)."""

    def __init__(self, width: int, patch: int, fine: int) -> None:
        super().__init__()
        self.patch = patch
        self.maps = nn.Conv2d(width, 4 * patch**2, 1)
        self.fine = nn.Conv2d(fine, 4, 1)

    def forward(self, features: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        maps = F.pixel_shuffle(self.maps(features), self.patch) + self.fine(fine)
        return maps[:, :3], maps[:, 3:]


def normal_loss(made: tuple[Tensor, Tensor], true: Tensor) -> Tensor:
    """Mean absolute error of the normals where a hand is, and cross entropy of where one is (choices).

    true: (B, 3, S, S), zero where no hand is."""
    normals, sure = made
    hand = (true.square().sum(1, keepdim=True) > 0.25).to(true.dtype)
    error = ((normals.float() - true).abs() * hand).sum() / (3 * hand.sum()).clamp(min=1)
    return error + F.binary_cross_entropy_with_logits(sure.float(), hand)

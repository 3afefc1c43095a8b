"""Finds hands and face in a picture, so that they can be cropped; and reads joints, hands and face for measuring.

The paper leaves open how the crops are found. This reader is trained on drawn characters beside the other networks
and shares nothing with them: none of their gradients passes through it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.unimotion.eye import Eye, convolution
from realtime.engines.unimotion.joint_head import joints_of

HAND_NUMBERS, FACE_NUMBERS = 5, 6
"""How many numbers describe a hand and a face of the drawn characters."""
SIDES = (0.19, 0.19, 0.30)
"""Sides of what is looked at around a hand (twice) and a face, in sides of the picture."""
LOOK = 16
"""Side of those looks, pixels."""


class Reader(nn.Module):
    """A picture (B, 3, S, S) in -1..1: where the joints are, and what hands and face do.

    S a multiple of 4. Heat maps are S / 4 cells wide. hand, face: how many numbers describe a hand and a face."""

    def __init__(self, joints: int, hand: int, face: int, width: int = 32) -> None:
        super().__init__()
        self.eye = Eye(width, joints)

        def look(numbers: int) -> nn.Sequential:
            return nn.Sequential(
                convolution(3, 16), convolution(16, 24, 2), convolution(24, 32, 2), nn.Flatten(),
                nn.Linear(32 * (LOOK // 4) ** 2, 48), nn.SiLU(), nn.Linear(48, numbers),
            )  # fmt: skip

        self.hand, self.face = look(hand), look(face)

    def forward(self, picture: Tensor) -> Tensor:
        """Logits of the joints' maps, (B, J, S / 4, S / 4)."""
        return self.eye(picture).maps

    def joints(self, picture: Tensor) -> Tensor:
        """(B, J, 2) in sides of the picture."""
        return joints_of(self(picture))

    def details(self, picture: Tensor, middles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What right hand, left hand (B, hand) and face (B, face) do. middles: (B, 3, 2), in sides."""
        right, left, face = (
            cut(picture, middles[:, n], middles.new_full((len(middles),), SIDES[n]), LOOK) for n in range(3)
        )
        return self.hand(right), self.hand(left.flip(3)), self.face(face)


def cut(picture: Tensor, middle: Tensor, side: Tensor, pixels: int) -> Tensor:
    """Squares of `side` (B,) around `middle` (B, 2), both in sides of the picture, as (B, C, pixels, pixels). What
    lies outside the picture repeats its edge."""
    centre = (torch.arange(pixels, device=picture.device) + 0.5) / pixels - 0.5
    x = middle[:, 0, None] + centre * side[:, None]
    y = middle[:, 1, None] + centre * side[:, None]
    grid = torch.stack([x[:, None].expand(-1, pixels, -1), y[:, :, None].expand(-1, -1, pixels)], 3) * 2 - 1
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)

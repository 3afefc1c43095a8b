"""D: retargets the motion tokens onto the body of the reference picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.unimotion.eye import STRIDE, Sight
from realtime.engines.unimotion.layers import Layer


class RetargetingDecoder(nn.Module):
    """A vision transformer over the reference's patches and the motion tokens together.

    What is seen of the reference and the tokens z (B, body), z_rh, z_lh (B, hand), z_f (B, face) to the spatial
    guidance (B, width, S / patch, S / patch), normalised per place. What is where in it is left to training: the
    auxiliary heads read it, the diffusion transformer is given it. Beside the motion tokens every patch is given a
    map of its own of the body token and of where the reference's joints are, which is learnt faster (a choice).
    eye, maps: sizes of a sight. lengths: of body, hand and face token.
    """

    def __init__(
        self, size: int, patch: int, eye: int, maps: int, width: int, layers: int, heads: int,
        lengths: tuple[int, int, int],
    ) -> None:  # fmt: skip
        super().__init__()
        if patch % STRIDE or size % patch:
            raise ValueError(f"a patch of {patch} pixels: a multiple of {STRIDE} that divides the size {size}")
        self.side, self.fold = size // patch, patch // STRIDE
        self.patches = nn.Conv2d((eye + maps) * self.fold**2, width, 1)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.side**2, width))
        self.body = nn.Linear(lengths[0], width)
        self.hand = nn.Linear(lengths[1], width)
        self.face = nn.Linear(lengths[2], width)
        self.kind = nn.Parameter(0.02 * torch.randn(1, 4, width))
        self.canvas = nn.Sequential(
            nn.Linear(lengths[0] + 2 * maps, 2 * width), nn.SiLU(), nn.Linear(2 * width, self.side**2 * width)
        )
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, reference: Sight, body: Tensor, right: Tensor, left: Tensor, face: Tensor) -> Tensor:
        motion = torch.stack([self.body(body), self.hand(right), self.hand(left), self.face(face)], 1) + self.kind
        seen = torch.cat([reference.features, torch.tanh(reference.maps / 4)], 1)
        patches = self.patches(F.pixel_unshuffle(seen, self.fold)).flatten(2).transpose(1, 2) + self.position
        known = torch.cat([body, reference.places().flatten(1) * 4 - 2], 1)
        patches = patches + self.canvas(known).unflatten(1, (self.side**2, -1))
        tokens = self.layers(torch.cat([motion, patches], 1))[:, motion.shape[1] :]
        return self.norm(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))

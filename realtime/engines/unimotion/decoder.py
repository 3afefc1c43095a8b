"""D: retargets the motion tokens onto the body of the reference picture."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.engines.unimotion.eye import STRIDE, Sight
from realtime.engines.unimotion.joint_head import target_maps
from realtime.engines.unimotion.layers import Layer
from realtime.engines.unimotion.moved import JOINTS

NECK = 1
PARENTS = (1, 1, 1, 2, 3, 4, 1, 6, 7, 8, 1, 10, 11, 1, 13, 14)
"""The joint that each hangs on, as `realtime.training.data.puppets` numbers them; the neck on itself."""
ANKLES = [12, 15]
STRAIGHT, TURNED = 1, 2
"""Ways to put the joints: each by itself, or along the bones of the reference."""


class Guidance(NamedTuple):
    """What D gives. features: (B, width, S / patch, S / patch), normalised per place. rest, joints: (B, 16, 2), where
    the joints are on the reference and where they go, in sides of the picture."""

    features: Tensor
    rest: Tensor
    joints: Tensor


class RetargetingDecoder(nn.Module):
    """A vision transformer over the reference's patches and the motion tokens together.

    What is seen of the reference and the tokens z (B, body), z_rh, z_lh (B, hand), z_f (B, face) to the spatial
    guidance. What is where in its features is left to training: the auxiliary heads read it, the diffusion
    transformer is given it. Two choices make it learn within half an hour of one core: the joints are put first, by a
    few layers, from the body token and where the reference's joints are (see `place`); and the patches are given maps
    of them. eye, maps: sizes of a sight, whose first maps are the joints'. lengths: of body, hand and face token.
    way: `STRAIGHT` or `TURNED`.
    """

    chains: Tensor

    def __init__(
        self, size: int, patch: int, eye: int, maps: int, width: int, layers: int, heads: int,
        lengths: tuple[int, int, int], way: int = TURNED,
    ) -> None:  # fmt: skip
        super().__init__()
        if patch % STRIDE or size % patch:
            raise ValueError(f"a patch of {patch} pixels: a multiple of {STRIDE} that divides the size {size}")
        if maps < JOINTS:
            raise ValueError(f"{maps} maps: there must be {JOINTS} for the joints")
        if way not in (STRAIGHT, TURNED):
            raise ValueError(f"placing={way}: it may be {STRAIGHT} or {TURNED}")
        self.way = way
        self.register_buffer("chains", chains(), persistent=False)
        self.side, self.fold = size // patch, patch // STRIDE
        self.patches = nn.Conv2d((eye + maps + JOINTS) * self.fold**2, width, 1)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.side**2, width))
        self.body = nn.Linear(lengths[0], width)
        self.hand = nn.Linear(lengths[1], width)
        self.face = nn.Linear(lengths[2], width)
        self.kind = nn.Parameter(0.02 * torch.randn(1, 4, width))
        known = lengths[0] + 2 * maps
        self.straight = nn.Linear(known, 2 * JOINTS)
        self.joints = nn.Sequential(
            nn.Linear(known, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU(),
            nn.Linear(2 * width, 2 * JOINTS),
        )  # fmt: skip
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def place(self, at: Tensor, body: Tensor) -> Tensor:
        """Where the reference's joints go, (B, 16, 2). at: where its maps lie, (B, maps, 2).

        Turned: the layers say which way each bone points and by how much the feet move; how long a bone is, and where
        the feet are, the reference says. Straight: they say where each joint is, from the middle of the reference's.
        """
        known = torch.cat([body, at.flatten(1) * 4 - 2], 1)
        ways = (self.straight(known) + self.joints(known)).float().unflatten(1, (JOINTS, 2))
        rest = at[:, :JOINTS]
        if self.way == STRAIGHT:
            return rest.mean(1, keepdim=True) + ways / 4
        bones = rest - rest[:, PARENTS]
        turned = F.normalize(ways, dim=2, eps=1e-3) * bones.norm(dim=2, keepdim=True)
        joints = (self.chains[..., None] * turned[:, None]).sum(2)
        return joints - feet(joints) + feet(rest) + ways[:, [NECK]] / 20

    def forward(self, reference: Sight, body: Tensor, right: Tensor, left: Tensor, face: Tensor) -> Guidance:
        at = reference.places()
        joints = self.place(at, body)
        goal = 8 * target_maps(joints, reference.maps.shape[3])
        motion = torch.stack([self.body(body), self.hand(right), self.hand(left), self.face(face)], 1) + self.kind
        seen = torch.cat([reference.features, torch.tanh(reference.maps / 4), goal], 1)
        patches = self.patches(F.pixel_unshuffle(seen, self.fold)).flatten(2).transpose(1, 2) + self.position
        tokens = self.layers(torch.cat([motion, patches], 1))[:, motion.shape[1] :]
        features = self.norm(tokens).transpose(1, 2).unflatten(2, (self.side, self.side))
        return Guidance(features, at[:, :JOINTS], joints)


def chains() -> Tensor:
    """(16, 16): which bones lead from the neck to a joint; a bone is numbered as the joint at its end."""
    lead = torch.zeros(JOINTS, JOINTS)
    for joint in range(JOINTS):
        on = joint
        while on != NECK:
            lead[joint, on] = 1
            on = PARENTS[on]
    return lead


def feet(joints: Tensor) -> Tensor:
    """Where bodies stand, (B, 1, 2) of joints (B, 16, 2), as the drawing says it (`puppets.feet`), for tensors."""
    x, y = joints[:, ANKLES].unbind(2)
    return torch.stack([x.mean(1), y.amax(1)], 1)[:, None]

"""The reference moved bone by bone: what D's guidance shows of it at every pixel.

The paper's guidance is whatever its large decoder finds. Here the way from a pose to pixels is given: the reference's
picture is carried along with each bone, from where its joints are to where D puts them, and the bones lie one over
the other. All of it can be learnt through: where the joints are, and how wide a bone is. The tokens of hands and face
are made small maps that are laid where their bones are. These are choices.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SOFT = 0.006
"""Width of a bone's edge, in sides of the picture."""
LEAST = 0.02
"""Least length of a bone that others are compared with, in sides."""
CANVAS = 12
"""Side of the maps that the tokens of hands and face are made to, in cells."""


class Bone(NamedTuple):
    """Between two joints (-1: between the hips). begin, end: of what goes along, as shares of the way from the first
    joint to the second. radius: of it, in sides of the picture, where training starts."""

    first: int
    second: int
    begin: float
    end: float
    radius: float


BONES = (
    Bone(11, 12, 0.0, 1.1, 0.035), Bone(10, 11, 0.0, 1.0, 0.042),
    Bone(14, 15, 0.0, 1.1, 0.035), Bone(13, 14, 0.0, 1.0, 0.042),
    Bone(-1, 1, 0.0, 0.9, 0.09), Bone(1, 0, 0.7, 1.15, 0.11),
    Bone(3, 4, 0.0, 1.0, 0.03), Bone(2, 3, 0.0, 1.0, 0.034), Bone(4, 5, 0.3, 1.9, 0.042),
    Bone(7, 8, 0.0, 1.0, 0.03), Bone(6, 7, 0.0, 1.0, 0.034), Bone(8, 9, 0.3, 1.9, 0.042),
)  # fmt: skip
"""From the farthest to the nearest: legs, trunk, head, arms. Joints as `realtime.training.data.puppets` has them."""
HIPS = (10, 13)
JOINTS = 16
FACE, RIGHT, LEFT = 5, 8, 11
"""Which of the bones carry the maps of face and hands."""
REACH = ((-0.2, 2.2), (-1.4, 2.6), (-1.4, 2.6))
"""How far those maps reach along their bones, in lengths of them: face, right and left hand; as far across, from the
middle."""


class Moved(nn.Module):
    """Where the joints are on the reference and where they shall be, both (B, 16, 2) in sides, the picture (B, 3, S,
    S) and the tokens of hands (B, hand) and face (B, face) to maps (B, channels, S, S): the moved picture (3), the
    bones (12), what the face's token says and what the hands' do (`marks` each)."""

    begin: Tensor
    end: Tensor

    def __init__(self, hand: int, face: int, marks: int) -> None:
        super().__init__()
        self.marks = marks
        self.channels = 3 + len(BONES) + 2 * marks
        self.width = nn.Parameter(torch.tensor([bone.radius for bone in BONES]).log())
        self.hand = nn.Sequential(nn.Linear(hand, 64), nn.SiLU(), nn.Linear(64, marks * CANVAS**2))
        self.face = nn.Sequential(nn.Linear(face, 64), nn.SiLU(), nn.Linear(64, marks * CANVAS**2))
        self.register_buffer("begin", torch.tensor([bone.begin for bone in BONES])[:, None, None], persistent=False)
        self.register_buffer("end", torch.tensor([bone.end for bone in BONES])[:, None, None], persistent=False)

    def forward(self, picture: Tensor, at: Tensor, to: Tensor, right: Tensor, left: Tensor, face: Tensor) -> Tensor:
        size = picture.shape[3]
        a, b = ends(at), ends(to)  # each (B, N, 2, 2): bone, its two ends, x and y
        centre = (torch.arange(size, device=picture.device) + 0.5) / size
        x, y = centre.expand(size, size)[None, None], centre[:, None].expand(size, size)[None, None]
        along, across, length = lengthwise(x, y, b)
        share = torch.minimum(torch.maximum(along, self.begin), self.end)
        away = length * ((along - share).square() + across.square() + 1e-6).sqrt()
        bones = torch.sigmoid((self.width.exp()[:, None, None] - away) / SOFT)
        went = (a[:, :, 1] - a[:, :, 0])[..., None, None]
        start = a[:, :, 0, :, None, None]
        back = torch.stack(
            [
                start[:, :, 0] + along * went[:, :, 0] - across * went[:, :, 1],
                start[:, :, 1] + along * went[:, :, 1] + across * went[:, :, 0],
            ],
            4,
        )
        carried = F.grid_sample(
            picture, back.flatten(1, 2) * 2 - 1, padding_mode="border", align_corners=False
        ).unflatten(2, (len(BONES), size))
        seen = picture
        for mask, part in zip(bones.unsqueeze(2).unbind(1), carried.unbind(2), strict=True):
            seen = torch.lerp(seen, part, mask)
        marks = []
        ways, sides = along.unbind(1), across.unbind(1)
        canvases = (self.face(face), self.hand(right), self.hand(left))
        for canvas, bone, (low, high), mirror in zip(canvases, (FACE, RIGHT, LEFT), REACH, (1, 1, -1), strict=True):
            middle, half = (low + high) / 2, (high - low) / 2
            grid = torch.stack([mirror * sides[bone], ways[bone] - middle], 3) / half
            marks.append(
                F.grid_sample(canvas.float().unflatten(1, (self.marks, CANVAS, CANVAS)), grid, align_corners=False)
            )
        return torch.cat([seen, bones, marks[0], marks[1] + marks[2]], 1)


def ends(joints: Tensor) -> Tensor:
    """Both ends of every bone, (B, N, 2, 2), of joints (B, 16, 2)."""
    hips = (joints[:, HIPS[0]] + joints[:, HIPS[1]]) / 2
    joints = torch.cat([joints, hips[:, None]], 1)
    first, second = (joints[:, [getattr(bone, end) for bone in BONES]] for end in ("first", "second"))
    return torch.stack([first, second], 2)


def lengthwise(x: Tensor, y: Tensor, bones: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels as the bones (B, N, 2, 2) see them: how far along and how far across, in lengths of the bone (each
    (B, N, S, S)), and those lengths (B, N, 1, 1)."""
    start, way = bones[:, :, 0, :, None, None], (bones[:, :, 1] - bones[:, :, 0])[..., None, None]
    square = way.square().sum(2).clamp(min=LEAST**2)
    dx, dy = x - start[:, :, 0], y - start[:, :, 1]
    along = (dx * way[:, :, 0] + dy * way[:, :, 1]) / square
    across = (dy * way[:, :, 0] - dx * way[:, :, 1]) / square
    return along, across, square.sqrt()

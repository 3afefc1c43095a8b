"""All networks as one: what is trained, saved and run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from realtime.engines.unimotion.body import BodyEncoder
from realtime.engines.unimotion.decoder import TURNED, Guidance, RetargetingDecoder
from realtime.engines.unimotion.dit import DiffusionTransformer, sample
from realtime.engines.unimotion.eye import Eye, Sight
from realtime.engines.unimotion.face import FaceEncoder
from realtime.engines.unimotion.hand import HandEncoder
from realtime.engines.unimotion.joint_head import JointHead
from realtime.engines.unimotion.moved import JOINTS, Moved
from realtime.engines.unimotion.normal_head import NormalHead
from realtime.engines.unimotion.reader import FACE_NUMBERS, HAND_NUMBERS, Reader

FIXED = {"joints": JOINTS, "hand_numbers": HAND_NUMBERS, "face_numbers": FACE_NUMBERS}
"""Sizes that follow from what the characters are drawn by (`realtime.training.data.puppets`)."""


@dataclass(frozen=True)
class UniMotionConfig:
    """Sizes; all are choices.

    size, patch: side of the pictures and of a patch, pixels. crop: side of the crops of hands and face. body, hand,
    face: lengths of the tokens. eye, free: channels of the eye, and how many maps it has beside the joints'. width,
    heads, decoder: of encoders and D, and D's layers. marks: maps that the tokens of hands and face are made to.
    placing: how D puts the joints: 2 along the bones of the reference, 1 each by itself (weights of before).
    dit_width, dit_layers, detail: of the diffusion transformer; detail: channels of its last convolutions.

    joints, hand_numbers, face_numbers are no settings: they follow from the drawn characters (`FIXED`). They are
    fields because files of weights and runs name them; any other value is refused.
    """

    size: int = 64
    patch: int = 8
    crop: int = 32
    body: int = 64
    hand: int = 16
    face: int = 32
    eye: int = 32
    free: int = 8
    width: int = 96
    heads: int = 4
    decoder: int = 2
    placing: int = TURNED
    marks: int = 6
    dit_width: int = 96
    dit_layers: int = 2
    detail: int = 32
    joints: int = JOINTS
    hand_numbers: int = HAND_NUMBERS
    face_numbers: int = FACE_NUMBERS

    @property
    def tokens(self) -> int:
        """How many numbers the four tokens have together."""
        return self.body + 2 * self.hand + self.face


class Tokens(NamedTuple):
    """The motion of a picture: body (B, body), right, left (B, hand), face (B, face), each in -1..1."""

    body: Tensor
    right: Tensor
    left: Tensor
    face: Tensor


class UniMotion(nn.Module):
    """The eye, encoders, D with its auxiliary heads, the diffusion transformer, and the reader. Raises ValueError for
    sizes that cannot be."""

    def __init__(self, config: UniMotionConfig) -> None:
        super().__init__()
        self.config = c = config
        for name, number in FIXED.items():
            if getattr(c, name) != number:
                raise ValueError(f"{name}={getattr(c, name)}: there must be {number}, as of the drawn characters")
        lengths = (c.body, c.hand, c.face)
        maps = c.joints + c.free
        self.eye = Eye(c.eye, maps)
        self.body = BodyEncoder(c.eye, maps, c.width, c.body)
        self.hand = HandEncoder(c.crop, c.width, c.hand)
        self.face = FaceEncoder(c.crop, c.width, c.face)
        self.decoder = RetargetingDecoder(
            c.size, c.patch, c.eye, maps, c.width, c.decoder, c.heads, lengths, c.placing
        )
        self.moved = Moved(c.hand, c.face, c.marks)
        self.joint_head = JointHead(c.width, c.joints)
        self.normal_head = NormalHead(c.width, c.patch, self.moved.channels)
        self.dit = DiffusionTransformer(
            c.size, c.patch, c.dit_width, c.dit_layers, c.heads, c.width, self.moved.channels, c.face, c.detail
        )
        self.reader = Reader(c.joints, c.hand_numbers, c.face_numbers)

    def look(self, picture: Tensor) -> Sight:
        """What is seen of a picture (B, 3, S, S) in 0..1."""
        return self.eye(picture * 2 - 1)

    def encode(self, driver: Sight, crops: Tensor) -> Tokens:
        """crops (B, 3, 3, C, C) in 0..1: right hand, left hand mirrored, face."""
        right, left = self.hand(crops[:, :2].flatten(0, 1) * 2 - 1).unflatten(0, (-1, 2)).unbind(1)
        return Tokens(self.body(driver), right, left, self.face(crops[:, 2] * 2 - 1))

    def guide(self, reference: Sight, tokens: Tokens) -> Guidance:
        """The spatial guidance on the body of the reference."""
        return self.decoder(reference, *tokens)

    def move(self, reference: Tensor, guidance: Guidance, tokens: Tokens) -> Tensor:
        """The guidance at every pixel, (B, F, S, S): see `Moved`. reference: (B, 3, S, S) in 0..1."""
        return self.moved(reference * 2 - 1, guidance.rest, guidance.joints, *tokens[1:])

    @torch.no_grad()
    def draw(self, reference: Tensor, tokens: Tokens, noise: Tensor, steps: int = 4) -> Tensor:
        """The character of `reference` (B, 3, S, S) in 0..1 in the motion of the tokens, the same shape and range.
        noise: (B, 3, S, S), unit normals; steps: of the sampler."""
        guidance = self.guide(self.look(reference), tokens)
        fine = self.move(reference, guidance, tokens)
        made = sample(self.dit, reference * 2 - 1, guidance.features, fine, tokens.face, noise, steps)
        return ((made + 1) / 2).clamp(0, 1)

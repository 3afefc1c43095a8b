"""LivePortrait's networks together; `weights.load_networks` fills them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from realtime.engines.liveportrait import heads
from realtime.engines.liveportrait.appearance import AppearanceExtractor
from realtime.engines.liveportrait.generator import Generator
from realtime.engines.liveportrait.layers import KEYPOINTS
from realtime.engines.liveportrait.motion import MotionExtractor
from realtime.engines.liveportrait.warping import WarpingModule

PARTS: dict[str, Callable[[], nn.Module]] = {
    "appearance_feature_extractor": AppearanceExtractor,
    "motion_extractor": MotionExtractor,
    "warping_module": WarpingModule,
    "spade_generator": Generator,
    "retarget_shoulder": lambda: heads.Head(heads.STITCHING),
    "retarget_mouth": lambda: heads.Head(heads.LIP),
    "retarget_eye": lambda: heads.Head(heads.EYE),
}
"""The seven networks by the names that the checkpoints give them."""


class Networks:
    """All of LivePortrait as published: 130 M parameters, pictures of 256 pixels in and of 512 out.

    Keypoints are (B, 21, 3): x to the right, y down, z into the picture. Other square sizes that are multiples of
    128 pixels work as well.
    """

    def __init__(self, parts: nn.ModuleDict | None = None) -> None:
        """parts: the networks by their names in `PARTS`; new ones without."""
        self.parts = parts if parts is not None else nn.ModuleDict({name: make() for name, make in PARTS.items()})

    def appearance(self, x: Tensor) -> Tensor:
        """The portrait's volume: (B, 3, S, S) RGB in 0..1 -> (B, 32, 16, S/4, S/4)."""
        return self.parts["appearance_feature_extractor"](x)

    def motion(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) in 0..1 -> pitch, yaw, roll (B, 66) logits, t (B, 3), exp, kp (B, 63), scale (B, 1)."""
        return self.parts["motion_extractor"](x)

    def warp(self, feature: Tensor, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """The moved features: (B, 32, 16, H, W) and keypoints -> (B, 256, H, W)."""
        return self.parts["warping_module"](feature, kp_source, kp_driving)

    def generate(self, feature: Tensor) -> Tensor:
        """(B, 256, H, W) -> the picture (B, 3, 8 H, 8 W) in 0..1."""
        return self.parts["spade_generator"](feature)

    def stitch(self, kp_source: Tensor, kp_driving: Tensor) -> Tensor:
        """What stitching adds to the driving keypoints: (B, 65), 21 shifts, x y z, then one in x and y for all."""
        return self.parts["retarget_shoulder"](_rows(kp_source, kp_driving))

    def retarget_eye(self, kp: Tensor, ratio: Tensor) -> Tensor:
        """Shifts (B, 21, 3) that open or close the eyes. ratio: (B, 3), the portrait's eye at the picture's left, at
        its right, and what is wanted."""
        return self.parts["retarget_eye"](_rows(kp, ratio)).unflatten(1, (KEYPOINTS, 3))

    def retarget_lip(self, kp: Tensor, ratio: Tensor) -> Tensor:
        """Shifts (B, 21, 3) that open or close the lips. ratio: (B, 2), the portrait's and what is wanted."""
        return self.parts["retarget_mouth"](_rows(kp, ratio)).unflatten(1, (KEYPOINTS, 3))


def _rows(*parts: Tensor) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], 1)

"""What X-UniMotion's tokens are trained on: a reference picture, a driver, and the picture that should come out.

Everything is drawn when it is needed. Which scene is number n follows from the seed and n alone, as with
`realtime.training.data.pairs`. Characters that are trained on and those that are measured on are different ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from realtime.training.config import PuppetConfig
from realtime.training.data.pairs import draw
from realtime.training.data.puppets import (
    Character,
    Drawn,
    Place,
    Pose,
    draw_character,
    draw_place,
    draw_pose,
    render,
)

UNSEEN = 1 << 40
"""Characters from this number on are never trained on."""
_SIDE = np.array([[-0.5, 0.5, -0.5], [-0.5, -0.5, 0.5]], np.float32)
"""Three corners of a square around its middle."""


class Scene(NamedTuple):
    """A batch of B scenes (without the B: one of them). S: side of the pictures, C: of the crops.

    reference, driver, target: (B, 3, S, S) in 0..1; the target is the reference's character and place in the driver's
    pose. crops: (B, 3, 3, C, C) of the driver: right hand, left hand mirrored, face. joints: (B, 16, 2) of the
    target, in sides; driver_joints, reference_joints: of those. normals: (B, 3, S, S) of the target's hands. hands:
    (B, 2, 5), face: (B, 6): what the pose says.
    """

    reference: Tensor
    driver: Tensor
    crops: Tensor
    target: Tensor
    joints: Tensor
    driver_joints: Tensor
    reference_joints: Tensor
    normals: Tensor
    hands: Tensor
    face: Tensor


@dataclass(frozen=True)
class Cast:
    """Who does what: `who` in the pose `rest` at `place` is the reference, in `pose` the target; `driver` shows that
    pose `elsewhere`."""

    who: Character
    driver: Character
    rest: Pose
    pose: Pose
    place: Place
    elsewhere: Place


def character(seed: int, number: int) -> Character:
    """Character `number` of a seed's endless cast."""
    return draw_character(draw(seed ^ 0x5EED, number))


class SceneSet(Dataset[Scene]):
    """Scenes of training: item n is scene number n.

    crop: side of the crops, pixels. unseen: characters that are not trained on, and drivers as they are: neither
    recoloured nor moved.
    """

    def __init__(self, config: PuppetConfig, size: int, crop: int, seed: int, unseen: bool = False) -> None:
        self.config, self.size, self.crop, self.seed, self.unseen = config, size, crop, seed, unseen

    def __getitem__(self, number: int) -> Scene:
        rng = self._chance(number)
        return self.draw(self._cast(rng), rng)

    def cast(self, number: int) -> Cast:
        """Who does what in scene `number`."""
        return self._cast(self._chance(number))

    def _chance(self, number: int) -> np.random.Generator:
        return draw(self.seed + (UNSEEN if self.unseen else 0), number)

    def _cast(self, rng: np.random.Generator) -> Cast:
        who, other = (self._somebody(rng) for _ in range(2))
        rest, pose, place, elsewhere = draw_pose(rng), draw_pose(rng), draw_place(rng), draw_place(rng)
        cross = rng.random() < self.config.cross
        return Cast(who, other if cross else who, rest, pose, place, elsewhere if cross else place)

    def _somebody(self, rng: np.random.Generator) -> Character:
        number = int(rng.integers(self.config.characters))
        return character(self.seed, number + (UNSEEN if self.unseen else 0))

    def draw(self, cast: Cast, rng: np.random.Generator) -> Scene:
        """The pictures. rng: for the augmentation."""
        reference = render(cast.who, cast.rest, cast.place, self.size)
        target = render(cast.who, cast.pose, cast.place, self.size, normals=True)
        seen = render(cast.driver, cast.pose, cast.elsewhere, 2 * self.size)
        augmented = self.config.augment and not self.unseen
        if augmented:
            seen = augment(seen, self.config, rng)
        wander = 0.08 if augmented else 0.0
        crops = crops_of(seen.picture, seen.boxes, self.crop, rng.uniform(-wander, wander, (3, 3)))
        small = cv2.resize(seen.picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        assert target.normals is not None
        return Scene(
            reference=picture_tensor(reference.picture),
            driver=picture_tensor(small),
            crops=torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255,
            target=picture_tensor(target.picture),
            joints=torch.from_numpy(target.joints),
            driver_joints=torch.from_numpy(seen.joints),
            reference_joints=torch.from_numpy(reference.joints),
            normals=torch.from_numpy(target.normals).permute(2, 0, 1),
            hands=torch.from_numpy(cast.pose.hands).float(),
            face=torch.from_numpy(cast.pose.face).float(),
        )


def picture_tensor(picture: np.ndarray) -> Tensor:
    """uint8 (S, S, 3) to float32 (3, S, S) in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 255


def crops_of(picture: np.ndarray, boxes: np.ndarray, pixels: int, wander: np.ndarray | None = None) -> np.ndarray:
    """uint8 (3, pixels, pixels, 3): right hand, left hand mirrored, face of an uint8 (H, W, 3) picture.

    boxes: (3, 3), middle and side in widths of the picture. wander: (3, 3), by how many of its sides each box is
    moved, and by which share it is larger."""
    wide = picture.shape[1]
    crops = np.empty((3, pixels, pixels, 3), np.uint8)
    for n, (x, y, side) in enumerate(boxes):
        if wander is not None:
            x, y, side = x + wander[n, 0] * side, y + wander[n, 1] * side, side * (1 + wander[n, 2])
        corners = (np.array([[x], [y]], np.float32) + side * _SIDE) * wide - 0.5
        reach = np.array([[0, pixels, 0], [0, 0, pixels]], np.float32) - 0.5
        move = cv2.getAffineTransform(
            np.ascontiguousarray(corners.T, np.float32), np.ascontiguousarray(reach.T, np.float32)
        )
        crops[n] = cv2.warpAffine(
            picture, move, (pixels, pixels), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    crops[1] = crops[1, :, ::-1]
    return crops


def augment(seen: Drawn, config: PuppetConfig, rng: np.random.Generator) -> Drawn:
    """The driver with other colours and elsewhere: 2D colour and spatial augmentation, as the paper has it. Its
    strengths, and which changes there are, are choices: a random mixture of the three channels, brightness, contrast,
    and an affine map (size, width to height, slant, place). Joints and boxes go along."""
    size = seen.picture.shape[0]
    stretch = rng.uniform(-config.spatial, config.spatial, 2)
    grow = np.exp(rng.uniform(-config.spatial, config.spatial) + 0.5 * np.array([stretch[0], -stretch[0]]))
    slant = 0.3 * stretch[1]
    matrix = np.array([[grow[0], slant], [0.0, grow[1]]])
    shift = 0.5 - matrix @ [0.5, 0.5] + rng.uniform(-0.5, 0.5, 2) * config.spatial
    move = np.hstack([matrix, (shift * size - 0.5 + matrix @ [0.5, 0.5])[:, None]])
    picture = cv2.warpAffine(seen.picture, move, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mix = np.eye(3) + config.colour * rng.uniform(-1, 1, (3, 3))
    mix *= rng.uniform(1 - 0.4 * config.colour, 1 + 0.4 * config.colour) / np.abs(mix).sum(1, keepdims=True)
    if rng.random() < 0.3 * config.colour:
        mix = -mix
    coloured = cv2.transform(picture.astype(np.float32) - 127.5, mix.astype(np.float32))
    picture = np.clip(coloured + 127.5 + rng.uniform(-60, 60, 3) * config.colour, 0, 255).astype(np.uint8)
    boxes = seen.boxes.copy()
    boxes[:, :2] = boxes[:, :2] @ matrix.T + shift
    boxes[:, 2] *= float(np.sqrt(grow[0] * grow[1]))
    joints = (seen.joints @ matrix.T + shift).astype(np.float32)
    return Drawn(picture, joints, None, boxes)

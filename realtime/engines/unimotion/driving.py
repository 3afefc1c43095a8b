"""From frames and portraits of any size to what the networks take, and from tokens to codes and back."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from realtime.engines.unimotion.network import Tokens, UniMotion
from realtime.engines.unimotion.reader import cut
from realtime.types import Direction, MotionCode

KIND = "unimotion"
"""Of the codes: the four tokens one after the other, body, right hand, left hand, face."""
HEAD, NECK, RIGHT_WRIST, RIGHT_HAND, LEFT_WRIST, LEFT_HAND = 0, 1, 4, 5, 8, 9
"""Joints that the crops hang on, as `realtime.training.data.puppets` numbers them."""
FACE_SIDE, HAND_SIDE = 2.3, 3.4
"""Sides of the crops, in distances from neck to head and from wrist to hand."""
FACE_RANGE, HAND_RANGE = (0.19, 0.34), (0.11, 0.18)
"""What those sides can be, in sides of the picture."""


def square(image: np.ndarray, side: int) -> np.ndarray:
    """The middle square of an uint8 (H, W, 3) picture, `side` pixels wide."""
    height, width = image.shape[:2]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    middle = np.ascontiguousarray(image[top : top + least, left : left + least])
    way = cv2.INTER_AREA if least > side else cv2.INTER_LINEAR
    return middle if least == side else cv2.resize(middle, (side, side), interpolation=way)


def tensor(pictures: np.ndarray) -> Tensor:
    """uint8 (B, S, S, 3) to float32 (B, 3, S, S) in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def boxes_of(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Where right hand, left hand and face are cropped: middles (B, 3, 2) and sides (B, 3), in sides of the picture,
    from joints (B, J, 2)."""

    def apart(a: int, b: int) -> Tensor:
        return (joints[:, a] - joints[:, b]).norm(dim=1)

    hands = [
        (HAND_SIDE * apart(*pair)).clamp(*HAND_RANGE) for pair in ((RIGHT_WRIST, RIGHT_HAND), (LEFT_WRIST, LEFT_HAND))
    ]
    face = (FACE_SIDE * apart(NECK, HEAD)).clamp(*FACE_RANGE)
    return joints[:, [RIGHT_HAND, LEFT_HAND, HEAD]], torch.stack([*hands, face], 1)


@torch.no_grad()
def read_frames(network: UniMotion, frames: Tensor) -> tuple[Tokens, Tensor, Tensor]:
    """The tokens of driving frames (B, 3, 2 S, 2 S) in 0..1, the frames as E takes them (B, 3, S, S), and the crops
    (B, 3, 3, C, C), which the reader has found."""
    c = network.config
    small = torch.nn.functional.interpolate(frames, (c.size, c.size), mode="area")
    middles, sides = boxes_of(network.reader.joints(small * 2 - 1))
    crops = torch.stack([cut(frames, middles[:, n], sides[:, n], c.crop) for n in range(3)], 1)
    crops[:, 1] = crops[:, 1].flip(3)
    return network.encode(network.look(small), crops), small, crops


def code_of(tokens: Tokens, pts: float = 0.0, index: int = 0) -> MotionCode:
    """The code of one picture's tokens."""
    values = torch.cat([part[0] for part in tokens]).cpu().numpy().astype(np.float32)
    return MotionCode(KIND, values, 0.0, pts, index)


def tokens_of(values: np.ndarray, network: UniMotion) -> Tokens:
    """The tokens in codes, float32 (B, K)."""
    c = network.config
    parts = torch.from_numpy(np.array(values, np.float32)).split([c.body, c.hand, c.hand, c.face], 1)
    return Tokens(*(part.clamp(-1, 1).to(next(network.parameters()).device) for part in parts))


def directions(network: UniMotion) -> list[Direction]:
    """The entries of a code: "body 0" and so on. What each does is left to training."""
    c = network.config
    parts = (("body", c.body), ("right hand", c.hand), ("left hand", c.hand), ("face", c.face))
    names = [f"{part} {n}" for part, length in parts for n in range(length)]
    return [Direction(name, n, -1.0, 1.0, named=False) for n, name in enumerate(names)]

"""What is cut out of a driving frame beside the skeleton: the face, and the place of the person."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

FACE_SIDE = 512
_AREA = 1.3
"""Area of the crop over that of the face's box."""
_ABOVE = 0.75
"""Share of the added height that lies above the face."""
MARGIN = 0.025
"""Grown around a person before the box is taken, as a share of the frame's shorter side."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom are outside."""


def face_box(face: np.ndarray, height: int, width: int) -> Box | None:
    """The part of the picture that shows the face to the network: float (4,), jaw to brows, grown to 1.3 of its area,
    three quarters of the new height above it. None where it lies outside the picture."""
    left, top, right, bottom = face
    w, h = right - left, bottom - top
    more_w, more_h = w * (_AREA**0.5 - 1), h * (_AREA**0.5 - 1)
    box = (
        max(0, int(left - more_w / 2)),
        max(0, int(top - _ABOVE * more_h)),
        min(width, int(right + more_w / 2)),
        min(height, int(bottom + (1 - _ABOVE) * more_h)),
    )
    return box if box[2] - box[0] >= 2 and box[3] - box[1] >= 2 else None


def face_crop(image: np.ndarray, face: np.ndarray | None) -> np.ndarray:
    """The face, squashed to uint8 (512, 512, 3); black where there is none, which is what the network takes for no
    face."""
    box = None if face is None else face_box(face, *image.shape[:2])
    if box is None:
        return np.zeros((FACE_SIDE, FACE_SIDE, 3), np.uint8)
    part = image[box[1] : box[3], box[0] : box[2]]
    return cv2.resize(part, (FACE_SIDE, FACE_SIDE))


def person_box(outline: np.ndarray, points: np.ndarray) -> Box | None:
    """The rectangle that holds a person: bool (H, W), and points (N, 2) of body and hands in pixels."""
    height, width = outline.shape
    columns, rows = np.flatnonzero(outline.any(axis=0)), np.flatnonzero(outline.any(axis=1))
    xs, ys = [points[:, 0]], [points[:, 1]]
    if columns.size:
        xs.append(columns[[0, -1]] + np.array([0, 1]))
        ys.append(rows[[0, -1]] + np.array([0, 1]))
    x, y = np.concatenate(xs), np.concatenate(ys)
    if x.size == 0:
        return None
    grown = MARGIN * min(height, width)
    return (
        max(0, int(x.min() - grown)),
        max(0, int(y.min() - grown)),
        min(width, int(np.ceil(x.max() + grown))),
        min(height, int(np.ceil(y.max() + grown))),
    )


def bridged(boxes: Sequence[Box | None], longest: int) -> list[Box | None]:
    """The boxes, with gaps of up to `longest` frames filled by what holds the boxes on both sides; at the ends of the
    clip by the one there is. So nobody flashes up in a frame in which the person was not found."""
    out, known = list(boxes), [n for n, box in enumerate(boxes) if box is not None]
    for n, box in enumerate(boxes):
        if box is not None or not known:
            continue
        before = max((k for k in known if k < n), default=None)
        after = min((k for k in known if k > n), default=None)
        gap = (len(boxes) if after is None else after) - (-1 if before is None else before) - 1
        if gap <= longest:
            sides = [boxes[k] for k in (before, after) if k is not None]
            out[n] = around([side for side in sides if side is not None])
    return out


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    return int(low[0]), int(low[1]), int(high[2]), int(high[3])


def mask_of(box: Box | None, height: int, width: int) -> np.ndarray:
    """uint8 (height, width): 255 where the film is made anew, 0 where it is kept."""
    mask = np.zeros((height, width), np.uint8)
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = 255
    return mask

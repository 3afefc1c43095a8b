"""Which part of a picture LivePortrait looks at, what is measured on the face there, and how the result goes back.

The authors find 203 points with networks of their own; here MediaPipe's 478 stand in for them. They reach up to the
forehead, so that the square is 1.96 times their box instead of 2.3 times the authors', and lies less far above its
middle (means of seven portraits). The openings of eyes and lips are brought to the authors' measure by straight
lines fitted on five clips whose 203 points are published (correlations 0.97, 0.98 and 0.97).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.neural.crop import LIFT, MARGIN, FaceBox
from realtime.face import face_model as fm

PORTRAIT_SIDE, PORTRAIT_LIFT = 1.96, 0.081
"""Side of a portrait's square over the longer side of the box of the landmarks, and how far its middle lies above the
box's, in sides."""
DRIVING_SIDE, DRIVING_LIFT = 1.875, 0.101
"""Side of a driving frame's square, and how far its middle lies above the box's, both over the box's longer side."""
FEATHER = 16
"""Pixels of the picture of 512 over which it fades into the photo, and as many that are left out."""

_EYES = ((33, 133, 159, 145), (362, 263, 386, 374))
"""Corners, upper and lower lid of the eye at the picture's left and of the one at its right."""
_LIPS = (61, 291, 13, 14)
_TO_AUTHORS = ((1.27, -0.060), (1.22, -0.037), (0.75, 0.010))
"""Factor and offset of each opening."""


def openings(landmarks: np.ndarray) -> np.ndarray:
    """How far the eye at the picture's left, the eye at its right and the lips are open, over their widths, in the
    authors' measure: float32 (3). landmarks: (478, 2 or more), pixels."""
    found = []
    for (a, b, upper, lower), (factor, offset) in zip((*_EYES, _LIPS), _TO_AUTHORS, strict=True):
        width = np.linalg.norm(landmarks[a, :2] - landmarks[b, :2])
        found.append(factor * np.linalg.norm(landmarks[upper, :2] - landmarks[lower, :2]) / (width + 1e-6) + offset)
    return np.clip(np.array(found), 0.0, 0.8).astype(np.float32)


def square_transform(
    points: np.ndarray, eyes: np.ndarray, mouth: np.ndarray, scale: float, lift: float, side: int
) -> np.ndarray:
    """Similarity (2, 3) from a picture to the upright square of `side` pixels around a face.

    points: (N, 2), whose box counts. eyes, mouth: (2), middle of the eyes' centres and of the mouth; the axis between
    them is upright. scale: side of the square over the longer side of the box. lift: how far its middle is above the
    box's, in sides.
    """
    down = (mouth - eyes) / max(float(np.linalg.norm(mouth - eyes)), 1e-6)
    right = np.array([down[1], -down[0]])
    across, along = points @ right, points @ down
    low, high = np.array([across.min(), along.min()]), np.array([across.max(), along.max()])
    size = float((high - low).max()) * scale
    middle = (low + high) / 2 - (0.0, lift * size)
    turn = np.stack([right, down])  # picture axes to square axes
    return np.hstack([turn, ((-middle + size / 2)[:, None])]) * (side / size)


def portrait_transform(landmarks: np.ndarray, side: int) -> np.ndarray:
    """`square_transform` of a portrait's landmarks (478, 2 or more)."""
    flat = landmarks[:, :2].astype(np.float64)
    eyes = (flat[fm.RIGHT_IRIS[0]] + flat[fm.LEFT_IRIS[0]]) / 2
    mouth = flat[list(fm.MOUTH_CORNERS)].mean(0)
    return square_transform(flat, eyes, mouth, PORTRAIT_SIDE, PORTRAIT_LIFT, side)


def inverse(transform: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) back."""
    return cv2.invertAffineTransform(transform)


def cut(image: np.ndarray, transform: np.ndarray, side: int, shown: int) -> np.ndarray:
    """The square, uint8 (shown, shown, 3): taken at `side` pixels, then made smaller by area. Beyond its border the
    picture's edge goes on."""
    square = cv2.warpAffine(image, transform, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return square if shown == side else cv2.resize(square, (shown, shown), interpolation=cv2.INTER_AREA)


def driving_box(box: FaceBox) -> FaceBox:
    """The face box from which the square that follows the driver's face comes out as `DRIVING_SIDE` says."""
    left, top, right, bottom = box
    unit = max(right - left, bottom - top)
    half = DRIVING_SIDE / MARGIN * unit / 2
    x, y = (left + right) / 2, (top + bottom) / 2 - DRIVING_LIFT * unit + LIFT * 2 * half
    return x - half, y - half, x + half, y + half


@functools.lru_cache(maxsize=4)
def _mask(side: int) -> np.ndarray:
    """How much of the made square is shown, float32 (side, side): nothing in a border, then a ramp, then all."""
    step = FEATHER * side / 512
    at = np.arange(side, dtype=np.float64)
    out = np.maximum(np.maximum(step - at, at - (side - step)), 0.0)
    away = np.hypot(out[:, None], out[None, :])
    return (np.floor(255 * np.clip(1 - away / step, 0, 1)) / 255).astype(np.float32)


@dataclass(frozen=True)
class PasteBack:
    """A whole photo into which made squares are set back. Everything that stays is worked out once.

    photo: uint8 (H, W, 3). back: similarity (2, 3) from the square to the photo. weights: float32 (h, w, 1) of the
    part of the photo (`part`) that the square covers.
    """

    photo: np.ndarray
    back: np.ndarray
    weights: np.ndarray
    part: tuple[slice, slice]

    @classmethod
    def of(cls, photo: np.ndarray, transform: np.ndarray, side: int) -> PasteBack:
        """transform: from the photo to the square of `side` pixels."""
        back = inverse(transform)
        corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ back.T
        height, width = photo.shape[:2]
        (x0, y0), (x1, y1) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
        x0, x1, y0, y1 = max(0, x0), min(width, x1), max(0, y0), min(height, y1)
        back = back - np.array([[0, 0, x0], [0, 0, y0]])
        weights = cv2.warpAffine(_mask(side), back, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)[..., None]
        return cls(photo, back, weights, (slice(y0, y1), slice(x0, x1)))

    def __call__(self, square: np.ndarray) -> np.ndarray:
        """The photo with a made square, uint8 (side, side, 3), in it: a new array."""
        whole = self.photo.copy()
        under = whole[self.part]
        moved = cv2.warpAffine(square, self.back, under.shape[1::-1], flags=cv2.INTER_LINEAR)
        whole[self.part] = self.weights * moved + (1 - self.weights) * under
        return whole

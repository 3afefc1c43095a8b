"""The square that the neural engines look at: where it lies in a picture, and how it follows a face through a video.

The published scripts find the face in the first frame and keep that box, so a driver who leans back leaves it. Here
the square follows, on a leash: small motion of the head is left in the picture as motion, larger motion draws the
square after it smoothly. Pure: positions and times come in, squares go out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MARGIN = 1.5
"""Side of the square in units of the face's longer side. LIA-X's own rule comes to this on an upright face."""
LIFT = 1 / 16
"""How far the square's centre lies above the face's, in the same units: hair needs more room than the neck."""
LOST_AFTER = 2.0
"""Seconds without a face after which the square jumps to the next one instead of gliding there."""

FaceBox = tuple[float, float, float, float]
"""Left, top, right, bottom of a face (chin to forehead), pixels."""


@dataclass(frozen=True)
class Square:
    """A square of a picture: centre and side, pixels."""

    x: float
    y: float
    side: float

    @property
    def left(self) -> float:
        return self.x - self.side / 2

    @property
    def top(self) -> float:
        return self.y - self.side / 2

    def inside(self, width: int, height: int) -> Square:
        """The nearest square that does not reach beyond a picture of that size; smaller only where it must be."""
        side = min(self.side, width, height)
        return Square(
            min(max(self.x, side / 2), width - side / 2), min(max(self.y, side / 2), height - side / 2), side
        )


def square_around(face: FaceBox) -> Square:
    """The square for a face at rest."""
    left, top, right, bottom = face
    unit = max(right - left, bottom - top)
    return Square((left + right) / 2, (top + bottom) / 2 - LIFT * unit, MARGIN * unit)


def centre_square(width: int, height: int) -> Square:
    """The largest square in the middle."""
    return Square(width / 2, height / 2, float(min(width, height)))


def box_of(landmarks: np.ndarray) -> FaceBox:
    """The face box of landmarks (N, 2 or more), pixels; the first 468 of MediaPipe's are the skin."""
    points = landmarks[:468, :2]
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return float(left), float(top), float(right), float(bottom)


class CropFollower:
    """Where the square lies from frame to frame. One per driver; not thread-safe.

    keep_position, keep_scale: the square stays as long as the face fits in it, so that where the head is, or how
    large, is part of the motion. seconds: time constant of the glide.
    """

    def __init__(self, *, keep_position: bool = False, keep_scale: bool = False, seconds: float = 0.35) -> None:
        # The free play of the leash: of the centre in sides of the square, of the size as natural logarithms.
        self._play = 0.13 if keep_position else 0.05
        self._grow, self._shrink = (math.log(1.35), math.log(2.0)) if keep_scale else (0.08, 0.08)
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Forget the driver."""
        self._square: Square | None = None
        self._seen = -math.inf
        self._time = -math.inf

    def update(self, face: FaceBox | None, now: float) -> Square | None:
        """The square for the frame of time `now` (seconds, not going back). None until a first face was seen.

        Without a face the square stays where it is.
        """
        step, self._time = max(0.0, now - self._time), now
        if face is None:
            return self._square
        wanted = square_around(face)
        if self._square is None or now - self._seen > LOST_AFTER:
            self._square = wanted
        else:
            self._square = self._glide(self._square, wanted, 1.0 - math.exp(-step / self._seconds))
        self._seen = now
        return self._square

    def _glide(self, held: Square, wanted: Square, share: float) -> Square:
        """`held`, moved by `share` of the way to where the leash to `wanted` is no longer taut."""
        reach = self._play * held.side
        away_x, away_y = wanted.x - held.x, wanted.y - held.y
        distance = math.hypot(away_x, away_y)
        pull = share * max(0.0, distance - reach) / max(distance, 1e-9)
        ratio = math.log(wanted.side / held.side)
        taut = max(0.0, ratio - self._grow) + min(0.0, ratio + self._shrink)
        return Square(held.x + pull * away_x, held.y + pull * away_y, held.side * math.exp(share * taut))


def feather(side: int, width: float = 0.12) -> np.ndarray:
    """Weights float32 (side, side, 1) of a square pasted back into its picture: 1 inside, falling smoothly to 0 over
    the outer `width` of each side, so that no edge shows."""
    edge = (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / max(1.0, width * side)
    ramp = np.clip(edge, 0.0, 1.0)
    ramp = (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)
    return np.minimum(ramp[:, None], ramp[None, :])[..., None]


def paste(whole: np.ndarray, picture: np.ndarray, left: int, top: int, weights: np.ndarray) -> np.ndarray:
    """A copy of `whole`, uint8 (H, W, 3), with `picture`, uint8 (s, s, 3), laid over it at (left, top) by `weights`
    from `feather(s)`."""
    out = whole.copy()
    side = picture.shape[0]
    under = out[top : top + side, left : left + side]
    mixed = under + weights * (picture.astype(np.float32) - under)
    out[top : top + side, left : left + side] = np.rint(mixed)
    return out

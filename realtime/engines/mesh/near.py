"""The near cheek of a turned head, which its portrait shows edge on.

Between the cheekbone and the ear a face is a wall, of which a picture of the front has one column of pixels. Drawn
out to what is seen of it in a turned head, that column would be streaks. So the skin before it gives way towards the
ear, as far as it must for the picture to be drawn out by no more than `MOST`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from realtime.engines.mesh.motion.limits import FRONTAL
from realtime.engines.mesh.outer import picture_axes
from realtime.face.face_model import LANDMARKS, OVAL, SKIN, load_face_model
from realtime.face.pose import HeadPose, angles

MOST = 2.7
"""So many times as wide as in the portrait the skin before the ear may be, on the whole."""
INWARDS = 0.2
"""Nothing gives way that is nearer to the middle of the face (face heights)."""


@dataclass(frozen=True, slots=True, eq=False)
class NearCheek:
    """One side. side: -1 on the picture's left of the face, 1 on its right. which: indices (k,) of the landmarks that
    give way. upper, lower: (k,), the landmarks of the oval between which their rows end, and between: (k,), how far
    from the upper one. own: the portrait's yaw, degrees. apart: (k,), face heights to the row's end in the portrait.
    """

    side: int
    own: float
    which: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    between: np.ndarray
    apart: np.ndarray

    @classmethod
    def both(cls, landmarks: np.ndarray, pose: HeadPose) -> tuple[NearCheek, ...]:
        """For landmarks (478, 3; pixels) in the portrait's own pose. A cheek that the portrait hides is left out."""
        own = angles(pose.rotation)[0]
        return tuple(cls._of(side, landmarks, pose) for side in (-1, 1) if side * own <= FRONTAL)

    @classmethod
    def _of(cls, side: int, landmarks: np.ndarray, pose: HeadPose) -> NearCheek:
        which, upper, lower, between = _rows(side)
        x = side * (landmarks[:, :2] @ picture_axes(pose)[0]) / pose.scale
        ear = x[upper] + between * (x[lower] - x[upper])
        return cls(side, angles(pose.rotation)[0], which, upper, lower, between, np.maximum(ear - x[which], 0.0))

    def give_way(self, points: np.ndarray, pose: HeadPose) -> None:
        """Move what gives way among the face's `points` (478, 2; pixels) with the head in `pose`."""
        if self.side * (self.own - angles(pose.rotation)[0]) <= 0.0:
            return
        outwards = self.side * picture_axes(pose)[0]
        x = points @ outwards
        ear = x[self.upper] + self.between * (x[self.lower] - x[self.upper])
        way = np.maximum(ear - MOST * pose.scale * self.apart - x[self.which], 0.0)
        points[self.which] += way[:, None] * outwards


@lru_cache(maxsize=2)
def _rows(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The landmarks (k,) of a side that can give way, and where on the oval their rows end: the landmarks above and
    below, and how far that is from the upper one to the lower (0 to 1)."""
    x, y, _ = (load_face_model().mean * (side, 1.0, 1.0)).T
    oval = np.array([k for k in OVAL if x[k] > 0.05])
    oval = oval[np.argsort(y[oval])]
    inside = ~np.isin(np.arange(LANDMARKS), OVAL) & (np.arange(LANDMARKS) < SKIN)
    which = np.flatnonzero(inside & (x > INWARDS) & (y > y[oval[0]]) & (y < y[oval[-1]]))
    below = np.searchsorted(y[oval], y[which])
    upper, lower = oval[below - 1], oval[below]
    return which, upper, lower, (y[which] - y[upper]) / (y[lower] - y[upper])

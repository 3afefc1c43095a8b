"""Light on the throat of a head that is lifted: the jaw's shadow lies on it only as long as the chin is above it.

In the portrait the skin next to the jaw is in its shadow. Drawn up with the chin it would stay as dark as that, where
a real throat comes into the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.outer import OuterMesh
from realtime.engines.mesh.topology import smoothstep
from realtime.face.face_model import LANDMARKS, OVAL
from realtime.face.pose import HeadPose, angles

LIT = 0.8
"""Light on a lifted throat, as a share of that on the chin."""
MOST = 1.45
"""What is darker than its light could be made is made brighter by this factor at most."""
LIFTED = (4.0, 20.0)
"""Degrees of lift from which the shadow goes, and at which it is gone."""
HUES = (0.4, 0.8)
"""How far the colour of what lies below a jaw may be from the chin's (logarithms of red over green, green over blue)
to be skin for certain, and not at all: collars keep their light."""
BLACK = (0.06, 0.14)
"""Likewise its light, as a share of the chin's."""
TOWARDS_JAW = (0.0, 0.3, 0.6)
"""A shadow is narrower than the mesh: where it is looked for between a point (0) and the jaw (1)."""
EVEN = 0.1
"""Light is evened out over so many face heights."""
JAW = (152, 148, 377, 176, 400, 175, 199, 171, 396)
"""Landmarks of the chin whose skin is compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Throat:
    """points: indices (k,) into the mesh's points. skin: float64 (k,), how far they lie on skin, 0 to 1.
    gains: float64 (k,), what their light is multiplied by when the head is lifted all the way, 1 to `MOST`.
    triangles: int32 (m, 3), where any of that shows."""

    points: np.ndarray
    skin: np.ndarray
    gains: np.ndarray
    triangles: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray, landmarks: np.ndarray, outer: OuterMesh, fh: float) -> Throat:
        """From the picture shown (uint8 (H, W, 3)) and what lies where in it (pixels)."""
        calm = cv2.GaussianBlur(picture, (0, 0), max(1.0, 0.015 * fh))
        chin = np.median(colours_at(calm, landmarks[list(JAW), :2]), axis=0)
        at = outer.points[outer.throat]
        rim = landmarks[list(OVAL), :2]
        rim = rim[np.linalg.norm(at[:, None] - rim, axis=2).argmin(axis=1)]
        seen = np.stack([colours_at(calm, at + way * (rim - at)) for way in TOWARDS_JAW])  # (3, k, 3)
        light, wanted = seen.mean(axis=2), float(chin.mean())
        apart = np.abs(hue(seen) - hue(chin)).max(axis=2)
        skins = (1.0 - smoothstep(*HUES, apart)) * smoothstep(*BLACK, light / max(wanted, 1.0))
        raised = 1.0 + skins * (np.clip(LIT * wanted / np.maximum(light, 1.0), 1.0, MOST) - 1.0)
        near = np.exp(-np.square(np.linalg.norm(at[:, None] - at, axis=2) / (EVEN * fh)))
        near /= np.maximum(near.sum(axis=1, keepdims=True), 1e-9)
        skin = np.minimum(skins[0], near @ skins[0])
        gains = 1.0 + skin * (near @ raised.max(axis=0) - 1.0)
        points = LANDMARKS + outer.throat
        bright = np.zeros(LANDMARKS + len(outer.points), bool)
        bright[points[gains > 1.02]] = True
        return cls(points, skin, gains, outer.triangles[bright[outer.triangles].any(axis=1)])

    def lifted(self, start: HeadPose, pose: HeadPose) -> float:
        """How much of the shadow is gone, 0 to 1, when the head goes from pose `start` to `pose`."""
        if not len(self.triangles):
            return 0.0
        return float(smoothstep(*LIFTED, angles(pose.rotation)[1] - angles(start.rotation)[1]))


def colours_at(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colours (n, 3) of `picture` at `points` (n, 2), those at the edge beyond it."""
    x = np.clip(points[:, 0].round().astype(int), 0, picture.shape[1] - 1)
    y = np.clip(points[:, 1].round().astype(int), 0, picture.shape[0] - 1)
    return picture[y, x].astype(np.float64)


def hue(colours: np.ndarray) -> np.ndarray:
    """(..., 2) of colours (..., 3): logarithms of red over green and of green over blue."""
    logs = np.log(colours + 8.0)
    return logs[..., :-1] - logs[..., 1:]

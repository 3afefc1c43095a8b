"""The far cheek of a head in three-quarter view, which its portrait does not show.

Where such a head turns to the front, the mesh brings out the far outline of the face as a dark line, and beside it,
mirrored, what lies before the hidden skin. Both are painted over with the colours of the skin that is seen next to
them, in the picture's own grain.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.engines.mesh.motion.limits import FRONTAL
from realtime.engines.mesh.outer import OuterMesh
from realtime.engines.mesh.paint import CoarseBox
from realtime.engines.mesh.raster import rasterise
from realtime.engines.mesh.topology import face_triangles, smoothstep
from realtime.face.face_model import (
    LANDMARKS,
    LEFT_BROW,
    LEFT_EYE,
    LIPS_INNER,
    LIPS_OUTER,
    RIGHT_BROW,
    RIGHT_EYE,
    SKIN,
)
from realtime.face.pose import HeadPose, angles

TURNED = (0.5, 5.0)
"""Degrees towards the front from which the cheek is painted, and from which in full."""
SEEN = (0.25, 0.6)
"""Cosines to the camera at which skin is not seen well enough, and is."""
SEEN_EDGES = (0.0, 0.25)
"""The same of lids and lips."""
BEHIND = 0.02
"""What lies so many face heights behind the surface in front is hidden."""
CLEAR = 0.045
"""Skin lends its colour from so many face heights beside eyes, brows and lips."""
ALONG, ACROSS = 0.06, 0.1
"""How far down and across the face colours are evened out, face heights."""
LIP = 0.03
"""The same along the lips, whose hidden parts are as red as those that are seen."""
GRAIN = 12.0
"""So many grey levels of what was there stay as grain."""
_LIPS = list(LIPS_OUTER + LIPS_INNER)
_EDGES = _LIPS + list(LEFT_EYE + RIGHT_EYE)
_DRAWN = _EDGES + list(LEFT_BROW + RIGHT_BROW)


@dataclass(frozen=True, slots=True, eq=False)
class FarCheek:
    """paint: float32 (n, 4), RGB (0 to 255) and how much of it each point of the mesh takes (0 to 1).
    triangles: int32 (m, 3), those that it can lie on or behind. own: the portrait's yaw, degrees."""

    paint: np.ndarray
    triangles: np.ndarray
    own: float

    @classmethod
    def of(
        cls, picture: np.ndarray, landmarks: np.ndarray, pose: HeadPose, normals: np.ndarray, outer: OuterMesh
    ) -> FarCheek | None:
        """From the picture shown (uint8 (H, W, 3)), the face's landmarks (478, 3; pixels) in it, its normals (face
        frame) and what surrounds it. None where both cheeks are seen, or no skin beside the hidden one."""
        own = angles(pose.rotation)[0]
        if abs(own) <= FRONTAL:
            return None
        side = np.sign(own)
        points = np.concatenate([landmarks, np.column_stack([outer.points, outer.depth])])
        shape = pose.to_face(points)
        far = shape[:, 0] * side
        covered = _covered(points, picture.shape[:2], BEHIND * pose.scale) & (far > 0.0)
        covered[SKIN:LANDMARKS] = False
        facing = (normals @ pose.rotation.T)[:SKIN]
        cosine = -facing[:, 2]
        share = covered.astype(np.float64)
        seen = smoothstep(*SEEN, cosine)
        seen[_EDGES] = smoothstep(*SEEN_EDGES, cosine[_EDGES])
        away = (facing[:, 0] * side > 0.0) & (far[:SKIN] > 0.0)
        share[:SKIN] = np.maximum(share[:SKIN], (1.0 - seen) * away)
        beside = np.linalg.norm(shape[:SKIN, None, :2] - shape[_DRAWN, :2], axis=2).min(axis=1) > CLEAR
        lends = np.flatnonzero(beside & (far[:SKIN] > 0.0) & (share[:SKIN] < 0.5) & (cosine > SEEN[0]))
        if not len(lends) or not share.any():
            return None
        calm = cv2.GaussianBlur(picture, (0, 0), max(1.0, 0.012 * pose.scale)).astype(np.float32)
        x, y = landmarks[:, :2].astype(np.float32).T
        colours = cv2.remap(calm, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        paint = np.zeros((len(points), 4), np.float32)
        paint[:, :3] = _evened(shape[:, :2] / (ACROSS, ALONG), lends, colours)
        lip = [k for k in _LIPS if share[k] < 0.5]
        if lip:
            paint[_LIPS, :3] = _evened(shape[:, :2] / LIP, np.array(lip), colours)[_LIPS]
        paint[:, 3] = share
        around = outer.triangles[(share[outer.triangles] * (outer.triangles >= LANDMARKS)).any(axis=1)]
        face = face_triangles()
        return cls(paint, np.concatenate([face[(far[face] > -0.05).any(axis=1)], around]), float(own))

    def share(self, pose: HeadPose) -> float:
        """How much of it is painted where the head is in `pose`, 0 to 1."""
        towards = (self.own - angles(pose.rotation)[0]) * np.sign(self.own)
        return float(smoothstep(*TURNED, towards))

    def draw(self, out: np.ndarray, points: np.ndarray, depth: np.ndarray, pose: HeadPose) -> None:
        """Paint it on `out` (uint8 (H, W, 3)), which shows the mesh with its points at `points` (n, 2), pixels, and
        `depth` (n,), both float32."""
        share = self.share(pose)
        if share <= 0.0:
            return
        box = CoarseBox.around(points[self.paint[:, 3] > 0.0], (out.shape[1], out.shape[0]))
        if box is not None:
            box.lay_over(box.painted(points, depth, self.paint, self.triangles), out, share, GRAIN)


def _covered(points: np.ndarray, size: tuple[int, ...], behind: float) -> np.ndarray:
    """Which of the mesh's points (n, 3; pixels) lie `behind` the face in the picture: bool (n,)."""
    at, far = (np.ascontiguousarray(part, np.float32) for part in (points[:, :2], points[:, 2]))
    unused, _, near = (np.empty(size, np.float32) for _ in range(3))
    rasterise(at, far, at, face_triangles(), 0, unused, _, near)
    x, y = np.round(at).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    front = np.full(len(at), np.inf)
    front[inside] = near[y[inside], x[inside]]
    return far > front + behind


def _evened(at: np.ndarray, lends: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Colours (n, 3) for all points `at` (n, 2) from those that lend theirs, the nearer the more."""
    apart = ((at[:, None] - at[None, lends]) ** 2).sum(axis=2)
    weight = np.exp(np.maximum(apart.min(axis=1, keepdims=True) - apart, -50.0))
    return (weight / weight.sum(axis=1, keepdims=True)) @ colours[lends]

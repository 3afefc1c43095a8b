"""Light on a turned head: what turns away from the camera gets darker, what turns towards it a little brighter.

Nothing is known of a portrait's light, so it is taken to come from where the camera is, and to be soft: of a skin's
brightness `AMBIENT` is there whichever way it faces, the rest goes with the cosine (Lambert). On real clips of turned
heads this share leaves the least difference. The picture already has
the light of its own pose, so that only the ratio of the two is drawn, and the front of the face keeps its brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.engines.mesh.raster import rasterise
from realtime.engines.mesh.throat import Throat
from realtime.engines.mesh.topology import face_triangles
from realtime.face.face_model import SKIN
from realtime.face.pose import HeadPose
from realtime.flow.jit import compiled

AMBIENT = 0.85
"""Share of a skin's brightness that does not go with where it faces."""
DARKEST, BRIGHTEST = 0.8, 1.05
"""Gains are kept between."""
FROM, FULLY = 8.0, 20.0
"""Degrees of turn from which light is drawn, and from which it is drawn in full."""
SMOOTHED = 3
"""How often normals are averaged over neighbours: light is to show the head's form, not its wrinkles."""
COARSE = 2
"""The gains are drawn in a picture so many times smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class Shade:
    """The light on one portrait's face. normals: float64 (478, 3), unit, out of the face, in the face frame.
    own: float64 (478,), the brightness in the portrait's own pose, 1 where a skin faces the camera. throat: what lies
    in the jaw's shadow there."""

    normals: np.ndarray
    own: np.ndarray
    start: HeadPose
    throat: Throat | None = None

    @classmethod
    def of(cls, shape: np.ndarray, pose: HeadPose, throat: Throat | None = None) -> Shade:
        """For a face `shape` (478, 3; face frame) that is in `pose` in the portrait."""
        normals = face_normals(shape)
        return cls(normals, _brightness(normals, pose.rotation), pose, throat)

    def draw(self, out: np.ndarray, points: np.ndarray, depth: np.ndarray, pose: HeadPose) -> None:
        """Change the light on `out` (uint8 (H, W, 3)), which shows the mesh with its points at `points` (n, 2),
        pixels, and `depth` (n,); the first 478 are the face."""
        gains, lifted = self.gains(pose), self.throat.lifted(self.start, pose) if self.throat is not None else 0.0
        if gains is None and lifted == 0.0:
            return
        values = np.ones((len(points), 2), np.float32)
        if gains is not None:
            values[: len(gains)] = gains[:, None]
        triangles, seen = face_triangles(), points[: len(self.own)]
        if self.throat is not None and lifted > 0.0:
            values[self.throat.points] += (lifted * (self.throat.gains - 1.0))[:, None]
            triangles = np.concatenate([triangles, self.throat.triangles])
            seen = np.concatenate([seen, points[self.throat.triangles.reshape(-1)]])
        height, width = out.shape[:2]
        low = np.clip(np.floor(seen.min(axis=0) / COARSE).astype(int) * COARSE, 0, (width, height))
        high = np.clip(np.ceil(seen.max(axis=0) / COARSE).astype(int) * COARSE, 0, (width, height))
        size = (high - low) // COARSE
        if (size < 2).any():
            return
        at = np.ascontiguousarray((points - low + 0.5) / COARSE - 0.5, np.float32)
        coarse, unused, near = (np.empty((size[1], size[0]), np.float32) for _ in range(3))
        rasterise(at, np.ascontiguousarray(depth, np.float32), values, triangles, 0, coarse, unused, near)
        _multiply(coarse, low[0], low[1], out.reshape(height, 3 * width))

    def gains(self, pose: HeadPose) -> np.ndarray | None:
        """What each landmark's brightness is multiplied by: (478,); None where the head is hardly turned."""
        turn = pose.rotation @ self.start.rotation.T
        angle = float(np.degrees(np.arccos(np.clip(turn[2, 2], -1.0, 1.0))))
        share = min(1.0, (angle - FROM) / (FULLY - FROM))
        if share <= 0.0:
            return None
        front = AMBIENT + (1.0 - AMBIENT) * max(0.0, float(pose.rotation[2, 2]))
        front /= AMBIENT + (1.0 - AMBIENT) * max(0.0, float(self.start.rotation[2, 2]))
        ratio = _brightness(self.normals, pose.rotation) / self.own / front
        return 1.0 + share * (np.clip(ratio, DARKEST, BRIGHTEST) - 1.0)


@compiled("void(float32[:,::1], int64, int64, uint8[:,::1])")
def _multiply(gains: np.ndarray, left: int, top: int, out: np.ndarray) -> None:
    """Multiply squares of `COARSE` pixels of `out` (uint8 (H, 3 W)) by `gains`, from (left, top) on, but not where
    these are `OUTSIDE`."""
    wide = 3 * COARSE
    row = np.empty(gains.shape[1] * wide, np.int32)
    for y in range(gains.shape[0]):
        for x in range(gains.shape[1]):
            gain = np.int32(256.0 * gains[y, x] + 0.5) if gains[y, x] > 0.0 else np.int32(256)
            for k in range(wide):
                row[x * wide + k] = gain
        for k in range(COARSE):
            line = out[top + y * COARSE + k, 3 * left : 3 * left + row.size]
            for i in range(row.size):
                line[i] = np.uint8(min((row[i] * np.int32(line[i]) + np.int32(128)) >> 8, np.int32(255)))


def _brightness(normals: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    return AMBIENT + (1.0 - AMBIENT) * np.maximum(-(normals @ rotation[2]), 0.0)


def face_normals(shape: np.ndarray) -> np.ndarray:
    """Unit normals (478, 3) out of a face (478, 3; face frame), smoothed over neighbouring triangles."""
    triangles = face_triangles()
    a, b, c = shape[triangles].transpose(1, 0, 2)
    flat = np.cross(b - a, c - a)
    flat *= -np.sign(flat[:, 2:])  # out of the face is towards the camera
    normals = np.zeros_like(shape)
    for _ in range(SMOOTHED):
        normals[:] = 0.0
        for k in range(3):
            np.add.at(normals, triangles[:, k], flat)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        flat = normals[triangles].mean(axis=1)
    normals[SKIN:] = (0.0, 0.0, -1.0)
    return normals

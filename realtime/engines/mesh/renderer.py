"""From a face shape and a head pose to a picture."""

from __future__ import annotations

import cv2
import numpy as np

from realtime.engines.mesh.eyes import ZOOM
from realtime.engines.mesh.portrait import PreparedPortrait
from realtime.engines.mesh.raster import composite, rasterise, soften_folds
from realtime.motion.face_model import OVAL
from realtime.motion.pose import HeadPose

FOLD = 5.0
"""Neighbours that come from farther apart than this (pixels of the portrait) lie on either side of a fold."""
BAND = 64
"""The picture is made in bands of so many rows, whose maps stay in the processor's cache."""


class MeshRenderer:
    """Renders prepared portraits. Holds the buffers of one picture width; use it from one thread at a time."""

    def __init__(self) -> None:
        self._width = 0

    def render(self, portrait: PreparedPortrait, shape: np.ndarray, pose: HeadPose) -> np.ndarray:
        """The portrait with the face `shape` (478, 3; face frame) in `pose`: uint8 (H, W, 3), a new array."""
        self._reserve(portrait.width)
        points, depth = move_mesh(portrait, shape, pose)
        out = np.empty((portrait.height, portrait.width, 3), np.uint8)
        for top in range(0, portrait.height, BAND):
            rows = slice(top, min(top + BAND, portrait.height))
            n = rows.stop - top
            map_x, map_y, front = self._map_x[:n], self._map_y[:n], self._front[:n]
            rasterise(points, depth, portrait.uv, portrait.triangles, top, map_x, map_y, self._depth[:n])
            cv2.remap(
                portrait.texture,
                map_x,
                map_y,
                cv2.INTER_LINEAR,
                dst=front,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(0, 0, 0, 0),
            )
            composite(front, portrait.background[rows], out[rows])
            soften_folds(map_x, map_y, FOLD * ZOOM, out[rows])
        for eye in portrait.eyes:
            eye.draw(out, shape, portrait.pose, pose)
        portrait.mouth.draw(out, shape, pose)
        return out

    def _reserve(self, width: int) -> None:
        if self._width == width:
            return
        self._width = width
        self._map_x, self._map_y, self._depth = (np.empty((BAND, width), np.float32) for _ in range(3))
        self._front = np.empty((BAND, width, 4), np.uint8)


def move_mesh(portrait: PreparedPortrait, shape: np.ndarray, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """Where the mesh's points go: float32 (n, 2) pixels and float32 (n,) depth."""
    face = pose.to_picture(shape)
    oval = list(OVAL)
    outer, outer_depth = portrait.outer.move(shape[oval] - portrait.shape[oval], portrait.pose, pose)
    points = np.concatenate([face[:, :2], outer]).astype(np.float32)
    depth = np.concatenate([face[:, 2], outer_depth]).astype(np.float32)
    return points, depth

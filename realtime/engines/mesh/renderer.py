"""From a face shape and a head pose to a picture."""

from __future__ import annotations

import numpy as np

from realtime.engines.mesh.motion.body import BodyMotion
from realtime.engines.mesh.portrait import PreparedPortrait
from realtime.engines.mesh.warp import CpuWarp, Warp
from realtime.face.face_model import OVAL
from realtime.face.pose import HeadPose


class MeshRenderer:
    """Renders prepared portraits; use it from one thread at a time. warp: what moves the mesh, see `Warp`."""

    def __init__(self, warp: Warp | None = None) -> None:
        self._warp = warp or CpuWarp()

    def render(
        self,
        portrait: PreparedPortrait,
        shape: np.ndarray,
        pose: HeadPose,
        hair: HeadPose | None = None,
        face: bool = True,
        body: BodyMotion | None = None,
    ) -> np.ndarray:
        """The portrait with the face `shape` (478, 3; face frame) in `pose`: uint8 (H, W, 3), a new array.

        hair: the pose that hanging hair follows, else the head's. face: without, creases, eyes, mouth and light are
        left out, for a picture whose head will be covered. body: what the body does beside going with the head.
        """
        points, depth = move_mesh(portrait, shape, pose, hair, body)
        out = self._warp.draw(portrait, points, depth)
        for nape in portrait.napes:
            nape.draw(out, points, depth, pose)
        if not face:
            return out
        if portrait.cheek is not None:
            portrait.cheek.draw(out, points, depth, pose)
        portrait.creases.draw(out, shape, portrait.shape, pose)
        for eye in portrait.eyes:
            eye.draw(out, shape, portrait.pose, pose)
        portrait.mouth.draw(out, shape, pose)
        portrait.shade.draw(out, points, depth, pose)
        return out


def move_mesh(
    portrait: PreparedPortrait,
    shape: np.ndarray,
    pose: HeadPose,
    hair: HeadPose | None = None,
    body: BodyMotion | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the mesh's points go: float32 (n, 2) pixels and float32 (n,) depth."""
    face = pose.to_picture(shape)
    oval = list(OVAL)
    outer, outer_depth = portrait.outer.move(shape[oval] - portrait.shape[oval], portrait.pose, pose, hair)
    if body is not None:
        outer = portrait.body.move(outer, body)
    seen = face[:, :2].copy()
    for cheek in portrait.near:
        cheek.give_way(seen, pose)
    points = np.concatenate([seen, outer]).astype(np.float32)
    depth = np.concatenate([face[:, 2], outer_depth]).astype(np.float32)
    return points, depth

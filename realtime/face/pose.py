"""Head pose: a scaled-orthographic fit of a face to its landmarks.

Minimises sum_i w_i |s R X_i + t - L_i|^2 over scale, rotation and translation, with weight `DEPTH_WEIGHT` on the z
axis because the landmarks' depth is a guess. Only landmarks that move with the skull count
(`FaceModel.pose_weights`): a fit over the whole face reads a falling jaw as a change of scale.

The residual is linear in the moments sum w L X^T and sum w X X^T, so each Gauss-Newton step works on 3 x 3 matrices
whatever the number of landmarks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from realtime.face.face_model import load_face_model

DEPTH_WEIGHT = 0.2
STEPS = 8


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where a face is in a picture.

    scale: pixels per face height. rotation: (3, 3), face frame to picture axes (x right, y down, z away from the
    camera). translation: (3,), where the face frame's origin falls, in pixels.
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Face frame (..., 3) to pixels (..., 3)."""
        return points @ (self.scale * self.rotation.T) + self.translation

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 3) to the face frame (..., 3)."""
        return (points - self.translation) @ (self.rotation / self.scale)


def rotation_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation from angles in degrees. All zero: the face looks into the camera.

    yaw > 0 turns the nose to the right side of the picture, pitch > 0 lifts it, roll > 0 leans the head clockwise in
    the picture. yaw and pitch say where the nose points; roll turns about that axis.
    """
    y, p, r = math.radians(yaw), math.radians(pitch), math.radians(roll)
    sy, cy, sp, cp, sr, cr = math.sin(y), math.cos(y), math.sin(p), math.cos(p), math.sin(r), math.cos(r)
    return np.array(
        [
            [cy * cr + sy * sp * sr, -cy * sr + sy * sp * cr, -sy * cp],
            [cp * sr, cp * cr, sp],
            [sy * cr - cy * sp * sr, -sy * sr - cy * sp * cr, cy * cp],
        ]
    )


def angles(rotation: np.ndarray) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of a rotation: the inverse of `rotation_matrix`."""
    yaw = math.degrees(math.atan2(-rotation[0, 2], rotation[2, 2]))
    pitch = math.degrees(math.asin(min(1.0, max(-1.0, rotation[1, 2]))))
    roll = math.degrees(math.atan2(rotation[1, 0], rotation[1, 1]))
    return yaw, pitch, roll


def rotation_vector_matrix(x: float, y: float, z: float) -> np.ndarray:
    """Rotation matrix of a rotation vector in radians (Rodrigues' formula)."""
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < 1e-12:
        return np.array([[1.0, -z, y], [z, 1.0, -x], [-y, x, 1.0]])
    x, y, z = x / angle, y / angle, z / angle
    s, c = math.sin(angle), math.cos(angle)
    k = 1.0 - c
    return np.array(
        [
            [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
            [y * x * k + z * s, c + y * y * k, y * z * k - x * s],
            [z * x * k - y * s, z * y * k + x * s, c + z * z * k],
        ]
    )


def fit_pose(
    reference: np.ndarray,
    landmarks: np.ndarray,
    init: HeadPose | None = None,
    weights: np.ndarray | None = None,
    depth_weight: float = DEPTH_WEIGHT,
) -> HeadPose:
    """Pose of the face `reference` (478, 3; face frame) that brings it nearest to `landmarks` (478, 3; pixels).

    init: where to start, the last frame's pose for example. weights: (478,), else `FaceModel.pose_weights`.
    """
    w = load_face_model().pose_weights if weights is None else weights
    chosen = np.flatnonzero(w)
    w = w[chosen] / w[chosen].sum()
    x = reference[chosen]
    y = np.asarray(landmarks, np.float64)[chosen]
    mean_x, mean_y = w @ x, w @ y
    x = x - mean_x
    wx = x * w[:, None]
    second = x.T @ wx  # (3, 3) sum w X X^T
    cross = (y - mean_y).T @ wx  # (3, 3) sum w L X^T
    if init is None:
        scale, rotation = _similarity(second, cross)
    else:
        scale, rotation = init.scale, init.rotation
    q = depth_weight
    for _ in range(STEPS):
        n = (rotation @ second @ rotation.T).tolist()
        b = (cross @ rotation.T).tolist()
        n11, n12, n13, n22, n23, n33 = n[0][0], n[0][1], n[0][2], n[1][1], n[1][2], n[2][2]
        hessian = np.array(
            [
                [n11 + n22 + q * n33, (q - 1) * n23, (1 - q) * n13, 0.0],
                [(q - 1) * n23, n33 + q * n22, -q * n12, -n13],
                [(1 - q) * n13, -q * n12, n33 + q * n11, -n23],
                [0.0, -n13, -n23, n22 + n11],
            ]
        )
        # Residual moments sum w (L - s Y) Y^T, over the scale.
        b11, b22, b33 = b[0][0] / scale - n11, b[1][1] / scale - n22, b[2][2] / scale - n33
        gradient = np.array(
            [
                b11 + b22 + q * b33,
                q * (b[2][1] / scale - n23) - (b[1][2] / scale - n23),
                (b[0][2] / scale - n13) - q * (b[2][0] / scale - n13),
                (b[1][0] / scale - n12) - (b[0][1] / scale - n12),
            ]
        )
        step = np.linalg.solve(hessian, gradient).tolist()
        scale *= math.exp(min(1.0, max(-1.0, step[0])))
        rotation = rotation_vector_matrix(*step[1:]) @ rotation
        if max(map(abs, step)) < 1e-5:
            break
    return HeadPose(scale, rotation, mean_y - scale * rotation @ mean_x)


def _similarity(second: np.ndarray, cross: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and rotation of the closed-form similarity fit (Umeyama 1991) from the moments."""
    u, d, vt = np.linalg.svd(cross)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return float((d * sign).sum() / np.trace(second)), (u * sign) @ vt

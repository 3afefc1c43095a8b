"""The mean face and the landmark indices that have a name.

The 478 landmarks are those of MediaPipe's FaceMesh with iris refinement (468 of the skin, 10 of the irises). "Right"
and "left" are the person's own: the right eye is on the left side of an unmirrored picture.

The face frame, used for every face-shaped array of the mesh engine: the origin lies between the ears (the middle of
landmarks 234 and 454), about which a head turns; x to the right of the picture, y down, z away from the camera; the
unit is the face height fh, the distance of landmarks 10 (top of the forehead) and 152 (chin) of a neutral face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

LANDMARKS = 478
SKIN = 468

FOREHEAD, CHIN, NOSE_TIP = 10, 152, 4
EARS = (234, 454)

# fmt: off
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""The outline of the face, clockwise in the picture from the top of the forehead."""

# Lids from the outer corner to the inner one, corners left out; upper[i] lies above lower[i].
RIGHT_UPPER_LID = (246, 161, 160, 159, 158, 157, 173)
RIGHT_LOWER_LID = (7, 163, 144, 145, 153, 154, 155)
LEFT_UPPER_LID = (466, 388, 387, 386, 385, 384, 398)
LEFT_LOWER_LID = (249, 390, 373, 374, 380, 381, 382)
RIGHT_EYE_CORNERS = (33, 133)
"""Outer, inner corner."""
LEFT_EYE_CORNERS = (263, 362)
"""Outer, inner corner."""
RIGHT_IRIS = (468, 469, 470, 471, 472)
"""Centre, then right of the picture, top, left, bottom."""
LEFT_IRIS = (473, 474, 475, 476, 477)
"""Centre, then right of the picture, top, left, bottom."""

RIGHT_BROW = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)
"""Lower edge from outside to inside, then the upper edge."""
LEFT_BROW = (276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
"""Lower edge from outside to inside, then the upper edge."""

# Lips from the right corner to the left one (left to right in the picture), corners left out.
MOUTH_CORNERS = (61, 291)
"""Outer corners of the lips, right and left."""
INNER_CORNERS = (78, 308)
"""Inner corners of the lips, right and left."""
UPPER_INNER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_INNER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
UPPER_OUTER_LIP = (185, 40, 39, 37, 0, 267, 269, 270, 409)
LOWER_OUTER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375)
LIP_MIDDLE = (13, 14)
"""Middle of the upper and of the lower lip, at the opening."""
# fmt: on


def _ring(corners: tuple[int, ...], upper: tuple[int, ...], lower: tuple[int, ...]) -> tuple[int, ...]:
    return (corners[0], *upper, corners[1], *reversed(lower))


RIGHT_EYE = _ring(RIGHT_EYE_CORNERS, RIGHT_UPPER_LID, RIGHT_LOWER_LID)
"""Ring around the opening of the eye: outer corner, upper lid, inner corner, lower lid."""
LEFT_EYE = _ring(LEFT_EYE_CORNERS, LEFT_UPPER_LID, LEFT_LOWER_LID)
"""Ring around the opening of the eye: outer corner, upper lid, inner corner, lower lid."""
LIPS_INNER = _ring(INNER_CORNERS, UPPER_INNER_LIP, LOWER_INNER_LIP)
"""Ring around the opening of the mouth: right corner, upper lip, left corner, lower lip."""
LIPS_OUTER = _ring(MOUTH_CORNERS, UPPER_OUTER_LIP, LOWER_OUTER_LIP)
"""Ring around the lips: right corner, upper lip, left corner, lower lip."""
EYES = (RIGHT_EYE, LEFT_EYE)
IRISES = (RIGHT_IRIS, LEFT_IRIS)
EYE_CORNERS = (RIGHT_EYE_CORNERS, LEFT_EYE_CORNERS)
UPPER_LIDS = (RIGHT_UPPER_LID, LEFT_UPPER_LID)
LOWER_LIDS = (RIGHT_LOWER_LID, LEFT_LOWER_LID)


@dataclass(frozen=True, slots=True)
class FaceModel:
    """What was fitted once from footage (see `realtime/training/fits/face_model.py`). The arrays are read-only.

    mean: float64 (478, 3), the mean neutral face in the face frame, mirror-symmetric about x = 0.
    mirror: int64 (478,), the landmark on the other side; its own inverse.
    triangles: int32 (852, 3), the skin between the landmarks; eyes and mouth are holes.
    pose_weights: float64 (478,), how far each landmark is trusted to move with the skull; sum 1, zero below the
        nose, on lids, brows and irises.
    """

    mean: np.ndarray
    mirror: np.ndarray
    triangles: np.ndarray
    pose_weights: np.ndarray

    def mirrored(self, shape: np.ndarray) -> np.ndarray:
        """`shape` (..., 478, 3), a face or a displacement in the face frame, seen in a mirror."""
        return (shape * (-1.0, 1.0, 1.0))[..., self.mirror, :]


@lru_cache(maxsize=1)
def load_face_model() -> FaceModel:
    """The fitted face model that comes with the package (read once)."""
    with resources.files("realtime.data").joinpath("face_model.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        arrays = {
            "mean": stored["mean"].astype(np.float64),
            "mirror": stored["mirror"].astype(np.int64),
            "triangles": stored["triangles"].astype(np.int32),
            "pose_weights": stored["pose_weights"].astype(np.float64),
        }
    for array in arrays.values():
        array.setflags(write=False)
    return FaceModel(**arrays)

"""Which way up a still picture is, where nothing in its file says so: the way in which a face is upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.face.face_model import OVAL
from realtime.face.landmarks import find_faces, silenced

LEAST = 0.5
"""How sure the detector must be of a turned picture's face."""
CLEARLY = 1.15
"""So much surer than of the picture as it is the detector must be of a turned one."""
CUT_SHARE = 0.1
"""Share of the face's outline beyond the border from which on the face counts as cut."""

CUT = "the picture's border cuts through the face; use one that shows all of it"
"""What is said of such a picture: pages refuse it, the command line warns."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture set upright. image: uint8 (H, W, 3). turns: quarter turns to the left that it took.
    faces: landmarks (478, 3) each, the largest first."""

    image: np.ndarray
    turns: int
    faces: tuple[np.ndarray, ...]


def look(image: np.ndarray) -> Looked:
    """Find the faces, and turn the picture where they are upright then alone. image: uint8 (H, W, 3) RGB.

    Blocks for a tenth of a second or two; any thread."""
    turned = [np.ascontiguousarray(np.rot90(image, turns)) for turns in range(4)]
    scores = [_upright_face(picture) for picture in turned]
    turns = int(np.argmax(scores))
    if scores[turns] < max(LEAST, CLEARLY * scores[0]):
        turns = 0
    return Looked(turned[turns], turns, tuple(find_faces(turned[turns])))


def _upright_face(image: np.ndarray) -> float:
    """How sure the full-range detector is of a face with its eyes above its mouth, 0 to 1."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    best = 0.0
    with silenced(), FaceDetection(model_selection=1, min_detection_confidence=0.2) as detector:
        for face in detector.process(image).detections or ():
            right, left, _nose, mouth = face.location_data.relative_keypoints[:4]
            down = (mouth.y - (right.y + left.y) / 2) * image.shape[0]
            aside = (mouth.x - (right.x + left.x) / 2) * image.shape[1]
            best = max(best, face.score[0] * max(0.0, down / (np.hypot(down, aside) + 1e-6)))
    return float(best)


def is_cut(face: np.ndarray, image: np.ndarray) -> bool:
    """Does the picture's border cut through the face?"""
    height, width = image.shape[:2]
    x, y = face[list(OVAL), 0], face[list(OVAL), 1]
    return float(((x < 0) | (y < 0) | (x > width) | (y > height)).mean()) > CUT_SHARE


def box(face: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, width and height of the face, pixels."""
    low, high = face[list(OVAL), :2].min(axis=0), face[list(OVAL), :2].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])

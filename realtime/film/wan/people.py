"""A person in a picture, read by MediaPipe Holistic: body, hands, face and outline.

The models lie in the mediapipe wheel. The authors of Wan-Animate read 133 points with ViTPose and cut people out with
SAM 2; the network is fed a drawing of 20 points, two hands, a crop of the face and a rectangle, for which this does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realtime.face.face_model import LEFT_BROW, OVAL, RIGHT_BROW
from realtime.face.landmarks import silenced
from realtime.film.wan.skeleton import HAND, SURE

_BODY = (0, None, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7, 31, 32)
"""Which of MediaPipe's 33 points each of our 20 is; None is the neck, the middle of the shoulders."""
_SHOULDERS = (11, 12)
_NOSE = 1
"""Of the face mesh: the tip of the nose."""
_FOREHEAD = (338, 297, 332, 284, 251, 21, 54, 103, 67, 109, 10)
_FACE = np.array([*(point for point in OVAL if point not in _FOREHEAD), *RIGHT_BROW, *LEFT_BROW])
"""The outermost of the face mesh's points that are among the 68 usual ones: jaw and brows, no forehead."""
_HEAD_ALONE = (0.75, 0.9)
"""Half width and half height of a face as shares of the distance of its ears, where no mesh was found."""


@dataclass(frozen=True)
class Person:
    """body: float64 (20, 3), pixels and confidence, see `skeleton.BODY`; 0 for what lies outside the picture.
    left, right: the person's own hands, (21, 3) alike, None for one that is not seen.
    face: left, top, right, bottom of the face (jaw to brows) in pixels, None where none is seen.
    outline: bool (H, W), the pixels of the person; (0, 0) where it was forgotten.
    together: the parts were found where they belong: the body's nose on the face's, the body within the outline.
    """

    body: np.ndarray
    left: np.ndarray | None
    right: np.ndarray | None
    face: np.ndarray | None
    outline: np.ndarray
    together: bool

    @property
    def sure(self) -> bool:
        """The head is seen, which is the least that makes a pose: nose and an eye."""
        return bool(self.body[0, 2] >= SURE and self.body[[14, 15], 2].max() >= SURE)

    def light(self) -> Person:
        """Without the outline, which is as large as the picture."""
        return replace(self, outline=np.zeros((0, 0), bool))

    def points(self) -> np.ndarray:
        """Body and hands as far as they are seen: float64 (N, 2), pixels."""
        seen = np.concatenate([part for part in (self.body, self.left, self.right) if part is not None])
        return seen[seen[:, 2] >= SURE, :2]

    @property
    def shoulders(self) -> bool:
        """Both shoulders are within the picture."""
        return bool((self.body[[2, 5], 2] >= SURE).all())


class PeopleReader:
    """Follows one person through a clip; `still`: every picture is looked at on its own. Not thread-safe."""

    def __init__(self, still: bool = False) -> None:
        from mediapipe.python.solutions.holistic import Holistic

        with silenced():
            self._model = Holistic(static_image_mode=still, model_complexity=1, enable_segmentation=True)
        self._spoken = False

    def read(self, image: np.ndarray) -> Person | None:
        """The person in uint8 (H, W, 3) RGB, None where nobody is found."""
        if self._spoken:
            found = self._model.process(image)
        else:
            with silenced():
                found = self._model.process(image)
            self._spoken = found.pose_landmarks is not None
        if found.pose_landmarks is None:
            return None
        height, width = image.shape[:2]
        size = np.array([width, height], np.float64)
        body = _body(found.pose_landmarks.landmark, size)
        mesh = _points(found.face_landmarks, size)
        outline = found.segmentation_mask > 0.5
        return Person(
            body,
            _hand(found.left_hand_landmarks, size),
            _hand(found.right_hand_landmarks, size),
            _face(mesh, body),
            outline,
            _together(body, mesh, outline),
        )

    def close(self) -> None:
        """Free the models."""
        self._model.close()

    def __enter__(self) -> PeopleReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def hide_outside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """A copy of (N, 3) points in which those outside the picture have confidence 0."""
    x, y = points[:, 0], points[:, 1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.column_stack([points[:, :2], np.where(inside, points[:, 2], 0.0)])


def _body(landmarks: Any, size: np.ndarray) -> np.ndarray:
    read = np.array([(p.x * size[0], p.y * size[1], p.visibility) for p in landmarks])
    neck = read[list(_SHOULDERS)].mean(axis=0)
    neck[2] = read[list(_SHOULDERS), 2].min()
    body = np.array([neck if at is None else read[at] for at in _BODY])
    return hide_outside(body, int(size[1]), int(size[0]))


def _points(landmarks: Any, size: np.ndarray) -> np.ndarray | None:
    """A landmark list as float64 (N, 2), pixels."""
    return None if landmarks is None else np.array([(p.x, p.y) for p in landmarks.landmark]) * size


def _hand(landmarks: Any, size: np.ndarray) -> np.ndarray | None:
    points = _points(landmarks, size)
    if points is None:
        return None
    return hide_outside(np.column_stack([points, np.ones(HAND)]), int(size[1]), int(size[0]))


def _face(mesh: np.ndarray | None, body: np.ndarray) -> np.ndarray | None:
    """The face's box: of the mesh, else guessed from ears and nose, as of a head that is turned away."""
    if mesh is not None:
        return np.concatenate([mesh[_FACE].min(axis=0), mesh[_FACE].max(axis=0)])
    head = body[[0, 16, 17]]
    if (head[:, 2] < SURE).any():
        return None
    centre, across = head[:, :2].mean(axis=0), float(np.linalg.norm(head[1, :2] - head[2, :2]))
    half = across * np.array(_HEAD_ALONE)
    return np.concatenate([centre - half, centre + half]) if across > 1 else None


def _together(body: np.ndarray, mesh: np.ndarray | None, outline: np.ndarray) -> bool:
    """Whether what three networks found is one person: they disagree about drawings, animals and crowds."""
    seen = body[body[:, 2] >= SURE]
    if len(seen) == 0:
        return False
    columns, rows = seen[:, 0].astype(int), seen[:, 1].astype(int)
    if outline[rows, columns].mean() < 0.6:
        return False
    if mesh is None or body[0, 2] < SURE:
        return True
    tall = float(np.ptp(mesh[:, 1]))
    return bool(np.linalg.norm(body[0, :2] - mesh[_NOSE]) < 0.35 * max(tall, 1.0))

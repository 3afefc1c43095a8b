"""From driving frames to motion codes of the mesh engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from realtime.engines.mesh.motion.body import BodyReader
from realtime.engines.mesh.motion.code import BODY, KIND, YAW, code_values
from realtime.engines.mesh.motion.hidden import HeldMouth, LowerFace
from realtime.face.face_model import CHIN, FOREHEAD, load_face_model
from realtime.face.landmarks import FaceTracker, plausible
from realtime.face.litert import available
from realtime.face.pose import HeadPose, angles, fit_pose
from realtime.motion.filters import OneEuro
from realtime.types import Frame, Landmarks, MotionCode

FILTER_FACE = 110.0
"""The filter counts speed in pixels of a face this high."""
LEARNING_FRAMES = 60.0
"""Frames over which the driver's own face shape settles."""
UNTIMED_STEP = 1 / 30
"""Seconds between frames that come without a time."""


class OwnShape:
    """The driver's own face shape, by which his pose is fitted: a running mean that settles and then stays.

    The mean face alone would turn a long nose into a lowered head. Frames that look into the camera count more,
    since landmarks of a turned head guess its hidden side.
    """

    def __init__(self) -> None:
        self.shape: np.ndarray | None = None
        self._weight = 0.0

    def learn(self, face: np.ndarray, pose: HeadPose) -> None:
        """Take in one face (478, 3; face frame) with its pose."""
        yaw, pitch, _ = angles(pose.rotation)
        trust = 0.02 + np.exp(-((yaw / 15) ** 2) - (pitch / 20) ** 2)
        if self.shape is None:
            self.shape, self._weight = face.copy(), trust
        elif self._weight < LEARNING_FRAMES:
            self._weight += trust
            self.shape += trust / self._weight * (face - self.shape)


class MeshEncoder:
    """Reads the motion code off each driving frame: absolute, against the mean face.

    smooth: whether landmarks are filtered. body: whether the shoulders are read, where there is a picture and LiteRT
    to read them with.
    Not thread-safe; one per driver. Landmarks pass a one-euro filter that goes by the frames' capture times. A mouth
    that something hides is held, where there is a picture that tells.
    """

    def __init__(self, smooth: bool = True, body: bool = True) -> None:
        self._tracker = FaceTracker()
        self._body = BodyReader() if body and available() else None
        self.sparing = False
        """Shoulders are not read for now, and the body eases back to where the head takes it."""
        self._filter = OneEuro(cutoff=1.0, beta=4.1, speed_cutoff=3.0, rest=1.65) if smooth else None
        self.reset()

    def reset(self) -> None:
        """Forget the driver: his face shape, his place, the filter's past."""
        self._tracker.reset()
        if self._filter is not None:
            self._filter.reset()
        self._own = OwnShape()
        self._lower_face, self._mouth = LowerFace(), HeldMouth()
        if self._body is not None:
            self._body.reset()
        self._pose: HeadPose | None = None
        self._size: tuple[int, int] | None = None
        self._untimed = 0
        self.landmarks: np.ndarray | None = None

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """The motion code of a driving frame, None where there is no face.

        A bare array is uint8 (H, W, 3) RGB, taken to be 1/30 s after the last one. `landmarks` then holds the
        filtered landmarks (478, 3) in pixels of the frame.
        """
        if isinstance(frame, Frame):
            image, captured, pts, index = frame.image, frame.captured, frame.pts, frame.index
        else:
            image, index = frame, self._untimed
            captured = pts = index * UNTIMED_STEP
        self._untimed += 1
        height, width = image.shape[:2]
        found = Landmarks(self._tracker.track(image), width, height, False, captured, index, pts)
        return self._read(found, image)

    def encode_landmarks(self, found: Landmarks) -> MotionCode | None:
        """The same for a frame in which another tracker has found the landmarks."""
        if found.points is not None and not plausible(found.points / (found.width, found.height, found.width)):
            found = replace(found, points=None)
        return self._read(found)

    def _read(self, found: Landmarks, image: np.ndarray | None = None) -> MotionCode | None:
        if found.points is None:
            self._lose()
            return None
        width, height = found.width, found.height
        if self._size != (height, width):  # Another resolution: pixels mean something else now.
            self._size = (height, width)
            self._lose()
        landmarks = found.points.astype(np.float64)
        if self._filter is not None:
            tall = float(np.linalg.norm(landmarks[FOREHEAD] - landmarks[CHIN]))
            landmarks = self._filter(landmarks, found.captured, unit=max(tall, 1.0) / FILTER_FACE)
        self.landmarks = landmarks
        values = self._values(landmarks, width, height)
        if image is not None:
            hidden = self._lower_face.hidden(image, landmarks, float(values[YAW]))
            if self._mouth.update(values, hidden, found.captured):
                self._lower_face.reset()
            if self._body is not None:
                values[BODY] = self._body.read(image, landmarks, found.captured, self.sparing)
        return MotionCode(KIND, values, found.captured, found.pts, found.index)

    def _values(self, landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
        if self._own.shape is None:
            pose = fit_pose(load_face_model().mean, landmarks)
            self._own.learn(pose.to_face(landmarks), pose)
        assert self._own.shape is not None
        pose = fit_pose(self._own.shape, landmarks, self._pose)
        self._pose = pose
        face = pose.to_face(landmarks)
        self._own.learn(face, pose)
        return code_values(face, pose, width, height)

    def _lose(self) -> None:
        self._pose = None
        self.landmarks = None
        if self._filter is not None:
            self._filter.reset()
        if self._body is not None:
            self._body.lose()

    def close(self) -> None:
        """Free the models. Safe to call twice."""
        self._tracker.close()
        if self._body is not None:
            self._body.close()

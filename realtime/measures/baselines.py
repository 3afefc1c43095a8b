"""The simplest things that could work, as engines, so that every figure of an engine has something to stand beside.

`still` shows the portrait whatever the driver does. `rigid` moves the whole picture by the similarity (shift, turn,
scale) that the driver's head made: no expression, no turn out of the picture plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from realtime.errors import BadPortrait
from realtime.families import FAMILIES, Family
from realtime.measures.faces import RIGID, FaceReader
from realtime.measures.media import middle_square, to_size
from realtime.types import Direction, Frame, MotionCode

BASELINES = {
    "still": Family("realtime.measures.baselines:StillEngine"),
    "rigid": Family("realtime.measures.baselines:RigidEngine"),
}


def register() -> None:
    """Make the baselines known to `load_engine`, in this process only."""
    FAMILIES.update(BASELINES)


class StillEngine:
    """The portrait, unmoved."""

    name = kind = "still"
    device = "cpu"
    directions: Sequence[Direction] = ()

    def __init__(self, size: int = 512, **_: Any) -> None:
        self.size = size
        self.reference: MotionCode | None = None
        self._picture: np.ndarray | None = None

    def set_portrait(self, image: np.ndarray) -> None:
        """Keep the middle square of `image`."""
        self._picture = to_size(middle_square(image), self.size)

    @property
    def portrait_code(self) -> MotionCode:
        """A code that says nothing."""
        return MotionCode(self.kind, np.zeros(1, np.float32))

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """A code that says nothing."""
        return self.portrait_code

    def render(self, code: MotionCode) -> np.ndarray:
        """The portrait."""
        if self._picture is None:
            raise BadPortrait("none was set")
        return self._picture.copy()

    def reset(self) -> None:
        """Nothing is tracked."""

    def close(self) -> None:
        """Nothing is held."""


class RigidEngine(StillEngine):
    """The portrait as a card that is shifted, turned and scaled with the driver's head.

    A code is (x, y, log scale, angle): the similarity that brings the unit square's middle to the head, x and y in
    picture sides, fitted to the landmarks that move with the skull.
    """

    name = kind = "rigid"

    def __init__(self, size: int = 512, **_: Any) -> None:
        super().__init__(size)
        self._faces = FaceReader(passes=2)
        self._code: MotionCode | None = None

    def set_portrait(self, image: np.ndarray) -> None:
        """Keep the middle square of `image` and read its face. Raises BadPortrait."""
        code = self.encode(to_size(middle_square(image), self.size))
        if code is None:
            raise BadPortrait("there is no face in it")
        super().set_portrait(image)
        self._code = code

    @property
    def portrait_code(self) -> MotionCode:
        """Where the portrait's own head is."""
        if self._code is None:
            raise BadPortrait("none was set")
        return self._code

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """Where the driver's head is, None where there is no face."""
        image = frame.image if isinstance(frame, Frame) else frame
        points = self._faces.read(image)
        if points is None:
            return None
        p = points[RIGID, :2]
        span = points[[356, 389, 454], :2].mean(axis=0) - points[[127, 162, 234], :2].mean(axis=0)
        side = min(image.shape[:2])
        x, y = (p.mean(axis=0) - (image.shape[1] / 2, image.shape[0] / 2)) / side
        size = np.sqrt(((p - p.mean(axis=0)) ** 2).sum(axis=1).mean()) / side
        values = np.array([x, y, np.log(size), np.arctan2(span[1], span[0])], np.float32)
        return MotionCode(self.kind, values)

    def render(self, code: MotionCode) -> np.ndarray:
        """The portrait moved by `code` minus `reference`."""
        picture = super().render(code)
        self.reference = self.reference or code
        home, was, now = (c.values.astype(float) for c in (self.portrait_code, self.reference, code))
        scale, angle = np.exp(now[2] - was[2]), now[3] - was[3]
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = (home[:2] + 0.5) * self.size
        shift = (now[:2] - was[:2]) * np.exp(home[2] - was[2]) * self.size
        matrix = np.column_stack([turn, middle + shift - turn @ middle])
        return cv2.warpAffine(picture, matrix, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)

    def reset(self) -> None:
        """Every picture is read on its own."""

    def close(self) -> None:
        """Free the tracker."""
        self._faces.close()

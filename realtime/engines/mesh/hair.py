"""Hair that hangs beside the face: it follows a nod and a tilt of the head less than a shake, and late.

What hangs is rooted in the head and pulled down by its weight: a nod or a tilt moves the root, and the length below
stays nearer to where it was. A damped spring gives the lag. Times are those of the codes, so that a clip rendered
twice gives the same pictures.
"""

from __future__ import annotations

import math

import numpy as np

from realtime.face.pose import HeadPose, angles, rotation_matrix

NOD_SHARE, TILT_SHARE = 0.5, 0.5
"""How much of the head's nod and tilt hanging hair goes along with; of its shake, its shift and its growth all."""
FREQUENCY, DAMPING = 1.8, 0.75
"""Of the spring: Hz, and damping over critical. It is 0.13 s late, and swings back by 3 %."""
PAUSE = 0.25
"""After a gap longer than this many seconds the hair hangs still where the head is."""
LONGEST_STEP = 1.0 / 120.0
"""The spring is followed in steps no longer than this, seconds."""
SAME = 1e-3
"""Two motions closer than this (degrees, face heights) are one."""


class HangingHair:
    """Where hanging hair takes the head to be. One per stream of pictures; use it from one thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the past: the hair hangs still."""
        self._at: np.ndarray | None = None
        self._speed = np.zeros(6)
        self._goal = np.zeros(6)
        self._time = 0.0

    def follow(self, pose: HeadPose, start: HeadPose, now: float) -> HeadPose:
        """The pose that the hair hangs from, of a portrait whose own pose is `start`, while the head is in `pose`.

        now: seconds. A motion at the very time of the last one does not move the hair on; another one at that time,
        as in a sheet of pictures, is shown at rest.
        """
        goal = _motion(pose, start)
        step = now - self._time
        jumped = step == 0 and np.abs(goal - self._goal).max() > SAME
        if self._at is None or step < 0 or step > PAUSE or jumped:
            self._at, self._speed = goal.copy(), np.zeros(6)
        elif step > 0:
            self._swing(goal, step)
        self._time, self._goal = now, goal
        yaw, pitch, roll = np.array(angles(start.rotation)) + self._at[:3]
        scale = start.scale * math.exp(self._at[5])
        shift = np.array([*(self._at[3:5] * start.scale), 0.0])
        return HeadPose(scale, rotation_matrix(yaw, pitch, roll), start.translation + shift)

    def _swing(self, goal: np.ndarray, step: float) -> None:
        assert self._at is not None
        count = math.ceil(step / LONGEST_STEP - 1e-9)
        stiff = 2.0 * math.pi * FREQUENCY
        for _ in range(count):
            force = stiff * stiff * (goal - self._at) - 2.0 * DAMPING * stiff * self._speed
            self._speed = self._speed + force * (step / count)
            self._at = self._at + self._speed * (step / count)


def _motion(pose: HeadPose, start: HeadPose) -> np.ndarray:
    """What hair at rest makes of a head's motion: yaw, pitch, roll (degrees), shift (2, face heights), log growth."""
    turned = np.array(angles(pose.rotation)) - np.array(angles(start.rotation))
    shift = (pose.translation - start.translation)[:2] / start.scale
    return np.array([*(turned * (1.0, NOD_SHARE, TILT_SHARE)), *shift, math.log(pose.scale / start.scale)])

"""What LivePortrait's codes say of a face, for code that works on codes of any kind. Does without torch."""

from __future__ import annotations

import numpy as np

from realtime.motion.vocabulary import Gaze, Idle, Neutral, Vocabulary

YAW, ROLL, X, GAZE_X, EYE_RIGHT, EYE_LEFT, LIPS = 0, 2, 3, 6, 8, 9, 10
LENGTH = 84
"""Entries of a code by name, and their number; see `code`, which needs torch."""


def mirror(values: np.ndarray) -> np.ndarray:
    """The code of the flipped driving picture, as far as it can be known: head, place, gaze and the eyes' openings.

    Which of the 21 learned keypoints stands for which on the other side was never published, so that the rest of the
    expression stays as it is: a crooked smile stays on its side of the picture.
    """
    out = np.array(values)
    out[[YAW, ROLL, X, GAZE_X]] *= -1
    out[[EYE_RIGHT, EYE_LEFT]] = out[[EYE_LEFT, EYE_RIGHT]]
    return out


VOCABULARY = Vocabulary(
    length=LENGTH,
    mirror=mirror,
    neutral=Neutral(straight={"yaw": 20.0, "pitch": 25.0, "roll": 25.0}, shut=((LIPS,), 0.15)),
    gaze=Gaze(
        x="gaze_x", y="gaze_y", camera=(0.0, 0.0), yaw="yaw", pitch="pitch", per_degree=0.006, farthest=0.2
    ),  # about eye widths
    idle=Idle(
        breath={"pitch": 0.4, "move_y": -0.003, "zoom": 0.002},
        sway={"yaw": (0.9, 9.1), "roll": (0.5, 7.3), "gaze_x": (0.01, 5.7)},
        blink="blink",
    ),
)

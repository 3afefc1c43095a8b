"""What LivePortrait's codes say of a face, for code that works on codes of any kind. Does without torch."""

from __future__ import annotations

from realtime.motion.vocabulary import Gaze, Idle, Neutral, Vocabulary

LENGTH, LIPS = 84, 10
"""Entries of a code, and the one that says how far the lips are open; see `code`, which needs torch."""

VOCABULARY = Vocabulary(
    length=LENGTH,
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

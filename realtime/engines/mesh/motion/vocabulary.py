"""What the mesh engine's codes say of a face, for code that works on codes of any kind."""

from __future__ import annotations

from realtime.engines.mesh.motion.code import LENGTH, LIP_GAP
from realtime.engines.mesh.motion.mirror import mirror
from realtime.motion.vocabulary import Gaze, Idle, Neutral, Vocabulary

VOCABULARY = Vocabulary(
    length=LENGTH,
    mirror=mirror,
    neutral=Neutral(
        straight={"yaw": 20.0, "pitch": 25.0, "roll": 25.0},
        open=(("eye_open_right", "eye_open_left"), 0.08),
        shut=(tuple(range(LIP_GAP.start, LIP_GAP.stop)), 2.0),  # hundredths of the face height
    ),
    gaze=Gaze(
        x="gaze_x", y="gaze_y", camera=(0.0, -0.065), yaw="yaw", pitch="pitch", per_degree=0.006, farthest=0.25
    ),  # eye widths
    idle=Idle(
        breath={"pitch": 0.5, "move_y": -0.004, "zoom": 0.002},
        sway={"yaw": (0.9, 9.1), "roll": (0.5, 7.3), "gaze_x": (0.012, 5.7)},
        blink="blink",
    ),
)

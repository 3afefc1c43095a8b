"""What the mesh engine's codes say of a face, for code that works on codes of any kind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realtime.engines.mesh.motion.arkit import code_of, shapes
from realtime.engines.mesh.motion.code import BODY, EARLIER, EXPRESSION, EYE_OPEN, GAZE_Y, LENGTH, LIP_GAP
from realtime.engines.mesh.motion.composites import COMPOSITES, both_sides, composite_tables
from realtime.engines.mesh.motion.dictionary import INDEX, MEASUREMENTS, load_dictionary
from realtime.engines.mesh.motion.mirror import mirror
from realtime.motion.vocabulary import Gaze, Idle, Neutral, Speech, Vocabulary, Worn

CAMERA = (0.0, -0.065)
"""Gaze of eyes that look into the camera, eye widths."""
USUAL_OPENING = 0.21
"""Of an eye at rest, in eye widths; people differ by 0.04."""


def _worn(name: str, looks: Mapping[str, tuple[float, float]], own: float, both: bool = False) -> Worn:
    """The composite `name` as an expression. looks: what it is read off: measurements with their mean and standard
    deviation over people at rest (16 people, mouth shut, as the landmark model sees them), hundredths of the face
    height. The weights are those that tell it best from what people differ in (Fisher's discriminant, the
    measurements taken for independent)."""
    composite = [c.name for c in COMPOSITES].index(name)
    moves = np.zeros(LENGTH)
    moves[EXPRESSION] = composite_tables().faces[composite]
    moves[EYE_OPEN] = USUAL_OPENING * composite_tables().lids[composite]
    weights, usual = np.zeros(LENGTH), np.zeros(LENGTH)
    for look, (mean, deviation) in looks.items():
        for full in both_sides({look: 1.0}, set(INDEX)):
            entry = EXPRESSION.start + INDEX[full]
            weights[entry], usual[entry] = moves[entry] / deviation**2, mean
    weights /= weights @ moves
    return Worn(weights, float(weights @ usual), own, moves, both)


def _one_eye() -> Worn:
    """One eye wider open than the other: an amount of 1 is an eye shut."""
    moves = np.zeros(LENGTH)
    moves[EYE_OPEN] = (USUAL_OPENING / 2, -USUAL_OPENING / 2)
    return Worn(moves / (moves @ moves), 0.0, 0.25, moves, both=True)


LIPS = {
    "open": {"jaw_open": 5.6, "lower_lip_down": 6.2, "upper_lip_up": 0.7},
    "round": {"corner_out": -3.4, "upper_lip_forward": 1.8, "lower_lip_forward": 1.9, "lower_lip_down": 0.9,
              "upper_lip_up": 0.4, "jaw_open": 0.6},
    "wide": {"corner_out": 2.0, "lower_lip_down": 0.8, "upper_lip_up": 0.7, "jaw_open": 0.2},
    "teeth": {"lower_lip_down": 0.3, "upper_lip_up": 0.9, "lower_lip_forward": -0.6, "jaw_open": 0.3},
    "shut": {"lower_lip_down": -0.6, "upper_lip_up": -0.3, "jaw_open": 0.3, "corner_out": -0.2},
}  # fmt: skip
"""What lips do to speak: measurements in hundredths of the face height, as in the authored track."""


def _speech() -> Speech:
    rest = np.zeros(LENGTH)
    rest[EYE_OPEN] = USUAL_OPENING
    rest[GAZE_Y] = CAMERA[1]
    moves = {}
    for name, wanted in LIPS.items():
        moves[name] = np.zeros(LENGTH)
        moves[name][EXPRESSION] = load_dictionary().complete(both_sides(wanted, set(INDEX)), ("mouth", "cheeks"))
    return Speech(rest, moves)


_RESTFUL = ("brows", "eyes")

VOCABULARY = Vocabulary(
    length=LENGTH,
    earlier=EARLIER,
    since_start=tuple(range(BODY.start, BODY.stop)),
    mirror=mirror,
    neutral=Neutral(
        straight={"yaw": 20.0, "pitch": 25.0, "roll": 25.0},
        open=(("eye_open_right", "eye_open_left"), 0.04),
        shut=(tuple(range(LIP_GAP.start, LIP_GAP.stop)), 2.0),  # hundredths of the face height
        worn=(
            _worn("smile", {"corner_up": (0.6, 1.8), "corner_out": (-0.5, 1.2), "cheek_up": (0.3, 1.1)}, own=0.5),
            _worn("brows", {"brow_inner_up": (0.0, 1.2), "brow_middle_up": (0.2, 1.4)}, own=0.7, both=True),
            _one_eye(),
        ),
        restful={
            **dict.fromkeys(range(EYE_OPEN.start, EYE_OPEN.stop), 0.02),
            **{EXPRESSION.start + k: 0.6 for k, m in enumerate(MEASUREMENTS) if m.group in _RESTFUL},
        },
        mobile=(
            *range(LIP_GAP.start, LIP_GAP.stop),
            *(EXPRESSION.start + k for k, m in enumerate(MEASUREMENTS) if m.group not in _RESTFUL),
        ),
    ),
    gaze=Gaze(
        x="gaze_x", y="gaze_y", camera=CAMERA, yaw="yaw", pitch="pitch", per_degree=0.006, farthest=0.25
    ),  # eye widths
    idle=Idle(
        breath={"pitch": 0.5, "move_y": -0.004, "zoom": 0.002, "breath": 1.0},
        sway={"yaw": (0.9, 9.1), "roll": (0.5, 7.3), "gaze_x": (0.012, 5.7)},
        blink="blink",
    ),
    shapes=shapes,
    of_shapes=code_of,
    speech=_speech(),
)

"""A motion code in the mirror: what the encoder would have seen, had the driving picture been flipped left to right.

That takes a dictionary that knows left from right, as this one does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtime.engines.mesh.motion.code import (
    BODY_X,
    CHEST_TURN,
    COMPOSITE,
    EXPRESSION,
    EYE_OPEN,
    GAZE_SKEW,
    GAZE_X,
    LEAN,
    LENGTH,
    LIP_GAP,
    ROLL,
    SHOULDER_LEFT,
    SHOULDER_RIGHT,
    YAW,
    X,
)
from realtime.engines.mesh.motion.composites import COMPOSITES
from realtime.engines.mesh.motion.dictionary import MEASUREMENTS

_ACROSS = {"mouth_side"}
"""Composites that go to one side of the picture and to the other below 0."""


def mirror(values: np.ndarray) -> np.ndarray:
    """The values (LENGTH,) of the flipped driving picture's code."""
    taken_from, sign = _table()
    return sign * values[taken_from]


@lru_cache(maxsize=1)
def _table() -> tuple[np.ndarray, np.ndarray]:
    """For each entry of a code, which entry its mirror image takes, and with which sign."""
    taken_from, sign = np.arange(LENGTH), np.ones(LENGTH, np.float32)
    sign[[YAW, ROLL, X, GAZE_X, GAZE_SKEW, BODY_X, LEAN, CHEST_TURN]] = -1.0
    taken_from[EYE_OPEN] = taken_from[EYE_OPEN][::-1]
    taken_from[LIP_GAP] = taken_from[LIP_GAP][::-1]
    taken_from[[SHOULDER_RIGHT, SHOULDER_LEFT]] = SHOULDER_LEFT, SHOULDER_RIGHT
    sideways = {m.name for m in MEASUREMENTS if {axis for _, axis, _ in m.terms} == {"x"}} | _ACROSS
    for part, names in (
        (EXPRESSION, [m.name for m in MEASUREMENTS]),
        (COMPOSITE, [c.name for c in COMPOSITES]),
    ):
        for k, name in enumerate(names):
            other = _other_side(name)
            taken_from[part.start + k] = part.start + names.index(other)
            if other == name and name in sideways:
                sign[part.start + k] = -1.0
    return taken_from, sign


def _other_side(name: str) -> str:
    """The name of the same motion on the other side of the face; `name` itself where it has none."""
    for side, other in (("_right", "_left"), ("_left", "_right")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name

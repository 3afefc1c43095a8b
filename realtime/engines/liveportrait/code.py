"""LivePortrait's motion code: what each entry of the vector means, and the named sliders.

=======================  ======================================================================================
entries                  meaning
=======================  ======================================================================================
YAW, PITCH, ROLL         head angles in degrees, with the signs of the other engines: nose to the picture's right,
                         face up, clockwise (the network's own yaw and pitch have the opposite signs)
X, Y                     where the head is: the network's translation, halves of the square, right and down
SCALE                    logarithm of the network's scale
GAZE_X, GAZE_Y           where the eyes look, about eye widths, right and down: the part of the expression that moves
                         both eyes together
EYE_RIGHT, EYE_LEFT      opening of the person's right eye (at the picture's left) and left eye over its width
LIPS                     opening of the lips over the width of the mouth
EXPRESSION (63)          shifts of the 21 keypoints in x, y, z, less what GAZE_X and GAZE_Y say
SLIDERS (10)             what people expect as sliders ("smile"); a driving frame leaves them at 0
=======================  ======================================================================================

An edit is an addition: ``values[direction.index] += amount``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from realtime.engines.liveportrait.layers import KEYPOINTS
from realtime.types import Direction, Group

KIND = "liveportrait"

YAW, PITCH, ROLL, X, Y, SCALE, GAZE_X, GAZE_Y, EYE_RIGHT, EYE_LEFT, LIPS = range(11)
EXPRESSION = slice(11, 11 + 3 * KEYPOINTS)

GAZE_UNIT = 0.007
"""Eye widths that the eyes move by for one step of the authors' gaze slider, at a usual size of the face."""
EYE_KEYPOINTS = (11, 13, 15, 16, 18)
LIP_KEYPOINTS = (6, 12, 14, 17, 19, 20)

Moves = tuple[tuple[int, str, float], ...]
"""Which keypoints move along which axis, and by how much for one step of the authors' slider."""


@dataclass(frozen=True, slots=True)
class Slider:
    """One slider. step: steps of the authors' slider at amount 1. above, below: what amounts over and under 0 move;
    `below` None: the opposite of `above`. Both empty: the engine sees to it."""

    name: str
    lo: float
    hi: float
    group: Group
    about: str
    step: float = 0.0
    above: Moves = ()
    below: Moves | None = None


SLIDERS = (
    Slider("smile", -0.25, 1, "mouth", "a smile; below 0 the corners of the mouth drop", 1.3,
           ((20, "y", -0.01), (14, "y", -0.02), (17, "y", 0.0065), (17, "z", 0.003), (13, "y", -0.00275),
            (16, "y", -0.00275), (3, "y", -0.0035), (7, "y", -0.0035))),
    Slider("mouth_open", -0.75, 1, "mouth", "the lips part; below 0 they close", 120.0,
           ((19, "y", 0.001), (19, "z", 0.0001), (17, "y", -0.0001))),
    Slider("pout", -1, 1, "mouth", "the lips are pushed out", 0.09, ((19, "x", 1.0),)),
    Slider("purse", -1, 1, "mouth", "the lips are pressed together", 15.0,
           ((14, "y", 0.001), (3, "y", -0.0005), (7, "y", -0.0005), (17, "z", -0.0005))),
    Slider("grin", 0, 1, "mouth", "the mouth widens and shows the teeth", 15.0,
           ((20, "z", -0.001), (20, "y", -0.001), (14, "y", -0.001))),
    Slider("brows", -1, 1, "brows", "the brows rise; below 0 they frown", 30.0,
           ((1, "y", 0.001), (2, "y", -0.001)),
           ((1, "x", -0.001), (2, "x", 0.001), (1, "y", 0.0003), (2, "y", -0.0003))),
    Slider("wink", 0, 1, "eyes", "one eye closes", 39.0,
           ((11, "y", 0.001), (13, "y", -0.0003), (17, "x", 0.0003), (17, "y", 0.0003), (3, "y", -0.0003))),
    Slider("blink", -0.5, 1, "eyes", "both eyes close; below 0 they open wider"),
    Slider("lips", -0.5, 1, "mouth", "the lips open as by the network that retargets them; below 0 they close"),
    Slider("zoom", -0.3, 0.3, "head", "the head comes nearer; 0.1 is about a tenth larger"),
)  # fmt: skip
"""In the order of their entries in the code; the amounts are those of the authors' editor, in its units."""

_FIRST = EXPRESSION.stop
INDEX = {slider.name: _FIRST + k for k, slider in enumerate(SLIDERS)}
LENGTH = _FIRST + len(SLIDERS)
"""Number of entries of a code."""

_GAZE = (
    Slider("gaze_x", -0.2, 0.2, "gaze", "the eyes look to the right of the picture", 1 / GAZE_UNIT,
           ((11, "x", 0.0007), (15, "x", 0.001)), ((11, "x", 0.001), (15, "x", 0.0007))),
    Slider("gaze_y", -0.2, 0.2, "gaze", "the eyes look down", 1 / GAZE_UNIT,
           ((11, "y", 0.0005), (15, "y", 0.0005), (13, "y", 0.00015), (16, "y", 0.00015))),
)  # fmt: skip


@functools.lru_cache(maxsize=8)
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """What an amount of 1 over 0, and of 1 under 0, of gaze_x, gaze_y and each slider moves: (12, 63) both."""
    above, below = torch.zeros(2, len(_GAZE) + len(SLIDERS), KEYPOINTS, 3)
    for k, slider in enumerate((*_GAZE, *SLIDERS)):
        for table, moves in ((above, slider.above), (below, slider.above if slider.below is None else slider.below)):
            for keypoint, axis, amount in moves:
                table[k, keypoint, "xyz".index(axis)] += amount * slider.step
    return above.flatten(1).to(device), below.flatten(1).to(device)


def _moves(amounts: Tensor) -> Tensor:
    """Shifts (B, 63) of the first sliders of the tables, (B, n)."""
    above, below = (table[: amounts.shape[1]] for table in _tables(amounts.device))
    return amounts.clamp_min(0) @ above + amounts.clamp_max(0) @ below


def split_gaze(expression: Tensor) -> tuple[Tensor, Tensor]:
    """How far an expression (B, 63) turns both eyes to the right and down, (B, 2), and the rest of it."""
    both = expression[:, 33:35] + expression[:, 45:47]  # keypoints 11 and 15
    gaze = torch.stack([both[:, 0] * (GAZE_UNIT / 0.0017), both[:, 1] * (GAZE_UNIT / 0.001)], 1)
    return gaze, expression - _moves(gaze)


def expression_of(code: Tensor) -> Tensor:
    """The whole expression (B, 21, 3) of codes (B, LENGTH): what was seen, gaze and sliders."""
    shifts = code[:, EXPRESSION] + _moves(torch.cat([code[:, GAZE_X : GAZE_Y + 1], code[:, _FIRST:]], 1))
    return shifts.unflatten(1, (KEYPOINTS, 3))


def _directions() -> tuple[Direction, ...]:
    listed = [Direction(s.name, INDEX[s.name], s.lo, s.hi, s.about, s.group) for s in SLIDERS]
    listed += [
        Direction("yaw", YAW, -25, 25, "the head turns, nose to the right of the picture", "head", "deg"),
        Direction("pitch", PITCH, -15, 15, "the head lifts its face", "head", "deg"),
        Direction("roll", ROLL, -15, 15, "the head leans clockwise in the picture", "head", "deg"),
        Direction("move_x", X, -0.19, 0.19, "the head moves to the right of the picture", "head"),
        Direction("move_y", Y, -0.19, 0.19, "the head moves down", "head"),
        *(Direction(s.name, i, s.lo, s.hi, s.about, s.group) for i, s in zip((GAZE_X, GAZE_Y), _GAZE, strict=True)),
        Direction("scale", SCALE, -0.3, 0.3, "the size that the network reads off the driver", "head", named=False),
    ]
    for k in range(KEYPOINTS):
        group: Group = "eyes" if k in EYE_KEYPOINTS else "mouth" if k in LIP_KEYPOINTS else "other"
        for n, (axis, way) in enumerate((("x", "to the right"), ("y", "down"), ("z", "away from the viewer"))):
            about = f"keypoint {k} moves {way}, in the network's units"
            index = EXPRESSION.start + 3 * k + n
            listed.append(Direction(f"kp{k}_{axis}", index, -0.05, 0.05, about, group, named=False))
    return tuple(listed)


DIRECTIONS = _directions()
"""The motion dictionary: the authors' sliders, head and gaze first, then the single keypoints."""

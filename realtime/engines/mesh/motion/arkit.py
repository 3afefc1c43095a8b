"""The built-in engine's codes as blend shapes by ARKit's names, and back.

Each of 43 of the 52 shapes is a few of the dictionary's measurements over what they come to in the full expression;
the other nine (lips rolled, shrugged, pressed, dimples, tongue) cannot be told from the measurements, and are left
out rather than guessed. Left and right are the person's own, as Apple has them
(developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realtime.engines.mesh.motion.code import (
    COMPOSITE,
    EXPRESSION,
    EYE_OPEN,
    GAZE_X,
    GAZE_Y,
    LENGTH,
    LIP_GAP,
    PITCH,
    ROLL,
    YAW,
)
from realtime.engines.mesh.motion.composites import composite_tables
from realtime.engines.mesh.motion.dictionary import INDEX, load_dictionary
from realtime.motion.vocabulary import Shapes

OPENING = 0.21
"""Of an eye at rest, in eye widths, where nothing better is known."""
WIDE = 0.5
"""How much wider an eye of the full shape is open, as a share of its opening."""
LOOK_X, LOOK_Y = 0.25, 0.15
"""How far eyes turn in the full shape, eye widths."""
AJAR = 11.0
"""Gap of the lips with the jaw fully open, hundredths of the face height."""
ROUND = 4.5
"""The same of a rounded mouth."""

_SIDED: Mapping[str, tuple[str, float]] = {
    "eyeSquint": ("lower_lid_down", -1.2),
    "mouthSmile": ("corner_up", 4.0),
    "mouthFrown": ("corner_up", -2.4),
    "mouthStretch": ("corner_out", 3.6),
    "mouthUpperUp": ("upper_lip_up_side", 2.6),
    "mouthLowerDown": ("lower_lip_down_side", 3.0),
    "browDown": ("brow_middle_up", -1.5),
    "browOuterUp": ("brow_outer_up", 3.0),
    "cheekSquint": ("cheek_up", 3.0),
    "noseSneer": ("nostril_up", 2.4),
}
"""Shapes that each side has: a measurement, and what it comes to in the full shape, hundredths of the face height."""
_MIDDLE: Mapping[str, tuple[str, float]] = {
    "jawOpen": ("jaw_open", AJAR),
    "jawForward": ("jaw_forward", 8.0),
    "jawLeft": ("jaw_side", 6.0),
    "jawRight": ("jaw_side", -6.0),
    "mouthLeft": ("upper_lip_side", 4.4),
    "mouthRight": ("upper_lip_side", -4.4),
}
_BOTH: Mapping[str, tuple[str, float]] = {"browInnerUp": ("brow_inner_up", 3.6), "cheekPuff": ("cheek_forward", 4.0)}
"""Shapes without a side, of measurements with one."""
_NARROW = 4.0
"""How far each corner of the mouth comes in when it is pursed."""
SIDES = {"Right": "right", "Left": "left"}


def _share(amount: float, full: float) -> float:
    """`amount` over what it comes to in the full shape, 0 to 1."""
    return min(1.0, max(0.0, amount / full))


def shapes(values: np.ndarray, neutral: np.ndarray) -> Shapes:
    """The shapes of a code (LENGTH,), and how the head is turned since neutral. neutral: the driver's own code.

    Sliders and expressions that were put on count as the face itself."""
    follow = load_dictionary().follow.T
    added = follow @ (
        composite_tables().expression(values[COMPOSITE]) - composite_tables().expression(neutral[COMPOSITE])
    )
    change = follow @ (values[EXPRESSION] - neutral[EXPRESSION]) + added

    def of(measurement: str) -> float:
        return float(change[INDEX[measurement]])

    out = {name: _share(of(measurement), full) for name, (measurement, full) in _MIDDLE.items()}
    for name, (measurement, full) in _BOTH.items():
        out[name] = _share((of(f"{measurement}_right") + of(f"{measurement}_left")) / 2, full)
    for side, ours in SIDES.items():
        for name, (measurement, full) in _SIDED.items():
            out[name + side] = _share(of(f"{measurement}_{ours}"), full)
        # the lower lip hangs on the jaw, and the corners go out in a smile too
        out["mouthLowerDown" + side] = _share(of(f"lower_lip_down_side_{ours}") - max(0.0, of("jaw_open")), 3.0)
        out["mouthStretch" + side] = max(0.0, out["mouthStretch" + side] - out["mouthSmile" + side])
    gap = float((values[LIP_GAP] - neutral[LIP_GAP]).mean())
    gap += float(added[INDEX["lower_lip_down"]] + added[INDEX["upper_lip_up"]])
    out["mouthClose"] = max(0.0, out["jawOpen"] - _share(gap, AJAR))
    narrow = _share(-(of("corner_out_right") + of("corner_out_left")) / 2, _NARROW)
    out["mouthFunnel"] = narrow * _share(gap, ROUND)
    out["mouthPucker"] = narrow - out["mouthFunnel"]
    out |= _eyes(values, neutral)
    return Shapes(
        out,
        (
            float(values[YAW] - neutral[YAW]),
            float(values[PITCH] - neutral[PITCH]),
            float(values[ROLL] - neutral[ROLL]),
        ),
    )


def _eyes(values: np.ndarray, neutral: np.ndarray) -> dict[str, float]:
    """Lids and gaze."""
    tables = composite_tables()
    opening = values[EYE_OPEN] * tables.opening(values[COMPOSITE])
    rest = np.maximum(neutral[EYE_OPEN] * tables.opening(neutral[COMPOSITE]), 1e-3)
    x, y = float(values[GAZE_X] - neutral[GAZE_X]), float(values[GAZE_Y] - neutral[GAZE_Y])
    out: dict[str, float] = {}
    for n, side in enumerate(SIDES):
        shut = 1.0 - float(opening[n] / rest[n])
        out["eyeBlink" + side], out["eyeWide" + side] = _share(shut, 1.0), _share(-shut, WIDE)
        out["eyeLookUp" + side], out["eyeLookDown" + side] = _share(-y, LOOK_Y), _share(y, LOOK_Y)
        outwards = x if side == "Left" else -x  # the right of the picture is the person's left
        out["eyeLookOut" + side], out["eyeLookIn" + side] = _share(outwards, LOOK_X), _share(-outwards, LOOK_X)
    return out


def code_of(given: Shapes) -> np.ndarray:
    """The code (LENGTH,) of a face that wears these shapes; those that it does not know are left out. The rest of the
    face goes along as in the likeliest face that measures so."""
    amount = given.amounts.get
    wanted = dict.fromkeys(_KNOWN, 0.0)
    for name, (measurement, full) in _MIDDLE.items():
        wanted[measurement] += full * amount(name, 0.0)
    for name, (measurement, full) in _BOTH.items():
        for ours in SIDES.values():
            wanted[f"{measurement}_{ours}"] += full * amount(name, 0.0)
    narrow = amount("mouthFunnel", 0.0) + amount("mouthPucker", 0.0)
    values = np.zeros(LENGTH, np.float32)
    for n, (side, ours) in enumerate(SIDES.items()):
        for name, (measurement, full) in _SIDED.items():
            wanted[f"{measurement}_{ours}"] += full * amount(name + side, 0.0)
        wanted[f"corner_out_{ours}"] += 3.6 * amount("mouthSmile" + side, 0.0) - _NARROW * narrow
        wanted[f"lower_lip_down_side_{ours}"] += wanted["jaw_open"]
        values[EYE_OPEN.start + n] = OPENING * (
            1.0 - amount("eyeBlink" + side, 0.0) + WIDE * amount("eyeWide" + side, 0.0)
        )
    parted = AJAR * max(0.0, amount("jawOpen", 0.0) - amount("mouthClose", 0.0))
    parted = max(parted, ROUND * amount("mouthFunnel", 0.0))
    wanted["lower_lip_down"] = parted
    values[LIP_GAP] = parted
    values[EXPRESSION] = load_dictionary().complete(wanted)
    sideways = [amount(f"eyeLook{way}", 0.0) for way in ("OutLeft", "InRight", "InLeft", "OutRight")]
    values[GAZE_X] = LOOK_X * (sideways[0] + sideways[1] - sideways[2] - sideways[3]) / 2
    values[GAZE_Y] = LOOK_Y * sum(amount("eyeLookDown" + s, 0.0) - amount("eyeLookUp" + s, 0.0) for s in SIDES) / 2
    values[[YAW, PITCH, ROLL]] = given.head
    return values


_KNOWN = (
    "lower_lip_down",
    *{measurement for measurement, _ in _MIDDLE.values()},
    *{f"{name}_{side}" for name, _ in (*_SIDED.values(), *_BOTH.values()) for side in SIDES.values()},
)

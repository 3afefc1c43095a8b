"""Codes of the built-in engine as ARKit's blend shapes, and back."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.motion.code import DIRECTIONS, LENGTH
from realtime.motion.expressions import BOARD, played, worn
from realtime.motion.track import builtin_track
from realtime.motion.vocabulary import Shapes, vocabulary_of
from realtime.types import MotionCode

MESH = vocabulary_of("mesh")
EYES = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
MOUTH = ("Smile", "Frown", "Dimple", "Stretch", "Press", "LowerDown", "UpperUp")
SIDED = (*EYES, *(f"mouth{name}" for name in MOUTH), "browDown", "browOuterUp", "cheekSquint", "noseSneer")
WHOLE = ("Close", "Funnel", "Pucker", "Left", "Right", "RollLower", "RollUpper", "ShrugLower", "ShrugUpper")
ARKIT = {
    *(name + side for name in SIDED for side in ("Left", "Right")),
    *(f"mouth{name}" for name in WHOLE),
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "browInnerUp", "cheekPuff", "tongueOut"),
}
"""All of ARKit's, as Apple lists them (ARFaceAnchor.BlendShapeLocation)."""
NOT_TOLD = {
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut"),
    *("mouthPressLeft", "mouthPressRight", "mouthDimpleLeft", "mouthDimpleRight"),
}
REST = MESH.of_shapes(Shapes({}))


def shapes_of(**amounts: float) -> dict[str, float]:
    """What is read off a code that was made of these shapes."""
    return dict(MESH.shapes(MESH.of_shapes(Shapes(amounts)), REST).amounts)


def test_the_names_are_arkits_and_those_that_cannot_be_told_are_left_out():
    assert len(ARKIT) == 52
    assert set(MESH.shapes(REST, REST).amounts) == ARKIT - NOT_TOLD


def test_a_face_at_rest_has_none():
    assert max(MESH.shapes(REST, REST).amounts.values()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "name",
    sorted(name for name in ARKIT - NOT_TOLD if "Look" not in name and name not in ("mouthClose", "mouthFunnel")),
)
def test_a_shape_comes_back_alone(name):
    read = shapes_of(**{name: 0.6})
    assert read.pop(name) == pytest.approx(0.6, abs=0.02)
    assert max(read.values()) < 0.05, {other: amount for other, amount in read.items() if amount > 0.05}


@pytest.mark.parametrize(("left", "right"), [("Out", "In"), ("In", "Out"), ("Up", "Up"), ("Down", "Down")])
def test_both_eyes_look_the_same_way(left, right):
    read = shapes_of(**{f"eyeLook{left}Left": 0.8, f"eyeLook{right}Right": 0.8})
    assert read[f"eyeLook{left}Left"] == pytest.approx(0.8, abs=0.01)
    assert read[f"eyeLook{right}Right"] == pytest.approx(0.8, abs=0.01)


def test_an_open_jaw_with_closed_lips_and_a_rounded_mouth():
    read = shapes_of(jawOpen=0.5, mouthClose=0.5)
    assert (read["jawOpen"], read["mouthClose"]) == pytest.approx((0.5, 0.5), abs=0.02)
    read = shapes_of(jawOpen=0.3, mouthFunnel=0.9)
    assert read["mouthFunnel"] > 0.6
    assert read["mouthFunnel"] > read["mouthPucker"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("smile", {"mouthSmileLeft", "mouthSmileRight"}),
        ("laugh", {"mouthSmileLeft", "jawOpen"}),
        ("wink", {"eyeBlinkRight"}),
        ("surprise", {"browInnerUp", "eyeWideLeft", "mouthFunnel"}),
        ("sad", {"mouthFrownLeft", "mouthFrownRight"}),
        ("angry", {"browDownLeft", "browDownRight"}),
        ("kiss", {"mouthPucker"}),
        ("disgust", {"noseSneerLeft", "noseSneerRight"}),
        ("sleep", {"eyeBlinkLeft", "eyeBlinkRight"}),
    ],
)
def test_what_is_put_on_is_seen_in_the_shapes(expression, expected):
    """Sliders, which a code holds apart from what was measured, are shapes as well."""
    assert expression in [each.name for each in BOARD]
    on = played((), expression, DIRECTIONS, 0.0, on=True)
    read = MESH.shapes(worn(on, MotionCode("mesh", REST), DIRECTIONS, 2.0).values, REST).amounts
    assert all(read[name] > 0.4 for name in expected), {name: round(a, 2) for name, a in read.items() if a > 0.1}
    assert expression != "wink" or read["eyeBlinkLeft"] < 0.3


def test_a_real_performance_stays_within_range_and_blinks_and_speaks():
    track = builtin_track()
    neutral = track.reference_code.values
    read = [MESH.shapes(values, neutral) for values in track.values]
    table = np.array([list(each.amounts.values()) for each in read])
    assert table.min() >= 0.0
    assert table.max() <= 1.0
    peaks = dict(zip(read[0].amounts, table.max(axis=0), strict=True))
    assert peaks["eyeBlinkLeft"] > 0.6
    assert peaks["jawOpen"] > 0.2
    assert np.ptp([each.head[0] for each in read]) > 3.0


def test_the_head_is_carried():
    assert len(REST) == LENGTH
    assert MESH.shapes(MESH.of_shapes(Shapes({}, (12.0, -7.0, 4.0))), REST).head == pytest.approx((12.0, -7.0, 4.0))

"""The motion code of the mesh engine: what each entry of the vector means, and how it is read off a face.

========================  =====================================================================================
entries                   meaning
========================  =====================================================================================
YAW, PITCH, ROLL          head angles in degrees (see `pose.rotation_matrix`), absolute
X, Y                      where the head is: pixels from the picture's middle over the pixels per face height
ZOOM                      log(2 * pixels per face height / picture height)
GAZE_X, GAZE_Y            middle of the irises from the middle of the eyes' corners, over eye widths, both eyes' mean
GAZE_CROSS, GAZE_SKEW     half the difference of the two eyes' gaze in x and in y (left minus right)
EYE_OPEN (2)              mean gap of the lids over the eye's width, right eye and left eye
LIP_GAP (3)               gap of the inner lips right, middle and left; hundredths of the face height
EXPRESSION (58)           the expression dictionary's values: the face against the mean face, hundredths of fh
COMPOSITE (14)            what people expect as sliders ("smile"); a driving frame leaves them at 0
BODY_SEEN                 how surely the driver's shoulders are seen, 0 to 1; where they are not, the body goes along
                          with the head, as far as bodies do
BODY_X, BODY_Y            where the middle of the shoulders is, face heights from where it was first seen
BODY_ZOOM                 logarithm of how much larger they are than then
LEAN, CHEST_TURN          how the trunk leans (clockwise in the picture) and turns, degrees, since then
SHOULDER_RIGHT, _LEFT     how far each shoulder is raised beyond that, face heights
SHRUG, BREATH             both shoulders raised, face heights, and a breath (1: full); a frame leaves them at 0
========================  =====================================================================================

An edit is an addition: ``values[direction.index] += amount``. Values survive float16: angles to 0.016 degrees, the
rest to a thousandth of their range, below what a face tracker can tell.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtime.engines.mesh.motion.composites import COMPOSITES
from realtime.engines.mesh.motion.dictionary import HUNDREDTHS, MEASUREMENTS, load_dictionary
from realtime.face import face_model as fm
from realtime.face.pose import HeadPose, angles
from realtime.types import Direction

KIND = "mesh"

YAW, PITCH, ROLL, X, Y, ZOOM = range(6)
GAZE_X, GAZE_Y, GAZE_CROSS, GAZE_SKEW = range(6, 10)
EYE_OPEN = slice(10, 12)
LIP_GAP = slice(12, 15)
EXPRESSION = slice(15, 15 + len(MEASUREMENTS))
COMPOSITE = slice(EXPRESSION.stop, EXPRESSION.stop + len(COMPOSITES))
BODY = slice(COMPOSITE.stop, COMPOSITE.stop + 10)
BODY_SEEN, BODY_X, BODY_Y, BODY_ZOOM, LEAN, CHEST_TURN, SHOULDER_RIGHT, SHOULDER_LEFT, SHRUG, BREATH = range(
    BODY.start, BODY.stop
)
LENGTH = BODY.stop
"""Number of entries of a code."""
EARLIER = (COMPOSITE.stop,)
"""Numbers of entries of the codes of earlier releases: these are the first ones, and the others are 0."""

LIP_PAIRS = (2, 4, 6)
"""Which of the nine pairs of inner-lip landmarks LIP_GAP measures."""

_CORNERS = np.array(fm.EYE_CORNERS)  # (2 eyes, outer and inner)
_IRIS = np.array([iris[0] for iris in fm.IRISES])
_UPPER, _LOWER = np.array(fm.UPPER_LIDS), np.array(fm.LOWER_LIDS)  # (2 eyes, 7)
_UPPER_LIP = np.array(fm.UPPER_INNER_LIP)[list(LIP_PAIRS)]
_LOWER_LIP = np.array(fm.LOWER_INNER_LIP)[list(LIP_PAIRS)]


def eye_widths(face: np.ndarray) -> np.ndarray:
    """Distance of the corners of the right and of the left eye: (2,), in the units of `face` (478, 3)."""
    along = face[_CORNERS[:, 0]] - face[_CORNERS[:, 1]]
    return np.sqrt((along * along).sum(axis=1))


def eye_middles(face: np.ndarray) -> np.ndarray:
    """Middle between the corners of the right and of the left eye: (2, 3), in the units of `face` (478, 3)."""
    return (face[_CORNERS[:, 0]] + face[_CORNERS[:, 1]]) / 2


def gaze_of(face: np.ndarray) -> np.ndarray:
    """Where the eyes look: (2 eyes, x and y), the iris from the middle of the corners over the eye's width."""
    offset = face[_IRIS] - eye_middles(face)
    return offset[:, :2] / eye_widths(face)[:, None]


def lid_gaps(face: np.ndarray) -> np.ndarray:
    """Height of the openings of the eyes at the seven pairs of lid landmarks: (2, 7), face heights."""
    return face[_LOWER, 1] - face[_UPPER, 1]


def code_values(face: np.ndarray, pose: HeadPose, width: int, height: int) -> np.ndarray:
    """The code of a face: float32 (LENGTH,).

    face: (478, 3) in the face frame. pose: where it is in a picture of `width` x `height` pixels.
    """
    values = np.zeros(LENGTH, np.float32)
    values[YAW : ROLL + 1] = angles(pose.rotation)
    values[X] = (pose.translation[0] - width / 2) / pose.scale
    values[Y] = (pose.translation[1] - height / 2) / pose.scale
    values[ZOOM] = np.log(2 * pose.scale / height)
    right, left = gaze_of(face)
    values[GAZE_X : GAZE_Y + 1] = (right + left) / 2
    values[GAZE_CROSS : GAZE_SKEW + 1] = (left - right) / 2
    values[EYE_OPEN] = lid_gaps(face).mean(axis=1) / eye_widths(face)
    values[LIP_GAP] = (face[_LOWER_LIP, 1] - face[_UPPER_LIP, 1]) / HUNDREDTHS
    values[EXPRESSION] = load_dictionary().values(face - fm.load_face_model().mean)
    return values


_SHOWN_AS_EYE_OPEN = ("upper_lid", "lower_lid")


@lru_cache(maxsize=1)
def _directions() -> tuple[Direction, ...]:
    dictionary = load_dictionary()
    listed = [Direction(c.name, COMPOSITE.start + k, c.lo, c.hi, c.about, c.group) for k, c in enumerate(COMPOSITES)]
    listed += [
        Direction("yaw", YAW, -35, 35, "the head turns, nose to the right of the picture", "head", "deg"),
        Direction("pitch", PITCH, -25, 25, "the head lifts its face", "head", "deg"),
        Direction("roll", ROLL, -35, 35, "the head leans clockwise in the picture", "head", "deg"),
        Direction("move_x", X, -0.4, 0.4, "the head moves to the right of the picture, in face heights", "head"),
        Direction("move_y", Y, -0.4, 0.4, "the head moves down, in face heights", "head"),
        Direction("zoom", ZOOM, -0.5, 0.5, "the head comes nearer; 0.1 is about a tenth larger", "head"),
        Direction("gaze_x", GAZE_X, -0.25, 0.25, "the eyes look to the right of the picture, in eye widths", "gaze"),
        Direction("gaze_y", GAZE_Y, -0.15, 0.15, "the eyes look down, in eye widths", "gaze"),
        Direction(
            "eye_open_right", EYE_OPEN.start, -0.3, 0.15, "the person's right eye opens, in eye widths", "eyes"
        ),
        Direction(
            "eye_open_left", EYE_OPEN.start + 1, -0.3, 0.15, "the person's left eye opens, in eye widths", "eyes"
        ),
    ]
    listed += [
        Direction("lean", LEAN, -20, 20, "the trunk leans clockwise in the picture", "body", "deg"),
        Direction("chest_turn", CHEST_TURN, -30, 30, "the chest turns to the right of the picture", "body", "deg"),
        Direction(
            "shoulder_right",
            SHOULDER_RIGHT,
            -0.15,
            0.25,
            "the person's right shoulder rises, in face heights",
            "body",
        ),
        Direction(
            "shoulder_left", SHOULDER_LEFT, -0.15, 0.25, "the person's left shoulder rises, in face heights", "body"
        ),
        Direction("shrug", SHRUG, -0.1, 0.25, "both shoulders rise, in face heights", "body"),
        Direction("body_x", BODY_X, -0.2, 0.2, "the body moves to the right of the picture, in face heights", "body"),
        Direction("body_y", BODY_Y, -0.2, 0.2, "the body moves down, in face heights", "body"),
        Direction("body_zoom", BODY_ZOOM, -0.2, 0.2, "the body comes nearer; 0.1 is about a tenth larger", "body"),
        Direction("breath", BREATH, -0.5, 2, "the chest fills with air; 1 is a full breath", "body"),
    ]
    for k, m in enumerate(MEASUREMENTS):
        if m.name.startswith(_SHOWN_AS_EYE_OPEN):  # The lids' gap follows eye_open; these only carry its shape.
            continue
        lo, hi = float(np.floor(dictionary.lo[k])), float(np.ceil(dictionary.hi[k]))
        about = f"{m.about}, in hundredths of the face height"
        listed.append(Direction(m.name, EXPRESSION.start + k, lo, hi, about, m.group))
    return tuple(listed)


DIRECTIONS = _directions()
"""The motion dictionary as sliders: composites, head, gaze, eyes and body first, then the single measurements."""

"""Transfer rules: what a driver's motion code does to the portrait's face. Pure geometry, no pictures.

Head and expression are carried over relative to the driver's neutral code, the reference. What must not depend on a
good neutral frame is absolute: where the eyes look, whether the lips are closed. Lids close in proportion.
With the portrait's own code as the reference (absolute motion) every rule becomes the identity on the driver's face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.body import BodyMotion, body_motion
from realtime.engines.mesh.motion.composites import SIDES, composite_tables
from realtime.engines.mesh.motion.dictionary import HUNDREDTHS, INDEX, load_dictionary
from realtime.face import face_model as fm
from realtime.face.pose import HeadPose, angles, fit_pose, rotation_matrix
from realtime.motion.filters import smoothstep, soft_limit

LEAST_EYE_OPENING = 0.13
"""In eye widths: a reference whose eyes are less open than this is a blink, not an open eye."""
CLOSED_LIDS = 0.11
"""Lid gap over open gap at which an eye is closed: the tracker never reports less of a closed one."""
PROPORTIONAL_LIDS = 0.45
"""Lid gap over open gap above which the lids are carried over one to one."""
WIDEST_EYE = 1.5
LARGEST_EYE, LEAST_WIDER = 0.38, 1.1
"""In eye widths: no portrait's eyes open wider than so, beyond their own openings times the second. The large eyes of
a drawing, made larger still, look frightened."""
WINK = (0.15, 0.6)
"""Differences of the two eyes' openings, as shares of the open eye, up to which they are one and from which they
stay as they are."""
USUAL_GAZE = (0.0, -0.065)
"""Gaze code of a face that looks into the camera."""
GAZE_GAIN = np.array((1.35, 1.2))
"""How much farther than the tracker says, along and across, eyes have to move from where the portrait's look. It
reads less than there is off any eye, the driver's too: 0.7 and 0.5 of what was drawn (nine portraits)."""
GAZE_TOLERANCE = 0.03
"""A face's gaze may be this far off the usual one, in eye widths, by the shape of its eyes alone."""
# Angles in degrees up to which a pose is carried over one to one, and the one it never passes.
YAW_LIMITS, PITCH_LIMITS = (30.0, 42.0), (22.0, 32.0)
# Likewise for the shift of the head in x and y, in face heights, and the logarithm of its growth, in relative motion:
# a portrait has no more neck than its picture shows. In absolute motion only what no picture can show is kept out.
SHIFT_LIMITS, ZOOM_LIMITS = (np.array([0.15, 0.08]), np.array([0.4, 0.22])), (0.2, 0.45)
ABSOLUTE_SHIFT_LIMITS, ABSOLUTE_ZOOM_LIMITS = (3.0, 5.0), (1.2, 1.6)
EXPRESSION_ROOM = 1.5
"""How far past the fitted range an expression value may go, as a factor of the range."""
SMILE_PARTS = ("corner_out", "corner_up", "corner_back")
SMILE = tuple(INDEX[f"{name}_{side}"] for name in SMILE_PARTS for side in SIDES)
"""The expression values that a smile consists of."""
SMILING = (2.0, 6.0)
"""Hundredths of the face height by which the corners of a portrait's mouth lie above the mean face's: up to the first
that is its shape, from the second on it is a smile."""
FROWN = 3.0
"""Hundredths of the face height by which the driver's corners drop where nothing is left of the portrait's smile."""
SMILE_ROOM = 0.7
"""Where a smile on a smiling portrait begins to be bent, and half of what it may pass that by, as a share of the
range: a smile cannot be smiled twice."""

FALL = 0.25
"""How far the width of the portrait's mouth, over the driver's, counts in what lips do up and down, as a power of it.
Across it counts in full, but for the smile of a narrow mouth; a jaw falls by its own length, and cheeks draw the
corners by theirs, whatever the mouth's width. Chosen on four clips (a01, a03,
a05, a07; 0 to 1 in quarters), the best on four others as well.
"""
ROUND = (0.15, 0.4)
"""Height of the mouth's opening over its width from which, and at which fully, its corners are round."""
LEAST_PHILTRUM = 0.45
"""Least height of the skin between nose and upper lip, as a share of the portrait's."""
THINNEST_LIP = 0.5
"""Least thickness of a lip, as a share of the portrait's."""
BLINK_BROW = 0.7
"""Share of the brows' inner ends' rise that goes when the eye below is closed."""

_BROWS_INNER = tuple(INDEX[f"brow_inner_up_{side}"] for side in SIDES)
_UPPER_LIDS, _LOWER_LIDS = np.array(fm.UPPER_LIDS), np.array(fm.LOWER_LIDS)  # (2 eyes, 7)
_UPPER_LIP, _LOWER_LIP = np.array(fm.UPPER_INNER_LIP), np.array(fm.LOWER_INNER_LIP)  # (9,)
_UPPER_EDGE, _LOWER_EDGE = np.array(fm.UPPER_OUTER_LIP), np.array(fm.LOWER_OUTER_LIP)  # (9,)
_UNDER_NOSE = slice(3, 6)
_PHILTRUM = np.array((167, 164, 393))  # above those
_UPPER_LIP_ROWS = np.array((  # from the edge to the opening
    fm.UPPER_OUTER_LIP,
    (184, 74, 73, 72, 11, 302, 303, 304, 408),
    (183, 42, 41, 38, 12, 268, 271, 272, 407),
    fm.UPPER_INNER_LIP,
))  # fmt: skip
_LOWER_LIP_ROWS = np.array((
    fm.LOWER_OUTER_LIP,
    (77, 90, 180, 85, 16, 315, 404, 320, 307),
    (96, 89, 179, 86, 15, 316, 403, 319, 325),
    fm.LOWER_INNER_LIP,
))  # fmt: skip
_ROUNDED = np.array((0.35, 0.5, 0.75, 1.0))  # how far each of these rows goes along with the opening
_UPPER_LIP_SHARE = 1.0 - (np.arange(-4, 5) / 5.0) ** 2
_IRISES = np.array(fm.IRISES)  # (2 eyes, 5)


@dataclass(frozen=True, slots=True)
class PortraitGeometry:
    """The face of a portrait.

    face: (478, 3) in the face frame. pose: where it is in the portrait, pixels. values: its own motion code, as an
    encoder would read it off the picture the portrait was cropped from.
    """

    face: np.ndarray
    pose: HeadPose
    values: np.ndarray

    @classmethod
    def from_landmarks(cls, landmarks: np.ndarray, width: int, height: int) -> PortraitGeometry:
        """From landmarks (478, 3) in pixels of the portrait, which is `width` x `height`."""
        landmarks = np.asarray(landmarks, np.float64)
        pose = fit_pose(fm.load_face_model().mean, landmarks)
        face = pose.to_face(landmarks)
        return cls(face, pose, mc.code_values(face, pose, width, height))


@dataclass(frozen=True, slots=True)
class Target:
    """Where the portrait's face shall be: `face` (478, 3) in the face frame, and its pose in the portrait, pixels;
    and what its body does beside going with the head."""

    face: np.ndarray
    pose: HeadPose
    body: BodyMotion | None = None

    def vertices(self) -> np.ndarray:
        """(478, 3) in pixels of the portrait."""
        return self.pose.to_picture(self.face)


@dataclass(frozen=True, slots=True)
class _Base:
    """What depends on the portrait and the reference alone."""

    reference: np.ndarray
    absolute: bool
    face: np.ndarray
    stretch: np.ndarray  # (478, 3): how much larger the portrait's motion is than the driver's
    corners: float  # how much farther a smile draws the corners of the portrait's mouth, in its own widths
    smile: np.ndarray  # (K,): how far the portrait smiles itself, on which a driver's smile comes; 0 elsewhere
    rotation: np.ndarray  # R_ref^T R_portrait


class Retargeter:
    """Moves one portrait's face by motion codes."""

    def __init__(self, portrait: PortraitGeometry) -> None:
        self.portrait = portrait
        self._dictionary = load_dictionary()
        self._composites = composite_tables()
        open_ = max(float(portrait.values[mc.EYE_OPEN].mean()), 1e-3)
        self._widest = float(np.clip(LARGEST_EYE / open_, LEAST_WIDER, WIDEST_EYE))
        self._base: _Base | None = None
        face = portrait.face
        self._gaze = mc.gaze_of(face)
        self._irises = face[_IRISES] - mc.eye_middles(face)[:, None]  # (2, 5, 3)
        self._lids = (face[_LOWER_LIDS, 1] - face[_UPPER_LIDS, 1]).clip(1e-4)
        self._lid_means = self._lids.mean(axis=1)

    def target(self, values: np.ndarray, reference: np.ndarray | None = None) -> Target:
        """The face for the motion code `values` (LENGTH,) of a driver whose neutral code is `reference`.

        reference: None or the portrait's own code gives absolute motion.
        """
        values = np.asarray(values, np.float64)
        base = self._prepare(self.portrait.values if reference is None else reference)
        moved = values - base.reference
        composites = moved[mc.COMPOSITE]
        amounts = moved[mc.EXPRESSION].copy()
        if not base.absolute:
            _calm_brows(amounts, values[mc.EYE_OPEN] / self._open_eyes(base))
        amounts[list(SMILE)] *= np.where(amounts[list(SMILE)] > 0, base.corners, 1.0)
        amounts = self._limited(amounts + self._composites.expression(composites), base)
        face = base.face + base.stretch * self._dictionary.displacement(amounts)
        self._close_lips(face)
        if not base.absolute:
            self._round_lips(face)
            self._keep_lips(face)
        self._set_lids(face, values[mc.EYE_OPEN], base, self._composites.opening(composites))
        self._set_gaze(face, values, base)
        body = body_motion(values, base.reference, base.absolute)
        return Target(face, self._pose(values, moved, base, body), body)

    def _prepare(self, reference: np.ndarray) -> _Base:
        known = self._base
        if known is not None and np.array_equal(known.reference, reference):
            return known
        reference = np.asarray(reference, np.float64)
        portrait = self.portrait
        absolute = np.array_equal(reference, portrait.values)
        face, stretch = portrait.face, np.ones((fm.LANDMARKS, 3))
        smile, corners = np.zeros(len(portrait.values[mc.EXPRESSION])), 1.0
        if not absolute:
            smile = own_smile(portrait.values)
            ratio = _mouth_ratio(portrait.face, smile, reference)
            wider = np.array([ratio, ratio**FALL, ratio])
            corners = max(1.0, ratio ** (FALL - 1))
            stretch = 1 + (wider - 1) * _near_mouth()[:, None]
            face = self._like_reference_lips(reference, ratio)
        turn = rotation_matrix(*reference[mc.YAW : mc.ROLL + 1]).T @ portrait.pose.rotation
        self._base = _Base(reference, absolute, face, stretch, corners, smile, turn)
        return self._base

    def _like_reference_lips(self, reference: np.ndarray, ratio: float) -> np.ndarray:
        """The portrait with its lips as far apart as the driver's are in the reference.

        So the portrait's mouth is closed whenever the driver's is, even where it smiles in the picture. A
        difference that may be the tracker's error alone is left as it is.
        """
        gaps = self.portrait.values[mc.LIP_GAP].astype(np.float64)
        wanted = ratio * np.maximum(reference[mc.LIP_GAP], 0.0)
        change = wanted - gaps
        change *= smoothstep(1.0, 2.5, float(np.abs(change).max()))
        if not change.any():
            return self.portrait.face
        rows = self._dictionary.decode.reshape(-1, fm.LANDMARKS, 3)[:, :, 1]
        pairs = list(mc.LIP_PAIRS)
        gap_of = (rows[:, _LOWER_LIP[pairs]] - rows[:, _UPPER_LIP[pairs]]).T / HUNDREDTHS  # (3, K)
        spread = self._dictionary.covariance @ gap_of.T  # The likeliest way for a face to change its lips so.
        amounts = spread @ np.linalg.solve(gap_of @ spread + 1e-2 * np.eye(3), change)
        return self.portrait.face + self._dictionary.displacement(amounts)

    def _limited(self, amounts: np.ndarray, base: _Base) -> np.ndarray:
        room = EXPRESSION_ROOM * (1.5 if base.absolute else 1.0)
        knee = np.where(amounts > 0, self._dictionary.hi, -self._dictionary.lo)
        knee = np.maximum(knee * (1.2 if base.absolute else 1.0), 0.5)
        limited = soft_limit(amounts, knee, room * knee)
        if not base.smile.any():
            return limited
        more = (base.smile > 0) & (amounts > 0)
        own, knee = base.smile[more], SMILE_ROOM * knee[more]
        limited[more] = soft_limit(own + limited[more], knee, 1.5 * knee) - soft_limit(own, knee, 1.5 * knee)
        for side in SIDES:  # whose corners of the mouth drop does not smile
            dropped = smoothstep(0.0, FROWN, -float(limited[INDEX[f"corner_up_{side}"]]))
            mine = [INDEX[f"{name}_{side}"] for name in SMILE_PARTS]
            limited[mine] -= dropped * base.smile[mine]
        return limited

    @staticmethod
    def _close_lips(face: np.ndarray) -> None:
        """Lips touch, they never cross."""
        crossed = np.minimum(face[_LOWER_LIP, 1] - face[_UPPER_LIP, 1], 0.0) / 2
        face[_LOWER_LIP, 1] -= crossed
        face[_UPPER_LIP, 1] += crossed

    @staticmethod
    def _round_lips(face: np.ndarray) -> None:
        """An opening that is high for its width is round to its corners, which the tracker draws as points."""
        right, left = face[list(fm.INNER_CORNERS), 0]
        half = max((left - right) / 2, 1e-6)
        gaps = face[_LOWER_LIP, 1] - face[_UPPER_LIP, 1]
        middle = gaps[len(gaps) // 2]
        much = smoothstep(*ROUND, float(middle / (2 * half)))
        if much == 0.0:
            return
        along = ((face[_LOWER_LIP, 0] + face[_UPPER_LIP, 0]) / 2 - (left + right) / 2) / half
        round_ = much * middle * np.sqrt(np.maximum(1 - along**2, 0.0))
        more = np.maximum(round_ - gaps, 0.0) / 2
        face[_UPPER_LIP_ROWS, 1] -= _ROUNDED[:, None] * more
        face[_LOWER_LIP_ROWS, 1] += _ROUNDED[:, None] * more

    def _keep_lips(self, face: np.ndarray) -> None:
        """Lips that are drawn or pressed become thinner, their edges never cross; none rises into the nose."""
        own = self.portrait.face
        room = own[_UPPER_EDGE[_UNDER_NOSE], 1] - own[_PHILTRUM, 1]
        left = face[_UPPER_EDGE[_UNDER_NOSE], 1] - face[_PHILTRUM, 1]
        face[_UPPER_LIP_ROWS, 1] += float(np.max(LEAST_PHILTRUM * room - left, initial=0.0)) * _UPPER_LIP_SHARE
        for edge, inner, up in ((_UPPER_EDGE, _UPPER_LIP, -1.0), (_LOWER_EDGE, _LOWER_LIP, 1.0)):
            least = THINNEST_LIP * np.maximum(up * (own[edge, 1] - own[inner, 1]), 0.0)
            face[edge, 1] += up * np.maximum(least - up * (face[edge, 1] - face[inner, 1]), 0.0)

    def _set_lids(self, face: np.ndarray, opening: np.ndarray, base: _Base, factor: np.ndarray) -> None:
        """Openings in proportion to the driver's: the upper lid comes to lie above the lower one."""
        own = self.portrait.values[mc.EYE_OPEN].astype(np.float64)
        share = opening / self._open_eyes(base)
        if not base.absolute:
            share = even_lids(share)
        widest = WIDEST_EYE if base.absolute else self._widest
        wanted = lid_share(np.maximum(share * factor, 0.0), widest) * np.maximum(own, 0.0) * mc.eye_widths(face)
        gaps = np.maximum(mc.lid_gaps(face), 0.3 * self._lids * (wanted / self._lid_means)[:, None])
        gaps *= (wanted / np.maximum(gaps.mean(axis=1), 1e-6))[:, None]
        face[_UPPER_LIDS, 1] = face[_LOWER_LIDS, 1] - gaps

    def _open_eyes(self, base: _Base) -> np.ndarray:
        """(2,): the openings at which the driver's eyes are open, in eye widths."""
        if base.absolute:
            return np.maximum(self.portrait.values[mc.EYE_OPEN].astype(np.float64), 1e-3)
        return np.maximum(base.reference[mc.EYE_OPEN], LEAST_EYE_OPENING)

    def _set_gaze(self, face: np.ndarray, values: np.ndarray, base: _Base) -> None:
        """Eyes look where the driver's look. Relative gaze would make people cross-eyed; what the shape of an eye
        adds to its gaze stays the portrait's own."""
        own = self._gaze
        both = values[mc.GAZE_X : mc.GAZE_Y + 1]
        if base.absolute:
            half = values[mc.GAZE_CROSS : mc.GAZE_SKEW + 1]
            wanted = np.stack([both - half, both + half])
        else:
            usual = (own[0] + own[1]) / 2
            shift = _gaze_bias(usual) - _gaze_bias(base.reference[mc.GAZE_X : mc.GAZE_Y + 1])
            wanted = own + GAZE_GAIN * (both + shift - usual)
        wanted = USUAL_GAZE + soft_limit(wanted - USUAL_GAZE, np.array([0.28, 0.16]), np.array([0.36, 0.22]))
        middle = mc.eye_middles(face)
        iris = self._irises + middle[:, None]
        center = middle[:, :2] + wanted * mc.eye_widths(face)[:, None]
        iris[:, :, :2] += (center - iris[:, 0, :2])[:, None]
        face[_IRISES] = iris

    def _pose(self, values: np.ndarray, moved: np.ndarray, base: _Base, body: BodyMotion) -> HeadPose:
        portrait, reference = self.portrait.pose, base.reference
        rotation = rotation_matrix(*values[mc.YAW : mc.ROLL + 1]) @ base.rotation
        yaw, pitch, roll = angles(rotation)
        if abs(yaw) > YAW_LIMITS[0] or abs(pitch) > PITCH_LIMITS[0]:
            limited = rotation_matrix(
                float(soft_limit(yaw, *_limits(YAW_LIMITS, portrait.rotation, 0))),
                float(soft_limit(pitch, *_limits(PITCH_LIMITS, portrait.rotation, 1))),
                roll,
            )
            rotation = limited
        growth = float(soft_limit(moved[mc.ZOOM], *ABSOLUTE_ZOOM_LIMITS))
        shift = np.exp(growth) * values[mc.X : mc.Y + 1] - reference[mc.X : mc.Y + 1]
        if base.absolute:
            shift = soft_limit(shift, *ABSOLUTE_SHIFT_LIMITS)
        else:
            growth = float(soft_limit(growth, *ZOOM_LIMITS))
            with_body = body.shift + soft_limit(shift - body.wanted, *SHIFT_LIMITS)  # as far as the neck reaches
            shift = soft_limit(shift, *SHIFT_LIMITS)
            shift = shift + body.share * (with_body - shift)
        translation = portrait.translation.copy()
        translation[:2] += portrait.scale * shift
        return HeadPose(portrait.scale * float(np.exp(growth)), rotation, translation)


def even_lids(share: np.ndarray) -> np.ndarray:
    """The openings of both eyes (2,), as shares of the open eye, without the little by which a tracker sets them
    apart: from `WINK` on the difference is meant."""
    middle = share.mean()
    return middle + smoothstep(*WINK, abs(float(share[1] - share[0]))) * (share - middle)


def lid_share(share: np.ndarray, widest: float = WIDEST_EYE) -> np.ndarray:
    """The portrait's lid gap over its open gap, for the driver's: one to one from `PROPORTIONAL_LIDS` to 1, closed at
    `CLOSED_LIDS`, bent towards `widest` above."""
    closing = (share - CLOSED_LIDS) * (PROPORTIONAL_LIDS / (PROPORTIONAL_LIDS - CLOSED_LIDS))
    share = np.where(share < PROPORTIONAL_LIDS, np.maximum(closing, 0.0), share)
    return np.where(share > 1, 1 + soft_limit(share - 1, (widest - 1) / 2, widest - 1), share)


def _limits(limits: tuple[float, float], rotation: np.ndarray, which: int) -> tuple[float, float]:
    """Limits of an angle, widened where the portrait itself is turned farther."""
    own = abs(angles(rotation)[which])
    return max(limits[0], own), max(limits[1], own + 5)


def _gaze_bias(gaze: np.ndarray) -> np.ndarray:
    """How much of a face's gaze (x, y) the shape of its eyes explains."""
    return np.clip(gaze - USUAL_GAZE, -GAZE_TOLERANCE, GAZE_TOLERANCE)


def _calm_brows(amounts: np.ndarray, opening: np.ndarray) -> None:
    """Take back what closing eyes do to the brows' inner ends in the expression values (K,): a tracker raises them
    with every blink and laugh, which looks frightened. opening: (2,), share of the open eye."""
    for name, share in zip(_BROWS_INNER, opening, strict=True):
        amounts[name] -= BLINK_BROW * smoothstep(0.2, 0.8, 1.0 - float(share)) * max(0.0, float(amounts[name]))


def own_smile(values: np.ndarray) -> np.ndarray:
    """How far a portrait with the code `values` smiles: expression values (K,) beyond what is the shape of a face, of
    the measurements in `SMILE`; 0 elsewhere."""
    own = np.asarray(values[mc.EXPRESSION], np.float64)
    raised = own[[INDEX["corner_up_right"], INDEX["corner_up_left"]]].mean()
    smile = np.zeros_like(own)
    smile[list(SMILE)] = smoothstep(*SMILING, raised) * np.maximum(own[list(SMILE)] - SMILING[0], 0.0)
    return smile


def _mouth_ratio(portrait: np.ndarray, smile: np.ndarray, reference: np.ndarray) -> float:
    """Width of the portrait's mouth, less what its `smile` (K,) widens it by, over the driver's, decoded from his
    reference code."""
    driver = fm.load_face_model().mean + load_dictionary().displacement(reference[mc.EXPRESSION])
    right, left = fm.MOUTH_CORNERS
    wider = HUNDREDTHS * (smile[INDEX["corner_out_right"]] + smile[INDEX["corner_out_left"]])
    width = np.linalg.norm(portrait[right] - portrait[left]) - wider
    return float(np.clip(width / np.linalg.norm(driver[right] - driver[left]), 0.7, 1.4))


@lru_cache(maxsize=1)
def _near_mouth() -> np.ndarray:
    """(478,): 1 at the lips, falling off around them."""
    mean = fm.load_face_model().mean
    lips = mean[list(fm.LIPS_OUTER + fm.LIPS_INNER)]
    distance = np.linalg.norm(mean[:, None, :2] - lips[None, :, :2], axis=-1).min(axis=1)
    return np.exp(-((distance / 0.1) ** 2))

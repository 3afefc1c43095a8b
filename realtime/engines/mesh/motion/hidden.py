"""A mouth that something hides: a hand, a cup, a card.

FaceMesh goes on reporting a mouth there, which slides with what is in the way. Colours tell: skin around the mouth
keeps its own beside that of the cheeks and the forehead, whatever the face does and however bright the light is.
While they are others' the mouth stays as it was, and eases towards how this driver usually holds it.
"""

from __future__ import annotations

import numpy as np

from realtime.engines.mesh.motion.code import EXPRESSION, LIP_GAP
from realtime.engines.mesh.motion.dictionary import MEASUREMENTS
from realtime.face.face_model import CHIN, FOREHEAD, load_face_model
from realtime.motion.filters import smoothstep

AROUND_MOUTH = np.array((
    152, 148, 377, 175, 171, 396, 199, 200, 18, 83, 313, 201, 421, 182, 406, 194, 418, 57, 287, 212, 432, 202, 422,
    43, 273, 167, 164, 393, 165, 391,
))  # fmt: skip
"""Landmarks of the skin from below the nose to the chin."""
ABOVE = np.array((151, 9, 108, 337, 8, 168, 6, 197, 195, 50, 280, 117, 346, 69, 299))
"""Landmarks of the forehead, the bridge of the nose and the cheeks."""
PATCH = 0.02
"""Half the side of the patch whose colour a landmark has, in face heights."""
DARKER = 12.0
"""Added to colours (0..255) before logarithms are taken: in the dark small differences say little."""
LEAST, USUALLY = 0.2, 4.0
"""A mouth begins to be hidden where the colours are off by this (logarithm; 0.2 is a fifth), or by so many times what
they are off anyway on this driver. On ten clips of talking faces they never were off by more than 0.17."""
SURELY = 1.8
"""By so many times that it is hidden for certain."""
TURNED = 15.0
"""Degrees of yaw from which the far side of the face is not looked at."""
KNOWN, SLOWLY = 12.0, 40.0
"""Frames until the colours are known, and over which they are learnt then."""
LONGEST = 8.0
"""Seconds after which what hides the mouth is taken to be how the driver looks now: a mask, another light."""
UNCOVER = 0.2
"""Seconds (e-fold) in which a mouth that is seen again is followed again; one that is hidden is held at once."""
BACK = 0.7
"""Seconds (e-fold) in which a mouth that is held goes back to how it usually is."""
USUAL = 4.0
"""Seconds (e-fold) over which that is learnt."""

_MOUTH = np.concatenate([
    np.arange(LIP_GAP.start, LIP_GAP.stop),
    EXPRESSION.start + np.flatnonzero([m.group in ("mouth", "cheeks") for m in MEASUREMENTS]),
])  # fmt: skip


class LowerFace:
    """How far the skin around the mouth looks as it did."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget how the driver looks."""
        self._colours: np.ndarray | None = None
        self._seen = 0.0
        self._usually = 0.0

    def hidden(self, image: np.ndarray, landmarks: np.ndarray, yaw: float) -> float:
        """How surely something hides the mouth, 0 to 1. image: uint8 (H, W, 3). landmarks: (478, 3), pixels of it.
        yaw: degrees."""
        tall = float(np.linalg.norm(landmarks[FOREHEAD] - landmarks[CHIN]))
        above = np.median(_colours(image, landmarks[ABOVE], tall), axis=0)
        colours = _colours(image, landmarks[AROUND_MOUTH], tall) - above
        if self._colours is None:
            self._colours = colours
        side = load_face_model().mean[AROUND_MOUTH, 0] * np.sign(yaw)
        near = (side < 0.05) | (abs(yaw) < TURNED)
        off = float(np.median(np.abs(colours - self._colours).max(axis=1)[near]))
        limit = max(LEAST, USUALLY * self._usually)
        hidden = float(smoothstep(limit, SURELY * limit, off)) if self._seen >= KNOWN else 0.0
        if hidden < 0.2:
            self._seen = min(self._seen + 1.0, SLOWLY)
            self._colours = self._colours + (colours - self._colours) / self._seen
            self._usually += (off - self._usually) / self._seen
        return hidden


class HeldMouth:
    """The mouth in motion codes while it is hidden. Pure: times are passed in, in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the driver."""
        self._shown: np.ndarray | None = None
        self._usual: np.ndarray | None = None
        self._share = 0.0
        self._hidden_for = 0.0
        self._time = 0.0

    def update(self, values: np.ndarray, hidden: float, now: float) -> bool:
        """Put the mouth that is to be shown into `values` (LENGTH,), whose own is believed as far as it is not
        `hidden` (0 to 1). Whether that has gone on for too long to be true."""
        mouth = values[_MOUTH].astype(np.float64)
        if self._shown is None or self._usual is None:
            self._shown, self._usual, self._time = mouth, mouth.copy(), now
            return False
        step = min(max(now - self._time, 0.0), 0.5)
        self._time = now
        self._share = max(hidden, hidden + (self._share - hidden) * float(np.exp(-step / UNCOVER)))
        held = self._shown + (self._usual - self._shown) * (1.0 - np.exp(-step / BACK))
        self._shown = mouth + self._share * (held - mouth)
        if self._share > 1e-3:
            values[_MOUTH] = self._shown
        self._usual += (1.0 - self._share) * (1.0 - np.exp(-step / USUAL)) * (mouth - self._usual)
        self._hidden_for = self._hidden_for + step if hidden > 0.5 else 0.0
        return self._hidden_for > LONGEST


def _colours(image: np.ndarray, points: np.ndarray, tall: float) -> np.ndarray:
    """Logarithms of the colours (k, 3) around points (k, 2 or more) on a face `tall` pixels high."""
    reach = PATCH * tall
    offsets = np.array([(x, y) for y in (-reach, 0.0, reach) for x in (-reach, 0.0, reach)])
    at = (points[:, None, :2] + offsets + 0.5).astype(np.int64)
    x = at[..., 0].clip(0, image.shape[1] - 1)
    y = at[..., 1].clip(0, image.shape[0] - 1)
    return np.log(image[y, x].mean(axis=1) + DARKER)

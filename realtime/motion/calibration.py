"""Finding the driver's neutral code, the reference, without asking him to hold a pose.

From the first frame on there is a reference. While the calibration runs it eases towards a mean of the frames seen so
far, weighted by how still and how neutral each is; then it stays. Works on any engine's codes; where the engine's
directions carry the mesh engine's names, "neutral" knows more: the head straight, the mouth closed, the eyes open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.motion.filters import smoothing
from realtime.types import Direction, MotionCode

PERIOD = 3.0
"""Seconds of seen face after which the neutral code is settled, where it was calm enough."""
LONGEST = 10.0
"""Seconds after which it is settled whatever was seen."""
EASE_CUTOFF = 0.8
"""Hz: how fast the reference eases towards what is now believed, so that the portrait never jumps."""
CALM = 0.5
"""Score of a frame, see `Calibration._scores`, below which it is calm enough to settle on."""
SELECTIVE = 0.08
"""Scores this much above the best one count 1/e in the mean."""

_STRAIGHT = {"yaw": 20.0, "pitch": 25.0, "roll": 25.0}
"""Directions whose neutral is 0, and how far off is as bad as 1."""
_LOW = {"jaw_open": 0.35, "lower_lip_down": 0.25, "corner_out_right": 0.6, "corner_out_left": 0.6}
"""Directions that neutral has low within what was seen, and how much of the range above that is as bad as 1."""
_HIGH = {"eye_open_right": 0.25, "eye_open_left": 0.25}
"""Directions that neutral has high within what was seen, likewise."""


class Calibration:
    """Watches the driver's codes and says which one is neutral. Pure: time is passed in, in seconds."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._index = np.array([d.index for d in directions], int)
        self._range = np.array([max(d.hi - d.lo, 1e-6) for d in directions])
        self._named = {d.name: (d.index, max(d.hi - d.lo, 1e-6)) for d in directions}
        self._reference: MotionCode | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again with the next codes. The reference held so far stays until they are better known."""
        self._seen: list[np.ndarray] = []
        self._speeds: list[float] = []
        self._elapsed = 0.0
        self._last = 0.0
        self._settled = False
        self._first = True
        self._heading: np.ndarray | None = None

    def reset(self) -> None:
        """Forget the driver altogether: the next code is the reference until more is seen."""
        self._reference = None
        self.restart()

    @property
    def reference(self) -> MotionCode | None:
        """The driver's neutral code as now believed; None before the first code."""
        return self._reference

    @property
    def settled(self) -> bool:
        """Whether the reference has come to rest."""
        return self._settled

    @property
    def progress(self) -> float:
        """How far the calibration has come, 0 to 1."""
        return 1.0 if self._settled else min(0.99, self._elapsed / PERIOD)

    def update(self, code: MotionCode, now: float) -> MotionCode:
        """Take in a code of the driver seen at `now`; the reference to use with it."""
        if self._reference is None or self._reference.kind != code.kind:
            self._reference = code
        if self._settled:
            return self._reference
        step = 0.0 if self._first else min(max(now - self._last, 0.0), 0.2)
        if self._first or step > 0:
            self._note(code.values.astype(np.float64), step)
            self._ease(step)
        self._first, self._last = False, now
        return self._reference

    def _note(self, values: np.ndarray, step: float) -> None:
        self._elapsed += step
        moved = 0.0
        if self._seen and step > 0:
            change = (values - self._seen[-1])[self._index] / self._range
            moved = float(np.sqrt(np.mean(change**2))) / step
        self._seen.append(values)
        self._speeds.append(moved)
        if len(self._speeds) == 2:  # The first frame's speed is not known: it is taken for the second's.
            self._speeds[0] = moved

    def _ease(self, step: float) -> None:
        assert self._reference is not None
        seen = np.array(self._seen)
        scores = self._scores(seen)
        weights = np.exp(-(scores - scores.min()) / SELECTIVE)
        wanted = weights @ seen / weights.sum()
        held = self._reference.values.astype(np.float64)
        if self._heading is None:
            self._heading = held
        share = smoothing(EASE_CUTOFF, step)  # Twice a first-order filter: it also sets out and arrives softly.
        self._heading = self._heading + share * (wanted - self._heading)
        eased = held + share * (self._heading - held)
        if share > 0:
            self._reference = self._reference.with_values(eased)
        near = np.abs((wanted - eased)[self._index] / self._range).max(initial=0.0) < 0.01
        calm = float(np.sort(scores)[: max(1, len(scores) // 4)].mean()) < CALM
        self._settled = self._elapsed >= LONGEST or (self._elapsed >= PERIOD and calm and near)
        if len(self._seen) > 900:  # A very fast camera: every other frame says as much.
            self._seen, self._speeds = self._seen[::2], self._speeds[::2]

    def _scores(self, seen: np.ndarray) -> np.ndarray:
        """How far from still and neutral each frame is: about 0 for a calm face, above 1 for a moving one."""
        speeds = np.array(self._speeds)
        scores = 0.5 * np.minimum(speeds / 0.6, 3.0)
        middle = np.median(seen, axis=0)
        unusual = (seen - middle)[:, self._index] / self._range
        scores = scores + 1.5 * np.sqrt(np.mean(unusual**2, axis=1))
        for name, bad in _STRAIGHT.items():
            if name in self._named:
                scores = scores + 0.5 * np.abs(seen[:, self._named[name][0]]) / bad
        for names, sign in ((_LOW, 1.0), (_HIGH, -1.0)):
            for name, bad in names.items():
                if name in self._named:
                    index, room = self._named[name]
                    column = sign * seen[:, index]
                    scores = scores + 0.5 * np.maximum(column - np.percentile(column, 15), 0) / (bad * room)
        return scores

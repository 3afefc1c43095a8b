"""Finding the driver's neutral code, the reference, without asking him to hold a pose.

From the first frame on there is a reference. While the calibration runs it eases towards a mean of the frames seen so
far, weighted by how still and how neutral each is; then it stays. Works on any engine's codes; where their vocabulary
says what a neutral face is (the head straight, the mouth closed, the eyes open), that counts as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.motion.filters import smoothing
from realtime.motion.vocabulary import vocabulary_of
from realtime.types import Direction, MotionCode

PERIOD = 3.0
"""Seconds of seen face after which the neutral code is settled, where it was calm enough."""
LONGEST = 10.0
"""Seconds after which it is settled whatever was seen."""
EASE_CUTOFF = 0.8
"""Hz: how fast the reference eases towards what is now believed, so that the portrait never jumps."""
CALM, CALM_SECONDS = 0.4, 0.6
"""Restlessness, see `Calibration._restlessness`, below which a frame is calm, and how much of that is enough."""
NEARLY_NEUTRAL = 0.6
"""Distance from neutral, see `Calibration._expression`, below which a calm frame can be settled on."""
LOOK_AGAIN = 0.15
"""Seconds between two looks at all that was seen."""
MOST_KEPT = 200
"""Codes kept; beyond, every other one is dropped, for it says as much."""
SELECTIVE = 0.08
"""Scores this much above the best one count 1/e in the mean."""


class Calibration:
    """Watches the driver's codes and says which one is neutral. Pure: time is passed in, in seconds."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._index = np.array([d.index for d in directions], int)
        self._range = np.array([max(d.hi - d.lo, 1e-6) for d in directions])
        self._named = {d.name: d.index for d in directions}
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
        self._wanted: np.ndarray | None = None
        self._looked = 0.0
        self._calm = 0.0
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

    def settle(self, observed: Sequence[tuple[MotionCode, float]]) -> None:
        """No more is to be seen: look at what was `observed` (codes with their times) again, until at rest."""
        if not observed or self._settled:
            return
        now = observed[-1][1]
        step = min(0.1, max(0.02, (now - observed[0][1]) / len(observed)))
        for _ in range(round(LONGEST / step / len(observed)) + 1):
            for code, _time in observed:
                now += step
                self.update(code, now)

    def _note(self, values: np.ndarray, step: float) -> None:
        self._elapsed += step
        moved = 0.0
        if self._seen and step > 0:
            moved = float(self._distance(values - self._seen[-1])) / step
        self._seen.append(values)
        self._speeds.append(moved)
        if len(self._speeds) == 2:  # The first frame's speed is not known: it is taken for the second's.
            self._speeds[0] = moved

    def _ease(self, step: float) -> None:
        assert self._reference is not None
        if self._wanted is None or self._elapsed - self._looked >= LOOK_AGAIN:
            self._look()
        assert self._wanted is not None
        held = self._reference.values.astype(np.float64)
        if self._heading is None:
            self._heading = held
        share = smoothing(EASE_CUTOFF, step)  # Twice a first-order filter: it also sets out and arrives softly.
        self._heading = self._heading + share * (self._wanted - self._heading)
        eased = held + share * (self._heading - held)
        if share > 0:
            self._reference = self._reference.with_values(eased)
        near = np.abs((self._wanted - eased)[self._index] / self._range).max(initial=0.0) < 0.03
        calm = self._calm >= CALM_SECONDS
        self._settled = self._elapsed >= LONGEST or (self._elapsed >= PERIOD and calm and bool(near))

    def _look(self) -> None:
        """Weigh all that was seen."""
        self._looked = self._elapsed
        if len(self._seen) > MOST_KEPT:
            self._seen, self._speeds = self._seen[::2], self._speeds[::2]
        seen = np.array(self._seen)
        restless = self._restlessness(seen)
        expression = self._expression(seen)
        scores = restless + expression
        weights = np.exp(-(scores - scores.min()) / SELECTIVE)
        self._wanted = weights @ seen / weights.sum()
        self._calm = float(((restless < CALM) & (expression < NEARLY_NEUTRAL)).mean()) * self._elapsed

    def _restlessness(self, seen: np.ndarray) -> np.ndarray:
        """How far from still and usual each code is: about 0.2 for a calm face, above 1 for a moving one."""
        unusual = self._distance(seen - np.median(seen, axis=0))
        return 0.5 * np.minimum(np.array(self._speeds) / 0.6, 3.0) + 1.5 * unusual

    def _distance(self, change: np.ndarray) -> np.ndarray:
        """Size of a change (..., K) as a share of the directions' ranges: (...,); 0 where there are no directions."""
        shares = change[..., self._index] / self._range
        return np.sqrt((shares**2).sum(axis=-1) / max(1, len(self._index)))

    def _expression(self, seen: np.ndarray) -> np.ndarray:
        """How far from neutral each code is as a face; 0 where the codes' vocabulary does not say."""
        scores = np.zeros(len(seen))
        if self._reference is None:
            return scores
        known = vocabulary_of(self._reference.kind)
        for name, bad in known.neutral.straight.items():
            if name in self._named:
                scores += 0.5 * np.abs(seen[:, self._named[name]]) / bad
        names, bad = known.neutral.open
        if names and all(name in self._named for name in names):
            opening = seen[:, [self._named[name] for name in names]].mean(axis=1)
            scores += 0.5 * np.maximum(np.percentile(opening, 90) - opening, 0.0) / bad
        entries, bad = known.neutral.shut
        if entries and seen.shape[1] == known.length:
            scores += 0.5 * np.maximum(seen[:, entries].mean(axis=1), 0.0) / bad
        return scores

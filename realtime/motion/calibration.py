"""Finding the driver's neutral code, the reference, without asking him to hold a pose.

From the first frame on there is a reference. While the calibration runs it eases towards a mean of the frames seen so
far, weighted by how still and how neutral each is; then it stays. Works on any engine's codes; where their vocabulary
says what a neutral face is (the head straight, the mouth closed, the eyes open), that counts as well.

Who begins with a smile has no neutral face to show yet. An expression that is clearly worn (`Worn`) is taken out of
the reference, towards what people look like at rest; and what is seen later, when the face comes to rest, slowly
corrects eyes, brows and mouth, not the head. A driver who was asked to look ahead is believed instead, as he looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.motion.filters import smoothing
from realtime.motion.vocabulary import Neutral, vocabulary_of
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
WORN = 0.4
"""What the full expression that is worn adds to a score."""
LATER_CUTOFF = 0.04
"""Hz: how fast what is seen later corrects the reference."""
LATER_EVERY, LATER_SELDOM, LATER_LOOK = 0.25, 4.0, 2.0
"""Seconds between two codes that are kept then, at first and at most; and between two looks at them."""
LATER_FROM, LATER_LEAST = 12.0, 24
"""Seconds of seen face, and codes of a straight head, before anything is corrected."""
OPEN_AT_FIRST, OPEN_LATER = 90, 60
"""The percentile of all openings that the neutral eye has: in a few seconds there may be many blinks."""
LESS_WORN = 0.12
"""So much less of an expression a later mouth must wear than the reference's to take its place."""


class Calibration:
    """Watches the driver's codes and says which one is neutral. Pure: time is passed in, in seconds."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        judged = [d for d in directions if d.group != "body"]  # a trunk that sways says nothing of the face
        self._index = np.array([d.index for d in judged], int)
        self._range = np.array([max(d.hi - d.lo, 1e-6) for d in judged])
        self._named = {d.name: d.index for d in directions}
        self._reference: MotionCode | None = None
        self.restart()

    def restart(self, told: bool = False) -> None:
        """Begin again with the next codes. The reference held so far stays until they are better known.

        told: the driver was asked to show his neutral face, so that what he shows is it."""
        self._told = told
        self._seen: list[np.ndarray] = []
        self._speeds: list[float] = []
        self._before: np.ndarray | None = None
        self._elapsed = 0.0
        self._last = 0.0
        self._settled = False
        self._first = True
        self._wanted: np.ndarray | None = None
        self._looked = 0.0
        self._calm = 0.0
        self._heading: np.ndarray | None = None
        self._worn = 0.0  # what the face wore on which it settled
        self._every = LATER_EVERY
        self._kept = 0.0

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
            self._reference = self._without_expression(code)
        if self._settled and (self._told or not self._neutral.worn):
            return self._reference
        step = 0.0 if self._first else min(max(now - self._last, 0.0), 0.2)
        if self._first or step > 0:
            values = code.values.astype(np.float64)
            if self._settled:
                self._watch(values, step)
            else:
                self._note(values, step)
                self._ease(step)
            self._before = values
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
                if not self._settled:
                    now += step
                    self.update(code, now)

    def _note(self, values: np.ndarray, step: float) -> None:
        self._elapsed += step
        self._seen.append(values)
        self._speeds.append(self._speed(values, step))
        if len(self._speeds) == 2:  # The first frame's speed is not known: it is taken for the second's.
            self._speeds[0] = self._speeds[1]

    def _speed(self, values: np.ndarray, step: float) -> float:
        return float(self._distance(values - self._before)) / step if self._before is not None and step > 0 else 0.0

    def _ease(self, step: float) -> None:
        assert self._reference is not None
        if self._wanted is None or self._elapsed - self._looked >= LOOK_AGAIN:
            self._look()
        assert self._wanted is not None
        eased = self._approach(self._wanted, EASE_CUTOFF, step)
        near = np.abs((self._wanted - eased)[self._index] / self._range).max(initial=0.0) < 0.03
        calm = self._calm >= CALM_SECONDS
        self._settled = self._elapsed >= LONGEST or (self._elapsed >= PERIOD and calm and bool(near))
        if self._settled:
            self._begin_later()

    def _approach(self, wanted: np.ndarray, cutoff: float, step: float) -> np.ndarray:
        """Move the reference towards what is wanted; its values now."""
        assert self._reference is not None
        held = self._reference.values.astype(np.float64)
        if self._heading is None:
            self._heading = held
        share = smoothing(cutoff, step)  # Twice a first-order filter: it also sets out and arrives softly.
        self._heading = self._heading + share * (wanted - self._heading)
        eased = held + share * (self._heading - held)
        if share > 0:
            self._reference = self._reference.with_values(eased)
        return eased

    # After it has settled

    def _begin_later(self) -> None:
        """From now on codes are kept more seldom; of those that were, as many as so seldom."""
        thin = max(1, round(LATER_EVERY * len(self._seen) / max(self._elapsed, LATER_EVERY)))
        self._seen, self._speeds = self._seen[::thin], self._speeds[::thin]
        self._wanted = self._heading = None
        self._kept = self._looked = self._elapsed

    def _watch(self, values: np.ndarray, step: float) -> None:
        """A later code: keep it now and then, and correct the reference slowly."""
        self._elapsed += step
        if self._elapsed - self._kept >= self._every:
            self._kept = self._elapsed
            self._seen.append(values)
            self._speeds.append(self._speed(values, step))
            if len(self._seen) > MOST_KEPT:
                self._seen, self._speeds = self._seen[::2], self._speeds[::2]
                self._every = min(2 * self._every, LATER_SELDOM)
        if self._elapsed >= LATER_FROM and self._elapsed - self._looked >= LATER_LOOK:
            self._looked = self._elapsed
            self._look_later()
        if self._wanted is not None:
            self._approach(self._wanted, LATER_CUTOFF, step)

    def _look_later(self) -> None:
        """Eyes and brows are neutral most of the time; a mouth that wore an expression gives way to one that does
        not."""
        assert self._reference is not None
        seen, held = np.array(self._seen), self._reference.values.astype(np.float64)
        wanted = held.copy() if self._wanted is None else self._wanted.copy()
        straight = self._like_head_of(held, seen) & self._awake(seen)
        if straight.sum() >= LATER_LEAST:
            for entry, own in self._neutral.restful.items():
                off = float(np.median(seen[straight, entry])) - wanted[entry]
                wanted[entry] += np.sign(off) * max(abs(off) - own, 0.0)
        weights = self._weights(self._restlessness(seen) + self._expression(seen))
        best = weights @ seen
        if self._worn - self._excess(best) >= LESS_WORN:
            entries = list(self._neutral.mobile)
            wanted[entries] = best[entries]
        if not np.array_equal(wanted, held):
            self._wanted = wanted

    def _like_head_of(self, held: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Which codes hold the head about as the reference does: eyes and brows look otherwise from elsewhere."""
        like = np.ones(len(seen), bool)
        for name, bad in self._neutral.straight.items():
            if name in self._named:
                like &= np.abs(seen[:, self._named[name]] - held[self._named[name]]) < bad / 2
        return like

    def _awake(self, seen: np.ndarray) -> np.ndarray:
        """Which codes are of open eyes."""
        names, _bad = self._neutral.open
        if not names or any(name not in self._named for name in names):
            return np.ones(len(seen), bool)
        opening = seen[:, [self._named[name] for name in names]].mean(axis=1)
        return opening > np.percentile(opening, 90) / 2

    # What was seen

    @property
    def _neutral(self) -> Neutral:
        """What the vocabulary of the reference says of neutral faces."""
        return _neutral_of(self._reference) if self._reference is not None else Neutral()

    def _without_expression(self, code: MotionCode) -> MotionCode:
        """The code without what it clearly wears; itself where that is nothing."""
        worn = _neutral_of(code).worn
        if self._told or not worn:
            return code
        values = before = code.values.astype(np.float64)
        for expression in worn:
            values = expression.without(values)
        return code if values is before else code.with_values(values)

    def _excess(self, values: np.ndarray) -> np.ndarray:
        """How much codes (..., length) wear of all expressions, beyond what may be the person's own: (...,)."""
        total = np.zeros(values.shape[:-1])
        for expression in self._neutral.worn:
            total = total + expression.excess(values)
        return total

    def _look(self) -> None:
        """Weigh all that was seen."""
        self._looked = self._elapsed
        if len(self._seen) > MOST_KEPT:
            self._seen, self._speeds = self._seen[::2], self._speeds[::2]
        seen = np.array(self._seen)
        restless = self._restlessness(seen)
        expression = self._expression(seen)
        believed = self._weights(restless + expression) @ seen
        self._wanted = believed
        if not self._told:
            self._worn = float(self._excess(believed))
            for worn in self._neutral.worn:
                self._wanted = worn.without(self._wanted)
        self._calm = float(((restless < CALM) & (expression < NEARLY_NEUTRAL)).mean()) * self._elapsed

    @staticmethod
    def _weights(scores: np.ndarray) -> np.ndarray:
        """What each code counts in the mean, by its score: (N,), together 1."""
        weights = np.exp(-(scores - scores.min()) / SELECTIVE)
        return np.asarray(weights / weights.sum())

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
        neutral = self._neutral
        if not self._told:
            scores += WORN * self._excess(seen)
        for name, bad in neutral.straight.items():
            if name in self._named:
                scores += 0.5 * np.abs(seen[:, self._named[name]]) / bad
        names, bad = neutral.open
        if names and all(name in self._named for name in names):
            opening = seen[:, [self._named[name] for name in names]].mean(axis=1)
            usual = np.percentile(opening, OPEN_LATER if self._settled else OPEN_AT_FIRST)
            scores += 0.5 * np.maximum(usual - opening, 0.0) / bad
        entries, bad = neutral.shut
        if entries:
            scores += 0.5 * np.maximum(seen[:, entries].mean(axis=1), 0.0) / bad
        return scores


def _neutral_of(code: MotionCode) -> Neutral:
    """What its vocabulary says of neutral faces; nothing where the code is none of that vocabulary."""
    known = vocabulary_of(code.kind)
    return known.neutral if known.length == code.values.size else Neutral()

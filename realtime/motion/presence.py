"""What the avatar does while there is no face: hold, ease to neutral, then idle gently; never the camera's picture.

What counts is how far a code is from neutral, so nothing jumps when the neutral code itself becomes better known.
Lost: the last code is held for `HOLD` seconds (a hand passing by), then eases to neutral; after `GONE` seconds in all
it is there and the avatar idles: it blinks and breathes. Found again: what is shown eases into what the face does.
Pure: time is passed in. Works on any engine's codes; idle motion is what their vocabulary says it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from realtime.motion.curves import BLINK_SECONDS, blink, breath, minimum_jerk
from realtime.motion.vocabulary import Idle, vocabulary_of
from realtime.types import Direction, MotionCode

HOLD = 0.3
GONE = 1.0
RETURN = 0.45
"""Seconds over which the avatar eases back to the driver."""
WAKE = 1.5
"""Seconds over which idle motion swells."""
BLINK_PAUSE = (2.2, 5.5)
"""Least and longest time between idle blinks, seconds."""


class Presence:
    """Decides which code is shown. One per driver; used by one thread."""

    def __init__(self, directions: Sequence[Direction], seed: int = 0) -> None:
        self._named = {d.name: d.index for d in directions}
        self._chance = random.Random(seed)
        self.reset()

    def reset(self) -> None:
        """As before the first face."""
        self._state = "unknown"
        self._shown: np.ndarray | None = None  # From neutral, as are the next two.
        self._held: np.ndarray | None = None
        self._lost_at: float | None = None
        self._found_at: float | None = None
        self._offset: np.ndarray | None = None
        self._idle_since: float | None = None
        self._next_blink = 0.0

    @property
    def state(self) -> str:
        """ "unknown" before the first face, "tracked", "held" (just lost), "leaving" (easing to neutral), "idle",
        or "returning" (found again, easing back)."""
        return self._state

    def update(self, code: MotionCode | None, neutral: MotionCode, now: float) -> MotionCode:
        """The code to show at `now` (seconds). code: the driver's, None where no face is seen. neutral: what the
        avatar rests in, the code that stands for the reference."""
        if code is None:
            return self._without_face(neutral, now)
        if self._state not in ("tracked", "returning"):
            self._begin_return(code, neutral, now)
        self._lost_at = self._idle_since = None
        values = code.values.astype(np.float64)
        if self._offset is not None and self._found_at is not None:
            left = 1.0 - minimum_jerk((now - self._found_at) / RETURN)
            values = values + left * self._offset
            if left <= 0:
                self._offset = None
        self._state = "tracked" if self._offset is None else "returning"
        self._shown = values - neutral.values
        return code.with_values(values)

    def _begin_return(self, code: MotionCode, neutral: MotionCode, now: float) -> None:
        self._found_at = now
        if self._shown is None or self._shown.shape != code.values.shape:
            self._offset = None
        else:
            self._offset = self._shown - (code.values.astype(np.float64) - neutral.values)

    def _without_face(self, neutral: MotionCode, now: float) -> MotionCode:
        if self._lost_at is None:
            self._lost_at = now
            self._held = self._shown
        gone = now - self._lost_at
        length = len(neutral.values)
        if self._held is None or len(self._held) != length:
            self._state = "idle" if self._idle_since is not None else "unknown"
            away = self._idle(now, neutral)
        elif gone < HOLD:
            away, self._state = self._held, "held"
        else:
            left = 1.0 - minimum_jerk((gone - HOLD) / (GONE - HOLD))
            away, self._state = left * self._held, "leaving"
            if left <= 0:
                away, self._state = self._idle(now, neutral), "idle"
        self._shown = away
        return neutral.with_values(neutral.values.astype(np.float64) + away)

    def _idle(self, now: float, neutral: MotionCode) -> np.ndarray:
        """What idling adds to the neutral code."""
        idle: Idle = vocabulary_of(neutral.kind).idle
        if self._idle_since is None:
            self._idle_since = now
            self._next_blink = now + 0.6
        wake = minimum_jerk((now - self._idle_since) / WAKE)
        since = now - self._idle_since
        added = np.zeros(len(neutral.values))
        for name, amount in idle.breath.items():
            if name in self._named:
                added[self._named[name]] += wake * amount * breath(since)
        for name, (amount, period) in idle.sway.items():
            if name in self._named:
                added[self._named[name]] += wake * amount * float(np.sin(2 * np.pi * since / period))
        if idle.blink in self._named:
            if now > self._next_blink + BLINK_SECONDS:
                self._next_blink = now + self._chance.uniform(*BLINK_PAUSE)
            if now >= self._next_blink:
                added[self._named[idle.blink]] += blink(now - self._next_blink)
        return added

"""From sound to motion codes: one face that speaks with what is fed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from realtime.errors import BadValue
from realtime.families import FAMILIES
from realtime.motion.vocabulary import vocabulary_of
from realtime.types import Direction, MotionCode
from realtime.voice.alive import Alive, Life
from realtime.voice.hearing import RATE
from realtime.voice.lips import DELAY, MOUTH, Lips

KEPT = 60.0
"""Seconds of mouths that are kept for being asked for; older ones go."""


class Speaker:
    """Gives the code of any moment that sound was fed in for. kind, directions: of the engine's codes. Raises
    BadValue where nobody knows what these codes say of lips.

    Moments are asked for in their order.
    """

    def __init__(self, kind: str, directions: Sequence[Direction], seed: int = 0) -> None:
        known = vocabulary_of(kind)
        if known.speech is None:
            able = [name for name in FAMILIES if vocabulary_of(name).speech is not None]
            raise BadValue(
                "engine", kind, f"nobody knows which of its codes move lips, so sound cannot drive it; {able[0]} can"
            )
        self._speech, self._words = known.speech, known
        self._named = {d.name: d.index for d in directions}
        self._lips, self._alive = Lips(), Alive(seed)
        self._moments: deque[tuple[float, np.ndarray, float]] = deque()
        self._last: tuple[float, np.ndarray, float] = (-1.0, np.zeros(len(MOUTH)), -60.0)
        self.kind = kind
        self.reference = MotionCode(kind, self._speech.rest.astype(np.float32))
        """The neutral code that goes with all others."""
        self.heard = 0.0
        """Seconds of sound that were fed in."""

    @property
    def known(self) -> float:
        """Up to which moment mouths are known, seconds of the sound: `DELAY` before the end of what was heard."""
        return max(0.0, self.heard - DELAY)

    def feed(self, samples: np.ndarray) -> None:
        """More sound: float32 (N,) from -1 to 1, `hearing.RATE` a second."""
        self.heard += len(samples) / RATE
        mouths = self._lips.feed(samples)
        for n, (shape, loud) in enumerate(zip(mouths.shapes, mouths.loud, strict=True), mouths.first):
            self._moments.append((Lips.moment(n), shape, float(loud)))
        while self._moments and self._moments[-1][0] - self._moments[0][0] > KEPT:
            self._moments.popleft()

    def code(self, at: float, captured: float = 0.0, index: int = 0) -> MotionCode:
        """The code of the moment `at`, seconds of the sound; the last mouth known where that is later."""
        while self._moments and self._moments[0][0] <= at + 1e-9:
            self._last = self._moments.popleft()
        before, mouth, loud = self._last
        if self._moments and before >= 0:
            after, then, _ = self._moments[0]
            mouth = mouth + (then - mouth) * min(1.0, (at - before) / max(after - before, 1e-6))
        values = self._speech.rest + self._speech.values(mouth)
        self._enliven(values, self._alive.at(at, loud))
        return MotionCode(self.kind, values.astype(np.float32), captured, at, index)

    def _enliven(self, values: np.ndarray, life: Life) -> None:
        gaze, idle = self._words.gaze, self._words.idle
        if gaze is not None:  # eyes stay where they look while the head moves
            self._add(values, gaze.x, life.gaze_x - gaze.per_degree * life.yaw)
            self._add(values, gaze.y, life.gaze_y + gaze.per_degree * life.pitch)
            self._add(values, gaze.yaw, life.yaw)
            self._add(values, gaze.pitch, life.pitch)
        self._add(values, "roll", life.roll)
        self._add(values, "brows", life.brows)
        self._add(values, idle.blink, life.blink)
        for name, amount in idle.breath.items():
            self._add(values, name, amount * life.breath)

    def _add(self, values: np.ndarray, name: str, amount: float) -> None:
        if name in self._named:
            values[self._named[name]] += amount

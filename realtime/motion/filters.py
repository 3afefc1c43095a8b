"""The one-euro filter (Casiez, Roussel, Vogel 2012): still at rest, prompt in motion. Time is passed in."""

from __future__ import annotations

import math

import numpy as np

from realtime.types import MotionCode


class OneEuro:
    """Low-pass filter whose cutoff grows with speed, for arrays of any one shape.

    cutoff: Hz at rest. beta: Hz gained per unit of speed beyond `rest`. speed_cutoff: Hz, smoothing of the speed
    itself. rest: a speed that noise alone reaches and that counts as none; the published filter has 0. pause: a gap
    in time longer than this many seconds starts afresh.
    """

    def __init__(
        self,
        cutoff: float = 1.0,
        beta: float = 1.0,
        speed_cutoff: float = 3.0,
        rest: float = 0.0,
        pause: float = 0.5,
    ) -> None:
        self.cutoff, self.beta, self.speed_cutoff, self.rest, self.pause = cutoff, beta, speed_cutoff, rest, pause
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next value passes unchanged."""
        self._value: np.ndarray | None = None
        self._speed: np.ndarray | None = None
        self._time = 0.0

    def __call__(self, value: np.ndarray, now: float, unit: float = 1.0) -> np.ndarray:
        """The filtered value at time `now` (seconds). Speeds are counted in `unit`s of the value per second.

        A value at the very time of the last one replaces nothing: the last result comes again.
        """
        step = now - self._time
        if self._value is None or self._speed is None or step < 0 or step > self.pause:
            self._value, self._speed, self._time = np.array(value, np.float64), np.zeros(np.shape(value)), now
            return self._value.copy()
        if step == 0:
            return self._value.copy()
        self._time = now
        speed = (value - self._value) / (step * unit)
        self._speed = self._speed + smoothing(self.speed_cutoff, step) * (speed - self._speed)
        ratio = (2 * math.pi * step) * (self.cutoff + self.beta * np.maximum(np.abs(self._speed) - self.rest, 0.0))
        self._value = self._value + ratio / (1 + ratio) * (value - self._value)
        return self._value.copy()


def smoothing(cutoff: float, step: float) -> float:
    """Share of the new value in a first-order low-pass of `cutoff` Hz after `step` seconds."""
    ratio = 2 * math.pi * cutoff * step
    return ratio / (1 + ratio)


def smoothstep(low: float, high: float, x: float) -> float:
    """0 below `low`, 1 above `high`, smooth between."""
    t = min(1.0, max(0.0, (x - low) / (high - low)))
    return t * t * (3 - 2 * t)


def soft_limit(x: np.ndarray | float, knee: np.ndarray | float, limit: np.ndarray | float) -> np.ndarray:
    """`x` while |x| <= knee, then bent so that it never passes `limit` (> knee): smooth, monotone, odd."""
    room = np.maximum(np.subtract(limit, knee), 1e-9)
    beyond = np.maximum(np.abs(x) - knee, 0.0)
    return np.sign(x) * (np.minimum(np.abs(x), knee) + room * np.tanh(beyond / room))


SLOWEST = 0.3
"""Seconds in which a code goes two thirds of its way, with smoothing 1."""


class Smoother:
    """Codes that follow the driver's more calmly, as far as the user wants it: a first-order lag. Time is passed in,
    in seconds. Used by one thread."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._at = 0.0

    def update(self, code: MotionCode | None, amount: float, now: float) -> MotionCode | None:
        """The code, smoothed by `amount`, 0 to 1. None, no face, begins anew."""
        last, since = self._last, now - self._at
        self._at = now
        if code is None or amount <= 0.0:
            self._last = None if code is None else code.values
            return code
        if last is None or last.shape != code.values.shape or not 0.0 <= since < 1.0:
            self._last = code.values
            return code
        share = 1.0 - math.exp(-since / (SLOWEST * amount))
        self._last = last + np.float32(share) * (code.values - last)
        return code.with_values(self._last)

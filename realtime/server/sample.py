"""What drives the avatar where there is no camera."""

from __future__ import annotations

import math

import numpy as np

from realtime.engines import Engine
from realtime.types import MotionCode


class Sample:
    """An endless, gentle motion in the engine's own dictionary: each named direction sways a little, each at its
    own pace. `at` gives absolute codes around the engine's reference."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start = 0.0

    def restart(self, now: float) -> None:
        """Begin at the beginning."""
        self._start = now

    def at(self, now: float) -> MotionCode:
        """The code at this time (monotonic seconds)."""
        reference = self._engine.reference or self._engine.portrait_code
        self._engine.reference = reference
        values = reference.values.copy()
        t = now - self._start
        for i, direction in enumerate(d for d in self._engine.directions if d.named):
            reach = 0.25 * min(direction.hi, -direction.lo if direction.lo < 0 else direction.hi)
            values[direction.index] += np.float32(reach * math.sin(2 * math.pi * t / (3.0 + 0.7 * (i % 7)) + i))
        return MotionCode(self._engine.kind, values, captured=now, pts=t)

"""The driver's sound as what drives the avatar, where the camera is off."""

from __future__ import annotations

from collections import deque

import numpy as np

from realtime.engines import Engine
from realtime.types import MotionCode
from realtime.voice.hearing import RATE
from realtime.voice.lips import DELAY
from realtime.voice.speaker import Speaker

WAITING = 100
"""Packets of sound that are kept until the next picture; the oldest give way."""
GONE_S = 0.25
"""No sound for so long is silence, so that the mouth closes where the connection, or the microphone, breaks off."""


class Speaking:
    """`hear` may be called from any thread; `at` by one. Raises BadValue where sound cannot drive this engine."""

    def __init__(self, engine: Engine, seed: int = 0) -> None:
        self._speaker = Speaker(engine.kind, engine.directions, seed)
        self._heard: deque[np.ndarray] = deque(maxlen=WAITING)
        self._last: float | None = None

    @property
    def reference(self) -> MotionCode:
        """The neutral code that goes with `at`."""
        return self._speaker.reference

    def hear(self, samples: np.ndarray) -> None:
        """More sound: float32 (N,), `voice.hearing.RATE` a second."""
        self._heard.append(samples)

    def at(self, now: float) -> MotionCode:
        """The code at this time (monotonic seconds): that of the newest sound whose mouth is known."""
        last = now if self._last is None else self._last
        if self._heard:
            while self._heard:
                self._speaker.feed(self._heard.popleft())
            self._last = now
        elif now - last > GONE_S:
            self._speaker.feed(np.zeros(round((now - last - GONE_S) * RATE), np.float32))
            self._last = now - GONE_S
        else:
            self._last = last
        return self._speaker.code(self._speaker.known, now - DELAY)

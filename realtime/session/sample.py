"""What drives the avatar where there is no camera."""

from __future__ import annotations

import math

import numpy as np

from realtime.engines import Engine
from realtime.motion.track import MotionTrack, builtin_track
from realtime.types import MotionCode

JOIN_S = 0.6
"""Seconds over which the end of the track passes into its beginning."""


class Sample:
    """The built-in performance, again and again; for engines whose codes it does not speak, a gentle motion in
    their own dictionary: each named direction sways a little, each at its own pace. Time is passed in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start: float | None = None
        track = builtin_track()
        fits = track.kind == engine.kind and track.values.shape[1] == engine.portrait_code.values.size
        self._track: MotionTrack | None = track if fits else None

    def restart(self, now: float) -> None:
        """Begin at the beginning."""
        self._start = now

    @property
    def reference(self) -> MotionCode:
        """The neutral code that goes with `at`."""
        own = self._track.reference_code if self._track is not None else None
        return own or self._engine.portrait_code

    def at(self, now: float) -> MotionCode:
        """The code at this time (monotonic seconds)."""
        if self._start is None:
            self._start = now
        t = now - self._start
        if self._track is None:
            rest = self._engine.portrait_code
            return rest.with_values(rest.values + self._sway(t))
        return MotionCode(self._engine.kind, _looped(self._track, t), captured=now, pts=t)

    def _sway(self, t: float) -> np.ndarray:
        added = np.zeros_like(self._engine.portrait_code.values)
        for i, direction in enumerate(d for d in self._engine.directions if d.named):
            reach = 0.25 * min(direction.hi, -direction.lo if direction.lo < 0 else direction.hi)
            added[direction.index] = reach * math.sin(2 * math.pi * t / (3.0 + 0.7 * (i % 7)) + i)
        return added


def _looped(track: MotionTrack, t: float) -> np.ndarray:
    """Values at `t` seconds of the endless track, between its frames; its end passes smoothly into its beginning."""
    length = float(track.times[-1]) - JOIN_S
    t %= length
    values = _between(track, t)
    if t < JOIN_S:
        share = t / JOIN_S
        values = share * values + (1 - share) * _between(track, length + t)
    return values.astype(np.float32)


def _between(track: MotionTrack, t: float) -> np.ndarray:
    """Linear between the two frames around `t`. The built-in track has a face in every frame."""
    after = int(np.clip(np.searchsorted(track.times, t), 1, len(track) - 1))
    before = after - 1
    span = track.times[after] - track.times[before]
    share = float(np.clip((t - track.times[before]) / span, 0, 1)) if span > 0 else 1.0
    return (1 - share) * track.values[before] + share * track.values[after]

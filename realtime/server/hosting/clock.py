"""The avatar's own clock: presentation times of the pictures that are sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

RATE = 90_000
"""Ticks per second, as RTP counts video."""


@dataclass(slots=True)
class AvatarClock:
    """Gives each picture its presentation time.

    A picture that follows a driving frame keeps that frame's spacing (the camera's, not the network's), so that
    neither our work nor the way here shakes the motion. Pictures without a driving frame (hold, ease, sample) come
    at the time they are made. Where the two run apart by more than `slack` seconds (a camera that was switched on
    again, a clock that drifts), the driver's times are taken anew.
    """

    slack: float = 0.25
    _origin: float | None = None
    _shift: float | None = None
    _last: int = -1

    def stamp(self, now: float, driven: float | None = None) -> int:
        """Ticks of 1/90000 s since the first picture, always growing.

        now: seconds of the monotonic clock. driven: the driving frame's media time in seconds, None without one."""
        if self._origin is None:
            self._origin = now
        at = now - self._origin
        if driven is None:
            self._shift = None
        else:
            if self._shift is None or abs(driven + self._shift - at) > self.slack:
                self._shift = max(at, (self._last + 1) / RATE) - driven
            at = driven + self._shift
        self._last = max(self._last + 1, round(at * RATE))
        return self._last

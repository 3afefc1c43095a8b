"""When the next thing is due. Pure: time is passed in (seconds of one monotonic clock), nothing sleeps here."""

from __future__ import annotations

from dataclasses import dataclass, field


class Cadence:
    """Deadlines at a fixed rate, on one grid, so that lateness of one tick is not added to the next.

    >>> beat = Cadence(fps=10.0)
    >>> beat.due(now=5.0), beat.due(now=5.02), beat.due(now=5.5)
    (5.0, 5.1, 5.5)
    """

    def __init__(self, fps: float) -> None:
        if not fps > 0:
            raise ValueError(f"fps must be above 0, not {fps}")
        self.period = 1.0 / fps
        self.skipped = 0
        """Ticks that were never given out because the caller came a whole period late, or more."""
        self._origin: float | None = None
        self._ticks = 0

    def due(self, now: float) -> float:
        """Deadline of the next tick: never more than one period before `now`."""
        if self._origin is None:
            self._origin = now
        behind = int((now - self._origin) / self.period + 1e-9) - self._ticks
        if behind > 0:
            self.skipped += behind
            self._ticks += behind
        deadline = self._origin + self._ticks * self.period
        self._ticks += 1
        return deadline


@dataclass
class MediaClock:
    """Ties media time (pts) to the clock on the wall: frame `pts` is due at `start + pts`.

    A frame that comes more than `slack` seconds late (a pause, a slow disk) moves the start, so that what follows
    keeps its own pace instead of rushing to catch up.
    """

    slack: float = 0.25
    speed: float = 1.0
    _start: float | None = field(default=None, repr=False)

    def due(self, pts: float, now: float) -> float:
        """When the frame with this pts is due, in the same clock as `now`. In the past: at once."""
        offset = pts / self.speed
        if self._start is None or now - (self._start + offset) > self.slack:
            self._start = now - offset
        return self._start + offset

    def restart(self) -> None:
        """The next frame is due at once, whatever its pts."""
        self._start = None


class Repeater:
    """When a device that wants a steady stream gets a picture: each new one at once, but no faster than `fps`;
    the last one again when no new one came for one and a half periods."""

    def __init__(self, fps: float) -> None:
        self.period = 1.0 / fps
        self._sent: float | None = None

    def wait(self, now: float) -> float:
        """Seconds until the last picture is due again, if no new one comes."""
        return 0.0 if self._sent is None else max(0.0, self._sent + 1.5 * self.period - now)

    def earliest(self, now: float) -> float:
        """The moment from which a new picture may be sent: a tenth of a period of jitter is let through."""
        return now if self._sent is None else max(now, self._sent + 0.9 * self.period)

    def sent(self, now: float) -> None:
        """A picture went out."""
        self._sent = now


class Backoff:
    """How long to wait before trying again: doubles from `first` to `most`; `reset` after a success."""

    def __init__(self, first: float = 0.5, most: float = 8.0) -> None:
        self._first, self._most = first, most
        self._next = first

    def next(self) -> float:
        wait, self._next = self._next, min(self._most, 2 * self._next)
        return wait

    def reset(self) -> None:
        self._next = self._first

"""Counts, rates and latency percentiles of a session, in memory that does not grow. Time is passed in."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

STAGES = ("capture", "encode", "render", "deliver")
"""Stages of a frame's way, in order. Each is counted from the end of the one before, waiting included, so that
they add up to `total`:

capture: from leaving the source until the encoder takes it; encode: motion encoder and edits;
render: until the picture is there; deliver: until the first sink took it.
"""


class Histogram:
    """Percentiles of durations over a whole run: logarithmic buckets, 1.5 % apart, from 1 microsecond to 1000 s."""

    _LO, _RATIO = 1e-6, 1.015
    _LAST = math.ceil(math.log(1e9) / math.log(_RATIO))

    def __init__(self) -> None:
        self._counts = [0] * (self._LAST + 1)
        self.count = 0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        bucket = round(math.log(max(seconds, self._LO) / self._LO) / math.log(self._RATIO))
        self._counts[min(bucket, self._LAST)] += 1
        self.count += 1
        self.total += seconds

    def percentile(self, q: float) -> float:
        """The duration, in seconds, that a fraction `q` (0 to 1) of all does not exceed; 0 when there is none.
        Exact to 0.75 %."""
        left = math.ceil(q * self.count)
        if left <= 0:
            return 0.0
        for bucket, count in enumerate(self._counts):
            left -= count
            if left <= 0:
                return self._LO * self._RATIO**bucket
        raise AssertionError("counts do not add up")


class Window:
    """Percentiles and rate of the last `size` events: what happens now, not since the start. Every method may be
    called from any thread."""

    def __init__(self, size: int = 120) -> None:
        self._lock = threading.Lock()
        self._values: deque[float] = deque(maxlen=size)
        self._times: deque[float] = deque(maxlen=size)

    def add(self, value: float, now: float) -> None:
        with self._lock:
            self._values.append(value)
            self._times.append(now)

    def percentile(self, q: float) -> float:
        """Nearest-rank percentile, `q` from 0 to 1; 0 when there is none."""
        with self._lock:
            ordered = sorted(self._values)
        if not ordered:
            return 0.0
        return ordered[max(0, math.ceil(q * len(ordered)) - 1)]

    def rate(self, now: float, horizon: float = 3.0) -> float:
        """Events a second over the last `horizon` seconds."""
        with self._lock:
            recent = [t for t in self._times if now - t <= horizon]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], now - recent[-1], 1e-9)


@dataclass
class Counts:
    """Driving frames by what became of them."""

    captured: int = 0
    """Left the source."""
    encoded: int = 0
    """Went through the motion encoder, with a face or without; codes of a motion track count too."""
    rendered: int = 0
    """Became a picture."""
    delivered: int = 0
    """Were taken by at least one sink."""
    dropped: int = 0
    """Gave way to a newer frame somewhere on the way, or failed on it. captured = delivered + dropped, once all
    that was under way has arrived."""
    no_face: int = 0
    """Encoded frames in which there was no face."""


class RunStats:
    """Statistics of one session. Every method may be called from any thread."""

    def __init__(self, engine: str, device: str, size: int) -> None:
        self.engine, self.device, self.size = engine, device, size
        self._lock = threading.Lock()
        self._counts = Counts()
        self._whole = {name: Histogram() for name in ("total", *STAGES)}
        self._recent = Window()
        self._first: float | None = None
        self._last = 0.0

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to one of the fields of `Counts`."""
        with self._lock:
            setattr(self._counts, name, getattr(self._counts, name) + n)

    def delivered(self, captured: float, stamps: dict[str, float], now: float) -> None:
        """A sink took the picture of the frame captured at `captured`. `stamps` as in `Picture.stamps`."""
        with self._lock:
            self._counts.delivered += 1
            self._whole["total"].add(now - captured)
            before = captured
            for stage in STAGES[:-1]:
                at = stamps.get(stage, before)
                self._whole[stage].add(at - before)
                before = at
            self._whole["deliver"].add(now - before)
            self._recent.add(now - captured, now)
            if self._first is None:
                self._first = now
            self._last = now

    @property
    def counts(self) -> Counts:
        """A copy of the counts."""
        with self._lock:
            return Counts(**asdict(self._counts))

    def fps(self) -> float:
        """Pictures delivered a second, from the first to the last."""
        with self._lock:
            return self._fps()

    def _fps(self) -> float:
        if self._first is None or self._last <= self._first:
            return 0.0
        return (self._counts.delivered - 1) / (self._last - self._first)

    def recent(self, now: float) -> dict[str, float]:
        """What happens now: {"fps", "p50", "p99"}, latency in milliseconds."""
        with self._lock:
            return {
                "fps": round(self._recent.rate(now), 1),
                "p50": round(1000 * self._recent.percentile(0.5), 2),
                "p99": round(1000 * self._recent.percentile(0.99), 2),
            }

    def to_json(self) -> dict[str, Any]:
        """What `--stats` writes: the whole run, latencies in milliseconds."""
        with self._lock:
            return {
                "frames": asdict(self._counts),
                "fps": round(self._fps(), 2),
                "latency_ms": {
                    name: {f"p{q}": round(1000 * values.percentile(q / 100), 3) for q in (50, 95, 99)}
                    for name, values in self._whole.items()
                },
                "engine": self.engine,
                "device": self.device,
                "size": self.size,
            }

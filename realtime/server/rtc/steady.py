"""One clock that never jumps, for aiortc.

aiortc 1.16 takes durations from the time of day. Where that jumps, because a machine wakes or its clock is set, its
counter of rates (rate.py, RateCounter._erase_old) goes through every millisecond that was skipped, in which nothing
else runs: a second for each hour, or for ever; and reports that cannot be packed (rtcrtpreceiver.py, jitter) end what
sends them.
"""

from __future__ import annotations

import datetime
import time
from types import SimpleNamespace
from typing import Any

from aiortc import clock, mediastreams, rate, rtcrtpreceiver, rtcrtpsender, rtcsctptransport

_AHEAD = time.time() - time.monotonic()


def now() -> float:
    """The time of day as it was when this module was loaded, and the seconds that have passed since."""
    return _AHEAD + time.monotonic()


def _datetime() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now(), datetime.UTC)


class Counter(rate.RateCounter):
    """After a silence longer than its window it begins anew."""

    def _erase_old(self, now_ms: int) -> None:
        assert self._origin_ms is not None
        if now_ms - self._origin_ms >= 2 * self._window_size:
            self.reset()
            self._origin_ms = now_ms - self._window_size + 1
        else:
            super()._erase_old(now_ms)


def install() -> None:
    """Let aiortc use these. Safe to call twice."""
    names: list[tuple[Any, str, Any]] = [(clock, "current_datetime", _datetime), (rate, "RateCounter", Counter)]
    timed = (mediastreams, rtcrtpreceiver, rtcrtpsender, rtcsctptransport)
    names += [(module, "time", SimpleNamespace(time=now)) for module in timed]  # of `time` they use this alone
    for module, name, ours in names:
        setattr(module, name, ours)

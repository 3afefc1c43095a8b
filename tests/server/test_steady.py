"""A jump of the time of day: a machine wakes, or its clock is set. Nothing that lasts is measured by it."""

from __future__ import annotations

import datetime
import time
from types import SimpleNamespace

import pytest
from aiortc import clock, rate, rtcrtpreceiver, rtcrtpsender, rtcsctptransport

from realtime.server.rtc import steady
from realtime.server.rtc.peer import install

pytestmark = pytest.mark.hostile

YEAR = 365 * 86400.0


def readings() -> list[float]:
    """All clocks of aiortc, seconds."""
    modules = (rtcrtpreceiver, rtcrtpsender, rtcsctptransport)
    return [clock.current_ms() / 1000, *(module.time.time() for module in modules)]


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_the_clocks_of_a_connection_do_not_jump_with_the_time_of_day(monkeypatch, jump):
    install()
    assert abs(steady.now() - time.time()) < 60
    before, original, today = readings(), time.time, datetime.datetime

    class Jumped(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return today.now(tz) + datetime.timedelta(seconds=jump)

    monkeypatch.setattr(time, "time", lambda: original() + jump)
    monkeypatch.setattr(clock, "datetime", SimpleNamespace(datetime=Jumped, timezone=datetime.timezone))
    assert all(0 <= after - was < 60 for after, was in zip(readings(), before, strict=True))


def test_a_long_silence_is_not_counted_through():
    install()
    counter = rate.RateCounter(1000)
    for now in range(0, 500, 10):
        counter.add(100, now)
    assert counter.rate(499) == pytest.approx(80_000, rel=0.01)
    far = int(1000 * YEAR)  # each millisecond of it would take an hour in all
    counter.add(100, far)
    assert counter.rate(far + 1) is not None
    for now in range(far + 10, far + 1000, 10):
        counter.add(100, now)
    assert counter.rate(far + 999) == pytest.approx(80_000, rel=0.01)


def test_a_silence_within_its_window_is_counted_as_it_was():
    install()
    ours, theirs = rate.RateCounter(1000), rate.RateCounter.__mro__[1](1000)
    assert type(ours) is not type(theirs)
    for now in (0, 10, 400, 1700, 1710, 3600, 3601, 5700):
        ours.add(50, now)
        theirs.add(50, now)
        assert ours.rate(now + 3) == theirs.rate(now + 3)

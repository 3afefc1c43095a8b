"""Deadlines, with time passed in."""

from __future__ import annotations

import pytest

from realtime.flow.pacing import Backoff, Cadence, MediaClock, Repeater
from tests.support import FakeClock


@pytest.mark.parametrize("fps", [10.0, 29.97, 60.0])
def test_a_cadence_does_not_drift_however_late_each_tick_is(fps: float) -> None:
    beat, clock = Cadence(fps), FakeClock(100.0)
    first = beat.due(clock())
    for n in range(1, 1000):
        clock.now = first + n / fps - 0.3 / fps + (0.0005 if n % 3 else 0.0)  # a bit early, with jitter
        assert beat.due(clock()) == pytest.approx(first + n / fps)
    assert beat.skipped == 0


def test_a_cadence_skips_what_was_missed() -> None:
    beat = Cadence(10.0)
    assert beat.due(5.0) == 5.0
    assert beat.due(5.57) == pytest.approx(5.5)
    assert beat.skipped == 4
    assert beat.due(5.58) == pytest.approx(5.6)


def test_a_cadence_refuses_no_rate() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Cadence(0)


def test_a_media_clock_keeps_the_pace_of_the_file() -> None:
    clock = MediaClock()
    assert [clock.due(pts, 50.0 + pts) for pts in (0.0, 0.04, 0.5)] == pytest.approx([50.0, 50.04, 50.5])


def test_a_media_clock_starts_anew_after_a_pause_instead_of_rushing() -> None:
    clock = MediaClock()
    clock.due(0.0, 10.0)
    assert clock.due(0.1, 15.0) == 15.0
    assert clock.due(0.2, 15.0) == pytest.approx(15.1)
    clock.restart()
    assert clock.due(0.0, 15.2) == 15.2


def test_small_lateness_is_made_up_for() -> None:
    clock = MediaClock()
    clock.due(0.0, 10.0)
    assert clock.due(0.1, 10.2) == pytest.approx(10.1)
    assert clock.due(0.2, 10.2) == pytest.approx(10.2)


def test_a_repeater_sends_new_pictures_at_once_but_not_too_fast() -> None:
    pace = Repeater(10.0)
    assert (pace.earliest(3.0), pace.wait(3.0)) == (3.0, 0.0)
    pace.sent(3.0)
    assert pace.earliest(3.02) == pytest.approx(3.09)
    assert pace.earliest(3.2) == 3.2
    assert pace.wait(3.05) == pytest.approx(0.1)
    assert pace.wait(9.0) == 0.0


def test_back_off_doubles_up_to_a_limit_and_starts_again_after_success() -> None:
    back_off = Backoff(0.5, 3.0)
    assert [back_off.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    back_off.reset()
    assert back_off.next() == 0.5

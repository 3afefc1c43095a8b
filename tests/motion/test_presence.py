"""What is shown while there is no face, with a fake clock."""

import numpy as np
import pytest

from realtime.motion.presence import GONE, HOLD, RETURN, Presence
from realtime.types import Direction, MotionCode
from tests.support import FakeClock

DIRECTIONS = (
    Direction("yaw", 0, -35, 35),
    Direction("pitch", 1, -25, 25),
    Direction("blink", 2, 0, 1),
    Direction("move_y", 3, -1, 1),
)
NEUTRAL = MotionCode("mesh", np.array([1, 2, 0, 0], np.float32))
LIVE = MotionCode("mesh", np.array([21, -8, 0.5, 0.1], np.float32), captured=7.0, pts=3.0, index=9)


def watch(presence: Presence, clock: FakeClock, seen, seconds: float, fps: float = 30) -> np.ndarray:
    """Values shown over `seconds`, with `seen` (a code or None) before the camera."""
    out = []
    for _ in range(round(seconds * fps)):
        out.append(presence.update(seen, NEUTRAL, clock()).values)
        clock.advance(1 / fps)
    return np.array(out)


def test_a_face_passes_unchanged_with_its_times():
    presence = Presence(DIRECTIONS)
    assert presence.state == "unknown"
    shown = presence.update(LIVE, NEUTRAL, 0.0)
    np.testing.assert_array_equal(shown.values, LIVE.values)
    assert (shown.captured, shown.pts, shown.index) == (7.0, 3.0, 9)
    assert presence.state == "tracked"


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_lost_holds_then_is_neutral_within_a_second(fps):
    presence, clock = Presence(DIRECTIONS), FakeClock(1000.0)
    watch(presence, clock, LIVE, 1.0, fps)
    shown = watch(presence, clock, None, 1.2, fps)
    times = np.arange(len(shown)) / fps
    np.testing.assert_array_equal(shown[times < HOLD - 1e-6], np.tile(LIVE.values, ((times < HOLD - 1e-6).sum(), 1)))
    np.testing.assert_allclose(shown[times >= GONE - 1e-6][0], NEUTRAL.values, atol=0.01)
    assert (np.diff(shown[:, 0]) <= 1e-3).all()  # straight there, no detour
    assert presence.state == "idle"


def test_states_on_the_way():
    presence, states = Presence(DIRECTIONS), []
    seen = [(0.0, LIVE), (0.1, None), (0.3, None), (0.7, None), (1.3, None), (1.4, LIVE), (1.5, LIVE), (3.0, LIVE)]
    for now, code in seen:
        presence.update(code, NEUTRAL, now)
        states.append(presence.state)
    assert states == ["tracked", "held", "held", "leaving", "idle", "returning", "returning", "tracked"]


def test_idles_gently_with_blinks_and_breath():
    presence, clock = Presence(DIRECTIONS), FakeClock()
    watch(presence, clock, LIVE, 0.5)
    watch(presence, clock, None, GONE)
    shown = watch(presence, clock, None, 30.0) - NEUTRAL.values
    blinks = np.flatnonzero(np.diff((shown[:, 2] > 0.5).astype(int)) == 1)
    assert 5 <= len(blinks) <= 13
    assert shown[:, 2].max() > 0.95
    assert 0.2 < np.ptp(shown[:, 1]) < 3  # breath
    assert np.abs(shown[:, 0]).max() < 3
    assert np.abs(np.diff(shown[:, :2], axis=0)).max() < 0.1  # gently


@pytest.mark.parametrize("gone", [0.1, 0.6, 1.1, 8.0])
def test_coming_back_never_jumps(gone):
    presence, clock = Presence(DIRECTIONS), FakeClock()
    before = watch(presence, clock, LIVE, 0.5, 60)
    away = watch(presence, clock, None, gone, 60)
    back = watch(presence, clock, MotionCode("mesh", np.array([-30, 9, 0, 0], np.float32)), 1.0, 60)
    yaw = np.concatenate([before, away, back])[:, 0]
    assert np.abs(np.diff(yaw)).max() < 6  # 51 degrees in all
    np.testing.assert_allclose(back[-1], [-30, 9, 0, 0], atol=1e-5)
    assert presence.state == "tracked"


def test_motion_is_live_while_it_eases_back():
    presence = Presence(DIRECTIONS)
    presence.update(LIVE, NEUTRAL, 0.0)
    presence.update(None, NEUTRAL, 0.1)
    presence.update(None, NEUTRAL, 5.0)
    presence.update(LIVE, NEUTRAL, 5.1)
    soon = presence.update(LIVE.with_values(LIVE.values + 10), NEUTRAL, 5.1 + RETURN / 2).values
    half = presence.update(LIVE, NEUTRAL, 5.1 + RETURN / 2).values
    np.testing.assert_allclose(soon - half, 10, atol=1e-4)


def test_lost_again_while_coming_back():
    presence, clock = Presence(DIRECTIONS), FakeClock()
    watch(presence, clock, LIVE, 0.5)
    watch(presence, clock, None, 3.0)
    back = watch(presence, clock, LIVE, RETURN / 2)
    gone = watch(presence, clock, None, 0.2)
    np.testing.assert_allclose(gone, np.tile(back[-1], (len(gone), 1)))


def test_before_the_first_face_the_portrait_rests_and_idles():
    presence, clock = Presence(DIRECTIONS), FakeClock()
    shown = watch(presence, clock, None, 10.0)
    np.testing.assert_allclose(shown[0], NEUTRAL.values, atol=1e-6)
    assert shown[:, 2].max() > 0.9
    first = watch(presence, clock, LIVE, 1.0)
    assert abs(first[0, 0] - shown[-1, 0]) < 2


def test_the_first_face_brings_another_neutral_code_without_a_jump():
    """Before a driver is seen the portrait's own code is neutral; then the driver's, which is quite another."""
    presence, clock = Presence(DIRECTIONS), FakeClock()
    watch(presence, clock, None, 5.0)
    driver = MotionCode("mesh", np.array([-15, 12, 0, 0.4], np.float32))
    shown = presence.update(driver.with_values(driver.values + 1), driver, clock())
    assert np.abs(shown.values - driver.values)[0] < 1
    later = presence.update(driver.with_values(driver.values + 1), driver, clock.advance(RETURN + 0.01))
    np.testing.assert_allclose(later.values - driver.values, 1, atol=1e-5)


def test_engines_without_these_names_just_rest():
    presence, clock = Presence((Direction("0", 0, -1, 1, named=False),)), FakeClock()
    watch(presence, clock, LIVE, 0.5)
    shown = watch(presence, clock, None, 5.0)
    np.testing.assert_array_equal(shown[-1], NEUTRAL.values)


def test_reset_forgets():
    presence = Presence(DIRECTIONS)
    presence.update(LIVE, NEUTRAL, 0.0)
    presence.reset()
    assert presence.state == "unknown"
    np.testing.assert_allclose(presence.update(None, NEUTRAL, 0.1).values, NEUTRAL.values, atol=1e-6)

"""What `film` reads off its films: changes, beeps, and by how much one is late."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live.film import apart, beeps, changes, lateness
from benchmarks.live.sync import BEEP_S, LEVEL, RATE
from realtime.errors import DeviceError


def film(fps: float, late: float = 0.0, seconds: float = 20.0) -> list[tuple[float, np.ndarray]]:
    """Pictures whose first 0.4 s of each second are another, so much later."""
    times = np.arange(round(seconds * fps)) / fps
    noise = np.random.default_rng(0)
    return [
        (t, (120.0 + 60.0 * ((t - late) % 1.0 < 0.4) + noise.normal(0, 2, (6, 8, 3))).astype(np.int16)) for t in times
    ]


def sound(late: float = 0.0, seconds: float = 20.0) -> list[tuple[float, np.ndarray, int]]:
    t = np.arange(round(seconds * RATE)) / RATE
    tone = 4 * LEVEL * np.sin(2 * np.pi * 1000 * t) * ((t - late) % 1.0 < BEEP_S) * (t >= 0.5)
    return [(n / RATE, tone[n : n + 960].astype(np.int16), RATE) for n in range(0, len(tone), 960)]


@pytest.mark.parametrize("late", [-0.2, 0.0, 0.03, 0.3])
def test_the_lateness_is_the_beeps_minus_the_changes(late):
    found = lateness(changes(film(30.0, 0.1)), beeps(sound(0.1 + late)))
    assert len(found) >= 17
    assert np.median([x for _, x in found]) == pytest.approx(late, abs=0.02)


@pytest.mark.parametrize("devices", [-0.49, 0.0, 0.48])
def test_what_the_devices_are_apart_is_taken_away_also_around_half_a_period(devices):
    theirs = [(float(n), (devices + 0.01 * (n % 3) + 0.5) % 1.0 - 0.5) for n in range(20)]
    own = [(float(n), (devices + 0.01 + 0.04 + 0.5) % 1.0 - 0.5) for n in range(20)]
    assert [x for _, x in apart(own, theirs)] == pytest.approx([0.04] * 20, abs=1e-6)


def test_a_change_after_a_gap_counts_for_nothing():
    whole = film(30.0)
    gap = [(t, image) for t, image in whole if not 4.8 < t < 5.1]
    assert len(changes(gap)) == len(changes(whole)) - 1
    with pytest.raises(DeviceError, match="holds 12 pictures"):
        changes(whole[:12])

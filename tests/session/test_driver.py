"""From seen codes to shown codes: neutral face, edits, no face. Time is passed in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.motion.track import MotionTrack
from realtime.session.driver import Driver
from realtime.session.offline import encode_track
from realtime.settings import Live
from realtime.types import MotionCode
from tests.support import FakeEngine, ListSource, plain


def code(*values: float) -> MotionCode:
    return MotionCode("fake", np.array(values, np.float32))


def test_before_any_face_the_portrait_rests() -> None:
    engine = FakeEngine()
    drive = Driver(engine).update(None, Live(), 0.0)
    assert np.allclose(drive.code.values, engine.portrait_code.values, atol=0.05)
    assert np.array_equal(drive.reference.values, engine.portrait_code.values)


def test_absolute_motion_refers_to_the_portrait() -> None:
    engine = FakeEngine()
    drive = Driver(engine).update(code(0.9, 0.1, 0.2), Live(absolute=True), 0.0)
    assert np.array_equal(drive.reference.values, engine.portrait_code.values)
    assert np.allclose(drive.code.values, [0.9, 0.1, 0.2])


def test_relative_motion_refers_to_the_driver() -> None:
    drive = Driver(FakeEngine()).update(code(0.9, 0.1, 0.2), Live(), 0.0)
    assert np.allclose(drive.reference.values, [0.9, 0.1, 0.2])


def test_edits_are_added_and_take_effect_at_once() -> None:
    driver = Driver(FakeEngine())
    seen = code(0.2, 5.0, 0.0)
    driver.update(seen, Live(), 0.0)
    drive = driver.update(seen, Live(edits={"smile": 0.5, "yaw": -3.0}), 0.03)
    assert np.allclose(drive.code.values, [0.7, 2.0, 0.0], atol=1e-5)


def test_amplitude_scales_the_change_from_neutral() -> None:
    driver = Driver(FakeEngine(), reference=code(0.0, 2.0, 0.0))
    drive = driver.update(code(0.4, 12.0, 0.1), Live(amplitude={"head": 0.5}), 0.0)
    assert np.allclose(drive.code.values, [0.4, 7.0, 0.1], atol=1e-5)


def test_a_lost_face_eases_to_neutral_within_a_second_or_so() -> None:
    driver = Driver(FakeEngine(), reference=code(0.0, 0.0, 0.0))
    for n in range(10):
        driver.update(code(0.8, 20.0, 0.2), Live(), n / 30)
    assert driver.face == "tracked"
    shown = [driver.update(None, Live(), 10 / 30 + n / 30).code.values for n in range(60)]
    assert np.allclose(shown[1], [0.8, 20.0, 0.2], atol=0.05)
    assert np.abs(shown[45]).max() < 2.5  # neutral, but for gentle idle motion
    assert driver.face == "idle"
    steps = np.abs(np.diff(np.array(shown), axis=0)).max(0)
    assert (steps < [0.1, 2.5, 0.05]).all()  # it eases, it does not jump


def test_recalibration_takes_a_new_neutral() -> None:
    driver = Driver(FakeEngine(), reference=code(0.0, 0.0, 0.0))
    assert driver.calibration == 1.0
    driver.recalibrate()
    assert driver.calibration < 1.0
    for n in range(400):
        drive = driver.update(code(0.3, 4.0, 0.0), Live(), n / 30)
    assert np.allclose(drive.reference.values, [0.3, 4.0, 0.0], atol=0.02)
    assert driver.calibration == 1.0


@pytest.mark.parametrize("frames", [1, 12, 200])
def test_looking_ahead_finds_neutral_even_in_a_short_clip(frames: int) -> None:
    """A clip that begins with a head turn: neutral is what most of it shows, not its first frame."""
    driver = Driver(FakeEngine())
    codes = [code(0.0, 25.0 if n < frames // 4 else 0.0, 0.0) for n in range(frames)]
    known = [driver.observe(seen, n / 30) for n, seen in enumerate(codes)]
    if not known[-1]:
        driver.settle()
    reference = driver.update(codes[0], Live(), 0.0).reference
    assert driver.calibration == 1.0 or frames == 1
    assert abs(reference.values[1]) < 3.0


def test_a_track_carries_the_neutral_that_rendering_the_clip_finds() -> None:
    """A short clip: codes recorded first and rendered later move the portrait as the clip itself does."""
    engine = FakeEngine()
    pictures = [plain((20 + 8 * (n % 5), 100 + 4 * n, 90)) for n in range(12)]
    track = encode_track(ListSource(pictures), engine)
    driver = Driver(engine)
    for n, picture in enumerate(pictures):
        driver.observe(engine.encode(picture), n / 30)
    driver.settle()
    seen = engine.encode(pictures[0])
    assert seen is not None
    neutral = driver.update(seen, Live(), 0.0).reference.values
    assert track.reference is not None
    np.testing.assert_allclose(track.reference, neutral, atol=1e-6)


def test_a_track_keeps_all_that_its_codes_are_known_by(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MotionTrack.of_codes
    monkeypatch.setattr(MotionTrack, "of_codes", lambda *of: replace(made(*of), weights="ab", creator="me"))
    track = encode_track(ListSource([plain((20, 100, 90))] * 3), FakeEngine())
    assert (track.weights, track.creator, len(track.times)) == ("ab", "me", 3)

"""What is said about bad pictures, and what is shown while the engine fails. Time is passed in."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.session.health import Fallback, SignalMonitor
from tests.support import plain

NOISE = np.random.default_rng(0)


def noisy(mean: float) -> np.ndarray:
    """A picture with a camera's noise, so that no two are the same."""
    return (mean + NOISE.normal(0, 12, (96, 128, 3))).clip(0, 255).astype(np.uint8)


def watch(health: SignalMonitor, pictures, start: float = 0.0, fps: float = 30.0) -> list[str]:
    told = [health.frame(image, start + n / fps) for n, image in enumerate(pictures)]
    return [sentence for sentence in told if sentence]


def test_good_pictures_are_not_talked_about() -> None:
    assert watch(SignalMonitor("camera 0"), [noisy(120) for _ in range(90)]) == []


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([plain(0)] * 90, "black pictures"),
        ([noisy(120)] * 90, "frozen"),
        ([noisy(25) for _ in range(90)], "dark"),
    ],
)
def test_a_lasting_fault_is_told_once(pictures, words) -> None:
    health = SignalMonitor("camera 0")
    told = watch(health, [noisy(120) for _ in range(30)] + pictures)
    assert len(told) == 1
    assert words in told[0]
    assert told[0].startswith("camera 0")
    back = watch(health, [noisy(120) for _ in range(30)], start=10.0)
    assert len(back) == 1
    assert "well again" in back[0]


def test_a_short_fault_is_not_told() -> None:
    frames = [noisy(120), *[plain(0)] * 20, *[noisy(120) for _ in range(40)]]
    assert watch(SignalMonitor("camera 0"), frames) == []


def test_a_still_picture_on_purpose_is_not_frozen() -> None:
    assert watch(SignalMonitor("face.png", still=True), [noisy(120)] * 200) == []


def test_10_fps_footage_shown_thrice_is_not_frozen() -> None:
    pictures = [picture for picture in (noisy(120) for _ in range(40)) for _ in range(3)]
    assert watch(SignalMonitor("clip"), pictures) == []


def test_a_frozen_stream_that_is_freshened_up_once_is_still_frozen() -> None:
    frozen, again = noisy(120), noisy(120)
    pictures = [noisy(120) for _ in range(30)] + [frozen] * 10 + [again] * 20
    (told,) = watch(SignalMonitor("stream"), pictures)
    assert "frozen" in told


def test_a_change_of_resolution_is_no_fault() -> None:
    pictures = [noisy(120) if n % 2 else np.repeat(noisy(120), 3, axis=0) for n in range(60)]
    assert watch(SignalMonitor("camera 0"), pictures) == []


def test_a_missing_face_is_told_after_a_while_and_so_is_its_return() -> None:
    health = SignalMonitor("camera 0")
    assert health.face(True, 0.0) is None
    assert health.face(False, 1.0) is None
    assert "no face" in (health.face(False, 2.5) or "")
    assert health.face(False, 3.0) is None
    assert "face found" in (health.face(True, 4.0) or "")
    assert health.face(True, 4.1) is None


def test_silence_is_told_once_until_pictures_come_again() -> None:
    health = SignalMonitor("camera 0")
    assert health.silent(1.0) is None
    assert "no pictures" in (health.silent(3.1) or "")
    assert health.silent(4.0) is None
    health.frame(noisy(120), 0.0)
    assert "no pictures" in (health.silent(3.1) or "")


def test_no_face_from_the_start_is_told_too() -> None:
    health = SignalMonitor("camera 0")
    told = [health.face(False, n * 0.1) for n in range(40)]
    assert sum(sentence is not None for sentence in told) == 1


def test_a_failing_engine_holds_then_shows_the_still_portrait() -> None:
    guard = Fallback(hold=1.0)
    assert guard.succeeded() is False
    assert guard.failed("broke", 10.0) == (True, False)
    assert guard.failed("broke", 10.5) == (False, False)
    assert guard.failed("broke", 11.0) == (False, True)
    assert guard.failing
    assert guard.succeeded() is True
    assert not guard.failing
    assert guard.failed("broke", 20.0) == (True, False)

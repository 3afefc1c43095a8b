"""Finding the neutral face with a fake clock and made-up drivers."""

from itertools import pairwise

import numpy as np
import pytest

from realtime.engines.mesh.motion.code import DIRECTIONS, EYE_OPEN, LENGTH, LIP_GAP
from realtime.engines.mesh.motion.vocabulary import VOCABULARY
from realtime.motion.calibration import LONGEST, PERIOD, Calibration
from realtime.types import Direction, MotionCode
from tests.support import FakeClock

NAMED = {d.name: d.index for d in DIRECTIONS}
NEUTRAL = np.zeros(LENGTH)
NEUTRAL[[NAMED["yaw"], NAMED["pitch"], NAMED["roll"]]] = (3, -4, 1)
NEUTRAL[EYE_OPEN] = (0.21, 0.2)
NEUTRAL[NAMED["jaw_open"]] = 0.4


def changed(**amounts: float) -> np.ndarray:
    """The neutral code with amounts added."""
    values = NEUTRAL.copy()
    for name, amount in amounts.items():
        values[NAMED[name]] += amount
    return values


def opened(values: np.ndarray, amount: float) -> np.ndarray:
    """With the mouth open by an amount from 0 to 1."""
    values[LIP_GAP] += 9 * amount
    values[NAMED["lower_lip_down"]] += 6 * amount
    values[NAMED["jaw_open"]] += 5 * amount
    return values


def code(values: np.ndarray) -> MotionCode:
    return MotionCode("mesh", np.asarray(values, np.float32))


def run(calibration: Calibration, clock: FakeClock, driver, seconds: float, fps: float = 30) -> list[np.ndarray]:
    """References while `driver(t)` is seen for `seconds`."""
    start, out = clock(), []
    while clock() - start < seconds:
        out.append(calibration.update(code(driver(clock() - start)), clock()).values.astype(float))
        clock.advance(1 / fps)
    return out


def talker(t: float) -> np.ndarray:
    """Talks, turns and blinks all the time, and is neutral only in pauses."""
    values = NEUTRAL.copy()
    if t % 1.3 < 0.8:
        loud = abs(np.sin(9 * t))
        values = opened(changed(yaw=12 * np.sin(3 * t), brow_middle_up_left=1.5 * loud), loud)
    if t % 1.7 < 0.2:
        values[EYE_OPEN] = 0.02
    return values


def distance(a: np.ndarray, b: np.ndarray = NEUTRAL) -> float:
    """Largest difference, in shares of the sliders."""
    return float(max(abs(a[d.index] - b[d.index]) / (d.hi - d.lo) for d in DIRECTIONS))


def test_there_is_a_reference_from_the_first_frame():
    calibration = Calibration(DIRECTIONS)
    assert calibration.reference is None
    first = code(NEUTRAL + 1)
    assert calibration.update(first, 100.0) is first
    assert calibration.progress == 0.0


@pytest.mark.parametrize("fps", [10, 25, 30, 60])
def test_finds_the_neutral_face_of_somebody_who_talks(fps):
    calibration, clock = Calibration(DIRECTIONS), FakeClock(50.0)
    references = run(calibration, clock, talker, LONGEST + 0.1, fps)
    assert calibration.settled
    assert calibration.progress == 1.0
    assert distance(references[-1]) < 0.04
    middle = np.median([talker(t / 30) for t in range(150)], axis=0)
    assert distance(middle) > distance(references[-1])  # better than the plain median


def test_a_bad_first_frame_is_forgotten():
    def yawning_at_first(t: float) -> np.ndarray:
        if t > 0.7:
            return NEUTRAL.copy()
        values = opened(changed(yaw=18), 1.5)
        values[EYE_OPEN] = 0.05
        return values

    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    references = run(calibration, clock, yawning_at_first, 6.0)
    assert distance(references[0]) > 0.5
    assert distance(references[-1]) < 0.03


def test_the_reference_never_jumps():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    references = run(calibration, clock, talker, 12.0)
    assert max(distance(a, b) for a, b in pairwise(references)) < 0.03


def test_a_still_driver_is_settled_after_the_period_and_then_left_alone():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    run(calibration, clock, lambda t: NEUTRAL, PERIOD + 0.2)
    assert calibration.settled
    settled = calibration.reference
    run(calibration, clock, lambda t: NEUTRAL + 2, 3.0)
    assert calibration.reference is settled


def test_a_body_that_sways_below_a_calm_face_keeps_nothing_waiting():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()

    def swaying(t: float) -> np.ndarray:
        s, c = np.sin(9 * t), np.cos(9 * t)
        return changed(body_x=0.2 * s, chest_turn=20 * s, body_y=0.2 * c, lean=15 * c, body_zoom=0.2 * c)

    run(calibration, clock, swaying, PERIOD + 0.2)
    assert calibration.settled


def test_a_parted_mouth_is_not_settled_on_while_there_is_time():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    run(calibration, clock, lambda t: opened(NEUTRAL.copy(), 0.5), PERIOD + 1)
    assert not calibration.settled
    references = run(calibration, clock, lambda t: NEUTRAL, 4.0)
    assert calibration.settled
    assert distance(references[-1]) < 0.03


def test_calibrating_again_follows_the_new_face_without_a_jump():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    run(calibration, clock, lambda t: NEUTRAL, 4.0)
    calibration.restart()
    assert not calibration.settled
    moved = changed(yaw=-9, pitch=5)
    references = run(calibration, clock, lambda t: moved, 6.0)
    assert distance(references[0]) < 0.01
    assert distance(references[-1], moved) < 0.02
    assert max(distance(a, b) for a, b in pairwise(references)) < 0.03


SMILE = VOCABULARY.neutral.worn[0]
MOUTH = list(VOCABULARY.neutral.mobile)


def smiling(amount: float) -> np.ndarray:
    return NEUTRAL + amount * SMILE.moves


def mouth_off(reference: np.ndarray, truth: np.ndarray = NEUTRAL) -> float:
    """Largest error of mouth and cheeks, hundredths of the face height; a full smile is 4."""
    return float(np.abs(reference - truth)[MOUTH].max())


def test_who_begins_with_a_smile_is_not_taken_for_one_who_always_smiles():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    references = run(calibration, clock, lambda t: smiling(1.4), 6.0)
    assert mouth_off(smiling(1.4)) > 5
    assert mouth_off(references[0]) < 1.2, "from the first frame on"
    assert mouth_off(references[-1]) < 1.2
    eyes = references[-1][EYE_OPEN] / NEUTRAL[EYE_OPEN]
    assert np.abs(eyes - 1).max() < 0.05, "a smile's narrow eyes are not taken for the person's own"


@pytest.mark.parametrize("own", [-0.45, 0.2, 0.45])
def test_a_mouth_that_is_the_persons_own_is_left_as_it_is(own):
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    references = run(calibration, clock, lambda t: smiling(own), 60.0)
    assert mouth_off(references[-1], smiling(own)) < 0.02
    assert distance(references[-1], smiling(own)) < 0.01


def test_what_is_seen_later_corrects_mouth_and_eyes_slowly_and_never_the_head():
    def cheerful_at_first(t: float) -> np.ndarray:
        values = smiling(1.4) if t < 8 else changed(yaw=6 if t > LONGEST else 0)
        if t < 8:
            values[EYE_OPEN] += 0.1
        return opened(values, 0.8) if t > 8 and t % 3 < 1 else values

    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    references = run(calibration, clock, cheerful_at_first, 60.0)
    settled = references[round(30 * LONGEST) + 2]
    assert mouth_off(settled) > 0.5
    assert np.abs(settled[EYE_OPEN] - NEUTRAL[EYE_OPEN]).min() > 0.025
    assert mouth_off(references[-1]) < 0.25
    assert np.abs(references[-1][EYE_OPEN] - NEUTRAL[EYE_OPEN]).max() < 0.022
    head = [NAMED[name] for name in ("yaw", "pitch", "roll", "move_x", "move_y", "zoom")]
    np.testing.assert_allclose(references[-1][head], settled[head], atol=0.05)
    assert max(distance(a, b) for a, b in pairwise(references)) < 0.03


def test_who_is_asked_to_look_ahead_is_believed_as_he_looks():
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    run(calibration, clock, lambda t: NEUTRAL, 4.0)
    calibration.restart(told=True)
    references = run(calibration, clock, lambda t: smiling(1.4), 6.0)
    assert mouth_off(references[-1], smiling(1.4)) < 0.1
    references = run(calibration, clock, lambda t: NEUTRAL, 40.0)
    assert mouth_off(references[-1], smiling(1.4)) < 0.1


def test_one_eye_that_is_half_shut_is_not_half_shut_for_good():
    half = NEUTRAL.copy()
    half[EYE_OPEN] = (0.21, 0.12)
    calibration, clock = Calibration(DIRECTIONS), FakeClock()
    right, left = run(calibration, clock, lambda t: half, 5.0)[-1][EYE_OPEN]
    assert right - left < 0.04


def test_repeated_times_and_pauses_do_no_harm():
    calibration = Calibration(DIRECTIONS)
    for now in (0.0, 0.0, 0.0, 0.03, 40.0, 39.0, 40.1):
        reference = calibration.update(code(NEUTRAL), now)
    assert distance(reference.values) < 1e-5
    assert calibration.progress < 1


def test_works_without_names_and_starts_over_with_another_engine():
    plain = tuple(Direction(str(k), k, -1, 1, named=False) for k in range(8))
    calibration, clock = Calibration(plain), FakeClock()
    run(calibration, clock, lambda t: np.full(8, 0.3), 4.0)
    np.testing.assert_allclose(calibration.reference.values, 0.3, atol=1e-3)
    other = MotionCode("lia", np.zeros(20, np.float32))
    calibration.reset()
    assert calibration.update(other, 0.0) is other


@pytest.mark.filterwarnings("error")
def test_codes_without_directions_still_have_a_neutral_one() -> None:
    calibration, noise = Calibration([]), np.random.default_rng(0)
    for n in range(round(30 * (PERIOD + 1))):
        seen = MotionCode("lia", np.float32(0.4) + noise.normal(0, 0.05, 20).astype(np.float32))
        reference = calibration.update(seen, n / 30)
    assert calibration.settled
    np.testing.assert_allclose(reference.values, 0.4, atol=0.05)

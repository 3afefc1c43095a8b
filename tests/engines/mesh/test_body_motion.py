"""From shoulders to the body's entries of a code, and from these to what a portrait does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.body import HIPS, BodyReader, body_motion, measured
from realtime.engines.mesh.motion.shoulders import Shoulders
from realtime.motion.vocabulary import of_earlier_session
from realtime.types import MotionCode

START = np.array([[-80.0, 0.0], [80.0, 0.0]])
UNIT = 100.0


def entries(points: np.ndarray, turn: float = 0.0) -> np.ndarray:
    return measured(Shoulders(np.asarray(points, float), START, turn, 1.0, UNIT))


def test_shoulders_at_their_place_are_all_zeros():
    np.testing.assert_allclose(entries(START), 0, atol=1e-12)


def test_who_goes_aside_neither_leans_nor_shrugs():
    np.testing.assert_allclose(entries(START + np.array([30, -10])), [0.3, -0.1, 0, 0, 0, 0, 0], atol=1e-12)


def test_who_comes_nearer_grows():
    np.testing.assert_allclose(entries(1.25 * START), [0, 0, np.log(1.25), 0, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize("degrees", [-9.0, 12.0])
def test_who_leans_about_the_hips_leans(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    hips = np.array([0.0, HIPS * UNIT])
    x, _y, zoom, lean, _, right, left = entries((START - hips) @ np.array([[c, s], [-s, c]]) + hips)
    assert lean == pytest.approx(degrees, rel=0.01)
    assert np.sign(x) == np.sign(degrees)
    np.testing.assert_allclose([zoom, right, left], 0, atol=2e-3)


@pytest.mark.parametrize("raised", [0, 1])
def test_who_raises_one_shoulder_raises_that_one_alone(raised):
    points = START.copy()
    points[raised, 1] -= 20
    x, y, _, lean, _, right, left = entries(points)
    assert lean == pytest.approx(0, abs=0.1)
    assert (right, left)[raised] == pytest.approx(0.2, rel=0.02)
    assert (right, left)[1 - raised] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose([x, y], 0, atol=2e-3)


def test_a_body_that_is_not_seen_is_not_moved_by_what_was_seen_before():
    reference, values = np.zeros(mc.LENGTH), np.zeros(mc.LENGTH)
    reference[mc.BODY] = [1.0, 0.3, -0.1, 0.1, 8.0, 5.0, 0.1, 0.0, 0.0, 0.0]
    assert body_motion(values, reference, False).still


def test_a_neutral_code_of_another_session_says_nothing_of_where_the_body_was():
    values = np.arange(1.0, mc.LENGTH + 1)
    kept = of_earlier_session(MotionCode(mc.KIND, values, 0.0)).values
    assert not kept[mc.BODY].any()
    np.testing.assert_array_equal(kept[: mc.BODY.start], values[: mc.BODY.start])


def test_a_chest_that_turns_is_not_farther_away():
    cosine = np.cos(np.radians(30))
    zoom, turn = entries(START * (cosine, 1), 30.0)[[2, 4]]
    assert zoom == pytest.approx(0, abs=1e-9)
    assert turn == 30


class Told(BodyReader):
    """Reads what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Shoulders | None = None
        self._tracker.follow = lambda *_: self.now  # type: ignore[method-assign]

    def at(self, now: float) -> np.ndarray:
        return self.read(np.zeros((8, 8, 3), np.uint8), np.zeros((478, 3)), now).copy()


def test_a_body_out_of_sight_is_believed_less_and_less_and_gives_way_with_that():
    reader = Told()
    reader.now = Shoulders(START + np.array([20, 0]), START, 0.0, 1.0, UNIT)
    assert reader.at(0.0)[0] == 1.0
    reader.now = None
    seen = [reader.at(k / 30) for k in range(1, 60)]
    assert all(b[0] < a[0] for a, b in itertools.pairwise(seen))
    assert seen[0][0] > 0.8
    assert seen[-1][0] < 0.01
    np.testing.assert_allclose([values[1] for values in seen], [0.2 * values[0] for values in seen], atol=1e-9)


def test_a_body_that_nobody_looks_at_gives_way_softly_and_comes_back_softly():
    reader, still = Told(), np.zeros((8, 8, 3), np.uint8)
    reader.now = Shoulders(START + np.array([20, 0]), START, 0.0, 1.0, UNIT)
    before = reader.at(0.0)
    follow = reader._tracker.follow
    reader._tracker.follow = None  # it must not be asked
    away = [reader.read(still, np.zeros((478, 3)), k / 30, sparing=True).copy() for k in range(1, 90)]
    reader._tracker.follow = follow
    back = [reader.at(k / 30) for k in range(90, 200)]
    told = np.stack([before, *away, *back])
    assert np.abs(np.diff(told, axis=0)).max() < 0.16
    assert np.abs(away[-1]).max() < 1e-3
    np.testing.assert_allclose(back[-1], before, atol=1e-3)


def test_a_face_that_was_lost_ends_it():
    reader = Told()
    reader.now = Shoulders(START, START, 0.0, 1.0, UNIT)
    reader.at(0.0)
    reader.lose()
    reader.now = None
    assert reader.at(0.1)[0] == 0.0


def test_a_code_of_an_earlier_release_says_nothing_of_the_body():
    assert body_motion(np.zeros(mc.LENGTH), np.zeros(mc.LENGTH), False).still


def test_sliders_move_a_body_that_nobody_sees():
    for d in mc.DIRECTIONS:
        if d.group == "body":
            values = np.zeros(mc.LENGTH)
            values[d.index] = d.hi
            motion = body_motion(values, np.zeros(mc.LENGTH), False)
            assert motion.share == 0.0
            assert not motion.still


def test_a_portrait_does_not_go_farther_than_it_can():
    values = np.zeros(mc.LENGTH)
    values[mc.BODY] = (5.0, 9.0, -9.0, 9.0, 90.0, -90.0, 9.0, 9.0, 9.0, 9.0)
    motion = body_motion(values, np.zeros(mc.LENGTH), False)
    assert motion.share == 1.0
    assert (np.abs(motion.shift) <= (0.45, 0.22)).all()
    assert abs(motion.lean) <= 22
    assert abs(motion.turn) <= 30
    assert max(motion.raise_left, motion.raise_right) <= 0.22


def test_mirrored_shoulders_are_the_mirrored_codes():
    from realtime.engines.mesh.motion.mirror import mirror

    points = START + np.array([[12.0, -20.0], [9.0, 7.0]])
    flipped = (points * (-1, 1))[::-1]
    code, other = np.zeros(mc.LENGTH), np.zeros(mc.LENGTH)
    code[mc.BODY_X : mc.SHRUG], other[mc.BODY_X : mc.SHRUG] = entries(points, 8.0), entries(flipped, -8.0)
    np.testing.assert_allclose(mirror(code), other, atol=1e-12)


def test_the_head_goes_along_with_a_body_that_is_seen_as_far_as_its_neck_reaches():
    from realtime.engines.mesh.motion.retarget import SHIFT_LIMITS, Retargeter
    from tests.engines.mesh.test_retarget import driver, person, portrait

    own, reference = portrait(person(1)), driver(person(2)).astype(np.float64)
    retargeter = Retargeter(own)

    def head(**moved: float) -> tuple[float, float]:
        """How far the head goes, and how far before the body: face heights."""
        values = reference.copy()
        for name, amount in moved.items():
            values[getattr(mc, name)] += amount
        target = retargeter.target(values, reference)
        x = float((target.pose.translation - own.pose.translation)[0]) / own.pose.scale
        return x, x - float(target.body.shift[0])

    alone, _ = head(X=0.4)
    together, apart = head(X=0.4, BODY_X=0.4, BODY_SEEN=1.0)
    assert alone < together < 0.45
    assert apart == pytest.approx(0, abs=1e-9)
    assert head(X=0.9, BODY_SEEN=1.0)[1] < SHIFT_LIMITS[1][0]
    assert head(X=0.1)[0] == pytest.approx(0.1, abs=0.01)

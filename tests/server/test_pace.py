"""A full machine: all sessions get fewer pictures, evenly, and more again when there is room."""

from __future__ import annotations

from itertools import pairwise

import pytest

from realtime.server.hosting.frames import Driven
from realtime.server.hosting.gallery import Gallery
from realtime.server.hosting.hosted import Performer
from realtime.server.hosting.pace import BACK_S, Asked, Pace, Thinner
from realtime.server.places import Wish
from realtime.types import MotionCode
from tests.support.server import DotEngine, gallery, make_studio

GOOD, SHORT = Asked(30, 1), Asked(30, 6)


class Machine:
    """Makes so many pictures a second in all, whoever asks."""

    def __init__(self, capacity: float, sessions: int):
        self.pace, self.capacity, self.sessions, self.now = Pace(30.0), capacity, sessions, 0.0

    def run(self, seconds: int) -> list[float]:
        out = []
        for _ in range(seconds):
            self.now += 1.0
            rate = self.pace.held_to or 30.0
            each = min(rate, self.capacity / self.sessions)
            self.pace.look(self.now, [Asked(round(rate), round(rate - each))] * self.sessions)
            out.append(self.pace.held_to or 30.0)
        return out


def test_two_sessions_that_fit_are_left_alone():
    assert set(Machine(80, 2).run(60)) == {30.0}


def test_three_that_fit_at_24_get_24_and_no_less():
    machine = Machine(74, 3)
    assert machine.run(10)[-1] == 24.0
    assert min(machine.run(600)) == 24.0


def test_four_get_twenty_and_all_of_it():
    assert Machine(80, 4).run(15)[-1] == 20.0


def test_before_anyone_gets_fewer_pictures_all_do_without_what_is_missed_less():
    pace = Pace(30.0)
    for now in range(3):
        assert not pace.sparing
        pace.look(float(now), [SHORT] * 3)
    assert (pace.sparing, pace.held_to) == (True, None)
    for now in range(3, 3 + round(BACK_S)):
        pace.look(float(now), [GOOD] * 3)
        assert (pace.sparing, pace.held_to) == (True, None)
    pace.look(3 + BACK_S, [GOOD] * 3)
    assert not pace.sparing


def test_where_far_too_many_come_the_right_rate_is_found_at_once():
    assert Machine(48, 4).run(3) == [30.0, 30.0, 20.0]  # twelve a second each
    assert Machine(76, 4).run(3) == [30.0, 30.0, 24.0]
    assert Machine(92, 4).run(3) == [30.0, 30.0, 30.0]  # what is left out may be enough


def test_a_slow_camera_is_measured_by_what_it_asks_for():
    for cameras in ([Asked(20, 3)] * 3, [Asked(16, 3)] * 2 + [Asked(30, 2)], [Asked(24, 4)] * 2):
        pace = Pace(30.0)
        for now in range(3):
            pace.look(float(now), cameras)
        assert (pace.sparing, pace.held_to) == (True, None)


def test_the_best_of_the_seconds_that_were_short_decides():
    pace = Pace(30.0)
    for now, missed in enumerate([29, 7, 25]):  # the engine warms up
        pace.look(float(now), [Asked(30, missed)])
    assert (pace.sparing, pace.held_to) == (True, None)


def test_a_second_that_goes_wrong_lowers_nothing():
    pace = Pace(30.0)
    for now in range(60):
        pace.look(float(now), [SHORT if now % 4 == 0 else GOOD] * 3)
        assert pace.held_to is None


def test_attempts_to_go_back_become_rarer_and_are_few():
    rates = Machine(74, 3).run(900)
    raised = [k for k in range(1, len(rates)) if rates[k] > rates[k - 1]]
    assert 3 <= len(raised) <= 9
    gaps = [b - a for a, b in pairwise(raised)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 3 * BACK_S
    assert sum(rate == 30.0 for rate in rates) / len(rates) < 0.05


def test_when_somebody_leaves_the_others_get_more_soon():
    machine = Machine(80, 4)
    machine.run(300)
    machine.sessions = 2
    assert machine.run(40)[-1] == 30.0


@pytest.mark.hostile
def test_one_engine_that_hangs_slows_nobody_down():
    pace = Pace(30.0)
    for now in range(60):
        pace.look(float(now), [GOOD, GOOD, GOOD, Asked(30, 30)])
        assert pace.held_to is None


def test_slow_and_fast_cameras_are_no_measure():
    pace = Pace(30.0)
    for now in range(60):
        pace.look(float(now), [Asked(10, 3), Asked(60, 28)])  # ten a second; and thirty-two of sixty
        assert pace.held_to is None


def test_who_is_held_by_others_spares_too():
    pace = Pace(30.0)
    pace.agree(24.0)
    assert pace.sparing


def test_all_processes_of_a_machine_go_at_the_rate_of_the_slowest():
    pace = Pace(30.0)
    pace.agree(20.0)
    assert (pace.wanted, pace.held_to) == (30.0, 20.0)
    pace.agree(30.0)
    assert pace.held_to is None


@pytest.mark.parametrize("fps", [24.0, 20.0])
def test_what_is_let_through_is_even(fps):
    thinner = Thinner()
    thinner.keep_to(fps)
    through = [n / 30 for n in range(300) if thinner.take(n / 30)]
    assert len(through) == pytest.approx(10 * fps, abs=2)
    assert max(b - a for a, b in pairwise(through)) < 2.5 / 30


class Idle:
    """A pool that never comes to anything."""

    def wake(self, worker):
        pass


def test_a_performer_keeps_to_its_rate_and_tells_what_it_missed():
    performer = Performer(DotEngine(), Gallery(gallery()), Idle(), source="motion")
    performer.keep_to(20.0)
    for n in range(60):
        performer.offer(Driven(n / 30, n, code=MotionCode("mesh", performer.engine.portrait_code.values)))
    asked = performer.keep_to(None)
    assert asked.asked == pytest.approx(40, abs=2)
    assert asked.missed == asked.asked - 1  # nobody takes any: the newest waits
    assert performer.received == 60
    assert performer.dropped == 59
    assert performer.keep_to(None) == Asked(0, 0)
    performer.offer(Driven(9.0, 60, code=MotionCode("mesh", performer.engine.portrait_code.values)))
    assert performer.keep_to(None) == Asked(1, 1)


class Spare(DotEngine):
    """Has something to leave out."""

    sparing = False

    def spare(self, sparing: bool) -> None:
        self.sparing = sparing


class Peer:
    """A connection that has shown nothing yet."""

    codec = delay = None


def told_of(studio, session) -> tuple[float | None, bool, int]:
    """What the statistics tell the page of a full machine."""
    told = []
    session.peers.add(Peer())
    session.tell = told.append
    studio._tell_stats(session, 0.0)
    session.peers.clear()
    return told[0].held_to, told[0].sparing, told[0].sessions


async def test_all_sessions_are_told_and_held():
    studio = make_studio(engine=Spare)
    await studio.open()
    try:
        for _ in range(2):
            await studio.begin(Wish())
        studio.beside(3, 20.0)
        studio._keep_pace(0.0)
        for session in studio.sessions.values():
            assert session.performer._thinner.fps == 20.0
            assert session.performer.engine.sparing
            assert session.performer._viewers.sparing
        assert told_of(studio, session) == (20.0, True, 5)
        studio.beside(3, 30.0)
        studio._keep_pace(1.0)
        assert not any(session.performer.engine.sparing for session in studio.sessions.values())
        assert told_of(studio, session) == (None, False, 5)
    finally:
        await studio.close()

"""Engines made ahead."""

from __future__ import annotations

import threading

import pytest

from realtime.errors import EngineError
from realtime.server.serving import Spare
from tests.support import FakeEngine


class Maker:
    """Makes engines and says when one is warm."""

    def __init__(self) -> None:
        self.made: list[FakeEngine] = []
        self.warm = threading.Semaphore(0)
        self.broken = False

    def __call__(self) -> FakeEngine:
        if self.broken:
            raise EngineError("fake", "no memory")
        self.made.append(FakeEngine())
        return self.made[-1]

    def warmed(self, engine) -> None:
        engine.warm = True
        self.warm.release()


def test_the_spare_engine_is_made_anew_after_it_was_taken():
    maker = Maker()
    spare = Spare(maker, maker.warmed, later=0.0)
    spare.fill()
    spare.fill()
    assert len(maker.made) == 1
    assert maker.warm.acquire(timeout=10)
    assert spare() is maker.made[0]
    assert maker.warm.acquire(timeout=10)  # in the background
    while spare._ready is None:
        threading.Event().wait(0.005)
    second = spare()
    assert second is maker.made[1]
    assert second.warm
    spare.close()
    spare.close()
    assert not second.closed  # it belongs to its session
    assert all(engine.closed for engine in maker.made[2:])


def test_who_comes_before_the_spare_is_ready_gets_one_of_his_own():
    maker = Maker()
    spare = Spare(maker, maker.warmed, later=60.0)
    spare.fill()
    assert (spare(), spare()) == tuple(maker.made)
    spare.close()
    assert not any(engine.closed for engine in maker.made)


def test_a_spare_that_cannot_be_made_is_an_error_only_to_whom_it_concerns():
    maker = Maker()
    spare = Spare(maker, maker.warmed, later=60.0)
    maker.broken = True
    with pytest.raises(EngineError, match="no memory"):
        spare.fill()
    spare._refill()  # nobody waits for it
    with pytest.raises(EngineError, match="no memory"):
        spare()
    maker.broken = False
    assert spare() is maker.made[0]
    spare.close()


def test_an_engine_that_cannot_be_warmed_is_freed():
    maker = Maker()

    def warm(engine) -> None:
        raise EngineError("fake", "no face")

    with pytest.raises(EngineError, match="no face"):
        Spare(maker, warm).fill()
    assert maker.made[0].closed

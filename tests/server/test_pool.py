"""The threads that all sessions share: each in its turn, and no thread is woken for nothing."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

import pytest

from realtime.server.hosting.pool import Pool

STEPS = 40


class Walker:
    """Steps when it is woken; `step` is called in each."""

    def __init__(self, step: Callable[[], None] = lambda: None) -> None:
        self.taken = 0
        self.errors: list[Exception] = []
        self.stepped = threading.Semaphore(0)
        self._step = step

    def step(self) -> None:
        self.taken += 1
        try:
            self._step()
        finally:
            self.stepped.release()

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def wait(self) -> None:
        assert self.stepped.acquire(timeout=10)


@pytest.fixture
def pool():
    pool = Pool(threads=4)
    yield pool
    pool.close()


def test_one_that_has_ended_is_not_held_by_the_thread_that_served_it(pool):
    walker = Walker()
    pool.wake(walker)
    walker.wait()
    assert pool.forget(walker)
    gone = weakref.ref(walker)
    del walker
    until = time.monotonic() + 10
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.01)
    assert gone() is None


def test_one_thread_is_woken_for_one_worker(pool, monkeypatch):
    woken = []
    notify = threading.Condition.notify

    def counting(self, n=1):
        if self in (pool._due, pool._stepped):
            woken.append(min(n, len(self._waiters)))
        notify(self, n)

    monkeypatch.setattr(threading.Condition, "notify", counting)
    walker = Walker()
    for _ in range(STEPS):
        pool.wake(walker)
        walker.wait()
    assert pool.forget(walker)
    assert walker.taken == STEPS
    assert 1 <= sum(woken) <= STEPS + 1  # the one more: `forget`, where it waits for the last step's end


def test_what_is_woken_during_its_step_steps_once_more(pool):
    going, go_on = threading.Event(), threading.Event()

    def step():
        going.set()
        assert go_on.wait(10)

    walker = Walker(step)
    pool.wake(walker)
    assert going.wait(10)
    for _ in range(5):
        pool.wake(walker)
    go_on.set()
    walker.wait()
    walker.wait()
    assert pool.forget(walker)
    assert walker.taken == 2


def test_all_get_the_same_however_often_they_are_woken():
    pool = Pool(threads=1)
    order: list[str] = []
    gate = threading.Event()
    first = Walker(lambda: gate.wait(10))
    greedy, modest = Walker(lambda: order.append("greedy")), Walker(lambda: order.append("modest"))
    pool.wake(first)
    for _ in range(10):
        pool.wake(greedy)
    pool.wake(modest)
    gate.set()
    greedy.wait()
    modest.wait()
    pool.close()
    assert order == ["greedy", "modest"]


def test_forgetting_waits_for_the_step_it_is_in(pool):
    going, go_on = threading.Event(), threading.Event()

    def step():
        going.set()
        assert go_on.wait(10)

    walker = Walker(step)
    pool.wake(walker)
    assert going.wait(10)
    assert not pool.forget(walker, timeout=0.01)
    go_on.set()
    assert pool.forget(walker)
    assert walker.taken == 1


def test_a_failing_step_is_told_and_the_thread_goes_on(pool):
    def step():
        raise ValueError("broken on purpose")

    broken, sound = Walker(step), Walker()
    for _ in range(8):
        pool.wake(broken)
        broken.wait()
    pool.wake(sound)
    sound.wait()
    assert pool.forget(broken)
    assert all(isinstance(error, ValueError) for error in broken.errors)
    assert len(broken.errors) == broken.taken

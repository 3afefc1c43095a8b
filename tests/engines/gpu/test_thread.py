"""The thread that owns the device, with a device of so many bytes that is a number in this file."""

from __future__ import annotations

import asyncio
import threading

import pytest

from realtime.engines.gpu.thread import GpuThread
from realtime.errors import DeviceError


class OutOfMemoryError(RuntimeError):
    """As torch's and CuPy's are called."""


class FakeDevice:
    """Memory that runs out."""

    def __init__(self, size: int) -> None:
        self.size, self.used, self.cache_freed = size, 0, 0

    def take(self, amount: int) -> int:
        if self.used + amount > self.size:
            raise OutOfMemoryError(f"wanted {amount}, free {self.size - self.used}")
        self.used += amount
        return amount

    def give(self, amount: int) -> None:
        self.used -= amount

    def free_cache(self) -> None:
        self.cache_freed += 1


@pytest.fixture
def device():
    return FakeDevice(10)


@pytest.fixture
def gpu(device):
    with GpuThread(free_cache=device.free_cache) as thread:
        yield thread


def opened(gpu, device, name, amount):
    return gpu.open(name, lambda: device.take(amount), device.give).result(5)


def spike(device, amount):
    """Work that needs memory for a moment."""

    def work():
        device.give(device.take(amount))
        return amount

    return work


def test_all_work_runs_on_one_thread_in_order(gpu, device):
    session = opened(gpu, device, "a", 1)
    seen = []
    futures = [session.submit(lambda k=k: seen.append((k, threading.current_thread().name))) for k in range(20)]
    for future in futures:
        future.result(5)
    assert seen == [(k, "gpu") for k in range(20)]


def test_out_of_memory_sheds_the_newest_session_and_keeps_the_others(gpu, device):
    first, second, third = (opened(gpu, device, name, 3) for name in ("first", "second", "third"))
    assert first.submit(spike(device, 4)).result(5) == 4  # needs the third's memory
    assert gpu.sessions == ["first", "second"]
    assert device.cache_freed == 1
    with pytest.raises(DeviceError, match="session third, the newest, was closed to keep the others") as told:
        third.submit(lambda: 1).result(5)
    assert "--max-sessions" in str(told.value)
    assert second.submit(lambda: 2).result(5) == 2
    assert device.used == 6


def test_sheds_one_after_the_other_until_the_work_fits(gpu, device):
    first, second, third = (opened(gpu, device, name, 3) for name in ("first", "second", "third"))
    assert first.submit(spike(device, 7)).result(5) == 7
    assert gpu.sessions == ["first"]
    for lost in (second, third):
        with pytest.raises(DeviceError, match="out of memory"):
            lost.submit(lambda: 1).result(5)


def test_the_newest_session_that_asks_too_much_goes_itself(gpu, device):
    first, second = opened(gpu, device, "first", 3), opened(gpu, device, "second", 3)
    with pytest.raises(DeviceError, match="session second, the newest"):
        second.submit(spike(device, 5)).result(5)
    assert first.submit(spike(device, 5)).result(5) == 5
    assert device.used == 3


def test_a_session_that_does_not_fit_does_not_start(gpu, device):
    first = opened(gpu, device, "first", 8)
    with pytest.raises(DeviceError, match="session second, the newest"):
        opened(gpu, device, "second", 4)
    assert gpu.sessions == ["first"]
    assert first.submit(lambda: "still here").result(5) == "still here"


def test_work_queued_by_a_shed_session_fails_too(gpu, device):
    first, second = opened(gpu, device, "first", 3), opened(gpu, device, "second", 3)
    gate = threading.Event()
    gpu.submit(gate.wait)
    big = first.submit(spike(device, 6))
    queued = [second.submit(lambda: 1) for _ in range(3)]
    gate.set()
    assert big.result(5) == 6
    for future in queued:
        with pytest.raises(DeviceError):
            future.result(5)


def test_other_errors_reach_only_their_caller(gpu, device):
    session = opened(gpu, device, "a", 1)
    with pytest.raises(ZeroDivisionError):
        session.submit(lambda: 1 // 0).result(5)
    with pytest.raises(OutOfMemoryError):
        gpu.submit(spike(device, 99)).result(5)
    assert session.submit(lambda: 1).result(5) == 1


def test_closing_gives_back_once_and_in_order(device):
    gpu = GpuThread(free_cache=device.free_cache)
    session = opened(gpu, device, "a", 4)
    session.close()
    session.close()
    assert device.used == 0
    opened(gpu, device, "b", 4)
    gpu.close()
    gpu.close()
    assert device.used == 0
    with pytest.raises(DeviceError, match="thread has ended"):
        gpu.submit(lambda: 1).result(5)


def test_a_release_that_fails_does_not_stop_the_thread(gpu):
    def fail(value):
        raise RuntimeError("no")

    gpu.open("bad", lambda: 1, fail).result(5).close()
    assert gpu.submit(lambda: 7).result(5) == 7


async def test_the_event_loop_goes_on_while_the_device_works(gpu, device):
    session = opened(gpu, device, "a", 1)
    gate = threading.Event()
    future = asyncio.wrap_future(session.submit(lambda: gate.wait(5)))
    turns = 0
    while turns < 50:
        await asyncio.sleep(0)
        turns += 1
    assert not future.done()
    gate.set()
    assert await future is True

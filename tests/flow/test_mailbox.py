"""Newest-only slots and ordered channels."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from realtime.flow.mailbox import Channel, Closed, Mailbox, Slot
from tests.support import until


def test_a_slot_holds_the_newest_item_and_counts_what_it_replaced() -> None:
    slot: Slot[int] = Slot()
    assert slot.take() is None
    assert [slot.put(n) for n in (1, 2, 3)] == [None, 1, 2]
    assert (slot.take(), slot.take(), slot.dropped) == (3, None, 2)


def test_a_mailbox_tells_what_it_dropped() -> None:
    dropped: list[int] = []
    box: Mailbox[int] = Mailbox(dropped.append)
    for n in range(5):
        assert box.put(n)
    assert box.get(0) == 4
    assert dropped == [0, 1, 2, 3]
    assert box.dropped == 4
    assert box.get(0) is None


def test_a_closed_mailbox_gives_what_it_holds_and_then_ends() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.close()
    box.close()
    assert not box.put(2)
    assert box.get() == 1
    with pytest.raises(Closed):
        box.get()


@pytest.mark.parametrize("make", [Mailbox, Channel])
def test_a_waiting_thread_is_woken_by_an_item_and_by_closing(make) -> None:
    box = make()
    got: list[object] = []

    def taker() -> None:
        got.append(box.get())
        try:
            box.get()
        except Closed:
            got.append("closed")

    thread = threading.Thread(target=taker)
    thread.start()
    box.put("item")
    until(lambda: got == ["item"])
    box.close()
    thread.join(5)
    assert got == ["item", "closed"]


def test_the_event_loop_can_wait_for_a_mailbox() -> None:
    box: Mailbox[int] = Mailbox()

    async def scenario() -> None:
        assert await box.aget(timeout=0.01) is None
        threading.Timer(0.02, lambda: box.put(7)).start()
        assert await asyncio.wait_for(box.aget(), 5) == 7
        threading.Timer(0.02, box.close).start()
        with pytest.raises(Closed):
            await asyncio.wait_for(box.aget(), 5)

    asyncio.run(scenario())


def test_a_channel_keeps_order_and_makes_the_writer_wait() -> None:
    channel: Channel[int] = Channel(capacity=2)
    written: list[int] = []

    def writer() -> None:
        for n in range(6):
            channel.put(n)
            written.append(n)

    thread = threading.Thread(target=writer)
    thread.start()
    until(lambda: written == [0, 1])
    time.sleep(0.05)
    assert written == [0, 1], "it does not wait"
    assert [channel.get() for _ in range(6)] == list(range(6))
    thread.join(5)
    channel.close()
    assert not channel.put(9)


def test_closing_a_full_channel_frees_its_writer() -> None:
    channel: Channel[int] = Channel(capacity=1)
    channel.put(1)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(channel.put(2)))
    thread.start()
    time.sleep(0.02)
    channel.close()
    thread.join(5)
    assert results == [False]
    assert channel.get() == 1


async def test_an_event_loop_is_woken_without_the_lock_before_which_it_would_stand(monkeypatch) -> None:
    box: Mailbox[int] = Mailbox()
    loop = asyncio.get_running_loop()
    held: list[bool] = []
    woken = loop.call_soon_threadsafe

    def wake(*args: object) -> object:
        held.append(box._changed._is_owned())
        return woken(*args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
    waiting = asyncio.create_task(box.aget())
    await asyncio.sleep(0)
    box.put(1)
    assert await waiting == 1
    ending = asyncio.create_task(box.aget())
    await asyncio.sleep(0)
    box.close()
    with pytest.raises(Closed):
        await ending
    assert held == [False, False]
    assert box._waiters == []


async def test_a_wait_that_was_given_up_leaves_nothing_behind() -> None:
    box: Mailbox[int] = Mailbox()
    assert await box.aget(0.01) is None
    waiting = asyncio.create_task(box.aget())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert box._waiters == []
    box.put(1)
    assert await box.aget() == 1

"""What lies between two stages: a slot for the newest item (live), or a short ordered queue (nothing dropped).

`Slot` is the rule alone: no lock, no thread. `Mailbox` and `Channel` share one interface, so that the same stages
run live (an old item is worth nothing: replace it and count it) and offline (every item counts: wait for room).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The mailbox is closed and empty: nothing more will come."""


class Slot(Generic[T]):
    """Holds the newest item only. Counts what it replaced. Not thread-safe."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self.dropped = 0
        """Items that were replaced before anyone took them."""

    def put(self, item: T) -> T | None:
        """Store `item`; give back the one that it replaced, or None."""
        replaced = self.take()
        if replaced is not None:
            self.dropped += 1
        self._items.append(item)
        return replaced

    def take(self) -> T | None:
        """Remove and give the item, None when there is none."""
        return self._items.pop() if self._items else None

    def __len__(self) -> int:
        return len(self._items)


class Box(Protocol[T]):
    """The interface of `Mailbox` and `Channel`. Every method may be called from any thread."""

    def put(self, item: T) -> bool:
        """Store `item`. False when the box is closed and the item was not stored."""

    def get(self, timeout: float | None = None) -> T | None:
        """Wait for an item. None after `timeout` seconds. Raises Closed."""

    def close(self) -> None:
        """No more items are stored; those inside may still be taken. Safe to call twice."""


class Mailbox(Generic[T]):
    """Newest-only slot between two threads, or between a thread and an event loop.

    `put` never blocks. `on_drop` is called, outside the lock, with each item that a newer one replaced.
    """

    def __init__(self, on_drop: Callable[[T], None] | None = None) -> None:
        self._slot: Slot[T] = Slot()
        self._changed = threading.Condition()
        self._closed = False
        self._on_drop = on_drop
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def dropped(self) -> int:
        """Items replaced before anyone took them."""
        return self._slot.dropped

    def put(self, item: T) -> bool:
        with self._changed:
            if self._closed:
                return False
            replaced = self._slot.put(item)
            waiters = self._wake()
        _resolve_each(waiters)
        if replaced is not None and self._on_drop is not None:
            self._on_drop(replaced)
        return True

    def get(self, timeout: float | None = None) -> T | None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._slot) or self._closed, timeout)
            item = self._slot.take()
            if item is None and self._closed:
                raise Closed
            return item

    async def aget(self, timeout: float | None = None) -> T | None:
        """`get` for an event loop. None after `timeout` seconds. Raises Closed."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            with self._changed:
                item = self._slot.take()
                if item is not None:
                    return item
                if self._closed:
                    raise Closed
                waiter = loop.create_future()
                self._waiters.append((loop, waiter))
            try:
                await asyncio.wait_for(waiter, None if deadline is None else max(0.0, deadline - loop.time()))
            except TimeoutError:
                return None
            finally:
                if not waiter.done() or waiter.cancelled():  # else `_wake` has taken it out
                    with self._changed:
                        self._waiters = [w for w in self._waiters if w[1] is not waiter]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            waiters = self._wake()
        _resolve_each(waiters)

    def _wake(self) -> list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]:
        """Wake the threads that wait. The event loops' waiters are given back, to be resolved without the lock: a
        loop that wakes would stand before it."""
        self._changed.notify_all()
        waiters, self._waiters = self._waiters, []
        return waiters


class Channel(Generic[T]):
    """Ordered queue with room for `capacity` items: `put` waits for room, so nothing is dropped."""

    dropped = 0

    def __init__(self, capacity: int = 4) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: len(self._items) < self._capacity or self._closed)
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T | None:
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._closed:
                raise Closed
            return None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _resolve_each(waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]]) -> None:
    for loop, waiter in waiters:
        loop.call_soon_threadsafe(_resolve, waiter)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)

"""The far side of `processes`: a process that hosts a studio, and ends with the process that started it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from realtime.cluster.cards import Card, DirectoryLost, NodeLost
from realtime.cluster.host import Host, roll_of
from realtime.cluster.links import Reply, replied
from realtime.cluster.pipe import Pipe
from realtime.errors import AvatarError
from realtime.flow.memory import few_arenas, settle
from realtime.flow.threads import SWITCH_SECONDS
from realtime.server.serving import allow_many_files

if TYPE_CHECKING:
    from realtime.server.places.here import Studio

log = logging.getLogger(__name__)

ASKED = frozenset({"begin", "call", "drive", "health", "metrics", "next_picture", "shut", "take", "watch"})
"""What the front may ask for."""


BESIDE_S = 1.0


class Setup(Protocol):
    """How a worker's studio is made. Travels to its process, so it is plain data and functions of modules."""

    def open(self, slots: int) -> AbstractContextManager[Studio]:
        """The studio, warm."""


class SharedTurnstile:
    """Half-open peers, counted by the front for all workers."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    async def take(self, client: str) -> bool:
        """True where `client` got a place; it is given back with `leave`."""
        asking = asyncio.create_task(self._enter(client))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:  # who offered has gone, and the front may have said yes by now
            asking.add_done_callback(partial(self._give_back, client))
            raise

    async def _enter(self, client: str) -> bool:
        with contextlib.suppress(ConnectionError):
            return bool(await self._pipe("enter", client))
        return False

    def _give_back(self, client: str, asked: asyncio.Task[bool]) -> None:
        if not asked.cancelled() and asked.exception() is None and asked.result():
            self.leave(client)

    def leave(self, client: str) -> None:
        """One is free again."""
        with contextlib.suppress(ConnectionError):
            self._pipe.tell("leave", client)


def work(setup: Setup, card: Card, sock: socket.socket) -> None:
    """What the process does. Ctrl-C and SIGTERM, which a terminal or a service manager sends to all processes at
    once, are left to the front: it ends its workers by closing the socket, or by its own end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the processes that it starts would inherit
    if hasattr(signal, "pthread_sigmask"):  # see `processes.spawn`
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.setswitchinterval(SWITCH_SECONDS)
    few_arenas()  # before there are threads
    allow_many_files()
    asyncio.run(Worker(card).run(setup, sock))


class Worker:
    """One run of a worker."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self._host: Host | None = None
        self._pipe = Pipe(self._answer)

    async def run(self, setup: Setup, sock: socket.socket) -> None:
        """Until the front is gone, or the studio cannot be made, which the front is told."""
        await self._pipe.open(sock)
        listening = asyncio.create_task(self._pipe.run())
        listening.add_done_callback(self._alone)
        async with contextlib.AsyncExitStack() as stack:
            try:
                context = setup.open(self.card.slots)
                studio = await asyncio.to_thread(context.__enter__)
                stack.push_async_callback(asyncio.to_thread, context.__exit__, None, None, None)
                studio.share_half_open(SharedTurnstile(self._pipe))
                host = Host(studio, lambda: roll_of(studio, time.monotonic()), self.card, self._directory)
                await host.open()
            except AvatarError as error:
                listening.remove_done_callback(self._alone)
                with contextlib.suppress(ConnectionError):
                    await self._pipe("failed", (await replied(_raise, error)).error)
                return
            self._host = host
            beside = asyncio.create_task(self._keep_beside(studio))
            stack.callback(beside.cancel)
            stack.push_async_callback(host.close)
            settle()
            await listening

    def _alone(self, _: object) -> None:
        """The front is gone. What is not there yet has nothing to end, and is not waited for."""
        if self._host is None:
            os._exit(0)

    async def _keep_beside(self, studio: Studio) -> None:
        """Tell the front what rate these sessions can have, and hear of the others, once a second."""
        with contextlib.suppress(ConnectionError):
            while True:
                studio.beside(*await self._pipe("beside", studio.pace.wanted))
                await asyncio.sleep(BESIDE_S)

    async def _directory(self, what: str, *args: Any) -> Any:
        """See `links.Ask`."""
        try:
            return await self._pipe("directory", what, *args)
        except ConnectionError as error:
            raise DirectoryLost from error

    async def _answer(self, what: str, *args: Any) -> Reply:
        if what not in ASKED:
            raise ValueError(f"no front may ask a worker to {what!r}")
        if self._host is None:
            return Reply(error=NodeLost(self.card.name))
        return await replied(getattr(self._host, what), *args)


def _raise(error: Exception) -> None:
    raise error

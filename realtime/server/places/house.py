"""What all parts of the place in this process share: its sessions with their book, and the clock."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

from realtime.flow.memory import give_back
from realtime.server.common.limits import Limits
from realtime.server.common.metrics import PlaceMetrics
from realtime.server.common.sessions import Book, End, Right
from realtime.server.hosting.player import Player
from realtime.server.places import NotAllowed, UnknownSession
from realtime.server.places.session import Session

TIDY_S = 15.0
"""Seconds from a session's end until what it left behind is looked for: its connections are over then. aiortc's hold
themselves in circles, and with them encoders and decoders: megabytes that Python's count of objects does not see."""


class House:
    """The sessions of one place. panel: what all of them show and steer, in place of an avatar each. All methods are
    called on the event loop."""

    def __init__(self, limits: Limits, clock: Callable[[], float], panel: Player | None) -> None:
        self.limits, self.now, self.panel = limits, clock, panel
        self.book = Book(limits)
        self.sessions: dict[str, Session] = {}
        self.metrics = PlaceMetrics(self)
        self._going: set[asyncio.Task[None]] = set()
        self._littered: float | None = None

    @property
    def performers(self) -> list[Player]:
        """All that play an avatar now; the panel's is one, however many have it open."""
        if self.panel is not None:
            return [self.panel]
        return [session.performer for session in self.sessions.values()]

    @property
    def peers(self) -> int:
        """WebRTC connections now."""
        return sum(len(session.peers) for session in self.sessions.values())

    def get(self, key: str, right: Right, *, leaving: bool = False) -> Session:
        """The session, marked as alive unless its caller is `leaving`. Raises UnknownSession, NotAllowed."""
        entry, may = self.book.find(key) or (None, Right.WATCH)
        session = self.sessions.get(entry.id) if entry else None
        if session is None:
            raise UnknownSession
        if may < right:
            raise NotAllowed
        if not leaving:
            self.book.touch(session.id, self.now())
        return session

    async def end(self, id: str, why: End) -> None:
        """End a session and free all it held. Does nothing where it has ended before."""
        session = self.sessions.pop(id, None)
        if session is None or not self.book.end(id, why):
            return
        await session.hang_up(why)
        if self.panel is None:
            self.metrics.keep(session.performer)
        await asyncio.to_thread(session.performer.close)
        self._littered = self._littered or self.now()

    def tidy(self) -> None:
        """Look for what ended sessions have left behind, where it is time to."""
        if self._littered is not None and self.now() - self._littered >= TIDY_S:
            self._littered = None
            if gc.get_freeze_count():  # a few ms, for what was there at the start is left out, see `settle`
                gc.collect()
            asyncio.get_running_loop().run_in_executor(None, give_back)

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it be done; `close` waits for it."""
        task = asyncio.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def close(self) -> None:
        """End all sessions, and wait for what was to be done soon."""
        await asyncio.gather(*(self.end(id, End.SHUTDOWN) for id in list(self.sessions)))
        if self._going:
            await asyncio.gather(*self._going, return_exceptions=True)

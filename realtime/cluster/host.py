"""A machine's side: it hosts a place, tells the directory what is in it, and does what the fronts ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from realtime.cluster.cards import (
    Card,
    DirectoryLost,
    ForgedNode,
    Held,
    NameTaken,
    NotJoined,
    OtherTenant,
    WrongVersion,
)
from realtime.cluster.directory import BEAT_S, LEASE_S
from realtime.cluster.links import Ask
from realtime.errors import AvatarError
from realtime.server.common import messages
from realtime.server.common.sessions import End, Entry
from realtime.server.places import Health, Line, LineOver, Offered, Opened, Place, UnknownSession, Wish
from realtime.server.places.here import Studio

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often it is looked whether sessions have ended by themselves."""
FORGOTTEN_S = 60.0
"""A motion client's line, or a stream of pictures, that nobody has asked for so long is closed: its front is gone."""
PASSED_ON = frozenset(
    {
        "add_background",
        "add_portrait",
        "add_view",
        "answer",
        "control",
        "end",
        "hang_up",
        "hello",
        "look",
        "picture",
        "remove_portrait",
        "remove_view",
        "renew",
    }
    | {"trickle", "withdraw"}
)
"""Methods of a `Place` whose first argument is a key, and which a front may ask for as they are."""


@dataclass(slots=True)
class _Open:
    """A line or a stream that a front uses. used: when it was asked for last."""

    key: str
    used: float
    line: Line | None = None
    context: AbstractAsyncContextManager[Line] | None = None
    pictures: AsyncIterator[bytes] | None = None


def roll_of(studio: Studio, now: float) -> Iterable[tuple[Entry, bool, bool]]:
    """The sessions of a studio, whether each lingers, and whether it yields, see `Held`. now: on its clock."""
    for entry in list(studio.book.entries.values()):
        session = studio.sessions.get(entry.id)
        lingers = session is not None and session.lingers
        late = not entry.connected and now - entry.seen >= studio.terms.limits.unmet_s
        yield entry, lingers, lingers or late


class Host:
    """One node. All methods are called on one event loop.

    roll: the sessions that the place has now. failure: why the directory does not take this node, for good."""

    def __init__(
        self,
        place: Place,
        roll: Callable[[], Iterable[tuple[Entry, bool, bool]]],
        card: Card,
        directory: Ask,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place, self.card = place, card
        self.failure: AvatarError | None = None
        self._roll, self._directory, self._clock = roll, directory, clock
        self._began = clock()
        self._origins: dict[str, tuple[str, str]] = {}  # session: tenant, ticket
        self._told: tuple[Held, ...] | None = None
        self._told_at = float("-inf")
        self._telling = asyncio.Lock()
        self._drain_at: float | None = None
        self._open: dict[str, _Open] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to work, and join the cluster."""
        await self.place.open()
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """End all sessions. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            with contextlib.suppress(AvatarError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._directory("leave", self.card.name, self.card.run)
        await self.place.close()

    @property
    def joined(self) -> bool:
        """The directory knows of it."""
        return self._told is not None

    # --- what fronts ask for

    async def begin(self, tenant: str, ticket: str, wish: Wish, offer: Offered | None) -> Opened:
        """Open a session, see `Place.begin`. The directory knows of it before the front does."""
        opened = await self.place.begin(wish, offer)
        self._origins[opened.keys.id] = (tenant, ticket)
        await self._tell_soon()
        return opened

    async def call(self, tenant: str, what: str, key: str, *args: Any) -> Any:
        """Any method of `PASSED_ON`. Raises what it raises, OtherTenant."""
        if what not in PASSED_ON:
            raise ValueError(f"no front may ask for {what!r}")
        self._check(tenant, key)
        try:
            return await getattr(self.place, what)(key, *args)
        finally:
            if what in {"end", "renew", "withdraw"}:
                await self._tell_soon()

    async def drive(self, tenant: str, key: str) -> tuple[str, messages.Hello]:
        """Open a motion client's line: its id, and the greeting."""
        self._check(tenant, key)
        context = self.place.drive(key)
        line = await context.__aenter__()
        return self._keep_open(_Open(key, self._clock(), line=line, context=context)), line.hello

    async def take(self, id: str, data: bytes | str) -> str | None:
        """What a motion client sends. Raises LineOver."""
        line = self._opened(id).line
        assert line is not None
        return await line.take(data)

    async def watch(self, tenant: str, key: str) -> str:
        """Open a stream of pictures: its id."""
        self._check(tenant, key)
        return self._keep_open(_Open(key, self._clock(), pictures=await self.place.pictures(key)))

    async def next_picture(self, id: str) -> bytes | None:
        """The next JPEG picture; None where there will be none."""
        pictures = self._opened(id).pictures
        assert pictures is not None
        return await anext(pictures, None)

    async def shut(self, id: str) -> None:
        """Close a line or a stream. Safe to call twice."""
        opened = self._open.pop(id, None)
        if opened is None:
            return
        if opened.context is not None:
            await opened.context.__aexit__(None, None, None)
        if opened.pictures is not None and hasattr(opened.pictures, "aclose"):
            with contextlib.suppress(RuntimeError):  # its next picture is being waited for
                await opened.pictures.aclose()

    async def metrics(self) -> bytes:
        """Prometheus text of this node alone."""
        return await self.place.metrics()

    async def health(self) -> Health:
        """How this node is."""
        return await self.place.health()

    # --- inside

    def _check(self, tenant: str, key: str) -> None:
        for held in self._held():
            if key in {held.keys.id, held.keys.view, held.keys.drive} and held.tenant != tenant:
                raise OtherTenant

    def _keep_open(self, opened: _Open) -> str:
        id = secrets.token_urlsafe(12)
        self._open[id] = opened
        return id

    def _opened(self, id: str) -> _Open:
        opened = self._open.get(id)
        if opened is None:
            raise LineOver("the session has ended")
        opened.used = self._clock()
        return opened

    def _held(self) -> tuple[Held, ...]:
        out = []
        for entry, lingers, yields in self._roll():
            if origin := self._origins.get(entry.id):  # else it is still being opened
                out.append(Held(entry.keys, *origin, entry.lasting, lingers, yields))
        return tuple(out)

    async def _tell_soon(self) -> None:
        """The directory is told; where it does not answer, later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._tell()

    async def _tell(self) -> None:
        async with self._telling:
            held, card = self._held(), self.card
            try:
                if self._told is None:
                    left = None if self._drain_at is None else max(0.0, self._drain_at - self._clock())
                    await self._directory("join", card, held, (), left)
                else:
                    changed = held if held != self._told else None
                    orders = await self._directory("report", card.name, card.run, changed)
                    self._drain_at = None if orders.drain_in is None else self._clock() + orders.drain_in
                self._told, self._told_at = held, self._clock()
            except NotJoined:
                self._told = None
            except NameTaken as error:  # it may be ours, from before
                self.failure = error if self._clock() - self._began > 2 * LEASE_S else None
            except (ForgedNode, WrongVersion) as error:
                self.failure = error
            except DirectoryLost as error:
                log.info("%s", error)
                self._told_at = self._clock()

    async def _keep(self) -> None:
        """Report, follow orders, and close what fronts have left behind, whatever happens meanwhile."""
        while self.failure is None:
            try:
                await self._look_after()
            except Exception:
                log.exception("unforeseen")
            await asyncio.sleep(LOOK_S)

    async def _look_after(self) -> None:
        now = self._clock()
        self._origins = {id: o for id, o in self._origins.items() if id in {entry.id for entry, *_ in self._roll()}}
        if self._told is None or self._held() != self._told or now - self._told_at >= BEAT_S:
            await self._tell()
        if self._drain_at is not None and now >= self._drain_at:
            await self._move()
        for id in [id for id, opened in self._open.items() if now - opened.used > FORGOTTEN_S]:
            await self.shut(id)

    async def _move(self) -> None:
        """Each session ends with the hint to offer again."""
        for held in self._held():
            with contextlib.suppress(UnknownSession):
                await self.place.end(held.keys.id, End.MOVED)

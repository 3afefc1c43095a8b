"""A place without engines, threads or connections: what the HTTP face needs of one, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from realtime.errors import UnknownName
from realtime.server.common import messages
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Behind, Book, End, Entry, Keys, Right
from realtime.server.places import (
    Answered,
    Health,
    LineOver,
    NotAllowed,
    Offered,
    Opened,
    Terms,
    Trickled,
    UnknownSession,
    Wish,
)
from realtime.server.rtc.sdp import check_offer

PICTURE = b"\xff\xd8 a small picture \xff\xd9"


class FakeLine:
    """Echoes what a control message is; counts packets."""

    def __init__(self, place: FakePlace, key: str) -> None:
        self.place, self.hello = place, place.state(key)

    async def take(self, data: bytes | str) -> str | None:
        if isinstance(data, bytes):
            self.place.packets.append(data)
            if data == b"bad":
                raise LineOver("no packet", fault=True)
            return None
        return messages.Pong(t=messages.parse(data).t).model_dump_json()


class FakePlace:
    """Keeps books, and remembers what came."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.book = Book(limits or Limits())
        self.portraits: dict[str, list[messages.PortraitInfo]] = {}
        self.offers: list[Offered] = []
        self.uploads: list[bytes] = []
        self.packets: list[bytes] = []
        self.peers: set[str] = set()
        self.ice_servers: tuple[dict[str, str], ...] = ()

    @property
    def terms(self) -> Terms:
        return Terms(self.book.limits, ice_servers=self.ice_servers)

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        self.book.entries.clear()

    async def health(self) -> Health:
        return Health(
            status="ok",
            version="fake",
            sessions=len(self.book.entries),
            max_sessions=self.book.limits.sessions,
        )

    async def metrics(self) -> bytes:
        return b"avatar_sessions 0.0\n"

    def entry(self, key: str, right: Right) -> Entry:
        found = self.book.find(key)
        if found is None:
            raise UnknownSession
        if found[1] < right:
            raise NotAllowed
        return found[0]

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        if offer is not None:
            check_offer(offer.sdp)
        entry = self.book.admit(0.0, wish.profile)
        self.portraits[entry.id] = []
        return Opened(keys=entry.keys, answer=await self.answer(entry.id, offer) if offer else None)

    async def end(self, key: str, why: End, linger: bool = False) -> None:
        self.book.end(self.entry(key, Right.CONTROL).id, why)

    def state(self, key: str) -> messages.Hello:
        entry = self.entry(key, Right.DRIVE)
        state = messages.State(
            portrait="one",
            edits={},
            paused=False,
            mirror=True,
            background="original",
            source="camera",
            calibrated=False,
            face="waiting",
        )
        return messages.Hello(
            session=key,
            engine="fake",
            device="far",
            size=64,
            fps=30.0,
            panel=False,
            directions=[],
            portraits=self.portraits[entry.id],
            state=state,
            view=f"/view/{entry.keys.view}",
            views=4,
        )

    async def hello(self, key: str) -> messages.Hello:
        return self.state(key)

    async def answer(self, key: str, offer: Offered) -> Answered:
        self.entry(key, Right.WATCH)
        check_offer(offer.sdp)
        self.offers.append(offer)
        peer = f"peer{len(self.offers)}"
        self.peers.add(peer)
        return Answered(sdp="v=0\r\n", peer=peer, etag='"ice"')

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        self.entry(key, Right.WATCH)
        return Trickled.TAKEN if etag == '"ice"' else Trickled.OTHER_ETAG

    async def hang_up(self, key: str, peer: str) -> bool:
        self.entry(key, Right.WATCH)
        here = peer in self.peers
        self.peers.discard(peer)
        return here

    async def control(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        state = self.state(key).state
        return messages.Pong(t=command.t) if isinstance(command, messages.Ping) else state

    async def add_background(self, key: str, data: bytes) -> messages.BackgroundInfo:
        self.entry(key, Right.CONTROL)
        self.uploads.append(data)
        return messages.BackgroundInfo(moving=False, seconds=0.0, cut=False)

    async def look(self, key: str, data: bytes) -> messages.Look:
        self.entry(key, Right.CONTROL)
        return messages.Look(image="data:image/jpeg;base64,", width=64, height=64, turned=False, faces=[])

    async def add_portrait(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        entry = self.entry(key, Right.CONTROL)
        self.uploads.append(data)
        info = messages.PortraitInfo(
            id="own", title=title, image=f"/api/sessions/{key}/portraits/own.jpg", uploaded=True
        )
        self.portraits[entry.id].append(info)
        return info

    async def remove_portrait(self, key: str, portrait: str) -> None:
        own = self.portraits[self.entry(key, Right.CONTROL).id]
        await self.picture(key, portrait)
        own[:] = [info for info in own if info.id != portrait]

    async def add_view(self, key: str, portrait: str, data: bytes) -> messages.PortraitInfo:
        await self.picture(key, portrait)
        self.uploads.append(data)
        own = self.portraits[self.entry(key, Right.CONTROL).id]
        found = next(info for info in own if info.id == portrait)
        found.views.append(f"view{len(found.views)}")
        return found

    async def remove_view(self, key: str, portrait: str, view: str) -> None:
        await self.picture(key, portrait)
        own = self.portraits[self.entry(key, Right.CONTROL).id]
        found = next(info for info in own if info.id == portrait)
        if view not in found.views:
            raise UnknownName("view", view, found.views)
        found.views.remove(view)

    async def picture(self, key: str, portrait: str) -> bytes:
        own = [info.id for info in self.portraits[self.entry(key, Right.CONTROL).id]]
        if portrait not in own:
            raise UnknownName("portrait", portrait, own)
        return PICTURE

    async def pictures(self, key: str) -> AsyncIterator[bytes]:
        self.entry(key, Right.WATCH)

        async def three() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield PICTURE

        return three()

    @contextlib.asynccontextmanager
    async def drive(self, key: str) -> AsyncIterator[FakeLine]:
        yield FakeLine(self, key)

    async def renew(self, key: str, profile: str | None) -> Keys:
        return self.book.renew(self.entry(key, Right.CONTROL).id, profile)

    async def withdraw(self, key: str) -> None:
        self.book.withdraw(self.entry(key, Right.CONTROL).id)

    async def behind(self, link: str) -> Behind:
        return self.book.behind(link)

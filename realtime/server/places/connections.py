"""WebRTC connections of all sessions: half-open until they stand, and over in one place."""

from __future__ import annotations

import asyncio
from functools import partial

from realtime.server.common import messages
from realtime.server.common.limits import Places
from realtime.server.common.sessions import End, Right
from realtime.server.places import Answered, Busy, Offered, TooManyViewers, Trickled, UnknownSession
from realtime.server.places.control import Controls
from realtime.server.places.house import House
from realtime.server.places.lines import Packets
from realtime.server.places.session import HalfOpen, OwnTurnstile, Session, Turnstile
from realtime.server.rtc.peer import Peer, RtcSettings
from realtime.server.rtc.trickle import parse_fragment


class Connections:
    """Answers offers, and ends what is over. half_open: the places of those that have not connected; as `rtc`, it may
    be replaced before the first session."""

    def __init__(self, house: House, controls: Controls, rtc: RtcSettings) -> None:
        self._house, self._controls, self.rtc = house, controls, rtc
        places = Places(house.limits.half_open, house.limits.half_open_each)
        self.half_open: Turnstile = OwnTurnstile(places)

    async def answer(self, session: Session, offer: Offered, guest: bool = False) -> Answered:
        """One connection more. Raises BadOffer, TooManyViewers, Busy."""
        house = self._house
        if session.watchers >= house.limits.viewers:
            raise TooManyViewers
        if not await self.half_open.take(offer.client):
            raise Busy("Too many connections are being made")
        if house.sessions.get(session.id) is not session:  # it ended meanwhile
            self.half_open.leave(offer.client)
            raise UnknownSession
        packets = None if guest or not offer.publishes else Packets(session, house.limits.packets_per_s)
        peer = Peer(
            session.performer,
            self.rtc,
            publishes=offer.publishes,
            watches=offer.watches,
            background=offer.background,
            voice=session.voice,
            message=lambda text, peer: self._controls.heard(session, peer, text),
            packet=None if packets is None else partial(self._packet, session, packets),
            up=lambda peer: self._on_up(session, peer),
            down=lambda peer: self._on_down(session, peer),
            greet=lambda peer: self._controls.greet(session, peer),
        )
        session.enter(peer, HalfOpen(offer.client, house.now() + house.limits.half_open_s), guest)
        try:
            return Answered(sdp=await peer.answer(offer.sdp), peer=peer.id, etag=f'"{peer.id}"')
        except BaseException:  # a cancelled offer as well: its ports are closed
            session.forget(peer)
            house.soon(peer.close())
            raise

    def _packet(self, session: Session, packets: Packets, data: bytes) -> str | None:
        self._house.book.touch(session.id, self._house.now())
        return packets.take(data, self._house.now())

    def _on_up(self, session: Session, peer: Peer) -> None:
        if peer not in session.peers:  # it was given up meanwhile: nobody would count its end
            return
        session.settle([peer])
        self._house.book.attach(session.id, self._house.now())
        if peer.watches and session.watchers > self._house.limits.viewers:  # others were quicker
            self._house.soon(self.drop(session, peer))

    def _on_down(self, session: Session, peer: Peer) -> None:
        if peer not in session.peers:
            return
        session.forget(peer)
        if peer.connected:
            self._house.book.detach(session.id, self._house.now())
        self._house.soon(peer.close())
        if peer.publishes and peer.channel is not None and not session.controlling:
            if session.guests and not session.shared:
                self.linger(session)
            else:
                self._house.soon(self._house.end(session.id, End.DISCONNECTED))

    @staticmethod
    def linger(session: Session) -> None:
        """Let the portrait idle for those who watch."""
        session.lingers = True
        session.performer.command(messages.ChooseSource(type="source", source="camera"))  # which brings nothing

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        """More candidates for a connection (peer None: the one that publishes). Raises BadOffer."""
        session = self._house.get(key, Right.CONTROL if peer is None else Right.WATCH)
        wanted = [other for other in session.peers if (other.publishes if peer is None else other.id == peer)]
        if not wanted:
            return Trickled.NO_PEER
        found = next((other for other in wanted if etag == f'"{other.id}"'), None)
        if found is None:
            return Trickled.RESTART if etag == "*" else Trickled.OTHER_ETAG
        return Trickled.TAKEN if await found.trickle(parse_fragment(fragment)) else Trickled.RESTART

    async def hang_up(self, key: str, peer: str) -> bool:
        """Close a watcher's connection. False where there is none of that id."""
        session = self._house.get(key, Right.WATCH, leaving=True)
        found = next((other for other in session.peers if other.id == peer and not other.publishes), None)
        if found is not None:
            await self.drop(session, found)
        return found is not None

    async def drop(self, session: Session, *peers: Peer) -> None:
        """Close these of its connections."""
        await asyncio.gather(*(self._drop(session, peer) for peer in peers))

    async def _drop(self, session: Session, peer: Peer) -> None:
        if peer in session.peers:
            session.forget(peer)
            if peer.connected:
                self._house.book.detach(session.id, self._house.now())
            await peer.close()

    def sweep(self) -> None:
        """Give up those that have not connected in time."""
        now = self._house.now()
        for session in self._house.sessions.values():
            for peer, waiting in session.half_open.items():
                if now >= waiting.until:
                    self._house.soon(self._give_up(session, peer))

    async def _give_up(self, session: Session, peer: Peer) -> None:
        """A session that was opened for it, has nobody else and was not asked for since ends with it."""
        await self.drop(session, peer)
        entry = session.entry
        if peer.publishes and not session.peers and not entry.connected and entry.seen == entry.opened:
            await self._house.end(session.id, End.NEVER_CONNECTED)

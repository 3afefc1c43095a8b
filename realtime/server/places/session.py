"""One session of a place in this process: who is connected to its avatar, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel

from realtime.engines import ReadsLandmarks, TakesViews
from realtime.flow.metrics import Window
from realtime.motion.expressions import board_of
from realtime.server.common import messages
from realtime.server.common.limits import Bucket, Limits, Places
from realtime.server.common.sessions import End, Entry, Right
from realtime.server.hosting.player import Player
from realtime.server.rtc.peer import Peer
from realtime.server.rtc.sound import Voice

ENCODING_S = 0.01
"""What the video encoder takes beside the way that is measured; sound is held back by both."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """A peer that was answered and has not connected. until: on the place's clock."""

    client: str
    until: float


class Turnstile(Protocol):
    """The places of half-open peers."""

    async def take(self, client: str) -> bool:
        """True where `client` got one; it is given back with `leave`."""

    def leave(self, client: str) -> None:
        """One is free again."""


class OwnTurnstile:
    """A `Turnstile` of one process alone."""

    def __init__(self, places: Places) -> None:
        self._places = places

    async def take(self, client: str) -> bool:
        """True where `client` got one; it is given back with `leave`."""
        return self._places.take(client)

    def leave(self, client: str) -> None:
        """One is free again."""
        self._places.leave(client)


class Session:
    """One avatar with its connections. guests: those that came by a link and leave with it. lingers: its driver has
    left, and the portrait idles for its guests. shared: all sessions have this performer. places: of half-open peers.
    """

    def __init__(
        self, entry: Entry, performer: Player, limits: Limits, places: Turnstile, shared: bool = False
    ) -> None:
        self.entry, self.performer, self.shared = entry, performer, shared
        self.id = entry.id
        self.peers: set[Peer] = set()
        self.guests: set[Peer] = set()
        self.half_open: dict[Peer, HalfOpen] = {}
        self.lingers = False
        self.lines = self.streams = 0
        self.voice = Voice(lambda: performer.window_total.percentile(0.5) + ENCODING_S)
        rate = limits.messages_per_s
        self.messages = {right: Bucket(rate, 2 * rate) for right in Right}  # who has a link keeps nobody else out
        self.complaints = Bucket(1.0, 3.0)
        self._places, self._limits = places, limits

    @property
    def watchers(self) -> int:
        """How many watch: peers that have connected, and picture streams."""
        return self.streams + sum(peer.connected and peer.watches for peer in self.peers)

    @property
    def controlling(self) -> set[Peer]:
        """Peers of those who control it."""
        return self.peers - self.guests

    def enter(self, peer: Peer, waiting: HalfOpen, guest: bool) -> None:
        """It is being answered; its half-open place has been taken."""
        self.peers.add(peer)
        self.half_open[peer] = waiting
        if guest:
            self.guests.add(peer)

    def settle(self, peers: Iterable[Peer]) -> None:
        """They are half-open no more."""
        for peer in peers:
            if waiting := self.half_open.pop(peer, None):
                self._places.leave(waiting.client)

    def forget(self, peer: Peer) -> None:
        """It is over, or never was."""
        self.peers.discard(peer)
        self.guests.discard(peer)
        self.settle([peer])

    async def hang_up(self, why: End) -> None:
        """Tell all peers that it is over, and close them."""
        self.settle(self.peers)
        limit = self._limits.session_s if why is End.TOO_LONG else None
        ended = messages.Ended(reason=why.value, limit_s=limit)
        for peer in self.peers:
            peer.send(ended.model_dump_json())
        await asyncio.gather(*(peer.close() for peer in self.peers), return_exceptions=True)
        self.peers.clear()
        self.guests.clear()

    def tell(self, event: BaseModel) -> None:
        """Send an event to all who control this session; guests do not, and events name its id."""
        if self.controlling:
            text = event.model_dump_json()
            for peer in self.controlling:
                peer.send(text)

    def tell_portraits(self) -> list[messages.PortraitInfo]:
        """The gallery has changed."""
        infos = self.performer.gallery.infos(self.id)
        self.tell(messages.Portraits(portraits=infos))
        return infos

    def hello(self, key: str) -> messages.Hello:
        """As the holder of `key` may see it: portraits and the key to drive by only for who controls."""
        performer, keys, controls = self.performer, self.entry.keys, key == self.id
        engine = performer.engine
        directions = [
            messages.DirectionInfo(name=d.name, lo=d.lo, hi=d.hi, about=d.about, group=d.group, unit=d.unit)
            for d in engine.directions
        ]
        return messages.Hello(
            session=key,
            engine=engine.name,
            device=engine.device,
            size=engine.size,
            fps=performer.fps,
            panel=self.shared,
            directions=directions,
            portraits=performer.gallery.infos(key) if controls else [],
            expressions=[
                messages.ExpressionInfo(name=each.name, about=each.about) for each in board_of(engine.directions)
            ],
            state=performer.state(),
            view=f"/view/{keys.view}" if keys.view else "",
            drive=keys.drive if controls else "",
            shapes=list(performer.shapes),
            landmarks=not self.shared and isinstance(engine, ReadsLandmarks),
            views=self._limits.views if isinstance(engine, TakesViews) else 0,
        )

    def stats(self, now: float, sessions: int, held_to: float | None = None, sparing: bool = False) -> messages.Stats:
        """How it goes, on a server with so many sessions, which all are held to a rate, and do without something."""
        performer = self.performer
        codecs = [peer for peer in self.peers if peer.codec]
        delays = [delay for peer in self.peers if (delay := peer.delay) is not None]
        return messages.Stats(
            fps=round(performer.window_total.rate(now), 1),
            received=performer.received,
            rendered=performer.rendered,
            dropped=performer.dropped,
            no_face=performer.no_face,
            encode_ms=_median_ms(performer.window_encode),
            render_ms=_median_ms(performer.window_render),
            server_ms=_median_ms(performer.window_total),
            sent_ms=round(1000 * max(delays), 2) if delays else None,
            engine=performer.engine.name,
            device=performer.engine.device,
            codec=codecs[0].codec if codecs else None,
            bitrate=codecs[0].bitrate if codecs else None,
            sessions=sessions,
            face=performer.face,
            calibration=round(performer.calibration, 3),
            fit=None if (fit := performer.fit) is None or (sits := fit.quality) is None else round(sits, 2),
            off="" if fit is None else fit.off,
            held_to=held_to,
            sparing=sparing,
        )


def _median_ms(window: Window) -> float | None:
    value = window.percentile(0.5)
    return round(1000 * value, 2) if value else None

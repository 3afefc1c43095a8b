"""All sessions of one server: opened, driven by one clock, and freed again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel

from realtime.engines import Engine
from realtime.errors import UsageError
from realtime.flow.pacing import Cadence
from realtime.flow.threads import cores
from realtime.server import messages
from realtime.server.gallery import Gallery, GalleryPortrait
from realtime.server.hosted import Performer
from realtime.server.limits import Bucket, Buckets, Limits
from realtime.server.metrics import Metrics
from realtime.server.player import Player
from realtime.server.pool import Pool
from realtime.server.rtc.peer import Peer, RtcSettings, install
from realtime.server.rtc.sdp import wants
from realtime.server.rtc.sound import Voice
from realtime.server.sessions import Book, End

log = logging.getLogger(__name__)

ENCODING_S = 0.01
"""What the video encoder takes beside the way that is measured; sound is held back by both."""


@dataclass(frozen=True)
class StudioSettings:
    """How a server runs."""

    limits: Limits = field(default_factory=Limits)
    rtc: RtcSettings = field(default_factory=RtcSettings)
    fps: float = 30.0
    """Pictures a second while nothing drives the avatar."""
    mark: bool = True
    """Draw "AI avatar" into what is sent."""
    threads: int = field(default_factory=lambda: min(8, cores()))
    """Worker threads that encode and render, shared by all sessions. One for each core: while one waits for the
    landmark model, which has threads of its own, or for the GPU, another renders. Beyond eight they would wait for
    each other's Python."""


class Session:
    """One avatar with its connections."""

    def __init__(self, id: str, performer: Player, limits: Limits) -> None:
        self.id, self.performer = id, performer
        self.peers: set[Peer] = set()
        self.voice = Voice(lambda: performer.window_total.percentile(0.5) + ENCODING_S)
        self.messages = Bucket(limits.messages_per_s, 2 * limits.messages_per_s)
        self.complaints = Bucket(1.0, 3.0)


class Answer(NamedTuple):
    """What an offer is answered with. sdp: the description. peer: `Peer.id` of the new connection."""

    sdp: str
    peer: str


class UnknownSession(UsageError):
    """There is no session with this id (any more)."""

    def __str__(self) -> str:
        return "There is no such session; it may have ended"


class Studio:
    """The server without its network face. All methods are called on the event loop.

    make_engine: makes an engine, in a worker thread; one per session. portraits: the shared ones.
    panel: what all sessions show and steer, in place of an avatar each. announce: called with a session that no page
    opened (its driver is WHIP or motion), so that its view can be told.
    """

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        portraits: Sequence[GalleryPortrait],
        settings: StudioSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        panel: Player | None = None,
    ) -> None:
        self.settings = settings or StudioSettings()
        self.make_engine, self.portraits, self._clock = make_engine, list(portraits), clock
        self.book = Book(self.settings.limits)
        self.sessions: dict[str, Session] = {}
        self.metrics = Metrics(self)
        limits = self.settings.limits
        self.knocks = Buckets(limits.requests_per_s, 3 * limits.requests_per_s)
        self._pool: Pool | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._panel = panel
        self.announce: Callable[[Session, str], None] = lambda session, how: None

    @property
    def panel(self) -> bool:
        """The page is the control panel of a running virtual camera."""
        return self._panel is not None

    def now(self) -> float:
        """Seconds of the clock that all decisions are made on."""
        return self._clock()

    @property
    def pool(self) -> Pool:
        """The worker threads."""
        assert self._pool is not None, "the studio is not open"
        return self._pool

    async def open(self) -> None:
        """Start threads and clock."""
        install(self.settings.rtc)
        self._pool = Pool(self.settings.threads)
        self._ticker = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End all sessions and stop. Safe to call twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        await asyncio.gather(*(self.end(id, End.SHUTDOWN) for id in list(self.sessions)))
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)
            self._pool = None

    # --- sessions

    async def begin(self, source: messages.Source = "sample", portrait: str | None = None) -> Session:
        """Open a session. Raises ServerFull, UnknownName (portrait), EngineError."""
        gallery = Gallery(self.portraits, self.settings.limits.portraits)
        chosen = gallery.get(portrait) if portrait and self._panel is None else None
        entry = self.book.admit(self._clock())
        try:
            loop = asyncio.get_running_loop()

            def changed() -> None:
                loop.call_soon_threadsafe(self._tell_state, entry.id)

            def make() -> Player:
                if self._panel is not None:
                    return self._panel
                engine = self.make_engine()
                try:
                    return Performer(
                        engine,
                        gallery,
                        self.pool,
                        fps=self.settings.fps,
                        mark=self.settings.mark,
                        changed=changed,
                        clock=self._clock,
                        source=source,
                    )
                except BaseException:
                    engine.close()
                    raise

            performer = await asyncio.to_thread(make)
        except BaseException:
            self.book.end(entry.id, End.FAILED)
            raise
        if chosen is not None:
            performer.command(messages.ChoosePortrait(type="portrait", id=chosen.id))
        session = Session(entry.id, performer, self.settings.limits)
        if entry.id not in self.book.entries:  # ended while it was being made
            await asyncio.to_thread(performer.close)
            raise UnknownSession
        self.sessions[entry.id] = session
        return session

    def get(self, id: str) -> Session:
        """The session, marked as alive. Raises UnknownSession."""
        session = self.sessions.get(id)
        if session is None:
            raise UnknownSession
        self.book.touch(id, self._clock())
        return session

    async def end(self, id: str, why: End) -> None:
        """End a session and free all it held. Does nothing where it has ended before."""
        session = self.sessions.pop(id, None)
        if session is None or not self.book.end(id, why):
            return
        for peer in session.peers:
            peer.send(messages.Ended(reason=why.value).model_dump_json())
        await asyncio.gather(*(peer.close() for peer in session.peers), return_exceptions=True)
        session.peers.clear()
        self.metrics.keep(session.performer)
        await asyncio.to_thread(session.performer.close)

    def _end_soon(self, id: str, why: End) -> None:
        task = asyncio.create_task(self.end(id, why))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- connections

    async def connect(self, session: Session, sdp: str, *, publishes: bool, watches: bool) -> Answer:
        """Answer an offer for a session. Raises BadOffer, TooManyViewers."""
        if session.performer.viewers >= self.settings.limits.viewers:
            raise TooManyViewers
        peer = Peer(
            session.performer,
            self.settings.rtc,
            publishes=publishes,
            watches=watches,
            voice=session.voice,
            message=lambda text, peer: self._on_message(session, peer, text),
            up=lambda peer: self.book.attach(session.id, self._clock()),
            down=lambda peer: self._on_down(session, peer),
            greet=lambda peer: peer.send(self.hello(session).model_dump_json()),
        )
        session.peers.add(peer)
        try:
            return Answer(await peer.answer(sdp), peer.id)
        except BaseException:
            session.peers.discard(peer)
            raise

    def _on_down(self, session: Session, peer: Peer) -> None:
        session.peers.discard(peer)
        if peer.connected:
            self.book.detach(session.id, self._clock())
        task = asyncio.ensure_future(peer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        if peer.publishes and peer.channel is not None and not session.peers:
            self._end_soon(session.id, End.DISCONNECTED)

    async def disconnect(self, session: Session, peer: Peer) -> None:
        """Hang up on one peer."""
        if peer in session.peers:
            session.peers.discard(peer)
            if peer.connected:
                self.book.detach(session.id, self._clock())
            await peer.close()

    # --- control

    def _on_message(self, session: Session, peer: Peer, text: Any) -> None:
        now = self._clock()
        if not session.messages.take(now):
            if session.complaints.take(now):
                peer.send(messages.Error(error="Too many messages; some were left out").model_dump_json())
            return
        self.book.touch(session.id, now)
        reply = self.control(session, text)
        if reply is not None:
            peer.send(reply.model_dump_json())
        elif self._panel is not None:  # who steers a running camera is told at once, and so are the other panels
            for other in self.sessions.values():
                self.tell(other, self._panel.state())

    def control(self, session: Session, text: str | bytes) -> BaseModel | None:
        """Follow one control message; what to answer at once, if anything."""
        try:
            command = messages.parse(text, self.settings.limits.message_bytes)
            if isinstance(command, messages.Ping):
                return messages.Pong(t=command.t)
            session.performer.command(command)
        except (messages.BadMessage, UsageError) as error:
            return messages.Error(error=str(error))
        return None

    def hello(self, session: Session) -> messages.Hello:
        """What this session can do."""
        performer = session.performer
        engine = performer.engine
        directions = [
            messages.DirectionInfo(name=d.name, lo=d.lo, hi=d.hi, about=d.about, group=d.group, unit=d.unit)
            for d in engine.directions
        ]
        return messages.Hello(
            session=session.id,
            engine=engine.name,
            device=engine.device,
            size=engine.size,
            fps=performer.fps,
            panel=self.panel,
            directions=directions,
            portraits=performer.gallery.infos(session.id),
            state=performer.state(),
        )

    def tell(self, session: Session, event: BaseModel) -> None:
        """Send an event to all who control this session."""
        if session.peers:
            text = event.model_dump_json()
            for peer in session.peers:
                peer.send(text)

    def _tell_state(self, id: str) -> None:
        session = self.sessions.get(id)
        if session is not None:
            self.tell(session, session.performer.state())

    def stats(self, session: Session, now: float) -> messages.Stats:
        """How it goes."""
        performer = session.performer
        codecs = [peer for peer in session.peers if peer.codec]

        def median(window: Any) -> float | None:
            value = window.percentile(0.5)
            return round(1000 * value, 2) if value else None

        return messages.Stats(
            fps=round(performer.window_total.rate(now), 1),
            received=performer.received,
            rendered=performer.rendered,
            dropped=performer.dropped,
            no_face=performer.no_face,
            encode_ms=median(performer.window_encode),
            render_ms=median(performer.window_render),
            server_ms=median(performer.window_total),
            engine=performer.engine.name,
            device=performer.engine.device,
            codec=codecs[0].codec if codecs else None,
            bitrate=codecs[0].bitrate if codecs else None,
            sessions=len(self.sessions),
            face=performer.face,
        )

    # --- time

    async def _run(self) -> None:
        """The one clock: pictures while nothing drives, statistics each second, and the end of what is over."""
        beat, loop = Cadence(self.settings.fps), asyncio.get_running_loop()
        told = swept = 0.0
        while True:
            await asyncio.sleep(max(0.0, beat.due(loop.time()) - loop.time()))
            now = self._clock()
            for session in self.sessions.values():
                session.performer.tick(now)
            if now - told >= 1.0:
                told = now
                for session in self.sessions.values():
                    if session.peers:
                        self.tell(session, self.stats(session, now))
            if now - swept >= 0.5:
                swept = now
                for id, why in self.book.due(now):
                    self._end_soon(id, why)


class TooManyViewers(UsageError):
    """As many as allowed watch this session already."""

    def __str__(self) -> str:
        return "Too many are watching this session already"


def source_for(sdp: str) -> messages.Source:
    """What drives a session at first: the camera where the offer brings one, else the sample."""
    return "camera" if wants(sdp, "video")[0] else "sample"

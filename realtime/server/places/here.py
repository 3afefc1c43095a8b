"""The place in this process: its sessions opened, driven by one clock, and freed again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

import realtime
from realtime.engines import Engine
from realtime.errors import BadPortrait, DeviceError, UsageError
from realtime.face.upright import CUT, Looked, box, is_cut, look
from realtime.flow.mailbox import Closed
from realtime.flow.memory import give_back
from realtime.flow.pacing import Cadence
from realtime.flow.threads import cores
from realtime.media.decoding import DecodeLimits, Decoder
from realtime.media.uploads import encode_jpeg
from realtime.motion.wire import MAX_PACKET, BadPacket
from realtime.server.common import messages
from realtime.server.common.limits import Bucket, Limits, Places, Vitals
from realtime.server.common.metrics import PlaceMetrics
from realtime.server.common.sessions import Behind, Book, End, Entry, Keys, Right, link_keys
from realtime.server.hosting.gallery import Gallery, GalleryPortrait
from realtime.server.hosting.hosted import Performer
from realtime.server.hosting.player import Player
from realtime.server.hosting.pool import Pool, Probe
from realtime.server.places import (
    Answered,
    Busy,
    Health,
    LineOver,
    NotAllowed,
    Offered,
    Opened,
    Terms,
    TooManyDrivers,
    TooManyViewers,
    Trickled,
    UnknownSession,
    Wish,
)
from realtime.server.places.intake import MotionIntake
from realtime.server.rtc.addresses import resolved
from realtime.server.rtc.peer import Peer, RtcSettings, ice_servers_for_browser, install
from realtime.server.rtc.sound import Voice
from realtime.server.rtc.trickle import parse_fragment

log = logging.getLogger(__name__)

ENCODING_S = 0.01
"""What the video encoder takes beside the way that is measured; sound is held back by both."""

TIDY_S = 15.0
"""Seconds from a session's end until what it left behind is looked for: its connections are over then. aiortc's hold
themselves in circles, and with them encoders and decoders: megabytes that Python's count of objects does not see."""


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
    """One avatar with its connections. guests: those that came by a link and leave with it. lingers: its driver has
    left, and the portrait idles for its guests."""

    def __init__(self, entry: Entry, performer: Player, limits: Limits) -> None:
        self.entry, self.performer = entry, performer
        self.id = entry.id
        self.peers: set[Peer] = set()
        self.guests: set[Peer] = set()
        self.lingers = False
        self.lines = self.streams = 0
        self.voice = Voice(lambda: performer.window_total.percentile(0.5) + ENCODING_S)
        rate = limits.messages_per_s
        self.messages = {right: Bucket(rate, 2 * rate) for right in Right}  # who has a link keeps nobody else out
        self.complaints = Bucket(1.0, 3.0)

    @property
    def watchers(self) -> int:
        """How many watch: peers that have connected, and picture streams."""
        return self.streams + sum(peer.connected and peer.watches for peer in self.peers)


@dataclass(frozen=True, slots=True)
class _HalfOpen:
    """A peer that was answered and has not connected. until: on the place's clock."""

    session: Session
    client: str
    until: float


class Studio:
    """The server without its network face: a `Place`. All methods are called on the event loop.

    make_engine: makes an engine, in a worker thread; one per session. portraits: the shared ones.
    panel: what all sessions show and steer, in place of an avatar each.
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
        self._metrics = PlaceMetrics(self)
        limits = self.settings.limits
        self._rtc = self.settings.rtc
        self._pool: Pool | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._littered: float | None = None
        self._panel = panel
        self._places = Places(limits.half_open, limits.half_open_each)
        self._half_open: dict[Peer, _HalfOpen] = {}
        self._uploads = Places(limits.uploads, 1)
        self._decoder = Decoder(
            DecodeLimits(limits.portrait_pixels, limits.upload_cpu_s, limits.upload_s, limits.upload_memory_bytes)
        )
        self._vitals = Vitals({"executor": 5.0, "pool": 5.0, "aside": 30.0})

    @property
    def terms(self) -> Terms:
        """What the place says of itself."""
        servers = tuple(ice_servers_for_browser(self.settings.rtc.ice_servers))
        return Terms(self.settings.limits, self._panel is not None, servers)

    def now(self) -> float:
        """Seconds of the clock that all decisions are made on."""
        return self._clock()

    @property
    def pool(self) -> Pool:
        """The worker threads."""
        assert self._pool is not None, "the studio is not open"
        return self._pool

    @property
    def performers(self) -> list[Player]:
        """All that play an avatar now; the panel's is one, however many have it open."""
        if self._panel is not None:
            return [self._panel]
        return [session.performer for session in self.sessions.values()]

    async def open(self) -> None:
        """Start threads and clock. Raises DeviceError where media's host has no address."""
        install()
        try:
            self._rtc = replace(self._rtc, host=await asyncio.to_thread(resolved, self._rtc.host))
        except OSError as error:
            raise DeviceError(f"host {self._rtc.host}", f"has no address: {error.strerror}") from error
        self._pool = Pool(self.settings.threads)
        self._ticker = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End all sessions and stop. Safe to call twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        await asyncio.gather(*(self._end(id, End.SHUTDOWN) for id in list(self.sessions)))
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)
            self._pool = None
        await asyncio.to_thread(self._decoder.close)

    async def health(self) -> Health:
        """Is the server well?"""
        stuck = self._vitals.stuck(self._clock())
        return Health(
            status="stuck" if stuck else "ok",
            stuck=stuck,
            version=realtime.__version__,
            sessions=len(self.sessions),
            max_sessions=self.settings.limits.sessions,
        )

    async def metrics(self) -> bytes:
        """Prometheus text."""
        return self._metrics.text()

    # --- sessions

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        """Open a session. Raises ServerFull, UnknownName (portrait), BadOffer, EngineError."""
        session = await self._begin(wish)
        answer = None
        if offer is not None:
            try:
                answer = await self._connect(session, offer)
            except BaseException:
                await self._end(session.id, End.FAILED)
                raise
        return Opened(keys=session.entry.keys, answer=answer)

    async def _begin(self, wish: Wish) -> Session:
        gallery = Gallery(self.portraits, self.settings.limits.portraits)
        chosen = gallery.get(wish.portrait) if wish.portrait and self._panel is None else None
        await self._replace(wish.profile)
        entry = self.book.admit(self._clock(), wish.profile, wish.client)
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
                        source=wish.source,
                    )
                except BaseException:
                    engine.close()
                    raise

            making = asyncio.create_task(asyncio.to_thread(make))
            performer = await asyncio.shield(making)
        except BaseException:
            self.book.end(entry.id, End.FAILED)
            self._soon(self._unmake(making))
            raise
        if chosen is not None:
            performer.command(messages.ChoosePortrait(type="portrait", id=chosen.id))
        session = Session(entry, performer, self.settings.limits)
        if entry.id not in self.book.entries:  # ended while it was being made
            await asyncio.to_thread(performer.close)
            raise UnknownSession
        self.sessions[entry.id] = session
        return session

    async def _unmake(self, making: asyncio.Task[Player]) -> None:
        """Free what was made for a session that nobody waits for any more."""
        with contextlib.suppress(Exception):  # it was told to who waited
            performer = await making
            if performer is not self._panel:
                await asyncio.to_thread(performer.close)

    def _get(self, key: str, right: Right, *, leaving: bool = False) -> Session:
        """The session, marked as alive unless its caller is `leaving`. Raises UnknownSession, NotAllowed."""
        entry, may = self.book.find(key) or (None, Right.WATCH)
        session = self.sessions.get(entry.id) if entry else None
        if session is None:
            raise UnknownSession
        if may < right:
            raise NotAllowed
        if not leaving:
            self.book.touch(session.id, self._clock())
        return session

    async def _replace(self, profile: str | None) -> None:
        """A session that only lingers gives way to a newer one of its profile, whose link its guests come back to;
        where all places are taken, any such session gives way, and then one that nobody has connected to."""
        found = self.book.find(link_keys(profile)[0]) if profile else None
        full = len(self.sessions) >= self.settings.limits.sessions
        for old in [session for session in self.sessions.values() if session.lingers]:
            if full or (found is not None and found[0].id == old.id):
                await self._end(old.id, End.CLIENT)
                full = False
        if full and (unmet := self.book.unmet(self._clock())):
            await self._end(unmet, End.NEVER_CONNECTED)

    async def end(self, key: str, why: End, linger: bool = False) -> None:
        """End a session and free all it held, at once or when nobody watches it any more."""
        session = self._get(key, Right.CONTROL)
        if not (linger and session.guests and self._panel is None):
            await self._end(session.id, why)
            return
        self._linger(session)
        await asyncio.gather(*(self._drop(session, peer) for peer in list(session.peers - session.guests)))

    def _linger(self, session: Session) -> None:
        session.lingers = True
        session.performer.command(messages.ChooseSource(type="source", source="camera"))  # which brings nothing

    async def _end(self, id: str, why: End) -> None:
        """Does nothing where it has ended before."""
        session = self.sessions.pop(id, None)
        if session is None or not self.book.end(id, why):
            return
        for peer in session.peers:
            self._settle(peer)
            peer.send(messages.Ended(reason=why.value).model_dump_json())
        await asyncio.gather(*(peer.close() for peer in session.peers), return_exceptions=True)
        session.peers.clear()
        session.guests.clear()
        if self._panel is None:
            self._metrics.keep(session.performer)
        await asyncio.to_thread(session.performer.close)
        self._littered = self._littered or self._clock()

    def _end_soon(self, id: str, why: End) -> None:
        self._soon(self._end(id, why))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- connections

    async def answer(self, key: str, offer: Offered) -> Answered:
        """One connection more. Raises BadOffer, TooManyViewers."""
        session = self._get(key, Right.CONTROL if offer.publishes else Right.WATCH)
        return await self._connect(session, offer, guest=key != session.id)

    async def _connect(self, session: Session, offer: Offered, guest: bool = False) -> Answered:
        if session.watchers >= self.settings.limits.viewers:
            raise TooManyViewers
        if not self._places.take(offer.client):
            raise Busy("Too many connections are being made")
        peer = Peer(
            session.performer,
            self._rtc,
            publishes=offer.publishes,
            watches=offer.watches,
            background=offer.background,
            voice=session.voice,
            message=lambda text, peer: self._on_message(session, peer, text),
            up=lambda peer: self._on_up(session, peer),
            down=lambda peer: self._on_down(session, peer),
            greet=lambda peer: self._greet(session, peer),
        )
        session.peers.add(peer)
        self._half_open[peer] = _HalfOpen(session, offer.client, self._clock() + self.settings.limits.half_open_s)
        if guest:
            session.guests.add(peer)
        try:
            return Answered(sdp=await peer.answer(offer.sdp), peer=peer.id, etag=f'"{peer.id}"')
        except BaseException:  # a cancelled offer as well: its ports are closed
            self._forget(session, peer)
            self._soon(peer.close())
            raise

    def _forget(self, session: Session, peer: Peer) -> None:
        session.peers.discard(peer)
        session.guests.discard(peer)
        self._settle(peer)

    def _settle(self, peer: Peer) -> None:
        """It is half-open no more."""
        if waiting := self._half_open.pop(peer, None):
            self._places.leave(waiting.client)

    def _on_up(self, session: Session, peer: Peer) -> None:
        self._settle(peer)
        self.book.attach(session.id, self._clock())
        if peer.watches and session.watchers > self.settings.limits.viewers:  # others were quicker
            self._soon(self._drop(session, peer))

    def _on_down(self, session: Session, peer: Peer) -> None:
        self._forget(session, peer)
        if peer.connected:
            self.book.detach(session.id, self._clock())
        self._soon(peer.close())
        if peer.publishes and peer.channel is not None and not session.peers - session.guests:
            if session.guests and self._panel is None:
                self._linger(session)
            else:
                self._end_soon(session.id, End.DISCONNECTED)

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        """More candidates for a connection (peer None: the one that publishes). Raises BadOffer."""
        session = self._get(key, Right.CONTROL if peer is None else Right.WATCH)
        wanted = [other for other in session.peers if (other.publishes if peer is None else other.id == peer)]
        if not wanted:
            return Trickled.NO_PEER
        found = next((other for other in wanted if etag == f'"{other.id}"'), None)
        if found is None:
            return Trickled.RESTART if etag == "*" else Trickled.OTHER_ETAG
        return Trickled.TAKEN if await found.trickle(parse_fragment(fragment)) else Trickled.RESTART

    async def hang_up(self, key: str, peer: str) -> bool:
        """Close a watcher's connection. False where there is none of that id."""
        session = self._get(key, Right.WATCH, leaving=True)
        found = next((other for other in session.peers if other.id == peer and not other.publishes), None)
        if found is not None:
            await self._drop(session, found)
        return found is not None

    async def _drop(self, session: Session, peer: Peer) -> None:
        if peer in session.peers:
            self._forget(session, peer)
            if peer.connected:
                self.book.detach(session.id, self._clock())
            await peer.close()

    async def _give_up(self, session: Session, peer: Peer) -> None:
        """It has not connected in time; a session that was opened for it and has nobody else ends with it."""
        await self._drop(session, peer)
        if peer.publishes and not session.peers and not session.entry.connected:
            await self._end(session.id, End.NEVER_CONNECTED)

    # --- links

    async def renew(self, key: str, profile: str | None) -> Keys:
        """New links; who came by the old ones is hung up on."""
        session = self._get(key, Right.CONTROL)
        keys = self.book.renew(session.id, profile)
        await self._dismiss(session)
        return keys

    async def withdraw(self, key: str) -> None:
        """No links any more; who came by them is hung up on."""
        session = self._get(key, Right.CONTROL)
        self.book.withdraw(session.id)
        await self._dismiss(session)

    async def _dismiss(self, session: Session) -> None:
        await asyncio.gather(*(self._drop(session, peer) for peer in list(session.guests)))
        self.tell(session, self._hello(session, session.id))

    async def behind(self, link: str) -> Behind:
        """What stands behind a link now."""
        return self.book.behind(link)

    # --- control

    def _greet(self, session: Session, peer: Peer) -> None:
        if peer not in session.guests:
            peer.send(self._hello(session, session.id).model_dump_json())

    def _on_message(self, session: Session, peer: Peer, text: Any) -> None:
        if peer in session.guests:
            return
        now = self._clock()
        if not session.messages[Right.CONTROL].take(now):
            if session.complaints.take(now):
                peer.send(messages.Error(error="Too many messages; some were left out").model_dump_json())
            return
        self.book.touch(session.id, now)
        reply = self._told(session, text)
        if reply is not None:
            peer.send(reply.model_dump_json())

    def _told(self, session: Session, text: str | bytes, right: Right = Right.CONTROL) -> BaseModel | None:
        """Follow one control message; what to answer at once, if anything."""
        try:
            command = messages.parse(text, self.settings.limits.message_bytes)
            return self._follow(session, command, right)
        except (messages.BadMessage, UsageError) as error:
            return messages.Error(error=str(error))

    def _follow(self, session: Session, command: messages.Command, right: Right) -> messages.Pong | None:
        if isinstance(command, messages.Ping):
            return messages.Pong(t=command.t)
        if right < Right.CONTROL and not isinstance(command, messages.Calibrate):
            raise NotAllowed
        session.performer.command(command)
        if self._panel is not None:  # who steers a running camera is told at once, and so are the other panels
            for other in self.sessions.values():
                self.tell(other, self._panel.state())
        return None

    async def control(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        """Follow a command; None where too many came. Raises UsageError."""
        session = self._get(key, Right.DRIVE)
        right = Right.CONTROL if key == session.id else Right.DRIVE
        if not session.messages[right].take(self._clock()):
            return None
        return self._follow(session, command, right) or session.performer.state()

    async def hello(self, key: str) -> messages.Hello:
        """What the session can do, and its state."""
        return self._hello(self._get(key, Right.DRIVE), key)

    def _hello(self, session: Session, key: str) -> messages.Hello:
        """As the holder of `key` may see it: portraits and the key to drive by only for who controls."""
        performer, keys, controls = session.performer, session.entry.keys, key == session.id
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
            panel=self._panel is not None,
            directions=directions,
            portraits=performer.gallery.infos(key) if controls else [],
            state=performer.state(),
            view=f"/view/{keys.view}" if keys.view else "",
            drive=keys.drive if controls else "",
        )

    # --- portraits

    async def add_portrait(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        """Decode, show and keep a picture. Raises BadPortrait, PortraitLate, Busy."""
        session = self._get(key, Right.CONTROL)
        with self._upload(session):
            seen = await self._looked(data)
            if seen.faces and is_cut(seen.faces[0], seen.image):
                raise BadPortrait(CUT)
            portrait = await session.performer.try_portrait(seen.image, title)
        infos = self._tell_portraits(session)
        return next(info for info in infos if info.id == portrait.id)

    async def look(self, key: str, data: bytes) -> messages.Look:
        """Decode a picture and find its faces; nothing is kept. Raises BadPortrait, Busy."""
        with self._upload(self._get(key, Right.CONTROL)):
            seen = await self._looked(data)
            jpeg = await asyncio.to_thread(encode_jpeg, seen.image, None, 92)
        height, width = seen.image.shape[:2]
        faces = []
        for face in seen.faces:
            x, y, w, h = box(face)
            cut = is_cut(face, seen.image)
            faces.append(messages.FaceInfo(x=x / width, y=y / height, width=w / width, height=h / height, cut=cut))
        address = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        return messages.Look(image=address, width=width, height=height, turned=seen.turns != 0, faces=faces)

    async def _looked(self, data: bytes) -> Looked:
        """A stranger's picture, decoded, upright, with its faces."""
        return await asyncio.to_thread(look, await self._decoder.decode(data))

    @contextlib.contextmanager
    def _upload(self, session: Session) -> Iterator[None]:
        """One of the few pictures that are worked on at once. Raises Busy."""
        if not self._uploads.take(session.id):
            raise Busy("Other portraits are being prepared")
        try:
            yield
        finally:
            self._uploads.leave(session.id)

    async def remove_portrait(self, key: str, portrait: str) -> None:
        """Forget a picture. Raises UnknownName."""
        session = self._get(key, Right.CONTROL)
        session.performer.forget_portrait(portrait)
        self._tell_portraits(session)

    def _tell_portraits(self, session: Session) -> list[messages.PortraitInfo]:
        infos = session.performer.gallery.infos(session.id)
        self.tell(session, messages.Portraits(portraits=infos))
        return infos

    async def picture(self, key: str, portrait: str) -> bytes:
        """The gallery's small picture, JPEG. Raises UnknownName."""
        return self._get(key, Right.CONTROL).performer.gallery.get(portrait).small

    # --- pictures and motion over HTTP

    async def pictures(self, key: str) -> AsyncIterator[bytes]:
        """The avatar as JPEG pictures, until the session ends. Raises TooManyViewers."""
        session = self._get(key, Right.WATCH)
        if session.watchers >= self.settings.limits.viewers:
            raise TooManyViewers
        pictures = self._pictures(session, key)
        await anext(pictures)  # takes the place, before anybody else runs; asyncio closes a stream that is let go of
        return pictures

    async def _pictures(self, session: Session, key: str) -> AsyncIterator[bytes]:
        """An empty one first, once its place is taken."""
        session.streams += 1
        box = session.performer.watch()
        self.book.attach(session.id, self._clock())
        try:
            yield b""
            while self.book.find(key) is not None:
                shown = await box.aget(10.0)
                if shown is None:
                    return
                yield await asyncio.to_thread(encode_jpeg, shown.image, None, 80)
        except Closed:
            return
        finally:
            session.streams -= 1
            box.close()
            self.book.detach(session.id, self._clock())

    @contextlib.asynccontextmanager
    async def drive(self, key: str) -> AsyncIterator[MotionLine]:
        """Motion from one client. Raises TooManyDrivers."""
        session = self._get(key, Right.DRIVE)
        if session.lines >= self.settings.limits.drivers:
            raise TooManyDrivers
        session.performer.command(messages.ChooseSource(type="source", source="motion"))
        session.lines += 1
        self.book.attach(session.id, self._clock())
        try:
            yield MotionLine(self, session, key)
        finally:
            session.lines -= 1
            self.book.detach(session.id, self._clock())

    def tell(self, session: Session, event: BaseModel) -> None:
        """Send an event to all who control this session; guests do not, and events name its id."""
        if controlling := session.peers - session.guests:
            text = event.model_dump_json()
            for peer in controlling:
                peer.send(text)

    def _tell_state(self, id: str) -> None:
        session = self.sessions.get(id)
        if session is not None:
            self.tell(session, session.performer.state())

    def _stats(self, session: Session, now: float) -> messages.Stats:
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
            calibration=round(performer.calibration, 3),
        )

    # --- time

    def _probe(self, now: float) -> None:
        """Ask the threads that sessions need whether they still answer."""
        loop = asyncio.get_running_loop()

        def answer(name: str) -> Callable[[], object]:
            return lambda: loop.call_soon_threadsafe(self._vitals.answered, name)

        if self._vitals.ask("executor", now):
            loop.run_in_executor(None, answer("executor"))
        if self._vitals.ask("pool", now):
            self.pool.wake(Probe(answer("pool")))
        if self._vitals.ask("aside", now):
            self.pool.aside.submit(answer("aside"))

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
                        self.tell(session, self._stats(session, now))
            if now - swept >= 0.5:
                swept = now
                self._probe(now)
                for peer, waiting in list(self._half_open.items()):
                    if now >= waiting.until:
                        self._soon(self._give_up(waiting.session, peer))
                for id, why in self.book.due(now):
                    self._end_soon(id, why)
            if self._littered is not None and now - self._littered >= TIDY_S:
                self._littered = None
                gc.collect()  # a few ms: what was there before the first session is left out, see `settle`
                loop.run_in_executor(None, give_back)


class MotionLine:
    """What one motion client sends: a `Line`."""

    def __init__(self, studio: Studio, session: Session, key: str) -> None:
        self._studio, self._session, self._key = studio, session, key
        engine = session.performer.engine
        rate = studio.settings.limits.packets_per_s
        self._intake = MotionIntake(engine.kind, engine.portrait_code.values.size, rate)
        self.hello = studio._hello(session, key)

    async def take(self, data: bytes | str) -> str | None:
        """A motion packet (bytes) or a control message (text); what to answer, if anything. Raises LineOver."""
        session, now = self._session, self._studio.now()
        entry, right = self._studio.book.find(self._key) or (None, Right.WATCH)
        if entry is None or entry.id != session.id:
            raise LineOver("the session has ended")
        if isinstance(data, str):
            reply = self._studio._told(session, data, right) if session.messages[right].take(now) else None
            return reply.model_dump_json() if reply else None
        try:
            driven = self._intake.take(data[: MAX_PACKET + 1], now)
        except BadPacket as error:
            if self._intake.bad > 100:
                raise LineOver("too many packets that are none", fault=True) from None
            return messages.Error(error=str(error)).model_dump_json() if session.complaints.take(now) else None
        if driven is not None:
            session.performer.offer(driven)
        return None

"""The place in this process: its sessions opened, driven by one clock, and freed again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial

import realtime
from realtime.engines import Engine
from realtime.errors import DeviceError
from realtime.flow.pacing import Cadence
from realtime.flow.threads import cores
from realtime.server.common import messages
from realtime.server.common.limits import Bucket, Limits, Vitals
from realtime.server.common.sessions import Behind, End, Keys, Right, link_keys
from realtime.server.hosting.gallery import Gallery, GalleryPortrait
from realtime.server.hosting.hosted import Performer
from realtime.server.hosting.pace import Pace
from realtime.server.hosting.player import Player
from realtime.server.hosting.pool import Pool, Probe
from realtime.server.places import Answered, Health, Offered, Opened, Terms, Trickled, UnknownSession, Wish
from realtime.server.places.connections import Connections
from realtime.server.places.control import Controls
from realtime.server.places.house import House
from realtime.server.places.lines import MotionLine, motion_line, pictures
from realtime.server.places.portraits import Portraits
from realtime.server.places.session import Session, Turnstile
from realtime.server.rtc.addresses import resolved
from realtime.server.rtc.peer import RtcSettings, ice_servers_for_browser, install

log = logging.getLogger(__name__)

CLOCK_S = 5.0
"""Seconds without a beat of the clock after which the place says that it is not well."""


@dataclass(frozen=True)
class StudioSettings:
    """How a server runs."""

    limits: Limits = field(default_factory=Limits)
    rtc: RtcSettings = field(default_factory=RtcSettings)
    fps: float = 30.0
    """Pictures a second while nothing drives the avatar."""
    mark: bool = True
    """Draw "AI avatar" into what is sent."""
    round: bool = False
    """Of the pictures only the circle in their middle is shown."""
    threads: int = field(default_factory=lambda: min(8, cores()))
    """Worker threads that encode and render, shared by all sessions. One for each core: while one waits for the
    landmark model, which has threads of its own, or for the GPU, another renders. Beyond eight they would wait for
    each other's Python."""


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
        self._house = House(self.settings.limits, clock, panel)
        self.book, self.sessions = self._house.book, self._house.sessions
        self._controls = Controls(self._house)
        self._connections = Connections(self._house, self._controls, self.settings.rtc)
        self._portraits = Portraits(self._house)
        self._panel = panel
        self.pace = Pace(self.settings.fps)
        self._elsewhere = 0
        self._pool: Pool | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._beat = clock()
        self._complaints = Bucket(0.1, 3.0)
        self._vitals = Vitals({"executor": 5.0, "pool": 5.0, "aside": 30.0})

    @property
    def terms(self) -> Terms:
        """What the place says of itself."""
        servers = tuple(ice_servers_for_browser(self.settings.rtc.ice_servers))
        return Terms(self.settings.limits, self._panel is not None, servers)

    @property
    def pool(self) -> Pool:
        """The worker threads."""
        assert self._pool is not None, "the studio is not open"
        return self._pool

    async def open(self) -> None:
        """Start threads and clock. Raises DeviceError where media's host has no address."""
        install()
        rtc = self.settings.rtc
        try:
            self._connections.rtc = replace(rtc, host=await asyncio.to_thread(resolved, rtc.host))
        except OSError as error:
            raise DeviceError(f"host {rtc.host}", f"has no address: {error.strerror}") from error
        self._pool = Pool(self.settings.threads)
        self._ticker = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End all sessions and stop. Safe to call twice."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        await self._house.close()
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)
            self._pool = None
        await self._portraits.close()

    async def health(self) -> Health:
        """Is the server well?"""
        now = self._clock()
        stuck = self._vitals.stuck(now)
        if self._ticker is not None and now - self._beat > CLOCK_S:
            stuck += ("clock",)
        return Health(
            status="stuck" if stuck else "ok",
            stuck=stuck,
            version=realtime.__version__,
            sessions=len(self.sessions),
            max_sessions=self.settings.limits.sessions,
        )

    async def metrics(self) -> bytes:
        """Prometheus text."""
        return self._house.metrics.text()

    def share_half_open(self, turnstile: Turnstile) -> None:
        """Count half-open peers together with other places. Before the first session."""
        self._connections.half_open = turnstile

    def beside(self, sessions: int, fps: float) -> None:
        """What other places of the same machine have: so many sessions, which can get so many pictures a second."""
        self._elsewhere = sessions
        self.pace.agree(fps)

    # --- sessions

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        """Open a session. Raises ServerFull, UnknownName (portrait), BadOffer, EngineError."""
        session = await self._begin(wish)
        answer = None
        if offer is not None:
            try:
                answer = await self._connections.answer(session, offer)
            except BaseException:
                await self._house.end(session.id, End.FAILED)
                raise
        return Opened(keys=session.entry.keys, answer=answer)

    async def _begin(self, wish: Wish) -> Session:
        gallery = Gallery(self.portraits, self.settings.limits.portraits, self.settings.limits.views)
        chosen = gallery.get(wish.portrait) if wish.portrait and self._panel is None else None
        await self._replace(wish.profile)
        entry = self.book.admit(self._clock(), wish.profile, wish.client)
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(self._tell_state, entry.id)

        making = asyncio.create_task(asyncio.to_thread(self._make, gallery, wish.source, changed))
        try:
            performer = await asyncio.shield(making)
        except BaseException:
            self.book.end(entry.id, End.FAILED)
            self._house.soon(self._unmake(making))
            raise
        if chosen is not None:
            performer.command(messages.ChoosePortrait(type="portrait", id=chosen.id))
        shared = self._panel is not None
        session = Session(entry, performer, self.settings.limits, self._connections.half_open, shared)
        if entry.id not in self.book.entries:  # ended while it was being made
            await asyncio.to_thread(performer.close)
            raise UnknownSession
        self.sessions[entry.id] = session
        return session

    def _make(self, gallery: Gallery, source: messages.Source, changed: Callable[[], None]) -> Player:
        """What plays a session. Blocks."""
        if self._panel is not None:
            return self._panel
        engine = self.make_engine()
        try:
            how = self.settings
            return Performer(
                engine,
                gallery,
                self.pool,
                fps=how.fps,
                mark=how.mark,
                round=how.round,
                changed=changed,
                clock=self._clock,
                source=source,
            )
        except BaseException:
            engine.close()
            raise

    async def _unmake(self, making: asyncio.Task[Player]) -> None:
        """Free what was made for a session that nobody waits for any more."""
        with contextlib.suppress(Exception):  # it was told to who waited
            performer = await making
            if performer is not self._panel:
                await asyncio.to_thread(performer.close)

    async def _replace(self, profile: str | None) -> None:
        """A session that only lingers gives way to a newer one of its profile, whose link its guests come back to;
        where all places are taken, any such session gives way, and then one that nobody has connected to."""
        found = self.book.find(link_keys(profile)[0]) if profile else None
        full = len(self.sessions) >= self.settings.limits.sessions
        for old in [session for session in self.sessions.values() if session.lingers]:
            if full or (found is not None and found[0].id == old.id):
                await self._house.end(old.id, End.CLIENT)
                full = False
        if full and (unmet := self.book.unmet(self._clock())):
            await self._house.end(unmet, End.NEVER_CONNECTED)

    async def end(self, key: str, why: End, linger: bool = False) -> None:
        """End a session and free all it held, at once or when nobody watches it any more."""
        session = self._house.get(key, Right.CONTROL)
        if not (linger and session.guests and self._panel is None):
            await self._house.end(session.id, why)
            return
        self._connections.linger(session)
        await self._connections.drop(session, *session.controlling)

    def check_control(self, key: str) -> None:
        """Raise UnknownSession, or NotAllowed where the key does not control its session."""
        self._house.get(key, Right.CONTROL)

    # --- connections

    async def answer(self, key: str, offer: Offered) -> Answered:
        """One connection more. Raises BadOffer, TooManyViewers."""
        session = self._house.get(key, Right.CONTROL if offer.publishes else Right.WATCH)
        return await self._connections.answer(session, offer, guest=key != session.id)

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        """More candidates for a connection (peer None: the one that publishes). Raises BadOffer."""
        return await self._connections.trickle(key, peer, fragment, etag)

    async def hang_up(self, key: str, peer: str) -> bool:
        """Close a watcher's connection. False where there is none of that id."""
        return await self._connections.hang_up(key, peer)

    # --- links

    async def renew(self, key: str, profile: str | None) -> Keys:
        """New links; who came by the old ones is hung up on."""
        session = self._house.get(key, Right.CONTROL)
        keys = self.book.renew(session.id, profile)
        await self._dismiss(session)
        return keys

    async def withdraw(self, key: str) -> None:
        """No links any more; who came by them is hung up on."""
        session = self._house.get(key, Right.CONTROL)
        self.book.withdraw(session.id)
        await self._dismiss(session)

    async def _dismiss(self, session: Session) -> None:
        await self._connections.drop(session, *session.guests)
        session.tell(session.hello(session.id))

    async def behind(self, link: str) -> Behind:
        """What stands behind a link now."""
        return self.book.behind(link)

    # --- control

    async def control(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        """Follow a command; None where too many came. Raises UsageError."""
        return self._controls.posted(key, command)

    async def hello(self, key: str) -> messages.Hello:
        """What the session can do, and its state."""
        return self._house.get(key, Right.DRIVE).hello(key)

    def _tell_state(self, id: str) -> None:
        session = self.sessions.get(id)
        if session is not None:
            session.tell(session.performer.state())

    # --- portraits

    async def add_portrait(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        """Decode, show and keep a picture. Raises BadPortrait, PortraitLate, Busy."""
        return await self._portraits.add(key, data, title)

    async def add_background(self, key: str, data: bytes) -> messages.BackgroundInfo:
        """Decode a picture or a clip, show it behind the portrait, and keep it. Raises BadBackdrop, Busy."""
        return await self._portraits.add_background(key, data)

    async def look(self, key: str, data: bytes) -> messages.Look:
        """Decode a picture and find its faces; nothing is kept. Raises BadPortrait, Busy."""
        return await self._portraits.look(key, data)

    async def remove_portrait(self, key: str, portrait: str) -> None:
        """Forget a picture. Raises UnknownName."""
        self._portraits.remove(key, portrait)

    async def add_view(self, key: str, portrait: str, data: bytes) -> messages.PortraitInfo:
        """Another picture of a portrait's person. Raises UnknownName, OneView, TooManyViews, BadPortrait,
        PortraitLate, GalleryFull, Busy."""
        return await self._portraits.add_view(key, portrait, data)

    async def remove_view(self, key: str, portrait: str, view: str) -> None:
        """Forget such a picture. Raises UnknownName."""
        self._portraits.remove_view(key, portrait, view)

    async def picture(self, key: str, portrait: str) -> bytes:
        """The gallery's small picture, JPEG. Raises UnknownName."""
        return self._portraits.small(key, portrait)

    # --- pictures and motion over HTTP

    async def pictures(self, key: str) -> AsyncIterator[bytes]:
        """The avatar as JPEG pictures, until the session ends. Raises TooManyViewers."""
        return await pictures(self._house, key)

    def drive(self, key: str) -> AbstractAsyncContextManager[MotionLine]:
        """Motion from one client. Raises TooManyDrivers."""
        return motion_line(self._house, self._controls, key)

    # --- time

    def _probe(self) -> None:
        """Ask the threads that sessions need whether they still answer."""
        loop, now = asyncio.get_running_loop(), self._clock()

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
            now = self._beat = self._clock()
            for session in self.sessions.values():
                self._try(partial(session.performer.tick, now))
            if now - told >= 1.0:
                told = now
                self._try(partial(self._keep_pace, now))
                for session in self.sessions.values():
                    self._try(partial(self._tell_stats, session, now))
            if now - swept >= 0.5:
                swept = now
                for work in (self._end_what_is_due, self._connections.sweep, self._probe, self._house.tidy):
                    self._try(work)

    def _keep_pace(self, now: float) -> None:
        before, sparing = self.pace.held_to, self.pace.sparing
        self.pace.look(now, [session.performer.keep_to(before, sparing) for session in self.sessions.values()])
        held = self.pace.held_to
        if held != before:
            log.info("pictures a second: %s for all", "as asked for" if held is None else f"at most {held:.0f}")
        if self.pace.sparing != sparing:
            log.info("the machine is %s", "no longer full" if sparing else "full: shoulders are not read")

    def _tell_stats(self, session: Session, now: float) -> None:
        if session.peers:
            pace, sessions = self.pace, len(self.sessions) + self._elsewhere
            session.tell(session.stats(now, sessions, pace.held_to, pace.sparing))

    def _try(self, work: Callable[[], object]) -> None:
        """What fails for one session stops the clock for none: without it no session would ever end."""
        try:
            work()
        except Exception:
            if self._complaints.take(self._clock()):
                log.exception("something of a session failed; the others go on")

    def _end_what_is_due(self) -> None:
        for id, why in self.book.due(self._clock()):
            self._house.soon(self._house.end(id, why))

"""A run on this machine: source, motion encoder, driver (edits), engine, sinks. What each stage decides is in `core`;
here are the threads and what lies between them.

Each stage that blocks has a thread of its own. Between them lie newest-only mailboxes (live), so that a stage that
falls behind drops frames and never delays the next one; or short queues (`lossless`), so that every frame comes out
in order while the stages still work at the same time. Two boxes lie between the source and the rendering stage:
driving frames (`Item`) go through the first and end in the encoding stage; through the second go `Drive`s, which hold
codes alone. So nothing but rendered pictures and the still portrait ever reaches a sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from realtime.engines import Engine
from realtime.errors import AvatarError, BadValue, as_avatar_error
from realtime.flow.mailbox import Box, Channel, Closed, Mailbox
from realtime.flow.metrics import RunStats
from realtime.flow.threads import one_core_per_stage
from realtime.media.backdrop import Keyed
from realtime.motion.vocabulary import can_mirror
from realtime.outputs import Draft, not_written
from realtime.session.control import Control
from realtime.session.core import Driving, Encoding, Rendering, engine_error, warm_encoder
from realtime.session.driver import Drive
from realtime.session.health import SignalMonitor
from realtime.session.outlets import Outlet, Shared
from realtime.session.shelf import Shelf
from realtime.settings import Live, PipelineSettings
from realtime.sinks import Sink
from realtime.sources import Item, Source
from realtime.types import SYNTHETIC, Picture

PATIENCE, PATIENCE_OFFLINE = 5.0, 60.0
"""Seconds that a stage gets to finish when the session ends; offline nobody waits for a device to be let go."""

LAST_WORDS = 1.0
"""Seconds for which a session that was told to stop goes on with what had waited for the driver's neutral face."""


class Pipeline:
    """One session. `await run()` once; steer it through `control` from any thread.

    The source and the sinks are checked but not open; the engine has its portrait. All are closed by `run`, except
    the engine, which belongs to the caller.
    """

    def __init__(
        self,
        source: Source,
        engine: Engine,
        sinks: Sequence[Sink],
        settings: PipelineSettings | None = None,
        live: Live | None = None,
    ) -> None:
        self.settings = settings or PipelineSettings()
        self.engine, self.source = engine, source
        self.keyed: Keyed | None = None
        """Set before `run`: the engine's portrait as it was made, where a clip lies behind it."""
        self.stats = RunStats(engine.name, engine.device, engine.size)
        self._shelf = Shelf(engine)
        mirrors = source.kind is None or can_mirror(source.kind)
        self.control = Control(live or Live(), engine.directions, self.stats, self._shelf, mirrors)
        self._lossless = self.settings.lossless
        self._patience = PATIENCE_OFFLINE if self._lossless else PATIENCE
        source.fit(engine.kind, engine.directions)
        encoding = Encoding(
            engine,
            self.control.tell,
            media_time=self._lossless,
            strict=self._lossless,
            monitor=SignalMonitor(source.name, still=source.still),
        )
        count = self.stats.count
        self._driving = Driving(engine, encoding, source.reference, count=count, offline=self._lossless)
        self._rendering = Rendering(engine, self.control.tell, strict=self._lossless)
        self._faults = (self._rendering.faults, encoding.faults)
        self._frames: Box[Item] = Channel() if self._lossless else Mailbox(self._drop)
        self._drives: Box[Drive] = Channel() if self._lossless else Mailbox(lambda d: self._drop(d.code))
        self._sinks = list(sinks)
        self._outlets: list[Outlet] = []
        self._failure: AvatarError | None = None
        self._threads: list[threading.Thread] = []
        self._go = threading.Event()
        self.interrupted = False
        """True when the session was told to stop before its source ended."""
        self._source_ended = False
        self._started = 0.0
        source.tell = self.control.tell
        source.stopping = lambda: self.control.stopping

    async def run(self) -> RunStats:
        """Run until the source ends, `control.stop()` is called, the duration is over, or every sink failed.

        Raises the first AvatarError of a stage, after all sinks are closed."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        self.control.when_stopping(lambda: _from_thread(loop, stop.set))
        self._outlets = [Outlet(sink, self.control, self.stats, self._lossless) for sink in self._sinks]
        for sink in self._sinks:
            sink.complete = self._complete
        stopped: asyncio.Future[Any] = asyncio.create_task(stop.wait())
        try:
            await self._open(loop, stopped)
            if self._go.is_set():
                self.control.phase = "running"
            done = [asyncio.create_task(outlet.ended()) for outlet in self._outlets]
            everything: asyncio.Future[Any] = asyncio.gather(*done)
            limit = None if self._lossless else self.settings.duration
            await asyncio.wait({everything, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            self.interrupted = self.control.stopping and not (everything.done() and self._go.is_set())
            everything.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await everything
        except AvatarError as error:
            self._fail(error)
        finally:
            stopped.cancel()
            await self._close(loop)
        self.interrupted = self.interrupted and not (self._lossless and self._complete())
        failure = self._failure or next((o.failure for o in self._outlets if o.failure is not None), None)
        if failure is not None:
            for sink in self._sinks:
                if sink.kept:
                    failure.add_note(sink.kept)
            raise failure
        for faults in self._faults:
            faults.check()
        return self.stats

    async def _open(self, loop: asyncio.AbstractEventLoop, stopped: asyncio.Future[Any]) -> None:
        """Prepare engine, source and sinks, then let them go; give up once `stopped`. Raises AvatarError."""
        one_core_per_stage()
        await loop.run_in_executor(None, self._warm_up)
        opened: asyncio.Future[None] = loop.create_future()
        ready = partial(_from_thread, loop, _resolve, opened)
        self._start(lambda: self._read_stage(ready), "source", self._frames.close, self.source.close)
        await asyncio.wait({opened, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            return
        height, width = self._rendering.still.shape[:2]
        for outlet in self._outlets:
            outlet.sink.on_key = self._key
            await outlet.start(width, height, self._rate())
        self._warn_of_portrait()
        self._started = time.monotonic()
        self._start(self._render_stage, "render", *(outlet.box.close for outlet in self._outlets))
        self._start(self._encode_stage, "encode", self._drives.close)
        if not self._lossless:
            self._start(self._portrait_stage, "portraits")
        self._go.set()

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        self.control.stop()
        self._go.set()
        await loop.run_in_executor(None, self._join)
        for outlet in self._outlets:
            await outlet.finish(self._patience)
        self.control.phase = "stopped"
        self._write_stats()

    def _rate(self) -> float:
        """Pictures a second that sinks may expect."""
        return self.source.fps or self.settings.fps

    def _warm_up(self) -> None:
        """The still portrait. The engine has done all once then, so that the first driving frame is not late."""
        self._rendering.begin(self.keyed)
        warm_encoder(self.engine, self._rendering.still)

    # Stages, each in its own thread

    def _read_stage(self, opened: Callable[[], None]) -> None:
        self.source.open()
        opened()
        self._go.wait()
        while not self.control.stopping:
            item = self.source.read()
            if item is None or self._beyond_duration(item):
                self._source_ended = not self.control.stopping
                break
            self.stats.count("captured")
            if not self._frames.put(item):
                self._drop(item)
                break

    def _encode_stage(self) -> None:
        beat = None if self._lossless else 1.0 / self.settings.fps
        control, driving, source = self.control, self._driving, self.source
        driving.begin(control.live, time.monotonic())
        try:
            while True:
                item = self._frames.get(beat)
                now = time.monotonic()
                if item is None:
                    idle = driving.nothing(control.live, now, source.live and not source.waiting)
                    self._hand_over([idle] if idle is not None else [])
                    continue
                if asked := control.take_recalibrate():
                    driving.recalibrate(asked.neutral, control.live.mirror)
                self._hand_over(driving.take(item, control.live, now))
        except Closed:
            self._hand_over(driving.end(control.live))

    def _hand_over(self, drives: Iterable[Drive]) -> None:
        """To the rendering stage. Once the session is told to stop, only for `LAST_WORDS` more."""
        told_to_stop: float | None = None
        for drive in drives:
            now = time.monotonic()
            if self.control.stopping:
                told_to_stop = now if told_to_stop is None else told_to_stop
                if now - told_to_stop > LAST_WORDS:
                    self._drop(drive.code)
                    continue
            self.control.face, self.control.calibration = self._driving.face, self._driving.calibration
            self.control.fit = self._driving.fit
            self.control.neutral = self._driving.learnt(self.control.live.mirror)
            if drive.code.index != SYNTHETIC:
                drive.stamps["encode"] = now
            if not self._drives.put(drive):
                self._drop(drive.code)

    def _render_stage(self) -> None:
        try:
            while True:
                drive = self._drives.get()
                assert drive is not None
                self._swap_portrait()
                code = drive.code
                shown = self._rendering.show(drive, time.monotonic()).image
                if code.index != SYNTHETIC:
                    self.stats.count("rendered")
                pts = code.pts if self._lossless else code.captured - self._started
                stamps = {**drive.stamps, "render": time.monotonic()}
                picture = Picture(shown, code.captured, pts, code.index, stamps, code, drive.reference)
                shared = Shared(picture, len(self._outlets), self.stats)
                for outlet in self._outlets:
                    outlet.put(shared)
        except Closed:
            pass

    def _portrait_stage(self) -> None:
        """Prepares portraits beside the running session."""
        while not self.control.stopping:
            wish = self.control.take_wish(timeout=0.2)
            if wish is None:
                continue
            try:
                prepared = self._shelf.prepare(wish.name, wish.image)
            except Exception as error:
                self.control.tell(f"{wish.name}: {engine_error(self.engine, error)}", "warning")
                continue
            if wish.show:
                self.control.show(prepared)

    # Parts of the stages

    def _swap_portrait(self) -> None:
        chosen = self.control.take_portrait()
        if chosen is None:
            return
        try:
            self._rendering.swap(chosen.data)
        except AvatarError as error:
            self.control.tell(f"{chosen.name}: {error}", "warning")
            return
        self.control.portrait_is(chosen.name)
        self._warn_of_portrait()

    def _warn_of_portrait(self) -> None:
        """Tell what the engine has to say about the portrait it shows, if it has anything."""
        for sentence in self._rendering.warnings:
            self.control.tell(f"portrait: {sentence}", "warning")

    def _beyond_duration(self, item: Item) -> bool:
        return self._lossless and self.settings.duration is not None and item.pts >= self.settings.duration - 1e-9

    def _drop(self, item: Item) -> None:
        if item.index != SYNTHETIC:
            self.stats.count("dropped")

    def _key(self, command: str) -> None:
        live = self.control.live
        if command == "quit":
            self.control.stop()
        elif command == "calibrate":
            self.control.recalibrate()
        elif command == "mirror":
            try:
                self.control.change(mirror=not live.mirror)
            except BadValue as error:
                self.control.tell(str(error), "warning")
        elif command == "pause":
            self.control.change(paused=not live.paused)
        elif command == "portrait":
            self.control.next_portrait()
        elif command.isdecimal() and 0 < int(command) <= len(self.control.board):
            self.control.express(self.control.board[int(command) - 1])

    def _start(self, stage: Callable[[], None], name: str, *after: Callable[[], None]) -> None:
        """Run `stage` in a thread of its own, then what comes `after`: the next stage hears that this one is over
        only when a failure of it is known."""

        def work() -> None:
            for call in (stage, *after):
                try:
                    call()
                except Exception as error:
                    self._fail(as_avatar_error(error, name))

        thread = threading.Thread(target=work, name=f"avatar-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _complete(self) -> bool:
        """Whether what the sinks got is all that they should get. A live session may be ended at any time."""
        whole = self._source_ended and not self.stats.counts.dropped
        return self._failure is None and (whole or not self._lossless)

    def _fail(self, error: AvatarError) -> None:
        self._failure = self._failure or error
        self.control.stop()

    def _join(self) -> None:
        """Let the stages finish what is under way; after `_patience` take what they wait for away."""
        deadline = time.monotonic() + self._patience
        if self._failure is not None:
            deadline = time.monotonic()
        for box in (None, self._frames, self._drives, *(outlet.box for outlet in self._outlets)):
            if box is not None:
                box.close()
            for thread in self._threads:
                thread.join(max(0.05, deadline - time.monotonic()))

    def _write_stats(self) -> None:
        """Those of a session that broke off stay beside an earlier file: stats.partial.json."""
        complete = self._complete()
        if self.settings.stats is None or not (complete or self.stats.counts.captured):
            return
        try:
            draft = Draft(self.settings.stats, kept=True)
            draft.at.write_text(json.dumps(self.stats.to_json(), indent=2) + "\n", encoding="utf-8")
            if complete:
                draft.finish()
        except OSError as error:
            draft.drop()
            self._failure = self._failure or not_written(self.settings.stats, error)
        except AvatarError as error:
            self._failure = self._failure or error


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Run `call` in the loop; nothing where the loop is closed already."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

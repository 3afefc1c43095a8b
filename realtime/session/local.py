"""The wiring of the stages: source, motion encoder, driver (edits), engine, sinks.

Each stage that blocks has a thread of its own. Between them lie newest-only mailboxes (live), so that a stage that
falls behind drops frames and never delays the next one; or short queues (`lossless`), so that every frame comes out
in order while the stages still work at the same time. Nothing but rendered pictures and the still portrait ever
reaches a sink: driving frames end in the encoder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import AvatarError, BadFile, BadPortrait, BadValue, EngineError
from realtime.flow.mailbox import Box, Channel, Closed, Mailbox
from realtime.flow.metrics import RunStats
from realtime.flow.threads import one_core_per_stage
from realtime.motion.calibration import LONGEST
from realtime.motion.vocabulary import can_mirror, mirrored
from realtime.session.control import Control
from realtime.session.driver import Drive, Driver
from realtime.session.health import Fallback, SignalMonitor
from realtime.session.outlets import SYNTHETIC, Outlet, Shared, as_avatar_error
from realtime.session.shelf import Shelf
from realtime.settings import Live, PipelineSettings
from realtime.sinks import Sink
from realtime.sources import Item, Source, Unseen
from realtime.types import Frame, MotionCode, Picture

PATIENCE, PATIENCE_OFFLINE = 5.0, 60.0
"""Seconds that a stage gets to finish when the session ends; offline nobody waits for a device to be let go."""

LAST_WORDS = 1.0
"""Seconds for which a session that was told to stop goes on with what had waited for the driver's neutral face."""

QUIET = 0.3
"""Seconds without a driving frame after which the avatar idles by itself."""


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
        self.stats = RunStats(engine.name, engine.device, engine.size)
        self._shelf = Shelf(engine)
        mirrors = source.kind is None or can_mirror(source.kind)
        self.control = Control(live or Live(), engine.directions, self.stats, self._shelf, mirrors)
        self._lossless = self.settings.lossless
        self._patience = PATIENCE_OFFLINE if self._lossless else PATIENCE
        source.fit(engine.kind, engine.directions)
        self._driver = Driver(engine, source.reference)
        self._ahead: list[tuple[MotionCode | None, Unseen, float]] | None = None
        self._health = SignalMonitor(source.name)
        self._frames: Box[Item] = Channel() if self._lossless else Mailbox(self._drop)
        self._drives: Box[Drive] = Channel() if self._lossless else Mailbox(lambda d: self._drop(d.code))
        self._sinks = list(sinks)
        self._outlets: list[Outlet] = []
        self._failure: AvatarError | None = None
        self._encode_guard, self._render_guard = Fallback(), Fallback()
        self._threads: list[threading.Thread] = []
        self._go = threading.Event()
        self.interrupted = False
        """True when the session was told to stop before its source ended."""
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
        try:
            await self._open(loop)
            self.control.phase = "running"
            done = [asyncio.create_task(outlet.ended()) for outlet in self._outlets]
            everything: asyncio.Future[Any] = asyncio.gather(*done)
            stopped: asyncio.Future[Any] = asyncio.create_task(stop.wait())
            limit = None if self._lossless else self.settings.duration
            await asyncio.wait({everything, stopped}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            self.interrupted = not everything.done() and self.control.stopping
            stopped.cancel()
            everything.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await everything
        except AvatarError as error:
            self._fail(error)
        finally:
            await self._close(loop)
        failure = self._failure or next((o.failure for o in self._outlets if o.failure is not None), None)
        if failure is not None:
            raise failure
        for guard in (self._render_guard, self._encode_guard):
            if guard.failing:
                raise EngineError(self.engine.name, guard.reason)
        return self.stats

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare engine, source and sinks, then let them go. Raises AvatarError."""
        one_core_per_stage()
        self._still = await loop.run_in_executor(None, self._rest)
        opened: asyncio.Future[None] = loop.create_future()
        self._start(lambda: self._read_stage(lambda: _from_thread(loop, _resolve, opened)), "source")
        stop: asyncio.Future[None] = asyncio.create_task(self._stopped())
        await asyncio.wait({opened, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not opened.done():
            return
        height, width = self._still.shape[:2]
        for outlet in self._outlets:
            outlet.sink.on_key = self._key
            await outlet.start(width, height, self._rate())
        self._warn_of_portrait()
        self._started = time.monotonic()
        self._start(self._render_stage, "render")
        self._start(self._encode_stage, "encode")
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

    async def _stopped(self) -> None:
        while not self.control.stopping:
            await asyncio.sleep(0.05)

    # Stages, each in its own thread

    def _read_stage(self, opened: Callable[[], None]) -> None:
        try:
            self.source.open()
            opened()
            self._go.wait()
            while not self.control.stopping:
                item = self.source.read()
                if item is None or self._beyond_duration(item):
                    break
                self.stats.count("captured")
                if not self._frames.put(item):
                    self._drop(item)
                    break
        finally:
            self._frames.close()
            self.source.close()

    def _encode_stage(self) -> None:
        beat = None if self._lossless else 1.0 / self.settings.fps
        seen = time.monotonic()
        if self._lossless and not self.control.live.absolute:
            self._ahead = []
        try:
            while True:
                item = self._frames.get(beat)
                now = time.monotonic()
                if item is not None and not (self.control.live.paused and not self._lossless):
                    seen = now
                    self._encode_one(item, now)
                    continue
                if item is not None:
                    self._drop(item)
                if now - seen >= QUIET or self.control.live.paused:
                    if self.source.live and not self.source.waiting and not self.control.live.paused:
                        self._say(self._health.silent(now - seen))
                    drive = self._driver.update(None, self.control.live, now)
                    self._hand_over(drive, replace(drive.code, captured=now, index=SYNTHETIC), {})
        except Closed:
            self._look_back()
        finally:
            self._drives.close()

    def _encode_one(self, item: Item, now: float) -> None:
        live = self.control.live
        at = self._time(item)
        if self.control.take_recalibrate():
            self._driver.recalibrate()
        code: MotionCode | None = None
        if isinstance(item, Frame):
            code = self._encode_frame(item, live, at)
        elif isinstance(item, MotionCode):
            code = mirrored(item) if live.mirror else item
        self.stats.count("encoded")
        if code is None:
            self.stats.count("no_face")
        if isinstance(item, Frame):
            self._say(self._health.face(code is not None, at))
        if self._ahead is None:
            self._drive(code, item, now)
            return
        self._ahead.append((code, Unseen(item.captured, item.pts, item.index), now))  # without the picture
        if self._driver.observe(code, at) or at - self._ahead[0][1].pts > LONGEST:
            self._look_back()

    def _look_back(self) -> None:
        """Offline: the neutral face is known now; send on what was waiting for it. Once the session is told to stop,
        only for `LAST_WORDS` more."""
        ahead, self._ahead = self._ahead, None
        self._driver.settle()
        told_to_stop: float | None = None
        for code, item, begun in ahead or ():
            if self.control.stopping:
                now = time.monotonic()
                told_to_stop = now if told_to_stop is None else told_to_stop
                if now - told_to_stop > LAST_WORDS:
                    self._drop(item)
                    continue
            self._drive(code, item, begun)

    def _drive(self, code: MotionCode | None, item: Item, begun: float) -> None:
        """`begun`: when the encoder took the item."""
        drive = self._driver.update(code, self.control.live, self._time(item))
        code = replace(drive.code, captured=item.captured, pts=item.pts, index=item.index)
        self._hand_over(drive, code, {"capture": begun, "encode": time.monotonic()})

    def _encode_frame(self, frame: Frame, live: Live, at: float) -> MotionCode | None:
        """The code of one frame; where the encoder fails live, the same as no face."""
        self._say(self._health.frame(frame.image, at))
        image = np.ascontiguousarray(frame.image[:, ::-1]) if live.mirror else frame.image
        try:
            code = self.engine.encode(replace(frame, image=image, captured=at))
        except Exception as error:
            self._engine_failed(self._encode_guard, error, time.monotonic())
            return None
        self._encode_guard.succeeded()
        return code

    def _hand_over(self, drive: Drive, code: MotionCode, stamps: dict[str, float]) -> None:
        self.control.face, self.control.calibration = self._driver.face, self._driver.calibration
        drive = replace(drive, code=code, stamps=stamps)
        if not self._drives.put(drive):
            self._drop(code)

    def _render_stage(self) -> None:
        last = self._still
        try:
            while True:
                drive = self._drives.get()
                assert drive is not None
                self._swap_portrait()
                code = drive.code
                try:
                    self.engine.reference = drive.reference
                    last = self.engine.render(code)
                    if self._render_guard.succeeded():
                        self.control.tell("the engine works again")
                    shown = last
                except Exception as error:
                    still = self._engine_failed(self._render_guard, error, time.monotonic())
                    shown = self._still if still else last
                if code.index != SYNTHETIC:
                    self.stats.count("rendered")
                pts = code.pts if self._lossless else code.captured - self._started
                stamps = {**drive.stamps, "render": time.monotonic()}
                picture = Picture(shown, code.captured, pts, code.index, stamps)
                shared = Shared(picture, len(self._outlets), self.stats)
                for outlet in self._outlets:
                    outlet.put(shared)
        except Closed:
            pass
        finally:
            for outlet in self._outlets:
                outlet.box.close()

    def _portrait_stage(self) -> None:
        """Prepares portraits beside the running session."""
        while not self.control.stopping:
            wish = self.control.take_wish(timeout=0.2)
            if wish is None:
                continue
            try:
                prepared = self._shelf.prepare(wish.name, wish.image)
            except Exception as error:
                self.control.tell(f"{wish.name}: {self._engine_error(error)}", "warning")
                continue
            if wish.show:
                self.control.show(prepared)

    # Parts of the stages

    def _time(self, item: Item) -> float:
        """The time that motion goes by: the media's offline, the clock's live."""
        return item.pts if self._lossless else item.captured

    def _rest(self) -> np.ndarray:
        """The portrait at rest. Also warms the engine up, so that the first driving frame is not late."""
        try:
            code = self.engine.portrait_code
            self.engine.reference = code
            still = self.engine.render(code)
            self.engine.encode(Frame(still, captured=0.0))
            self.engine.reset()
            return still
        except Exception as error:
            raise self._engine_error(error) from error

    def _swap_portrait(self) -> None:
        chosen = self.control.take_portrait()
        if chosen is None:
            return
        try:
            self.engine.set_portrait(chosen.data)
            code = self.engine.portrait_code
            self.engine.reference = code
            self._still = self.engine.render(code)
            self.control.portrait_is(chosen.name)
            self._warn_of_portrait()
        except BadPortrait as error:
            self.control.tell(f"{chosen.name}: {error}", "warning")
        except Exception as error:
            self._engine_failed(self._render_guard, error, time.monotonic())

    def _warn_of_portrait(self) -> None:
        """Tell what the engine has to say about the portrait it shows, if it has anything."""
        for sentence in getattr(self.engine, "warnings", ()):
            self.control.tell(f"portrait: {sentence}", "warning")

    def _engine_failed(self, guard: Fallback, error: Exception, now: float) -> bool:
        """Live: tell the user, go on; True when it is time for the still portrait. Lossless: raise."""
        wrapped = self._engine_error(error)
        if self._lossless:
            raise wrapped from error
        first, still = guard.failed(getattr(wrapped, "reason", str(wrapped)), now)
        if first:
            self.control.tell(f"{wrapped}; the last picture is held, then the still portrait", "warning")
        return still

    def _engine_error(self, error: Exception) -> AvatarError:
        if isinstance(error, AvatarError):
            return error
        return EngineError(self.engine.name, str(as_avatar_error(error, type(error).__name__)))

    def _beyond_duration(self, item: Item) -> bool:
        return self._lossless and self.settings.duration is not None and item.pts >= self.settings.duration - 1e-9

    def _drop(self, item: Item) -> None:
        if item.index != SYNTHETIC:
            self.stats.count("dropped")

    def _say(self, sentence: str | None) -> None:
        if sentence is not None:
            self.control.tell(sentence, "warning")

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

    def _start(self, stage: Callable[[], None], name: str) -> None:
        def work() -> None:
            try:
                stage()
            except Exception as error:
                self._fail(as_avatar_error(error, name))

        thread = threading.Thread(target=work, name=f"avatar-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

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
        if self.settings.stats is None:
            return
        try:
            self.settings.stats.write_text(json.dumps(self.stats.to_json(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            self._failure = self._failure or BadFile(self.settings.stats, f"cannot be written ({error.strerror})")


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Run `call` in the loop; nothing where the loop is closed already."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

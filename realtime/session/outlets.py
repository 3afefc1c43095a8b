"""The last stage: one sink with its own mailbox and its own thread, so that a slow or failing one stops no other."""

from __future__ import annotations

import asyncio
import threading
import time

from realtime.errors import AvatarError, as_avatar_error
from realtime.flow.mailbox import Box, Channel, Closed, Mailbox
from realtime.flow.metrics import RunStats
from realtime.session.control import Control
from realtime.sinks import Sink
from realtime.types import SYNTHETIC, Picture


class Shared:
    """One picture on its way to several sinks: delivered once the first took it, dropped when none did."""

    def __init__(self, picture: Picture, sinks: int, stats: RunStats) -> None:
        self.picture = picture
        self._left, self._taken, self._stats = sinks, False, stats
        self._lock = threading.Lock()

    def taken(self, now: float) -> None:
        """A sink took the picture at `now`."""
        with self._lock:
            first, self._taken = not self._taken, True
            self._left -= 1
        if first and self.picture.index != SYNTHETIC:
            self._stats.delivered(self.picture.captured, self.picture.stamps, now)

    def passed(self) -> None:
        """A sink will not take the picture: a newer one came, or it failed."""
        with self._lock:
            self._left -= 1
            lost = self._left == 0 and not self._taken
        if lost and self.picture.index != SYNTHETIC:
            self._stats.count("dropped")


class Outlet:
    """Feeds one sink. `start` and `finish` are called from the event loop, `put` from the rendering stage."""

    def __init__(self, sink: Sink, control: Control, stats: RunStats, lossless: bool) -> None:
        self.sink = sink
        self.failure: AvatarError | None = None
        self.taken = 0
        self._control, self._stats = control, stats
        self.box: Box[Shared] = Channel() if lossless else Mailbox(Shared.passed)
        self._ended = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        sink.tell = control.tell

    async def start(self, width: int, height: int, fps: float) -> None:
        """Open the sink in its own thread. Raises what `open` raises."""
        if self.sink.on_main_thread:
            self.sink.open(width, height, fps)
            self._task = asyncio.create_task(self._serve())
            return
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()

        def answer(error: Exception | None) -> None:
            loop.call_soon_threadsafe(_answer, opened, error)

        def work() -> None:
            try:
                self.sink.open(width, height, fps)
            except Exception as error:
                self.failure = as_avatar_error(error, self.sink.name)
                answer(self.failure)
            else:
                answer(None)
                self._work()
            self._close()
            loop.call_soon_threadsafe(self._ended.set)

        self._thread = threading.Thread(target=work, name=f"avatar-sink-{self.sink.name}", daemon=True)
        self._thread.start()
        await opened

    def put(self, shared: Shared) -> None:
        if not self.box.put(shared):
            shared.passed()

    async def ended(self) -> None:
        """Wait until this sink takes no more: all is written, or it failed."""
        if self._thread is not None or self._task is not None:
            await self._ended.wait()

    async def finish(self, patience: float) -> None:
        """Wait for the sink to write what it has and close; give up after `patience` seconds."""
        self.box.close()
        try:
            await asyncio.wait_for(self.ended(), patience)
        except TimeoutError:
            self._control.tell(f"{self.sink.name} does not finish; it is left behind", "warning")
            if self._task is not None:
                self._task.cancel()

    def _work(self) -> None:
        wait = 0.0
        try:
            while True:
                shared = self.box.get(wait)
                if shared is not None:
                    self._write(shared)
                wait = self.sink.idle(time.monotonic())
        except Closed:
            pass
        except Exception as error:
            self._fail(error)

    async def _serve(self) -> None:
        assert isinstance(self.box, Mailbox), "a window shows the newest picture"
        wait = 0.0
        try:
            while True:
                shared = await self.box.aget(wait)
                if shared is not None:
                    self._write(shared)
                wait = self.sink.idle(time.monotonic())
        except Closed:
            pass
        except Exception as error:
            self._fail(error)
        finally:
            self._close()
            self._ended.set()

    def _write(self, shared: Shared) -> None:
        try:
            self.sink.write(shared.picture)
        except Exception:
            shared.passed()
            raise
        shared.taken(time.monotonic())
        self.taken += 1

    def _fail(self, error: Exception) -> None:
        self.failure = as_avatar_error(error, self.sink.name)
        self.box.close()
        while (left := take(self.box)) is not None:
            left.passed()
        self._control.tell(str(self.failure), "warning")

    def _close(self) -> None:
        try:
            self.sink.close()
        except Exception as error:
            self.failure = self.failure or as_avatar_error(error, self.sink.name)


def take(box: Box[Shared]) -> Shared | None:
    """What lies in a closed box, None when it is empty."""
    try:
        return box.get(0.0)
    except Closed:
        return None


def _answer(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)

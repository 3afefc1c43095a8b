"""What commands print: notices, a live line, progress. Results go to stdout, all else to stderr."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from realtime.engines import Engine
from realtime.session.control import Notice
from realtime.session.local import Pipeline

if TYPE_CHECKING:
    from rich.progress import Progress

PLAIN_LINE_EVERY = 5.0
"""Seconds between status lines where stderr is no terminal."""


def say(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def say_warnings(engine: Engine) -> None:
    """What the engine warns of in its portrait: a head turned far, a face cut by the border."""
    for sentence in getattr(engine, "warnings", ()):
        say(f"! portrait: {sentence}")


def run_session(pipeline: Pipeline, quiet: bool = False, greeting: str = "") -> None:
    """Run a session until it ends; Ctrl-C and SIGTERM end it well. Shows a live line. Raises AvatarError.

    greeting: what is said once source and sinks are open: a source that cannot be opened gives its error alone."""
    asyncio.run(_session(pipeline, quiet, greeting))


async def _session(pipeline: Pipeline, quiet: bool, greeting: str) -> None:
    stop_on_signals(asyncio.get_running_loop(), pipeline.control.stop)
    line = LiveLine(pipeline, quiet, greeting)
    pipeline.control.subscribe(line.notice)
    ticker = asyncio.create_task(line.keep_up())
    try:
        await pipeline.run()
    finally:
        ticker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticker
        line.close()


def stop_on_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM calls `end`, in the loop; a second Ctrl-C ends the program at once."""

    def stop() -> None:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        end()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))


async def run_to_end(pipeline: Pipeline, what: str, quiet: bool = False) -> None:
    """Run a session that reads a file, under a progress bar; Ctrl-C and SIGTERM end it well. Raises AvatarError."""
    stop_on_signals(asyncio.get_running_loop(), pipeline.control.stop)
    pipeline.control.subscribe(lambda notice: None if quiet else say(f"! {notice.text}"))
    running = asyncio.create_task(pipeline.run())
    with progress(quiet) as bar:
        task = bar.add_task(what, total=_total(pipeline), speed="")
        while not running.done():
            await asyncio.wait({running}, timeout=0.2)
            done = pipeline.stats.counts.delivered
            bar.update(task, completed=done, total=_total(pipeline), speed=f"{pipeline.stats.fps():.0f} fps")
    await running


def _total(pipeline: Pipeline) -> int | None:
    """How many frames will come, as far as the source knows."""
    frames, limit = pipeline.source.frames, pipeline.settings.duration
    if frames is None or limit is None or pipeline.source.fps is None:
        return frames
    return min(frames, round(limit * pipeline.source.fps))


class LiveLine:
    """One line that says how the session does: rewritten in place in a terminal, now and then elsewhere."""

    def __init__(self, pipeline: Pipeline, quiet: bool, greeting: str = "") -> None:
        self._pipeline, self._quiet, self._greeting = pipeline, quiet, greeting
        self._terminal = sys.stderr.isatty()
        self._width = 0

    async def keep_up(self) -> None:
        """Write the line again and again until cancelled."""
        if self._quiet:
            return
        await self._greet()
        while True:
            await asyncio.sleep(0.5 if self._terminal else PLAIN_LINE_EVERY)
            if self._pipeline.control.phase == "running":
                self._show(self.text())

    async def _greet(self) -> None:
        """Say that source and sinks are being opened, in a terminal only; then the greeting."""
        if self._terminal:
            self._show(f"opening {self._pipeline.source.name} ...")
        while self._pipeline.control.phase == "starting":
            await asyncio.sleep(0.02)
        self.close()
        if self._greeting and self._pipeline.control.phase == "running":
            say(self._greeting)

    def text(self) -> str:
        """What the line says now."""
        control = self._pipeline.control
        now, counts = control.stats.recent(time.monotonic()), control.stats.counts
        parts = [f"{now['fps']:.0f} fps", f"{now['p50']:.0f} ms (p99 {now['p99']:.0f})", f"{counts.dropped} dropped"]
        if control.live.paused:
            parts.append("paused")
        elif control.face not in ("unknown", "tracked"):
            parts.append("no face")
        elif 0.0 < control.calibration < 1.0:
            parts.append("finding your neutral face: look ahead")
        return "  ".join(parts)

    def notice(self, notice: Notice) -> None:
        """Print a notice above the line. With --quiet only warnings."""
        if self._quiet and notice.level != "warning":
            return
        self.close()
        say(f"{'! ' if notice.level == 'warning' else ''}{notice.text}")

    def close(self) -> None:
        """Take the line away."""
        if self._terminal and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()

    def _show(self, text: str) -> None:
        if not self._terminal:
            say(text)
            return
        self._width = max(self._width, len(text))
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Progress]:
    """A bar with the time left, on stderr; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Counted(MofNCompleteColumn):
        """How many of how many; only how many where no one knows the total."""

        def render(self, task: Task) -> Text:
            return Text(f"{int(task.completed)}") if task.total is None else super().render(task)

    console = Console(file=sys.stderr)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        Counted(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        yield bar

"""Sources that stall, end, come back and change: a camera, an MJPEG stream over HTTP, a growing file, a FIFO."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.live.fault_machine import pictures_in, said
from benchmarks.live.faults import Outcome, Plan, recovered_after
from benchmarks.live.loopback import free_port, listens
from benchmarks.live.subjects import driving_clip, letterboxed, portrait_of
from benchmarks.report.machine import ROOT
from realtime import load_engine
from realtime.errors import NoDevice
from realtime.session.local import Pipeline
from realtime.settings import PipelineSettings
from realtime.sinks import SinkBase, SinkOptions
from realtime.sources import Source, SourceOptions
from realtime.sources.reconnecting import ReconnectingSource
from realtime.sources.url import UrlSource
from realtime.types import SYNTHETIC, Picture

FAULT_S = 4.0
WITHIN_S = 6.0
"""Coming back: the wait before the next attempt grows to several seconds while a source is away."""


class Lens:
    """What a made-up camera does now. stalled: it says nothing; absent: it is gone; size: of its pictures."""

    def __init__(self) -> None:
        self.stalled = self.absent = self.over = False
        self.size = (640, 480)
        self._frames = driving_clip(None, 60).frames

    def pictures(self) -> Iterator[np.ndarray]:
        """30 a second until it is gone."""
        index = 0
        while not (self.absent or self.over):
            if not self.stalled:
                yield letterboxed([self._frames[index % len(self._frames)]], *self.size)[0]
                index += 1
            time.sleep(1 / 30)


class MadeUpCamera(ReconnectingSource):
    """A camera as the system gives it, but for what is behind it."""

    name = "camera 0 (made up)"

    def __init__(self, lens: Lens) -> None:
        super().__init__(SourceOptions())
        self._lens = lens

    def connect(self) -> Any:
        """What PyAV would give."""
        if self._lens.absent:
            raise NoDevice("camera 0", "is gone")
        stream = SimpleNamespace(thread_type="", average_rate=30, guessed_rate=30)
        return SimpleNamespace(streams=SimpleNamespace(video=[stream]), demux=self._demux, close=lambda: None)

    def _demux(self, _: object) -> Iterator[Any]:
        for picture in self._lens.pictures():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            yield SimpleNamespace(decode=lambda frame=frame: [frame])


@contextlib.contextmanager
def camera(lens: Lens) -> Iterator[Source]:
    """A made-up camera."""
    yield MadeUpCamera(lens)


@contextlib.contextmanager
def mjpeg(lens: Lens) -> Iterator[Source]:
    """The same as an MJPEG stream of a web server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if lens.absent:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):
                for picture in lens.pictures():
                    jpeg = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield UrlSource(f"http://127.0.0.1:{server.server_address[1]}/live", SourceOptions())
    finally:
        lens.over = True
        server.shutdown()
        server.server_close()


SYSTEM_PYTHON = "/usr/bin/python3"


@contextlib.contextmanager
def rtsp(lens: Lens) -> Iterator[Source]:
    """The same from an RTSP server (GStreamer's), which is gone with its pictures."""
    port = free_port()

    def serve() -> None:
        while not lens.over:
            if lens.absent:
                time.sleep(0.05)
                continue
            command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(port)]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert server.stdin is not None
            with contextlib.suppress(OSError):
                for picture in lens.pictures():
                    jpeg = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
                    server.stdin.write(struct.pack(">I", len(jpeg)) + jpeg)
                    server.stdin.flush()
            server.kill()
            server.wait()

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    until = time.monotonic() + 20
    while time.monotonic() < until and not listens(port):
        time.sleep(0.1)
    try:
        yield UrlSource(f"rtsp://127.0.0.1:{port}/live", SourceOptions())
    finally:
        lens.over = True
        serving.join(10)


def with_rtsp(fault: Callable[[Plan], Outcome]) -> Callable[[Plan], Outcome]:
    """The fault where there is an RTSP server, else a row that says what is missing."""

    def tried(plan: Plan) -> Outcome:
        look = "import gi; gi.require_version('GstRtspServer', '1.0')"
        try:
            missing = subprocess.run([SYSTEM_PYTHON, "-c", look], capture_output=True).returncode != 0
        except OSError:
            missing = True
        why = "GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0)"
        return Outcome("an RTSP server", skipped=why) if missing else fault(plan)

    return tried


class Watcher(SinkBase):
    """Keeps when each picture came and whether the source drove it."""

    name = "watcher"

    def __init__(self) -> None:
        super().__init__(SinkOptions())
        self.rows: list[tuple[float, bool]] = []

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Note it."""
        self.rows.append((time.monotonic(), picture.index != SYNTHETIC))


def session(made: Callable[[Lens], Any], injected: str, begin: Callable[[Lens], None], end: Callable[[Lens], None],
            plan: Plan) -> Outcome:  # fmt: skip
    """One local session whose source suffers for a few seconds. The avatar has to be shown all the time."""
    lens = Lens()
    with made(lens) as source:
        engine = load_engine("mesh", size=min(plan.size, 256))
        engine.set_portrait(portrait_of(None))
        watcher = Watcher()
        pipeline = Pipeline(source, engine, [watcher], PipelineSettings())
        begun, ended = asyncio.run(_suffer(pipeline, watcher, lens, begin, end))
        engine.close()
    driven = [t for t, by_source in watcher.rows if by_source]
    resting = [t - begun for t, by_source in watcher.rows if begun < t < ended and not by_source]
    shown = [t for t, _ in watcher.rows if begun - 0.5 < t]
    longest = float(np.diff(shown).max()) if len(shown) > 1 else float("inf")
    back = recovered_after(driven, ended)
    return Outcome(
        injected, noticed=resting[0] if resting else None, recovered=back, recovers_within=WITHIN_S,
        held=back is not None and longest < 1.5, lost=f"nothing; longest wait for a picture {longest:.2f} s",
    )  # fmt: skip


async def _suffer(
    pipeline: Pipeline, watcher: Watcher, lens: Lens, begin: Callable[[Lens], None], end: Callable[[Lens], None]
) -> tuple[float, float]:
    """When the fault began and ended. Raises what the session raises."""
    running = asyncio.create_task(pipeline.run())
    until = time.monotonic() + 60
    while sum(by_source for _, by_source in watcher.rows) < 30 and time.monotonic() < until and not running.done():
        await asyncio.sleep(0.1)
    begun = time.monotonic()
    begin(lens)
    await asyncio.sleep(FAULT_S)
    end(lens)
    ended = time.monotonic()
    await asyncio.sleep(WITHIN_S + 2)
    pipeline.control.stop()
    lens.over = True
    await running
    return begun, ended


def _set(name: str, value: Any) -> Callable[[Lens], None]:
    return lambda lens: setattr(lens, name, value)


def stalls(made: Callable[[Lens], Any], what: str) -> Callable[[Plan], Outcome]:
    """The source says nothing for a while, and goes on."""
    return lambda plan: session(made, f"{what} says nothing, {FAULT_S:.0f} s", _set("stalled", True),
                                _set("stalled", False), plan)  # fmt: skip


def leaves(made: Callable[[Lens], Any], what: str) -> Callable[[Plan], Outcome]:
    """The source ends, cannot be opened for a while, and comes back."""
    return lambda plan: session(made, f"{what} ends, is gone {FAULT_S:.0f} s, comes back", _set("absent", True),
                                _set("absent", False), plan)  # fmt: skip


def resized(plan: Plan) -> Outcome:
    """The camera gives pictures of another size."""
    return session(camera, "the camera's pictures change from 640x480 to 320x480 and back", _set("size", (320, 480)),
                   _set("size", (640, 480)), plan)  # fmt: skip


def growing_file(plan: Plan) -> Outcome:
    """A file that is still being written: what is there is played, and the command ends well."""
    return _from_path("a file that another program is still writing", fifo=False)


def fifo(plan: Plan) -> Outcome:
    """A FIFO whose writer pauses for two seconds."""
    return _from_path("a FIFO whose writer pauses for 2 s", fifo=True)


def _from_path(injected: str, fifo: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.ts", Path(folder) / "out.mp4"
        data = transport_stream(90)
        half = len(data) // 2
        if fifo:
            os.mkfifo(source)
        else:
            source.write_bytes(data[:half])
        over = threading.Event()

        def write() -> None:
            with contextlib.suppress(OSError), source.open("ab", buffering=0) as pipe:
                for part in (data[:half], data[half:]) if fifo else (data[half:],):
                    pipe.write(part)
                    over.wait(2.0)

        threading.Thread(target=write, daemon=True).start()
        command = [sys.executable, "-m", "realtime", "run", "--source", str(source), "--sink", f"file:{out}"]
        process = subprocess.Popen([*command, "--size", "256"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            _, words = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Outcome(injected, lost="it waits for ever", held=False)
        finally:
            over.set()
        done = subprocess.CompletedProcess(command, process.returncode, "", words)
        shown = pictures_in(out)
        held = shown > 20 if done.returncode == 0 else done.returncode == 2 and "Traceback" not in words
        lost = f"{shown} pictures shown" if done.returncode == 0 else f"refused: {said(done)}"
        return Outcome(injected, lost=lost.replace(folder, "..."), held=held)


def transport_stream(count: int) -> bytes:
    """A driving clip as MPEG-TS, which needs no end to be read."""
    frames = driving_clip(None, 60).frames
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.ts"
        with av.open(str(path), "w", format="mpegts") as out:
            stream: Any = out.add_stream("mpeg4", rate=30)
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
            stream.bit_rate, stream.time_base = 2_000_000, Fraction(1, 30)
            for k in range(count):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frames[k % len(frames)], format="rgb24")))
            out.mux(stream.encode(None))
        return path.read_bytes()

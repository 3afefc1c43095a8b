"""Sound against picture, through the server: one client sends flashes and beeps together and times what comes back.

python -m benchmarks sync --json sync.json

The driver's face changes its expression at the moment at which a beep begins, once a second. The client notes when
the changed picture arrives, and when the beep does, to the sample; nothing is aligned by timestamps. Positive: the
sound is late. People notice sound that is more than 45 ms early or 125 ms late (ITU-R BT.1359). Once in peace, and
once beside `--load` processes that compute without pause.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from benchmarks.live.loopback import child, free_port
from benchmarks.report.result import Result
from realtime import builtin_portrait, builtin_track
from realtime.engines import load_engine
from realtime.errors import DeviceError
from realtime.server.hosting.frames import to_rgb
from realtime.server.rtc.peer import install

RATE, PACKET = 48_000, 960
PERIOD_S, FLASH_S, BEEP_S = 1.0, 0.4, 0.1
LEVEL = 2000
"""Amplitude from which a sample belongs to a beep; beeps are sent at four times this."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sync`."""
    parser.add_argument("--seconds", type=float, help="measured seconds of each case (30; quick 12)")
    parser.add_argument("--load", type=int, default=2, help="busy processes beside the second case (2)")
    parser.add_argument("--url", help="measure this running server; without it one is started for each case")


def faces(size: int = 384) -> tuple[np.ndarray, np.ndarray]:
    """The driver's two expressions, uint8 (480, 640, 3): the built-in portrait, at rest and as unlike that as its
    built-in performance gets."""
    engine, track = load_engine("mesh", size=size), builtin_track()
    engine.set_portrait(builtin_portrait())
    engine.reference = track.reference_code
    codes = [code for code in (track.code(n) for n in range(len(track))) if code is not None]
    far = max(codes, key=lambda code: float(np.abs(code.values - track.reference_code.values).sum()))
    out = []
    for code in (track.reference_code, far):
        image = np.full((480, 640, 3), 128, np.uint8)
        image[48 : 48 + size, 128 : 128 + size] = engine.render(code)
        out.append(image)
    engine.close()
    return out[0], out[1]


class Flashes(MediaStreamTrack):
    """A camera of 30 fps: the second face for `FLASH_S` at the begin of each period."""

    kind = "video"

    def __init__(self, begun: float, rest: np.ndarray, flash: np.ndarray) -> None:
        super().__init__()
        self._begun, self._n = begun, 0
        self._rest, self._flash = rest, flash

    async def recv(self) -> Any:
        """The next picture, at its time."""
        at = self._n / 30
        await asyncio.sleep(max(0.0, self._begun + at - time.monotonic()))
        image = self._flash if at >= PERIOD_S and at % PERIOD_S < FLASH_S - 1e-6 else self._rest
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = self._n * 3000, Fraction(1, 90_000)
        self._n += 1
        return frame


class Beeps(MediaStreamTrack):
    """A microphone: a beep at the begin of each period."""

    kind = "audio"

    def __init__(self, begun: float) -> None:
        super().__init__()
        self._begun, self._n = begun, 0

    async def recv(self) -> Any:
        """The next 20 ms, at the time at which they begin."""
        first = self._n * PACKET
        await asyncio.sleep(max(0.0, self._begun + first / RATE - time.monotonic()))
        t = np.arange(first, first + PACKET) / RATE
        tone = 4 * LEVEL * np.sin(2 * np.pi * 1000 * t) * ((t % PERIOD_S < BEEP_S) & (t >= PERIOD_S))
        frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        self._n += 1
        return frame


async def look(track: MediaStreamTrack, seen: list[tuple[float, np.ndarray]]) -> None:
    """Note when each picture comes, and a small copy of it, int16 (H / 4, W / 4, 3)."""
    with contextlib.suppress(MediaStreamError):
        while True:
            frame: Any = await track.recv()
            seen.append((time.monotonic(), to_rgb(frame)[::4, ::4].astype(np.int16)))


async def listen(track: MediaStreamTrack, heard: list[float]) -> None:
    """Note when each beep begins."""
    quiet_at = 0.0
    with contextlib.suppress(MediaStreamError):
        while True:
            frame: Any = await track.recv()
            now = time.monotonic()
            samples = np.abs(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)].astype(int))
            loud = np.nonzero(samples > LEVEL)[0]
            if loud.size:
                if now - quiet_at < PERIOD_S / 2 and (not heard or now - heard[-1] > PERIOD_S / 2):
                    heard.append(now + float(loud[0]) / frame.sample_rate)
            else:
                quiet_at = now


async def measure(url: str, seconds: float) -> tuple[list[float], float]:
    """Seconds by which each beep came after its flash; and pictures that came a second."""
    install()
    rest, flash = await asyncio.to_thread(faces)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    seen: list[tuple[float, np.ndarray]] = []
    heard: list[float] = []
    tasks: list[asyncio.Task[None]] = []

    def came(track: MediaStreamTrack) -> None:
        tasks.append(asyncio.ensure_future(look(track, seen) if track.kind == "video" else listen(track, heard)))

    pc.on("track", came)
    begun = time.monotonic() + 1.0
    pc.addTrack(Flashes(begun, rest, flash))
    pc.addTrack(Beeps(begun))
    await pc.setLocalDescription(await pc.createOffer())
    body = json.dumps({"sdp": pc.localDescription.sdp, "type": "offer", "source": "camera"}).encode()
    request = urllib.request.Request(f"{url}/api/sessions", body, {"Content-Type": "application/json"})
    reply = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).read()))
    await pc.setRemoteDescription(RTCSessionDescription(reply["sdp"], "answer"))
    await asyncio.sleep(6.0 + seconds)  # the first seconds: calibration, and delays that settle
    end = time.monotonic()
    await pc.close()
    for task in tasks:
        task.cancel()
    late = [(at, image) for at, image in seen if at > end - seconds]
    return offsets(late, heard), len(late) / seconds


def offsets(seen: list[tuple[float, np.ndarray]], heard: list[float]) -> list[float]:
    """Seconds by which each beep came after its flash; flashes without a beep are left out. seen: the moment and the
    pixels of each picture. Raises DeviceError where there are too few."""
    nearest = [min((beep - flash for beep in heard), key=abs) for flash in flash_times(seen) if heard]
    return [offset for offset in nearest if abs(offset) < PERIOD_S / 2]


def flash_times(seen: list[tuple[float, np.ndarray]]) -> list[float]:
    """When each change from the one expression to the other was half done: arrival of the first such picture."""
    if len(seen) < 30:
        raise DeviceError("the server", f"sent {len(seen)} pictures")
    images = np.stack([image for _, image in seen])
    level = np.abs(images - np.median(images, axis=0)).mean(axis=(1, 2, 3))
    half = (np.percentile(level, 5) + np.percentile(level, 95)) / 2
    over = level > half
    return [seen[n][0] for n in range(4, len(seen)) if over[n] and not over[n - 4 : n].any()]


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that compute without pause."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10000))"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(options: argparse.Namespace) -> Result:
    """Measure in peace and under load."""
    seconds = options.seconds or (12.0 if options.quick else 30.0)
    result = Result("sync", settings={"seconds": seconds, "load": options.load, "url": bool(options.url)})
    for case, load in (("quiet", 0), ("loaded", options.load)):
        with contextlib.ExitStack() as stack:
            url = options.url
            if url is None:
                url = f"http://127.0.0.1:{(port := free_port())}"
                arguments = ["-m", "realtime", "serve", "--port", str(port), "--quiet"]
                stack.enter_context(child(arguments, f"{url}/api/health"))
            stack.enter_context(busy(load))
            apart, pictures = asyncio.run(measure(url, seconds))
        _figures(result, case, apart, pictures)
    return result


def _figures(result: Result, case: str, apart: list[float], pictures: float) -> None:
    late = [1000 * offset for offset in apart]
    size = np.abs(late) if late else np.array([np.nan])
    result.add(f"{case}.sound_late.p50", float(np.median(late)) if late else None, "ms", samples=late,
               about="the beep after its flash; negative: before it")  # fmt: skip
    result.add(f"{case}.apart.p50", float(np.median(size)), "ms", better="lower", target=45.0, samples=list(size),
               about="between beep and flash, whichever comes first")  # fmt: skip
    result.add(f"{case}.apart.p95", float(np.percentile(size, 95)), "ms", better="lower",
               about="between beep and flash, whichever comes first")  # fmt: skip
    result.add(f"{case}.pairs", len(late), about="flashes with a beep")
    result.add(f"{case}.fps", pictures, "1/s", better="higher", about="pictures that arrived")

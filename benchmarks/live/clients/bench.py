"""What all clients are measured on: the server, a driver, a film of him, and a page of another origin."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.live.browser import chromium, why_not, write_camera
from benchmarks.live.clients.calls import Run, drive
from benchmarks.live.clients.seen import Absent
from benchmarks.live.clients.strangers import bundled, served
from benchmarks.live.sync import BEEP_S, FLASH_S, LEVEL, RATE
from realtime.errors import ConnectionLost
from realtime.server.common.sessions import link_keys

FLAGS = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",)
"""No page asks anybody else for anything."""


@dataclass
class Bench:
    """url: the server's. port: of the page of another origin. faces: the driver's two, uint8 (480, 640, 3)."""

    url: str
    port: int
    seconds: float
    run: Run
    faces: tuple[np.ndarray, np.ndarray]
    film: Path
    camera: Path
    film_seconds: float
    _view: str = field(default="", init=False)
    _driver: Any = field(default=None, init=False)

    def driven(self) -> str:
        """Key of the view of a session whose driver flashes and beeps. It is opened at the first call."""
        if not self._view:
            profile = secrets.token_urlsafe(24)
            self._driver = self.run(drive(self.url, self.faces, profile))
            self._view = link_keys(profile)[0]
        return self._view

    def close(self) -> None:
        """End the driver's session, if there is one."""
        if self._driver is not None:
            self.run(self._driver.close())
        self._driver, self._view = None, ""

    @contextlib.contextmanager
    def strange_page(self) -> Iterator[Any]:
        """A page of another origin with the libraries from npm. Raises Absent."""
        folder = bundled(self.faces)
        with served(folder, self.port) as origin, chromium_page(self.camera) as page:
            page.goto(f"{origin}/index.html")
            yield page


@contextlib.contextmanager
def chromium_page(camera: Path) -> Iterator[Any]:
    """A page of a new Chromium. Raises Absent, and ConnectionLost with what was thrown in the page."""
    if (reason := why_not()) is not None:
        raise Absent("Chromium", reason, "On Debian: apt-get install chromium; pip install playwright")
    from playwright.sync_api import Error

    with chromium(camera, *FLAGS) as browser:
        try:
            yield browser.new_context(permissions=["camera"]).new_page()
        except Error as error:
            raise ConnectionLost("the page", str(error).splitlines()[0]) from error


def write_driver(folder: Path, faces: tuple[np.ndarray, np.ndarray], seconds: float) -> tuple[Path, Path]:
    """The driver as a film with sound (Matroska, MJPEG and PCM) and as a camera of Chromium."""
    film, camera = folder / "driver.mkv", folder / "driver.y4m"
    with av.open(str(film), "w") as out:
        video = out.add_stream("mjpeg", rate=30)
        video.height, video.width = faces[0].shape[:2]
        video.pix_fmt = "yuvj420p"
        audio = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        jpegs = [_jpeg(face) for face in faces]
        for n in range(round(30 * seconds)):
            packet = av.Packet(jpegs[n % 30 < 30 * FLASH_S and n >= 30])
            packet.stream, packet.pts, packet.dts = video, n, n
            packet.time_base, packet.is_keyframe = Fraction(1, 30), True
            out.mux(packet)
            t = np.arange(n * RATE // 30, (n + 1) * RATE // 30) / RATE
            tone = 4 * LEVEL * np.sin(2 * np.pi * 1000 * t) * ((t % 1 < BEEP_S) & (t >= 1))
            frame = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, n * RATE // 30, Fraction(1, RATE)
            out.mux(audio.encode(frame))
    write_camera(camera, [faces[n < 30 * FLASH_S] for n in range(30)], 30)
    return film, camera


def _jpeg(image: np.ndarray) -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 30)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])

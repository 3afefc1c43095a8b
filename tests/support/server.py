"""A small engine and servers for the tests of `realtime.server`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import uvicorn
from aiortc import RTCConfiguration, RTCPeerConnection

from realtime.errors import BadPortrait
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.http.app import create_app
from realtime.server.http.security import Policy
from realtime.server.places import Place
from realtime.server.places.here import Studio, StudioSettings
from realtime.server.serving import Tls, server_config, threshold
from realtime.types import Direction, Frame, MotionCode


def portrait_picture(size: int = 256, hue: int = 0) -> np.ndarray:
    """A drawn face, uint8 (size, size, 3)."""
    image = np.full((size, size, 3), (90 + hue, 110, 140), np.uint8)
    middle = size // 2
    cv2.ellipse(image, (middle, middle), (size // 4, size // 3), 0, 0, 360, (222, 184, 160), -1)
    for x in (-1, 1):
        cv2.circle(image, (middle + x * size // 10, middle - size // 12), size // 30, (40, 40, 40), -1)
    cv2.ellipse(image, (middle, middle + size // 6), (size // 12, size // 40), 0, 0, 360, (150, 60, 60), -1)
    return image


class DotEngine:
    """Follows the brightest spot of the driving frame and moves the portrait with it. No face: a dark frame.

    values: x and y of the spot (-1 to 1), and the amount of the direction `glow`, which brightens the picture."""

    name = kind = "mesh"
    device = "cpu"
    directions = (
        Direction("turn", 0, -1.0, 1.0, "the head turns", "head"),
        Direction("nod", 1, -1.0, 1.0, "the head nods", "head"),
        Direction("glow", 2, -1.0, 1.0, "the picture grows brighter", "other"),
    )
    made = 0
    closed = 0

    def __init__(self, size: int = 128) -> None:
        self.size = size
        self.reference: MotionCode | None = None
        self._portrait: np.ndarray | None = None
        self.broken = False
        type(self).made += 1

    def set_portrait(self, image: np.ndarray) -> None:
        if image.max() - image.min() < 30:
            raise BadPortrait("no face was found")
        self._portrait = cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA)

    @property
    def portrait_code(self) -> MotionCode:
        return MotionCode(self.kind, np.zeros(3, np.float32))

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        image = frame.image if isinstance(frame, Frame) else frame
        gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        if gray.max() < 40:
            return None
        y, x = np.unravel_index(int(gray.argmax()), gray.shape)
        return MotionCode(self.kind, np.array([x / 16 - 1, y / 16 - 1, 0], np.float32))

    def render(self, code: MotionCode) -> np.ndarray:
        if self.broken:
            raise RuntimeError("broken on purpose")
        if self.reference is None:
            self.reference = code
        dx, dy, glow = code.values - self.reference.values
        move = np.float32([[1, 0, dx * self.size / 4], [0, 1, dy * self.size / 4]])
        image = cv2.warpAffine(self._portrait, move, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE)
        return cv2.convertScaleAbs(image, alpha=1.0, beta=60.0 * float(glow)) if glow >= 0 else image

    def reset(self) -> None:
        pass

    def close(self) -> None:
        type(self).closed += 1


@dataclass(frozen=True, eq=False)
class Viewed:
    """A portrait with its views, as `ViewEngine` shows it."""

    main: np.ndarray
    views: tuple[np.ndarray, ...]


class ViewEngine(DotEngine):
    """It takes more pictures of a portrait's person. shown: those of the portrait that it was given last; looked: how
    many it has made ready."""

    def __init__(self, size: int = 128) -> None:
        super().__init__(size)
        self.shown: tuple[np.ndarray, ...] = ()
        self.looked = 0

    def set_portrait(self, image: np.ndarray | Viewed) -> None:
        super().set_portrait(image.main if isinstance(image, Viewed) else image)
        self.shown = image.views if isinstance(image, Viewed) else ()

    def prepare_view(self, image: np.ndarray, beside: Any = None) -> np.ndarray:
        if image.max() - image.min() < 30:
            raise BadPortrait("no face was found")
        self.looked += 1
        return image

    def with_views(self, prepared: Any, views: tuple[np.ndarray, ...]) -> Viewed:
        return Viewed(prepared, tuple(views))


def gallery() -> list[GalleryPortrait]:
    return [
        GalleryPortrait("first", "First", portrait_picture()),
        GalleryPortrait("second", "Second", portrait_picture(hue=90)),
    ]


def make_studio(settings: StudioSettings | None = None, engine=DotEngine, portraits=None) -> Studio:
    return Studio(engine, portraits or gallery(), settings or StudioSettings())


class Running:
    """A server in a thread, on a free port of the loopback interface."""

    def __init__(
        self,
        studio: Place,
        policy: Policy | None = None,
        port: int = 0,
        proxies: tuple[str, ...] = (),
        tls: Tls | None = None,
        **more: Any,
    ) -> None:
        self.studio: Any = studio
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no delay
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        config = server_config(create_app(studio, policy, **more), studio.terms.limits, tls, proxies)
        self._socket = threshold(self._socket, config)
        config.timeout_graceful_shutdown = 1
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            threading.Event().wait(0.01)

    def _run(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self._server.serve(sockets=[self._socket]))

    def call(self, function, *args):
        """Run something on the server's event loop."""

        async def run():
            return function(*args)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    @staticmethod
    def wait(seconds: float) -> None:
        """Sleep."""
        threading.Event().wait(seconds)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(15)
        self._socket.close()


@contextlib.contextmanager
def running(
    studio: Place | None = None, policy: Policy | None = None, port: int = 0, **more: Any
) -> Iterator[Running]:
    """proxies, tls: see `server_config`. more: goes to `create_app`."""
    server = Running(studio or make_studio(), policy, port, **more)
    try:
        yield server
    finally:
        server.close()


async def make_offer(direction: str = "sendrecv", audio: bool = False) -> str:
    """An offer as a browser makes it, with a video section and the control channel."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("control")
    peer.addTransceiver("video", direction=direction)
    if audio:
        peer.addTransceiver("audio", direction=direction)
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


@functools.lru_cache(maxsize=8)
def offer(direction: str = "sendrecv", audio: bool = False) -> str:
    """`make_offer` for tests without an event loop."""
    return asyncio.run(make_offer(direction, audio))

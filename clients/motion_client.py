"""Drive an avatar that runs elsewhere: motion codes or landmarks leave this machine, never the camera's picture.

A driving frame becomes a motion code here; one small packet per frame goes to the server (see
`realtime.motion.wire`), which renders. 30 codes of the built-in engine a second are under 64 kbit/s. Who finds faces,
and has no engine, sends their landmarks (see `realtime.motion.landmark_wire`).
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from realtime.errors import BadValue, ConnectionLost
from realtime.families import builtin
from realtime.motion.landmark_wire import LandmarkWriter
from realtime.motion.wire import Packet, pack
from realtime.types import Landmarks, MotionCode

FRAME_OVERHEAD = 60
"""Bytes around each packet on the wire: WebSocket (8), TCP with timestamps (32), IPv4 (20)."""


def motion_url(to: str, session: str | None = None, portrait: str | None = None, token: str | None = None) -> str:
    """The WebSocket's address for a server's link ("http://host:port", with `?token=` where it needs one).

    Raises BadValue."""
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss", "": "ws"}
    try:
        parts = urlsplit(to if "//" in to else f"//{to}")
        fits = parts.scheme in schemes and parts.hostname and parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:  # a port that is no number, a bracket that does not close
        fits = False
    if not fits:
        raise BadValue("--to", to, "it is the link that the server printed, such as http://127.0.0.1:8000")
    query = dict(pair.partition("=")[::2] for pair in parts.query.split("&") if pair)
    wanted = {"token": token or query.get("token"), "session": session, "portrait": portrait}
    asked = urlencode({name: value for name, value in wanted.items() if value})
    return urlunsplit((schemes[parts.scheme], parts.netloc, "/api/motion", asked, ""))


@dataclass
class Sent:
    """What has gone out."""

    packets: int = 0
    bytes: int = 0
    began: float = 0.0
    last: float = 0.0

    @property
    def kilobits_per_s(self) -> float:
        """Of the whole connection upwards, headers included."""
        span = self.last - self.began
        return 8e-3 * (self.bytes + FRAME_OVERHEAD * self.packets) / span if span > 0 else 0.0


class MotionClient:
    """One connection. Use as an asynchronous context manager; `hello` says what the server renders with.

    insecure: accept a certificate that nobody vouches for (a server's own, `--tls-self-signed`).
    heard: called with each later message of the server (see `realtime.server.common.messages`).
    """

    def __init__(
        self, url: str, *, insecure: bool = False, heard: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.url, self._insecure, self._heard = url, insecure, heard
        self.hello: dict[str, Any] = {}
        self.sent = Sent()
        self._sequence = 0
        self._landmarks = LandmarkWriter()
        self._socket: Any = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> MotionClient:
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        context = None
        if self.url.startswith("wss:"):
            context = ssl.create_default_context()
            if self._insecure:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self._socket = await connect(self.url, ssl=context, max_size=256 * 1024, compression=None, proxy=None)
            first = json.loads(await asyncio.wait_for(self._socket.recv(), 30.0))
        except ssl.SSLCertVerificationError:
            raise ConnectionLost(self.url, "its certificate is its own; --insecure accepts that") from None
        except (OSError, TimeoutError, WebSocketException, ValueError) as error:
            raise ConnectionLost(self.url.partition("?")[0], _reason(error)) from error
        if first.get("type") != "hello":
            await self._socket.close()
            raise ConnectionLost(
                self.url.partition("?")[0], str(first.get("error", "it does not speak this protocol"))
            )
        self.hello = first
        self._reader = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            await self._socket.close()

    @property
    def view(self) -> str:
        """Path at which the avatar is seen."""
        return str(self.hello.get("view", ""))

    async def send(self, code: MotionCode | None, captured: float, kind: str | None = None) -> None:
        """Send one frame's code (None: no face was seen). captured: seconds of `time.monotonic()`.

        Raises ConnectionLost."""
        values = None if code is None else code.values
        name = code.kind if code is not None else kind or builtin()
        data = pack(Packet(name, self._sequence, max(0.0, captured), values))
        self._sequence = (self._sequence + 1) % (1 << 32)
        await self._send(data)

    async def send_landmarks(self, found: Landmarks) -> None:
        """Send the landmarks of one frame; `found.captured` in seconds of `time.monotonic()`. The avatar's engine
        must read them (`hello["landmarks"]`).

        Raises ConnectionLost, BadLandmarks."""
        await self._send(self._landmarks.pack(found))

    async def _send(self, data: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise ConnectionLost(self.url.partition("?")[0], _reason(error)) from error
        now = time.monotonic()
        self.sent.began = self.sent.began or now
        self.sent.last = now
        self.sent.packets += 1
        self.sent.bytes += len(data)

    async def command(self, **message: Any) -> None:
        """Send a control message, such as `type="calibrate"`."""
        await self._socket.send(json.dumps(message))

    async def _listen(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async for message in self._socket:
                if not isinstance(message, str):
                    continue
                event = json.loads(message)
                if event.get("type") == "kept":
                    self._landmarks.kept(event["sequence"])
                elif self._heard is not None:
                    self._heard(event)
        except (ConnectionClosed, ValueError):
            return


async def send_codes(client: MotionClient, codes: AsyncIterator[tuple[MotionCode | None, float]]) -> Sent:
    """Send codes as they come, until they end. Each item: (code or None where no face was seen, capture time)."""
    kind = str(client.hello.get("engine") or builtin())
    async for code, captured in codes:
        await client.send(code, captured, kind)
    return client.sent


def _reason(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in {401, 403}:
        return "it refused this client; give the whole link that it printed, token included"
    if isinstance(error, ConnectionRefusedError):
        return "nothing answers there; is avatar serve running?"
    if isinstance(error, socket.gaierror):
        return "there is no machine of that name"
    if status is not None:
        return f"it answered with status {status}"
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__

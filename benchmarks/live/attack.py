"""Everything hostile at once against a server of this machine, in a process of its own; a line of JSON a second.

  python -m benchmarks.live.attack http://127.0.0.1:8000 PID TOKEN

The attackers come from addresses of their own (127.0.0.2 and on). Strangers send garbage to the UDP ports of process
PID, requests with wrong tokens and connections that say nothing; guests who know the token bring pictures that cost,
packets that are none, and offers that nobody follows up. Each has a rate, so that what is measured is the server and
not who gets the processor: without one, a flood on the same cores would take from everybody what it takes itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np

STRANGERS = tuple(f"127.0.0.{n}" for n in range(2, 8))
GUEST = "127.0.0.9"
DATAGRAMS_PER_S, REQUESTS_PER_S, CONNECTIONS = 1000, 50, 300
"""CONNECTIONS: held open at once, opened again where the server hangs up."""


def garbage(draw: random.Random) -> bytes:
    """A datagram that nobody should send: empty, noise, or the beginnings of STUN, DTLS, RTP or RTCP."""
    noise = draw.randbytes(draw.choice((0, 1, 20, 200, 1200)))
    stun = struct.pack("!HHI", draw.choice((1, 0x101, 0x111)), len(noise), 0x2112A442) + draw.randbytes(12)
    heads = (
        b"",
        b"",
        stun,
        b"\x16\xfe\xfd",
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
        b"\x80\x60",
        b"\x80\xce",
    )
    return draw.choice(heads) + noise


def costly_pictures() -> list[bytes]:
    """JPEGs: 1,500 scans; as many pixels as are taken, progressive; one that breaks off."""
    from PIL import Image

    def jpeg(side: int) -> bytes:
        out = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(pixels).save(out, "JPEG", progressive=True, quality=30)
        return out.getvalue()

    small, large = jpeg(256), jpeg(4800)
    last = small.rindex(b"\xff\xda")
    return [small[:-2] + small[last:-2] * 1500 + small[-2:], large, large[: len(large) // 2]]


class Attack:
    """counts: what was sent, and how it was answered."""

    def __init__(self, address: str, pid: int, token: str) -> None:
        self.address, self.pid, self.token = address, pid, token
        self.host, _, port = address.rpartition("/")[2].rpartition(":")
        self.port = int(port)
        self.counts: Counter[str] = Counter()
        self.draw = random.Random(0)

    async def run(self) -> None:
        """All of it, until cancelled."""
        parts = (self.datagrams, self.wrong_tokens, self.silence, self.uploads, self.packets, self.offers)
        async with asyncio.TaskGroup() as group:
            for part in (*parts, self._say):
                group.create_task(part())

    async def datagrams(self) -> None:
        """Garbage to whatever UDP ports the server has."""
        import psutil

        process, ports, turn = psutil.Process(self.pid), [], 0
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in STRANGERS]
            for at, host in zip(sockets, STRANGERS, strict=True):
                at.bind((host, 0))
                at.setblocking(False)
            while True:
                if turn % 40 == 0:
                    ports = [c.laddr for c in process.net_connections("udp") if c.laddr and c.laddr.ip == self.host]
                for _ in range(DATAGRAMS_PER_S // 20 if ports else 0):
                    with contextlib.suppress(OSError):
                        self.draw.choice(sockets).sendto(garbage(self.draw), tuple(self.draw.choice(ports)))
                        self.counts["datagrams"] += 1
                turn += 1
                await asyncio.sleep(1 / 20)

    async def wrong_tokens(self) -> None:
        """Requests with tokens that are guessed."""
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(self._client(host, "guess")) for host in STRANGERS]
            while True:
                with self._counted("wrong tokens"):
                    answer = await self.draw.choice(clients).get(f"/api/sessions/{self.draw.randbytes(8).hex()}")
                    self.counts[f"wrong tokens answered {answer.status_code}"] += 1
                await asyncio.sleep(1 / REQUESTS_PER_S)

    async def silence(self) -> None:
        """Connections that say nothing, or half a line."""

        async def one(host: str) -> None:
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(host, 0))
                    self.counts["silent connections"] += 1
                    if self.draw.random() < 0.5:
                        writer.write(b"GET / HT")
                    await reader.read()
                    writer.close()
                await asyncio.sleep(1.0)

        await asyncio.gather(*(one(STRANGERS[k % len(STRANGERS)]) for k in range(CONNECTIONS)))

    async def uploads(self) -> None:
        """A guest brings pictures that cost."""
        pictures = await asyncio.to_thread(costly_pictures)
        async with self._client(GUEST, self.token) as http:
            while True:
                with self._counted("uploads"):
                    session = await self._session(http)
                    for picture in pictures if session else ():
                        answer = await http.post(
                            f"/api/sessions/{session['id']}/portraits", params={"consent": True}, content=picture,
                            headers={"content-type": "image/jpeg"},
                        )  # fmt: skip
                        self.counts[f"uploads answered {answer.status_code}"] += 1
                    if session:
                        await http.delete(f"/api/sessions/{session['id']}")
                await asyncio.sleep(1.0)

    async def packets(self) -> None:
        """A guest opens motion sockets and sends what is no packet."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import WebSocketException

        url = f"ws://{self.host}:{self.port}/api/motion?token={self.token}"
        while True:
            try:
                async with connect(url, proxy=None, compression=None, local_addr=(GUEST, 0)) as line:
                    while True:
                        noise = b"\x4d\x01" + self.draw.randbytes(self.draw.choice((0, 10, 190, 5000)))
                        await line.send(self.draw.choice((noise, "{" * 500, noise[2:])))
                        self.counts["malformed packets"] += 1
                        await asyncio.sleep(0.01)
            except (OSError, TimeoutError, WebSocketException):
                self.counts["motion sockets closed"] += 1
            await asyncio.sleep(0.5)

    async def offers(self) -> None:
        """A guest offers to watch and never connects."""
        sdp = await silent_offer()
        async with self._client(GUEST, self.token) as http:
            while True:
                with self._counted("silent offers"):
                    session = await self._session(http)
                    for _ in range(20 if session else 0):
                        answer = await http.post(
                            f"/whep/{session['view']}", content=sdp, headers={"content-type": "application/sdp"}
                        )
                        self.counts[f"silent offers answered {answer.status_code}"] += 1
                        await asyncio.sleep(0.2)
                    if session:
                        await http.delete(f"/api/sessions/{session['id']}")
                await asyncio.sleep(1.0)

    async def _session(self, http: httpx.AsyncClient) -> dict[str, Any]:
        answer = await http.post("/api/sessions", json={})
        return answer.json() if answer.status_code == 201 else {}

    @contextlib.asynccontextmanager
    async def _client(self, host: str, token: str) -> AsyncIterator[httpx.AsyncClient]:
        way = httpx.AsyncHTTPTransport(local_address=host)
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.address, transport=way, headers=headers, timeout=20) as http:
            yield http

    @contextlib.contextmanager
    def _counted(self, what: str) -> Any:
        try:
            yield
        except httpx.HTTPError as error:
            self.counts[f"{what} broken off: {type(error).__name__}"] += 1

    async def _say(self) -> None:
        while True:
            print(json.dumps(self.counts), flush=True)
            await asyncio.sleep(1.0)


async def silent_offer() -> str:
    """An offer to watch, of a peer that is gone."""
    from aiortc import RTCConfiguration, RTCPeerConnection

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    await peer.close()
    return sdp


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Attack(sys.argv[1], int(sys.argv[2]), sys.argv[3]).run())
    os._exit(0)

"""A bad network between two peers of one machine: a UDP relay that drops, delays, reorders and limits.

    answer = ...                                              # to `alone(offer)`, so that no other way is known
    async with relayed(answer) as (through, relay):
        await pc.setRemoteDescription(RTCSessionDescription(through, "answer"))
        ...
        relay.up.path = relay.down.path = Path(loss=0.2)     # from now on
        relay.up.path = relay.down.path = CUT
        relay.up.path = relay.down.path = Path()             # the network is back

`relayed` puts a relay in front of the one who answered: the answer that comes back names the relay's address alone.
"up" is towards the one who answered (for a browser that opened a session: its camera), "down" away from it.
What happens to a datagram is decided by `Line`, which has no clock and no sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Path:
    """How a network treats datagrams.

    loss: share that is dropped, 0 to 1. delay_s: for each. jitter_s: up to so much more, at random, so that later
    ones overtake earlier ones. rate: bits a second; None: any. queue_s: with a rate, how long the queue may be before
    datagrams are dropped.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    rate: float | None = None
    queue_s: float = 0.2


CUT = Path(loss=1.0)
"""Nothing passes."""


@dataclass(slots=True)
class Line:
    """One direction. Pure: sizes and times in, times out.

    passed, dropped: datagrams so far."""

    path: Path = field(default_factory=Path)
    random: random.Random = field(default_factory=lambda: random.Random(0))
    passed: int = 0
    dropped: int = 0
    _free_at: float = 0.0

    def send(self, size: int, now: float) -> float | None:
        """When a datagram of `size` bytes that is sent now arrives; None: never."""
        path = self.path
        begins = max(now, self._free_at)
        if self.random.random() < path.loss or (path.rate is not None and begins - now > path.queue_s):
            self.dropped += 1
            return None
        self.passed += 1
        if path.rate is not None:
            self._free_at = begins = begins + 8 * size / path.rate
        return begins + path.delay_s + path.jitter_s * self.random.random()


class _Port(asyncio.DatagramProtocol):
    """A UDP port of the relay; what comes in goes to `take`."""

    def __init__(self, take: Any) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._take(data, addr)


class Relay:
    """Between whoever sends to `address` and a peer at `target`. Enter it with `async with`."""

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self.target = target
        self.up, self.down = Line(random=random.Random(seed)), Line(random=random.Random(seed + 1))
        self.address = ("127.0.0.1", 0)
        self._caller: tuple[Any, ...] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        here = ("127.0.0.1", 0)
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Port(self._called), local_addr=here)
        self._back, _ = await loop.create_datagram_endpoint(lambda: _Port(self._answered), local_addr=here)
        self.address = self._front.get_extra_info("sockname")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._front.close()
        self._back.close()

    def _called(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._caller = addr
        self._pass(self.up, self._back, data, self.target)

    def _answered(self, data: bytes, addr: tuple[Any, ...]) -> None:
        if self._caller is not None:
            self._pass(self.down, self._front, data, self._caller)

    @staticmethod
    def _pass(line: Line, port: asyncio.DatagramTransport, data: bytes, to: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = line.send(len(data), now)
        if at is None:
            return
        if at <= now:
            port.sendto(data, to)
        else:
            loop.call_at(at, _late, port, data, to)


def _late(port: asyncio.DatagramTransport, data: bytes, to: tuple[Any, ...]) -> None:
    if not port.is_closing():
        port.sendto(data, to)


CANDIDATE = re.compile(r"(?m)^a=candidate:(\S+ \d+ udp \d+) (127\.\S+) (\d+) typ host.*\r?\n", re.IGNORECASE)


def alone(sdp: str) -> str:
    """The description without any candidate: its writer is met only where it calls itself."""
    return re.sub(r"(?m)^a=(candidate:.*|end-of-candidates)\r?\n", "", sdp)


@contextlib.asynccontextmanager
async def relayed(sdp: str, seed: int = 0) -> AsyncIterator[tuple[str, Relay]]:
    """A relay in front of who wrote this description, and the description that leads through it. Its media must be
    bundled, and it must name a candidate at 127.0.0.1."""
    found = CANDIDATE.search(sdp)
    if found is None:
        raise ValueError("the description names no candidate at 127.0.0.1")
    async with Relay((found[2], int(found[3])), seed) as relay:
        host, port = relay.address
        only = f"a=candidate:{found[1]} {host} {port} typ host\r\n"
        sections = re.split(r"(?m)^(?=m=)", alone(sdp))
        yield sections[0] + "".join(part + only + "a=end-of-candidates\r\n" for part in sections[1:]), relay

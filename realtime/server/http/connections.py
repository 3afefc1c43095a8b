"""TCP connections: how many, from whom, and how long one may take to say what it wants.

uvicorn bounds their number alone, and who holds them all without a word keeps everybody else out. Here idle ones
make room first. `ConnectionBook` decides; the protocols below ask it at uvicorn's hooks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from realtime.server.common.limits import Bucket, Limits, caller_of
from realtime.server.http.security import HEADERS

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    caller: str
    idle_since: float | None


class ConnectionBook:
    """Which connections stay. Pure: time is passed in. Keys: whatever stands for a connection.

    most: of all. each: of one address. exempt: addresses without a bound of their own (a proxy, behind which many
    stand)."""

    def __init__(self, most: int, each: int, exempt: Callable[[str], bool] = lambda address: False) -> None:
        self.most, self.each, self.exempt = most, each, exempt
        self._of: dict[Any, _Entry] = {}
        self._held: Counter[str] = Counter()

    def admit(self, key: Any, address: str, now: float) -> tuple[bool, Any]:
        """(it may stay, the connection that has to go for it or None). Where its address has too many the longest
        idle one of them goes; where all are taken, the longest idle one of the address that holds most."""
        shed, caller = None, caller_of(address)
        if self._held[caller] >= self.each and not self.exempt(address):
            shed = self._idle(caller)
        elif len(self._of) >= self.most:
            shed = self._idle()
        else:
            self._enter(key, caller, now)
            return True, None
        if shed is None:
            return False, None
        self.leave(shed)
        self._enter(key, caller, now)
        return True, shed

    def _enter(self, key: Any, caller: str, now: float) -> None:
        self._of[key] = _Entry(caller, now)
        self._held[caller] += 1

    def _idle(self, caller: str | None = None) -> Any:
        """The longest idle one of `caller`, or of whoever holds most, in one look at each."""
        idle = [
            (-self._held[entry.caller], entry.idle_since, order, key)
            for order, (key, entry) in enumerate(self._of.items())
            if entry.idle_since is not None and caller in (None, entry.caller)
        ]
        return min(idle)[3] if idle else None

    def busy(self, key: Any) -> None:
        """A whole request has come, and is not yet answered."""
        if entry := self._of.get(key):
            entry.idle_since = None

    def idle(self, key: Any, now: float) -> None:
        """It was answered."""
        if entry := self._of.get(key):
            entry.idle_since = now

    def leave(self, key: Any) -> None:
        """It is gone. Safe to call twice."""
        if entry := self._of.pop(key, None):
            self._held[entry.caller] -= 1
            if not self._held[entry.caller]:
                del self._held[entry.caller]

    def __len__(self) -> int:
        return len(self._of)


def _answer(status: str, detail: str, *more: str) -> bytes:
    body = f'{{"detail": "{detail}"}}'.encode()
    headers = [f"{name}: {value}" for name, value in HEADERS.items()]
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, *more, "Connection: close"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


FULL = _answer("503 Service Unavailable", "Too many connections; try again in a few seconds", "Retry-After: 5")
LATE = _answer("408 Request Timeout", "The request took too long to arrive")
BROKEN = _answer("400 Bad Request", "This is not HTTP")


class _Turned:
    """What all connections of one server share. turned: those that are being told that there is no place. arrived:
    called with the socket of each new one."""

    def __init__(self, book: ConnectionBook, limits: Limits) -> None:
        self.book, self.limits = book, limits
        self.turned = 0
        self.arrived: Callable[[Any], object] = lambda sock: None
        self.complaints = Bucket(0.1, 3.0)

    def complain(self, what: str, now: float) -> None:
        """One line, a few at most."""
        if self.complaints.take(now):
            log.warning("%s (%d connections)", what, len(self.book))


class BoundedHttp(H11Protocol):
    """HTTP with a place in the book, and deadlines: for a whole head, and for a client that does not read."""

    shared: ClassVar[_Turned]
    _busy = _refused = _handed_over = False
    _head: asyncio.TimerHandle | None = None
    _write: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection: it gets a place, another one's place, or none."""
        super().connection_made(transport)
        shared, now = self.shared, self.loop.time()
        shared.arrived(transport.get_extra_info("socket"))
        stays, shed = shared.book.admit(transport, self.client[0] if self.client else "", now)
        if shed is not None:
            shared.complain("too many connections: idle ones make room", now)
            shed.abort()
        if stays:
            self._head = self.loop.call_later(shared.limits.head_s, self._late)
            return
        shared.complain("too many connections: one was turned away", now)
        self._refused = True
        transport.write(FULL)
        shared.turned += 1
        if shared.turned > shared.book.most // 2:
            transport.abort()
        else:  # closed when its request has come, or it would not read the answer
            self._head = self.loop.call_later(1.0, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: its place is free."""
        super().connection_lost(exc)
        self.shared.book.leave(self.transport)
        self.shared.turned -= self._refused
        self._stop()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        if self._refused:
            self.transport.close()
        else:
            super().data_received(data)

    def handle_events(self) -> None:
        """Parse, and note whether a request is under way."""
        super().handle_events()
        self._note()

    def on_response_complete(self) -> None:
        """Answered: it may send the next request, in time."""
        super().on_response_complete()
        self._note()

    def _note(self) -> None:
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy == self._busy or self._handed_over:
            return
        self._busy = busy
        self._stop_head()
        if busy:
            self.shared.book.busy(self.transport)
        else:
            self.shared.book.idle(self.transport, self.loop.time())
            if not self.transport.is_closing():
                self._head = self.loop.call_later(self.shared.limits.head_s, self._late)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Its place goes along: `BoundedSocket` gives it back."""
        self._handed_over = True
        self._stop()
        self.shared.book.busy(self.transport)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        self.transport.write(BROKEN)
        self.transport.close()

    def _late(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self.transport.write(LATE)  # a head has begun, and is not whole
        self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read what it asked for."""
        super().pause_writing()
        self._write = self.loop.call_later(self.shared.limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._write is not None:
            self._write.cancel()

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()

    def _stop(self) -> None:
        self._stop_head()
        if self._write is not None:
            self._write.cancel()


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket: it keeps the place that its connection had."""

    shared: ClassVar[_Turned]

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: its place is free."""
        super().connection_lost(exc)
        self.shared.book.leave(self.transport)


def protocols(
    limits: Limits, exempt: Callable[[str], bool] = lambda address: False
) -> tuple[type[BoundedHttp], type[BoundedSocket]]:
    """HTTP and WebSocket for `uvicorn.Config`, with one book for both."""
    shared = _Turned(ConnectionBook(limits.connections, limits.connections_each, exempt), limits)
    http = type("Http", (BoundedHttp,), {"shared": shared})
    socket = type("Socket", (BoundedSocket,), {"shared": shared})
    return http, socket


class Sparing(logging.Filter):
    """Lets few records through: who sends garbage does not fill the log."""

    def __init__(self, rate: float, burst: float) -> None:
        super().__init__()
        self._bucket = Bucket(rate, burst)

    def filter(self, record: logging.LogRecord) -> bool:
        """True where it is written."""
        return record.levelno > logging.WARNING or self._bucket.take(record.created)

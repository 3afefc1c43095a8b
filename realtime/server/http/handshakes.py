"""TLS handshakes: they come before there is a connection that `connections` knows, and have its bounds here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from realtime.server.http.connections import BoundedHttp, ConnectionBook


class Threshold(socket.socket):
    """A listening socket for TLS: so many handshakes at once, and of these so many of one address, each in the time
    that a head has. One more takes the place of the oldest, see `ConnectionBook`.

    asyncio accepts on it, in its own thread, and hands the connection to `http` once its handshake is over. (Windows'
    event loop accepts without asking; asyncio's own deadline of a minute holds there.)"""

    def __init__(self, listening: socket.socket, http: type[BoundedHttp]) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        limits = http.shared.limits
        self._book = ConnectionBook(limits.connections, limits.connections_each, http.shared.book.exempt)
        self._within = limits.head_s
        self._begun: dict[int, tuple[socket.socket, asyncio.TimerHandle]] = {}
        http.shared.arrived = self._over

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, with its deadline. Raises OSError."""
        sock, address = super().accept()
        loop = asyncio.get_running_loop()
        self._over(sock)  # one that had its number is closed
        for gone in [number for number, (each, _) in self._begun.items() if each.fileno() < 0]:
            self._forget(gone)
        stays, shed = self._book.admit(sock, str(address[0]) if address else "", loop.time())
        if shed is not None:
            _hang_up(shed)
        if not stays:
            sock.close()
            raise ConnectionAbortedError("too many handshakes")
        self._begun[sock.fileno()] = sock, loop.call_later(self._within, _hang_up, sock)
        return sock, address

    def _over(self, sock: Any) -> None:
        """The handshake of this connection has ended well."""
        self._forget(sock.fileno())

    def _forget(self, number: int) -> None:
        if begun := self._begun.pop(number, None):
            self._book.leave(begun[0])
            begun[1].cancel()


def _hang_up(sock: socket.socket) -> None:
    """asyncio sees its end, and closes it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)

"""Two processes of one machine that ask each other things, over a socket that only they have."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.cluster.links import Reply

log = logging.getLogger(__name__)

HEAD = struct.Struct("!I")
"""Before each message: how many bytes it has."""


class FarFailure(RuntimeError):
    """The other process failed at what it was asked, in a way that nobody foresaw; its own log has the traceback."""


class Pipe:
    """One end. Messages are pickled: whoever holds the other end can run any code here, so it is a process that this
    one has started, or the one that started it.

    answer: does what the other end asks for, and raises what nobody foresaw. What is asked for runs side by side, and
    begins in the order in which it was sent."""

    def __init__(self, answer: Callable[..., Awaitable[Reply]]) -> None:
        self._answer = answer
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._doing: dict[int, asyncio.Task[None]] = {}

    async def open(self, sock: socket.socket) -> None:
        """From now on the other end can be asked. The socket is used up."""
        self._reader, self._writer = await asyncio.open_connection(sock=sock)

    async def run(self) -> None:
        """Listen until the other end is closed, or gone."""
        assert self._reader is not None, "the pipe is not open"
        try:
            while True:
                (length,) = HEAD.unpack(await self._reader.readexactly(HEAD.size))
                self._take(*pickle.loads(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            log.debug("the other end is gone")
        except Exception:
            log.exception("what the other end says cannot be read")
        finally:
            self.close()

    async def __call__(self, what: str, *args: Any) -> Any:
        """Ask the other end. Raises what it raises, ConnectionError where it is gone, FarFailure."""
        number = next(self._numbers)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send("ask", number, what, args)
            return (await future).get()
        except asyncio.CancelledError:
            with contextlib.suppress(ConnectionError):
                self._send("cancel", number)
            raise
        finally:
            self._asked.pop(number, None)

    def tell(self, what: str, *args: Any) -> None:
        """Ask for what needs no answer. Raises ConnectionError."""
        self._send("tell", next(self._numbers), what, args)

    def close(self) -> None:
        """Whoever waits is told that the other end is gone; it learns of it too. What it has not read yet is dropped:
        an end that reads no more would keep this one open. Safe to call twice."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                writer.transport.abort()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the other process has ended"))
        for task in list(self._doing.values()):
            task.cancel()

    def _send(self, *message: Any) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ConnectionResetError("the other process has ended")
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._writer.write(HEAD.pack(len(data)) + data)

    def _take(self, kind: str, number: int, *rest: Any) -> None:
        if kind in {"ask", "tell"}:
            task = self._doing[number] = asyncio.create_task(self._do(kind == "ask", number, *rest))
            task.add_done_callback(lambda _: self._doing.pop(number, None))
        elif kind == "cancel" and number in self._doing:
            self._doing[number].cancel()
        elif kind == "reply" and number in self._asked and not self._asked[number].done():
            self._asked[number].set_result(rest[0])

    async def _do(self, wanted: bool, number: int, what: str, args: tuple[Any, ...]) -> None:
        try:
            reply = await self._answer(what, *args)
            if reply.error is not None:
                pickle.loads(pickle.dumps(reply.error))  # one that cannot be unpacked would break the pipe there
        except Exception:
            log.exception("failed at %s", what)
            reply = Reply(error=FarFailure(f"another process of the server failed at {what}"))
        if wanted:
            with contextlib.suppress(ConnectionError):
                self._send("reply", number, reply)

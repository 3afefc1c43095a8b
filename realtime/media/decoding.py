"""Decodes pictures from strangers in a process of its own, which is killed where a picture costs too much.

Nothing that a picture does to its decoder touches a session: not its time, not its memory, not its crash."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from realtime.errors import BadPortrait

T = TypeVar("T")
TOO_COSTLY = "it takes too much to decode; save it anew as a plain PNG or JPEG"


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What one picture may cost."""

    pixels: int = 24_000_000
    """Width times height."""
    cpu_s: int = 4
    """Seconds of processor time (where the system keeps such limits: Linux, macOS)."""
    wall_s: float = 10.0
    """Seconds by the clock, from the begin of its decoding."""
    memory_bytes: int = 1 << 30
    """Beyond what the process holds when it starts (Linux)."""


class Decoder(Generic[T]):
    """One process, warm, replaced every hundred pictures and whenever it was killed. Pictures wait in their order.

    It starts with the first picture. decode: what runs there, given a file's bytes and the most pixels of it."""

    def __init__(self, decode: Callable[[bytes, int], T], limits: DecodeLimits | None = None) -> None:
        self.limits, self._decode = limits or DecodeLimits(), decode
        self._pool: ProcessPool | None = None

    async def decode(self, data: bytes) -> T:
        """What is in a file. Raises BadPortrait."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would take the threads' locks along
            self._pool = ProcessPool(1, 100, _bound_memory, [self.limits.memory_bytes], context)
        arguments = [self._decode, data, self.limits.pixels, self.limits.cpu_s]
        try:
            made: T = await asyncio.wrap_future(
                self._pool.schedule(_bounded, args=arguments, timeout=self.limits.wall_s)
            )
            return made
        except (TimeoutError, ProcessExpired, MemoryError):
            raise BadPortrait(TOO_COSTLY) from None
        except CancelledError:
            raise BadPortrait("the server is closing") from None

    def close(self) -> None:
        """End the process, whatever it is doing. Safe to call twice."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None


def _bound_memory(more: int) -> None:
    """At most `more` bytes beyond what this process has now; and no dump of a face where it is killed."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no `resource`
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("/proc/self/statm") as status:
            held = int(status.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + more, resource.RLIM_INFINITY))


def _bounded(decode: Callable[[bytes, int], T], data: bytes, pixels: int, cpu_s: int) -> T:
    """One picture, within `cpu_s` seconds of processor time from now."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    return decode(data, pixels)

"""The directory with a clock: what its actor does when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from realtime.cluster.directory import Directory
from realtime.cluster.links import Reply, replied

TIMED = frozenset({"admit", "drain", "find", "join", "overview", "report"})
"""Methods of `Directory` that are told the time."""
UNTIMED = frozenset({"behind", "greet", "leave", "release", "suspect", "undrain"})
EXPIRE_S = 0.25
"""How often it is looked for what is over."""


class Desk:
    """All methods are called on one event loop. directory: in place of a new one."""

    def __init__(
        self,
        key: str,
        version: str,
        clock: Callable[[], float] = time.monotonic,
        directory: Directory | None = None,
    ) -> None:
        self._clock = clock
        self.directory = directory or Directory(key, version, clock())
        self._expired = clock()

    async def ask(self, what: str, *args: Any) -> Reply:
        """See `links.Ask`."""
        if what not in TIMED | UNTIMED:
            raise ValueError(f"the directory cannot {what!r}")
        now = self._clock()
        if now - self._expired >= EXPIRE_S:
            self._expired = now
            self.directory.expire(now)
        return await replied(getattr(self.directory, what), *((now,) if what in TIMED else ()), *args)

"""Which sessions there are, who gets one, and when one ends. Pure: time is passed in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from realtime.errors import AvatarError
from realtime.server.limits import Limits


class ServerFull(AvatarError):
    """All sessions are taken; the next try makes sense in `retry_after` seconds."""

    def __init__(self, sessions: int, retry_after: int) -> None:
        self.sessions, self.retry_after = sessions, retry_after

    def __str__(self) -> str:
        taken = "The only place is" if self.sessions == 1 else f"All {self.sessions} places are"
        return f"{taken} taken. Try again in {self.retry_after} seconds"


class End(StrEnum):
    """Why a session ended."""

    CLIENT = "client"
    """Its client asked for it."""
    DISCONNECTED = "disconnected"
    NEVER_CONNECTED = "never_connected"
    IDLE = "idle"
    TOO_LONG = "too_long"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


@dataclass(slots=True)
class Entry:
    """What the book knows of one session. Times in seconds of the clock that is passed in."""

    id: str
    opened: float
    seen: float
    """When it last showed life."""
    connected: bool = False
    """A peer has connected at least once."""
    peers: int = 0
    """Connections that are up now."""
    left: float | None = None
    """When its last peer went away; None where one is connected, or somebody has asked for the session since."""


@dataclass(slots=True)
class Book:
    """All sessions of one server."""

    limits: Limits = field(default_factory=Limits)
    entries: dict[str, Entry] = field(default_factory=dict)
    ended: dict[End, int] = field(default_factory=dict)
    refused: int = 0

    def admit(self, now: float) -> Entry:
        """Open a session. Its id is a capability: 128 random bits, not to be guessed.

        Raises ServerFull with the seconds after which a place is likely."""
        if len(self.entries) >= self.limits.sessions:
            self.refused += 1
            raise ServerFull(self.limits.sessions, self._retry_after(now))
        entry = Entry(secrets.token_urlsafe(16), now, now)
        self.entries[entry.id] = entry
        return entry

    def _retry_after(self, now: float) -> int:
        """Until the first session could end by itself, 5 to 10 s: people leave at any moment."""
        ends = [self._deadline(entry)[0] for entry in self.entries.values() if not entry.peers]
        ends += [entry.opened + self.limits.session_s for entry in self.entries.values()]
        return int(min(10.0, max(5.0, min(ends, default=now) - now)))

    def _deadline(self, entry: Entry) -> tuple[float, End]:
        """When a session without a peer ends, and why."""
        if entry.left is not None:
            return entry.left + min(self.limits.grace_s, self.limits.idle_s), End.DISCONNECTED
        if entry.connected:
            return entry.seen + self.limits.idle_s, End.IDLE
        return entry.seen + self.limits.connect_s, End.NEVER_CONNECTED

    def touch(self, id: str, now: float) -> None:
        """A session showed life (a request, a packet)."""
        if entry := self.entries.get(id):
            entry.seen, entry.left = now, None

    def attach(self, id: str, now: float) -> None:
        """A peer connected."""
        if entry := self.entries.get(id):
            entry.connected = True
            entry.peers += 1
            entry.seen, entry.left = now, None

    def detach(self, id: str, now: float) -> None:
        """A peer went away."""
        if entry := self.entries.get(id):
            entry.peers = max(0, entry.peers - 1)
            entry.seen = now
            entry.left = now if not entry.peers else None

    def due(self, now: float) -> list[tuple[str, End]]:
        """Sessions that have to end now, and why."""
        out = []
        for entry in self.entries.values():
            deadline, why = self._deadline(entry)
            if now >= entry.opened + self.limits.session_s:
                out.append((entry.id, End.TOO_LONG))
            elif not entry.peers and now >= deadline:
                out.append((entry.id, why))
        return out

    def end(self, id: str, why: End) -> bool:
        """Forget a session. False where it is unknown (ended before)."""
        if self.entries.pop(id, None) is None:
            return False
        self.ended[why] = self.ended.get(why, 0) + 1
        return True

"""Which sessions there are, who gets one, and when one ends. Pure: time is passed in."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from pydantic import BaseModel, ConfigDict

from realtime.errors import AvatarError
from realtime.server.common.limits import Limits


class Right(IntEnum):
    """What a key opens. Each right has those below it."""

    WATCH = 1
    """See and hear the avatar."""
    DRIVE = 2
    """Send motion, calibrate."""
    CONTROL = 3
    """All else: sliders, portraits, the end."""


class Keys(BaseModel):
    """A session's three keys, random and distinct. id: controls. view, drive: for links; empty once withdrawn."""

    model_config = ConfigDict(frozen=True)

    id: str
    view: str
    drive: str


def link_keys(profile: str | None) -> tuple[str, str]:
    """Keys to watch and to drive by: from a client's secret the same each time, else random. Who has one of them
    finds neither the secret nor the other (SHA-256)."""
    secret = profile or secrets.token_urlsafe(32)

    def key(right: str) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(f"avatar {right} {secret}".encode()).digest()[:18]).decode()

    return key("view"), key("drive")


class Behind(StrEnum):
    """What stands behind a link."""

    LIVE = "live"
    """A session."""
    NOTHING = "nothing"
    """No session, but one may come: whoever opened the last one can open another that has the same link."""
    DEAD = "dead"
    """No session, and none will come: the link was withdrawn, or its session has ended and was its only one."""


DEAD_KEPT = 4096
"""Links of which it is remembered that they are dead."""


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
    MOVED = "moved"
    """Its machine is being emptied: who offers again at once gets another one."""


@dataclass(slots=True)
class Entry:
    """What the book knows of one session. Times in seconds of the clock that is passed in."""

    keys: Keys
    client: str
    """Who opened it: see `caller_of`."""
    opened: float
    seen: float
    """When it last showed life."""
    connected: bool = False
    """A peer has connected at least once."""
    peers: int = 0
    """Connections that are up now."""
    lasting: bool = False
    """Its links come from a client's secret: they may lead to a later session too."""
    left: float | None = None
    """When its last peer went away; None where one is connected, or somebody has asked for the session since."""

    @property
    def id(self) -> str:
        """The key that controls it."""
        return self.keys.id


@dataclass(slots=True)
class Book:
    """All sessions of one server."""

    limits: Limits = field(default_factory=Limits)
    entries: dict[str, Entry] = field(default_factory=dict)
    links: dict[str, tuple[str, Right]] = field(default_factory=dict)
    """Keys for links, with the session that each leads to now and what it opens."""
    dead: dict[str, None] = field(default_factory=dict)
    """Keys of links that will lead nowhere any more; the oldest first."""
    ended: dict[End, int] = field(default_factory=dict)
    refused: int = 0

    def admit(self, now: float, profile: str | None = None, client: str = "") -> Entry:
        """Open a session. Its id is a capability: 128 random bits, not to be guessed. Links of the same profile lead
        to the newest session.

        Raises ServerFull with the seconds after which a place is likely."""
        if len(self.entries) >= self.limits.sessions:
            self.refused += 1
            raise ServerFull(self.limits.sessions, self._retry_after(now))
        id = secrets.token_urlsafe(16)
        entry = self.entries[id] = Entry(Keys(id=id, view="", drive=""), client, now, now)
        self.renew(id, profile)
        return entry

    def unmet(self, now: float) -> str | None:
        """The session that makes room where all are taken: of those that nobody has connected to for `unmet_s`, the
        oldest of the client that has most sessions which nobody has connected to. None where there is none."""
        waiting = [entry for entry in self.entries.values() if not entry.connected]
        held = Counter(entry.client for entry in waiting)
        late = [entry for entry in waiting if now - entry.seen >= self.limits.unmet_s]
        return min(late, key=lambda entry: (-held[entry.client], entry.seen)).id if late else None

    def find(self, key: str) -> tuple[Entry, Right] | None:
        """The session that a key opens, and what the key may."""
        id, right = (key, Right.CONTROL) if key in self.entries else self.links.get(key, ("", Right.WATCH))
        entry = self.entries.get(id)
        return (entry, right) if entry else None

    def behind(self, key: str) -> Behind:
        """What stands behind a link."""
        if self.find(key) is not None:
            return Behind.LIVE
        return Behind.DEAD if key in self.dead else Behind.NOTHING

    def renew(self, id: str, profile: str | None = None) -> Keys:
        """New links in place of the old ones."""
        self.withdraw(id)
        view, drive = link_keys(profile)
        for key, right in ((view, Right.WATCH), (drive, Right.DRIVE)):
            self.links[key] = (id, right)
            self.dead.pop(key, None)
        entry = self.entries[id]
        entry.keys, entry.lasting = Keys(id=id, view=view, drive=drive), profile is not None
        return entry.keys

    def withdraw(self, id: str) -> None:
        """The session's links lead nowhere any more; those that a newer session has taken over stay."""
        self._unlink(id, for_good=True)

    def _unlink(self, id: str, for_good: bool) -> None:
        keys = self.entries[id].keys
        for key in (keys.view, keys.drive):
            if key in self.links and self.links[key][0] == id:
                del self.links[key]
                if for_good:
                    self.dead[key] = None
        while len(self.dead) > DEAD_KEPT:
            del self.dead[next(iter(self.dead))]
        self.entries[id].keys = Keys(id=id, view="", drive="")

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
        if id not in self.entries:
            return False
        self._unlink(id, for_good=not self.entries[id].lasting)
        del self.entries[id]
        self.ended[why] = self.ended.get(why, 0) + 1
        return True

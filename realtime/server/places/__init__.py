"""Where sessions live, as the HTTP face sees it: everything that crosses is plain data.

`here.Studio` is the place in this process. Another one may hand all calls on to another machine: keys, bytes, text
and the models below are all that it has to carry. Every method that takes a key raises `UnknownSession` where no
session has it, and `NotAllowed` where the key may not do that (see `realtime.server.common.sessions.Right`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from realtime.errors import AvatarError, UsageError
from realtime.media.backgrounds import Background
from realtime.server.common import messages
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Behind, End, Keys

Profile = Annotated[str, Field(min_length=22, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
"""A secret of the client's own making (128 bits or more): its links stay the same from session to session."""


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wish(_Plain):
    """How a session shall begin. client: whose wish it is, see `caller_of`."""

    source: messages.Source = "sample"
    portrait: str | None = None
    profile: Profile | None = None
    client: str = ""


class Offered(_Plain):
    """A peer's offer. publishes: its camera may drive. watches: it gets the avatar, before a background of its own
    where one is given. client: who made it, see `caller_of`."""

    sdp: str
    publishes: bool = False
    watches: bool = False
    background: Background | None = None
    client: str = ""


class Answered(_Plain):
    """The answer. peer: the connection's id. etag: names the ICE credentials, for candidates that come later."""

    sdp: str
    peer: str
    etag: str


class Trickled(StrEnum):
    """What became of later candidates."""

    TAKEN = "taken"
    NO_PEER = "no_peer"
    OTHER_ETAG = "other_etag"
    RESTART = "restart"
    """They belong to another ICE session: a restart, which is not done."""


class Opened(_Plain):
    """A new session's keys, and the answer where an offer came with the wish."""

    keys: Keys
    answer: Answered | None = None


class Health(_Plain):
    """Is the server well? stuck: threads that sessions need do not answer; `stuck` says which. starting: processes
    that are being made ready, while others serve."""

    status: Literal["ok", "stuck"]
    stuck: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    version: str
    sessions: int
    max_sessions: int


@dataclass(frozen=True)
class Terms:
    """What a place says of itself. panel: its sessions are panels of a running virtual camera. ice_servers: as
    `RTCPeerConnection` in a page takes them."""

    limits: Limits = field(default_factory=Limits)
    panel: bool = False
    ice_servers: tuple[dict[str, Any], ...] = ()


class UnknownSession(UsageError):
    """There is no session with this key (any more)."""

    def __str__(self) -> str:
        return "There is no such session; it may have ended"


class NotAllowed(UsageError):
    """The key opens less than what was asked for."""

    def __str__(self) -> str:
        return "This link may not do that: it only watches or drives"


class TooManyViewers(UsageError):
    """As many as allowed watch this session already."""

    def __str__(self) -> str:
        return "Too many are watching this session already"


class TooManyDrivers(UsageError):
    """As many as allowed send motion to this session already."""

    def __str__(self) -> str:
        return "Too many motion clients drive this session already"


class OneView(UsageError):
    """The engine takes one picture of a person."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def __str__(self) -> str:
        return f"The engine {self.engine} takes one picture of a person, and no other views"


class Busy(AvatarError):
    """Too much of this kind is under way; the next try makes sense in `retry_after` seconds."""

    def __init__(self, what: str, retry_after: int = 5) -> None:
        self.what, self.retry_after = what, retry_after

    def __str__(self) -> str:
        return f"{self.what}. Try again in {self.retry_after} seconds"


class LineOver(AvatarError):
    """A motion client is hung up on. fault: it was its own doing."""

    def __init__(self, reason: str, fault: bool = False) -> None:
        self.reason, self.fault = reason, fault

    def __str__(self) -> str:
        return self.reason


class Line(Protocol):
    """What one motion client sends. hello: what it is greeted with."""

    hello: messages.Hello

    async def take(self, data: bytes | str) -> str | None:
        """A motion packet (bytes) or a control message (text); what to answer, if anything. Raises LineOver."""


class Place(Protocol):
    """Where sessions live."""

    @property
    def terms(self) -> Terms:
        """Known before it is opened."""

    async def open(self) -> None:
        """Begin to work."""

    async def close(self) -> None:
        """End all sessions. Safe to call twice."""

    async def health(self) -> Health:
        """Answers at once, whatever is stuck."""

    async def metrics(self) -> bytes:
        """Prometheus text."""

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        """Open a session; where an offer comes with it and cannot be answered, none is left.

        Raises ServerFull, UnknownName (portrait), BadOffer, EngineError."""

    async def end(self, key: str, why: End, linger: bool = False) -> None:
        """End a session and free all it held. linger: while somebody watches by its link, the portrait idles until
        he leaves, or a newer session of the same profile takes over the link."""

    async def hello(self, key: str) -> messages.Hello:
        """What the session can do, and its state."""

    async def answer(self, key: str, offer: Offered) -> Answered:
        """One connection more. Raises BadOffer, TooManyViewers."""

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        """More candidates for a connection (peer None: the one that publishes). Raises BadOffer."""

    async def hang_up(self, key: str, peer: str) -> bool:
        """Close a watcher's connection. False where there is none of that id."""

    async def control(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        """Follow a command; None where too many came. Raises UsageError."""

    async def add_portrait(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        """Decode, show and keep a picture. Raises BadPortrait, Busy."""

    async def add_background(self, key: str, data: bytes) -> messages.BackgroundInfo:
        """Decode a picture or a clip, show it behind the portrait, and keep it. Raises BadBackdrop, Busy."""

    async def look(self, key: str, data: bytes) -> messages.Look:
        """Decode a picture and find its faces; nothing is kept. Raises BadPortrait, Busy."""

    async def remove_portrait(self, key: str, portrait: str) -> None:
        """Forget a picture. Raises UnknownName."""

    async def add_view(self, key: str, portrait: str, data: bytes) -> messages.PortraitInfo:
        """Decode and keep another picture of the person of a portrait that was brought. Raises UnknownName, OneView,
        TooManyViews, BadPortrait, GalleryFull, Busy."""

    async def remove_view(self, key: str, portrait: str, view: str) -> None:
        """Forget such a picture. Raises UnknownName."""

    async def picture(self, key: str, portrait: str) -> bytes:
        """The gallery's small picture, JPEG. Raises UnknownName."""

    async def pictures(self, key: str) -> AsyncIterator[bytes]:
        """The avatar as JPEG pictures, until the session ends. Raises TooManyViewers."""

    def drive(self, key: str) -> AbstractAsyncContextManager[Line]:
        """Motion from one client, for as long as the context lasts. Raises TooManyDrivers."""

    async def renew(self, key: str, profile: str | None) -> Keys:
        """New links (watch, drive); who came by the old ones is hung up on."""

    async def withdraw(self, key: str) -> None:
        """No links any more; who came by them is hung up on."""

    async def behind(self, link: str) -> Behind:
        """What stands behind a link now."""

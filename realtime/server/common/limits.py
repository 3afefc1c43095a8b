"""What one server gives away at most, in one place."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client can make the server hold or do."""

    sessions: int = 4
    """Avatars at once; one more is answered 503 with Retry-After."""
    connections: int = 512
    """TCP connections at once. One more takes the place of an idle one, or is answered 503 with Retry-After."""
    connections_each: int = 64
    """Of these, from one address; a proxy named with --behind-proxy is exempt."""
    head_s: float = 10.0
    """A connection whose next request (line and headers) takes longer is closed: by 408 where one has begun."""
    write_s: float = 30.0
    """A client that does not read its answer for so long is hung up on."""
    viewers: int = 8
    """Watchers (WHEP, view page, preview) of one session at once."""
    half_open: int = 32
    """Peers that were answered and have not connected yet. They take no viewer's place."""
    half_open_each: int = 8
    """Of these, from one address."""
    half_open_s: float = 10.0
    """A peer that takes longer to connect is given up."""
    drivers: int = 4
    """Motion clients of one session at once."""
    silent_s: float = 30.0
    """A motion client that sends nothing for so long is hung up on."""
    session_s: float = 4 * 3600.0
    """A session ends after this long, whatever it does."""
    connect_s: float = 20.0
    """A session whose peer never connected ends after this long."""
    unmet_s: float = 3.0
    """While all sessions are taken, one that nobody has connected to for so long makes room for a new one."""
    grace_s: float = 10.0
    """A session whose last connection was closed or lost ends after this long; time enough to come back to it."""
    idle_s: float = 30.0
    """A session without a connection that was asked for since then ends this long after the last request."""
    body_bytes: int = 12 * 1024 * 1024
    """Largest HTTP body: one portrait, or one preset."""
    sdp_bytes: int = 32 * 1024
    """Largest SDP offer, and largest JSON body."""
    body_s: float = 20.0
    """A body that takes longer to arrive is given up."""
    portrait_pixels: int = 24_000_000
    """Largest portrait, width times height, read from the file's header before anything is decoded."""
    uploads: int = 8
    """Portraits that are received, decoded or prepared at once; one more is answered 503 with Retry-After."""
    uploads_each: int = 4
    """Of these, from one address; one at a time in one session, and in all sessions of a panel."""
    upload_cpu_s: int = 4
    """Processor time of decoding one portrait."""
    upload_s: float = 10.0
    """Decoding that takes longer is killed."""
    clip_cpu_s: int = 25
    """Processor time of decoding one clip that goes round behind a portrait."""
    clip_s: float = 60.0
    """The same by the clock."""
    upload_memory_bytes: int = 1 << 30
    """Memory of decoding one portrait."""
    portraits: int = 12
    """Uploaded pictures that one session keeps, portraits and views of them; the oldest portrait leaves
    that is not shown; where none can, one more is refused."""
    views: int = 4
    """Further pictures of the person of one uploaded portrait."""
    message_bytes: int = 8 * 1024
    """Largest control message."""
    messages_per_s: float = 60.0
    """Control messages to one session, on average, of those who control it, and as many of those who only drive it;
    twice as many in a burst."""
    packets_per_s: float = 120.0
    """Motion packets of one client, on average; twice as many in a burst."""
    requests_per_s: float = 20.0
    """Requests that open a session or bring a portrait, from one address, on average; thrice as many in a burst."""


def caller_of(address: str) -> str:
    """Who is counted as one by all limits "of one address": an IPv4 address, or the 64 bits of an IPv6 address that
    name a network, for who has one of its addresses has all of them. What is no address stays as it is."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    if ip.is_link_local:  # neighbours on one cable, all of one network
        return str(ip)
    return str(ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))


def suitable_sessions(cores: int) -> int:
    """How many sessions a server on so many cores takes unless told otherwise: two for each core, 8 at most.

    A session of the mesh engine at 512 px and 30 fps takes about half a core. That many do not quite fit when all are
    busy: all of them are held to 24 or 20 fps then, with no queue. Most sessions are not busy all the time, and a
    lower rate is better than a refusal. Beyond eight they would wait for one Python, however many cores there are:
    say --workers and --max-sessions then."""
    return max(1, min(8, 2 * cores))


class Bucket:
    """A token bucket. Pure: `now` is passed in, in seconds of any clock that does not go back.

    rate: how many pass per second on average. burst: how many pass at once after a rest."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._level = burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """True where one more may pass now."""
        if self._at is not None:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        if self._level < 1.0:
            return False
        self._level -= 1.0
        return True

    def wait(self) -> float:
        """Seconds until the next one may pass, after a refusal."""
        return max(0.0, (1.0 - self._level) / self.rate)

    def full(self, now: float) -> bool:
        """True where it has rested long enough to be forgotten."""
        return self._at is None or self._level + (now - self._at) * self.rate >= self.burst


class Buckets:
    """One bucket per key (a client's address), forgotten once full again, never more than `most`."""

    def __init__(self, rate: float, burst: float, most: int = 4096) -> None:
        self.rate, self.burst, self.most = rate, burst, most
        self._of: dict[str, Bucket] = {}

    def take(self, key: str, now: float) -> float:
        """0 where one more of `key` may pass now, else the seconds until it may."""
        bucket = self._of.get(key)
        if bucket is None:
            if len(self._of) >= self.most:
                self._of = {k: b for k, b in self._of.items() if not b.full(now)}
            if len(self._of) >= self.most:
                return 1.0
            bucket = self._of[key] = Bucket(self.rate, self.burst)
        return 0.0 if bucket.take(now) else max(0.05, bucket.wait())

    def __len__(self) -> int:
        return len(self._of)


class Places:
    """So many at once, and of these so many of one key. Pure."""

    def __init__(self, most: int, each: int) -> None:
        self.most, self.each = most, each
        self._of: Counter[str] = Counter()

    def take(self, key: str) -> bool:
        """True where `key` got one; give it back with `leave`."""
        if len(self) >= self.most or self._of[key] >= self.each:
            return False
        self._of[key] += 1
        return True

    def leave(self, key: str) -> None:
        """One is free again."""
        self._of[key] -= 1
        if self._of[key] <= 0:
            del self._of[key]

    def __len__(self) -> int:
        return self._of.total()


class Attempts:
    """Wrong tokens, by address: after ten at once, and more than one in two seconds from then on, its tokens are not
    even looked at for a while. An address that has shown the right one is never kept out. Pure: time is passed in."""

    SLOW_S = 5.0

    def __init__(self) -> None:
        self._wrong = Buckets(0.5, 10.0)
        self._until: dict[str, float] = {}
        self._known: dict[str, None] = {}

    def wait(self, address: str, now: float) -> float:
        """0 where a token of this address is looked at now, else the seconds until it is."""
        return 0.0 if address in self._known else max(0.0, self._until.get(address, now) - now)

    def right(self, address: str) -> None:
        """It knows the token."""
        self._known[address] = None
        if len(self._known) > 4096:
            del self._known[next(iter(self._known))]

    def wrong(self, address: str, now: float) -> bool:
        """It does not. True where it is slowed down from now on."""
        if not self._wrong.take(address, now):
            return False
        self._until = {other: until for other, until in self._until.items() if until > now}
        self._until[address] = now + self.SLOW_S
        return True


@dataclass(slots=True)
class Vitals:
    """Which of several pools answer. Each is probed with a piece of work that does nothing. Pure.

    patience: seconds that each may take, by name."""

    patience: dict[str, float]
    _asked: dict[str, float] = field(default_factory=dict)

    def ask(self, name: str, now: float) -> bool:
        """True where it is to be probed now: no probe is on its way."""
        if name in self._asked:
            return False
        self._asked[name] = now
        return True

    def answered(self, name: str) -> None:
        """Its probe is back."""
        self._asked.pop(name, None)

    def stuck(self, now: float) -> tuple[str, ...]:
        """Those that have not answered for too long."""
        return tuple(name for name, asked in self._asked.items() if now - asked > self.patience[name])

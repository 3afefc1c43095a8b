"""What machines, fronts and the directory say to each other. Plain data."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Any

from realtime.errors import AvatarError, UsageError
from realtime.server.common.sessions import Keys
from realtime.server.places import Busy

DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Card:
    """What a node says of itself when it joins.

    name: as people call it; unique among the nodes that are up. run: random, made anew at each start. address: where
    it is reached, and where media goes. slots: sessions at once. proof: see `prove`."""

    name: str
    run: str
    address: str
    version: str
    engine: str
    slots: int
    weights: str = ""
    device: str = "cpu"
    ice_servers: tuple[dict[str, Any], ...] = ()
    proof: str = field(default="", repr=False)

    @property
    def kind(self) -> tuple[str, str]:
        """Sessions can be placed on any node of the kind that they ask for."""
        return self.engine, self.weights


def prove(card: Card, key: str) -> Card:
    """The card with a proof that its bearer knows the cluster's key: an HMAC (SHA-256) of what it says."""
    return replace(card, proof=_proof(card, key))


def proven(card: Card, key: str) -> bool:
    """Whether its proof is right."""
    return hmac.compare_digest(card.proof.encode(), _proof(card, key).encode())


def _proof(card: Card, key: str) -> str:
    said = repr((card.name, card.run, card.address, card.version, card.engine, card.weights, card.slots))
    return hmac.new(key.encode(), f"avatar node {said}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Held:
    """One session, as its node tells the directory. ticket: that of its admission. lasting: its links come from a
    client's secret. lingers: its driver has left; it gives way to a newer one of its links. yields: it gives way to
    any other where all slots are taken: it lingers, or nobody has connected to it."""

    keys: Keys
    tenant: str = DEFAULT_TENANT
    ticket: str = ""
    lasting: bool = False
    lingers: bool = False
    yields: bool = False


@dataclass(frozen=True, slots=True)
class Orders:
    """What the directory answers to a node's report. drain_in: seconds after which its sessions are to be moved;
    None: it is not being drained."""

    drain_in: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What an admission is to satisfy. most: sessions that the tenant may have at once, 0 without bound. view: the
    session's link, where it is known beforehand. engine, weights: empty for any. avoid: nodes that just failed."""

    tenant: str = DEFAULT_TENANT
    most: int = 0
    view: str = ""
    engine: str = ""
    weights: str = ""
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """A slot of a node. replaces: a session of the same link that lingers on another node, and is to end."""

    node: str
    run: str
    ticket: str
    replaces: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node, as `avatar cluster status` and the fronts see it. seen: seconds since it was last heard of. drain_in:
    see `Orders`."""

    card: Card
    sessions: int
    free: int
    seen: float
    drain_in: float | None
    suspected: bool

    @property
    def state(self) -> str:
        """One word."""
        if self.suspected:
            return "silent"
        return "draining" if self.drain_in is not None else "ready"


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole cluster. age: seconds since the directory began. tenants: their sessions now."""

    version: str
    age: float
    nodes: tuple[NodeView, ...]
    tenants: dict[str, int]
    admitted: int
    refused: int
    nodes_lost: int
    sessions_lost: int

    @property
    def sessions(self) -> int:
        """Sessions now."""
        return sum(node.sessions for node in self.nodes)

    @property
    def slots(self) -> int:
        """Sessions at most."""
        return sum(node.card.slots for node in self.nodes)


class WrongVersion(UsageError):
    """A part of another version wants to join. `what` is a node or a front."""

    def __init__(self, what: str, its: str, ours: str) -> None:
        self.what, self.its, self.ours = what, its, ours

    def __str__(self) -> str:
        return f"{self.what} has version {self.its}, the cluster {self.ours}: install the same version everywhere"


class ForgedNode(UsageError):
    """A node that does not know the cluster's key."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"The node {self.name!r} does not know this cluster's key: give it the one that the head printed"


class NameTaken(UsageError):
    """There is a node of that name, and it is alive."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"There is a node called {self.name!r} already: choose another --name"


class NotJoined(AvatarError):
    """The directory does not know this node (any more): it has to join again."""

    def __str__(self) -> str:
        return "The directory does not know this node; it joins again"


class OtherTenant(UsageError):
    """A session of somebody else's."""

    def __str__(self) -> str:
        return "This session belongs to another tenant of the cluster"


class UnknownNode(UsageError):
    """No node has that name. names: those that there are."""

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.name, self.names = name, names

    def __str__(self) -> str:
        return f"There is no node called {self.name!r}. There are: {', '.join(self.names) or 'none'}"


class TenantFull(Busy):
    """A tenant has as many sessions as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"All {most} places of this service are taken")


class NodeLost(Busy):
    """The node that was called is gone, or does not answer."""

    def __init__(self, name: str) -> None:
        super().__init__("The machine that had this session does not answer", 1)
        self.name = name


class DirectoryLost(Busy):
    """The directory does not answer."""

    def __init__(self) -> None:
        super().__init__("The service is finding its machines again", 2)

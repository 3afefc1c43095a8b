"""Which machine gets a session, and which machine has one. Pure: time is passed in.

What a node says of its sessions is the truth; the directory only remembers it, and what it has granted and not heard
of yet. So a directory that begins anew knows everything again as soon as the nodes have joined it again.
"""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from realtime.cluster.cards import (
    Asked,
    Card,
    ForgedNode,
    Granted,
    Held,
    NameTaken,
    NodeView,
    NotJoined,
    Orders,
    OtherTenant,
    Overview,
    TenantFull,
    UnknownNode,
    WrongVersion,
    proven,
)
from realtime.server.common.sessions import DEAD_KEPT, Behind, ServerFull
from realtime.server.places import Busy, UnknownSession

LEASE_S = 3.0
"""A node that is not heard of for so long is lost, and its sessions with it."""
YOUNG_S = 30.0
"""A directory that has just begun may not have heard of every node yet: on a busy machine they take so long."""
BEAT_S = 1.0
"""How often a node reports when nothing has changed."""
TICKET_S = 15.0
"""A slot that was granted and not used is free again after this long."""
RETRY_S = 5
"""What who found no slot is told to wait: people leave at any moment."""


@dataclass(slots=True)
class _Node:
    card: Card
    seen: float
    sessions: dict[str, Held] = field(default_factory=dict)
    tickets: set[str] = field(default_factory=set)
    drain_at: float | None = None
    suspected: bool = False
    shelved: int = 0
    """Under how many free slots it stands in the shelf; 0: it takes no session."""

    @property
    def free(self) -> int:
        """Slots that neither a session nor a ticket has."""
        return max(0, self.card.slots - len(self.sessions) - len(self.tickets))


@dataclass(frozen=True, slots=True)
class _Ticket:
    node: str
    tenant: str
    until: float


class _Shelf:
    """Nodes of one kind by their free slots. Finding the one with most takes as many steps as a node has slots,
    however many nodes there are; of equal ones that which has waited longest comes first."""

    def __init__(self) -> None:
        self._by_free: list[dict[str, None]] = []

    def move(self, name: str, before: int, after: int) -> None:
        """0: it stands nowhere."""
        if before:
            del self._by_free[before][name]
        if after:
            while len(self._by_free) <= after:
                self._by_free.append({})
            self._by_free[after][name] = None

    def best(self, avoid: tuple[str, ...]) -> tuple[int, str] | None:
        """Most free slots, and who has them."""
        for free in range(len(self._by_free) - 1, 0, -1):
            for name in self._by_free[free]:
                if name not in avoid:
                    return free, name
        return None


class Directory:
    """The whole cluster's book. key: what nodes prove to know. version: that of all its parts. now: when it begins;
    minus infinity where no node can be older than it. lease_s: in place of `LEASE_S`."""

    def __init__(self, key: str, version: str, now: float = 0.0, lease_s: float | None = None) -> None:
        self.key, self.version, self._lease_s = key, version, lease_s
        self.nodes: dict[str, _Node] = {}
        self._began = now
        self._shelves: dict[tuple[str, str], _Shelf] = defaultdict(_Shelf)
        self._waiting: dict[str, None] = {}  # nodes with sessions that yield
        self._slots = 0
        self._tickets: dict[str, _Ticket] = {}
        self._where: dict[str, tuple[str, str]] = {}  # any key: node and session
        self._tenants: Counter[str] = Counter()
        self._dead: dict[str, None] = {}
        self.admitted = self.refused = self.nodes_lost = self.sessions_lost = 0

    def greet(self, version: str) -> None:
        """A front wants to use the cluster. Raises WrongVersion."""
        if version != self.version:
            raise WrongVersion("This front", version, self.version)

    # --- nodes

    def join(
        self, now: float, card: Card, held: tuple[Held, ...] = (), dead: tuple[str, ...] = (),
        drain_in: float | None = None,
    ) -> None:  # fmt: skip
        """A node is there, with what it has: after its start, and again after it, or the directory, was away.

        dead: links that lead nowhere any more. Raises WrongVersion, ForgedNode, NameTaken."""
        if card.version != self.version:
            raise WrongVersion(f"The node {card.name!r}", card.version, self.version)
        if not proven(card, self.key):
            raise ForgedNode(card.name)
        self.expire(now)
        old = self.nodes.get(card.name)
        if old is not None and old.card.run != card.run and not old.suspected:
            raise NameTaken(card.name)
        if old is not None:
            self._remove(old, lost=old.card.run != card.run)
        node = self.nodes[card.name] = _Node(card, now)
        self._slots += card.slots
        node.drain_at = None if drain_in is None else now + drain_in
        for link in dead:
            self._bury(link)
        self._hold(node, held)

    def report(self, now: float, name: str, run: str, held: tuple[Held, ...] | None = None) -> Orders:
        """A node is alive. held: all its sessions, where they have changed. Raises NotJoined."""
        node = self._own(name, run)
        node.seen, node.suspected = now, False
        if held is not None:
            self._hold(node, held)
        else:
            self._shelve(node)
        return Orders(None if node.drain_at is None else max(0.0, node.drain_at - now))

    def leave(self, name: str, run: str) -> None:
        """A node goes, and its sessions are over. Raises NotJoined."""
        self._remove(self._own(name, run), lost=False)

    def lose(self, name: str, run: str) -> None:
        """A node is known to be gone, and its sessions with it. Raises NotJoined."""
        self._remove(self._own(name, run), lost=True)

    def suspect(self, name: str, run: str) -> None:
        """A front could not reach it: it gets no sessions until it reports again."""
        node = self.nodes.get(name)
        if node is not None and node.card.run == run:
            node.suspected = True
            self._shelve(node)

    def drain(self, now: float, name: str, seconds: float) -> None:
        """It gets no new sessions; those that it has are moved after so long. Raises UnknownNode."""
        node = self._named(name)
        node.drain_at = now + seconds
        self._shelve(node)

    def undrain(self, name: str) -> None:
        """It takes sessions again. Raises UnknownNode."""
        node = self._named(name)
        node.drain_at = None
        self._shelve(node)

    def expire(self, now: float) -> list[str]:
        """Forget what is over: nodes that are silent, which are given, and slots that nobody took."""
        lease = LEASE_S if self._lease_s is None else self._lease_s
        lost = [node for node in self.nodes.values() if now - node.seen >= lease]
        for node in lost:
            self._remove(node, lost=True)
        for ticket in [ticket for ticket, granted in self._tickets.items() if now >= granted.until]:
            self.release(ticket)
        return [node.card.name for node in lost]

    # --- sessions

    def admit(self, now: float, asked: Asked) -> Granted:
        """A slot on the node with the most free ones, or on that where the link's last session lingers.

        Raises ServerFull, TenantFull, Busy (no node is there)."""
        if asked.most and self._tenants[asked.tenant] >= asked.most:
            self.refused += 1
            raise TenantFull(asked.most)
        lingering = self._lingering(asked)
        node = self._choose(asked, lingering)
        if node is None:
            self.refused += 1
            raise ServerFull(self._slots, RETRY_S) if self._slots else Busy("No machine is ready yet", RETRY_S)
        ticket = secrets.token_urlsafe(12)
        self._tickets[ticket] = _Ticket(node.card.name, asked.tenant, now + TICKET_S)
        node.tickets.add(ticket)
        self._tenants[asked.tenant] += 1
        self.admitted += 1
        self._shelve(node)
        elsewhere = lingering is not None and lingering[0] is not node
        replaces = (lingering[0].card.name, lingering[1]) if lingering and elsewhere else None
        return Granted(node.card.name, node.card.run, ticket, replaces)

    def release(self, ticket: str) -> None:
        """The slot was not used, or its session is known now."""
        granted = self._tickets.pop(ticket, None)
        if granted is None:
            return
        self._tenants[granted.tenant] -= 1
        if node := self.nodes.get(granted.node):
            node.tickets.discard(ticket)
            self._shelve(node)

    def find(self, now: float, key: str, tenant: str) -> tuple[str, str]:
        """The node, with its run, that has the session which a key opens.

        Raises UnknownSession, OtherTenant, Busy (it has just begun, and may learn of it yet)."""
        where = self._where.get(key)
        if where is None:
            if now - self._began < YOUNG_S:
                raise Busy("The service has just begun and is finding its sessions", 2)
            raise UnknownSession
        node = self.nodes[where[0]]
        if node.sessions[where[1]].tenant != tenant:
            raise OtherTenant
        return node.card.name, node.card.run

    def behind(self, link: str) -> Behind:
        """What stands behind a link."""
        if link in self._where:
            return Behind.LIVE
        return Behind.DEAD if link in self._dead else Behind.NOTHING

    def overview(self, now: float) -> Overview:
        """Everything, for people and fronts."""
        views = (
            NodeView(
                card=node.card,
                sessions=len(node.sessions),
                free=node.shelved,
                seen=now - node.seen,
                drain_in=None if node.drain_at is None else max(0.0, node.drain_at - now),
                suspected=node.suspected,
            )
            for node in self.nodes.values()
        )
        tenants = {tenant: count for tenant, count in self._tenants.items() if count}
        return Overview(
            version=self.version,
            age=now - self._began,
            nodes=tuple(views),
            tenants=tenants,
            admitted=self.admitted,
            refused=self.refused,
            nodes_lost=self.nodes_lost,
            sessions_lost=self.sessions_lost,
        )

    # --- inside

    def _named(self, name: str) -> _Node:
        if name not in self.nodes:
            raise UnknownNode(name, tuple(self.nodes))
        return self.nodes[name]

    def _own(self, name: str, run: str) -> _Node:
        node = self.nodes.get(name)
        if node is None or node.card.run != run:
            raise NotJoined
        return node

    def _shelve(self, node: _Node) -> None:
        """Where it stands follows from what it has."""
        takes = not node.suspected and node.drain_at is None
        free = node.free if takes else 0
        self._shelves[node.card.kind].move(node.card.name, node.shelved, free)
        node.shelved = free
        if takes and any(held.yields for held in node.sessions.values()):
            self._waiting[node.card.name] = None
        else:
            self._waiting.pop(node.card.name, None)

    def _lingering(self, asked: Asked) -> tuple[_Node, str] | None:
        """The session behind the link that is asked for, where its driver has left."""
        where = self._where.get(asked.view) if asked.view else None
        if where is None:
            return None
        node = self.nodes[where[0]]
        held = node.sessions[where[1]]
        return (node, where[1]) if held.lingers and held.tenant == asked.tenant else None

    def _choose(self, asked: Asked, lingering: tuple[_Node, str] | None) -> _Node | None:
        if lingering is not None:  # its guests come back to the link where it is, and it gives its slot
            node = lingering[0]
            if node.drain_at is None and not node.suspected and node.card.name not in asked.avoid:
                return node
        shelves = [shelf for kind, shelf in self._shelves.items() if _fits(kind, asked)]
        found = [best for shelf in shelves if (best := shelf.best(asked.avoid))]
        if found:
            return self.nodes[max(found, key=lambda each: each[0])[1]]
        for name in self._waiting:
            node = self.nodes[name]
            waiting = sum(held.yields for held in node.sessions.values()) - len(node.tickets)
            if waiting > 0 and _fits(node.card.kind, asked) and name not in asked.avoid:
                return node
        return None

    def _hold(self, node: _Node, held: tuple[Held, ...]) -> None:
        """What it has now, in place of what it had."""
        now = {each.keys.id: each for each in held}
        for id, old in list(node.sessions.items()):
            if id not in now:
                self._forget(node, old, for_good=not old.lasting)
        for id, each in now.items():
            before = node.sessions.get(id)
            if before == each:
                continue
            mine = (node.card.name, id)
            taken = {key for key in _keys(before) if self._where.get(key) != mine} if before else set()
            if before is not None:
                self._forget(node, before, for_good=True)
            node.sessions[id] = each
            self._tenants[each.tenant] += 1
            for key in _keys(each) - taken:
                self._where[key] = mine
                self._dead.pop(key, None)
            self.release(each.ticket)
        self._shelve(node)

    def _forget(self, node: _Node, held: Held, for_good: bool) -> None:
        """A session is over, or its links are: those that a newer one has taken over stay."""
        mine = (node.card.name, held.keys.id)
        for key in _keys(held):
            if self._where.get(key) == mine:
                del self._where[key]
                if for_good and key != held.keys.id:
                    self._bury(key)
        del node.sessions[held.keys.id]
        self._tenants[held.tenant] -= 1

    def _remove(self, node: _Node, lost: bool) -> None:
        if lost:
            self.nodes_lost += 1
            self.sessions_lost += len(node.sessions)
        for held in list(node.sessions.values()):
            self._forget(node, held, for_good=not held.lasting)
        for ticket in list(node.tickets):
            self.release(ticket)
        self._shelves[node.card.kind].move(node.card.name, node.shelved, 0)
        self._waiting.pop(node.card.name, None)
        self._slots -= node.card.slots
        del self.nodes[node.card.name]

    def _bury(self, link: str) -> None:
        self._dead[link] = None
        while len(self._dead) > DEAD_KEPT:
            del self._dead[next(iter(self._dead))]


def _keys(held: Held) -> set[str]:
    """All that open it."""
    return {held.keys.id, held.keys.view, held.keys.drive} - {""}


def _fits(kind: tuple[str, str], asked: Asked) -> bool:
    return (not asked.engine or asked.engine == kind[0]) and (not asked.weights or asked.weights == kind[1])

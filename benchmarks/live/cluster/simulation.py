"""The directory at a size that no machine here has: real decisions, a clock of its own, and nothing else."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

import realtime
from benchmarks.live.loopback import free_port
from benchmarks.report.result import Result
from realtime.cluster.cards import Asked, Card, DirectoryLost, Held, prove
from realtime.cluster.directory import BEAT_S, LEASE_S, Directory
from realtime.errors import AvatarError
from realtime.server.common.sessions import Keys, ServerFull

KEY = "a key of the simulation"
ZONES = 3
LOAD = 0.6
"""Share of all slots that are taken when a zone is lost: 0.9 of what is left then."""
SESSION_S = 600.0
"""Mean length of a session: how often one begins."""
STALL_S = (1.0, 1.5)
"""Until a client asks after its machine: a second without a picture, looked for each half."""
WATCH_S = 0.5
"""A front learns that a node is lost when it next asks who is there."""
ANSWER_S, PICTURE_S = 0.1, 0.2
"""What a node works on an offer, one after the other; from the answer to the first picture."""
CALLS = 3
"""Calls of the directory for one session that begins: `find` after the stall, `admit`, the node's `report`."""
ASSUMED = 1000.0
"""Calls a second, where there is no Ray to measure them with."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the simulation."""
    parser.add_argument(
        "--simulate", action="store_true", help="no machines: the directory alone, on a made-up clock"
    )
    parser.add_argument("--nodes", nargs="+", type=int, help="nodes (10 100 1000 10000; quick 10 100 1000)")
    parser.add_argument("--slots-each", type=int, default=8, help="slots of a node (8)")
    parser.add_argument("--node-price", type=float, default=0.10, help="price of one node for an hour (0.10)")


@dataclass
class World:
    """Nodes in zones, and the sessions that they have. spent: seconds of each call of the directory, by its name."""

    nodes: int
    slots: int
    directory: Directory = field(init=False)
    held: dict[str, dict[str, Held]] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    def __post_init__(self) -> None:
        self.directory = Directory(KEY, "1", now=-100.0)
        for n in range(self.nodes):
            card = prove(Card(f"node-{n}", str(n), "127.0.0.9", "1", "mesh", self.slots), KEY)
            self.cards[card.name], self.held[card.name] = card, {}
            self._timed("join", 0.0, card)

    def admit(self, now: float, avoid: tuple[str, ...] = ()) -> tuple[str, str]:
        """Node and ticket. Raises ServerFull."""
        granted = self._timed("admit", now, Asked(avoid=avoid))
        return granted.node, granted.ticket

    def begin(self, now: float, node: str, ticket: str) -> str:
        """The node opens the session and says so; its id."""
        self.count += 1
        id = f"s{self.count}"
        self.held[node][id] = Held(Keys(id=id, view=f"v{id}", drive=f"d{id}"), ticket=ticket)
        self._timed("report", now, node, self.cards[node].run, tuple(self.held[node].values()))
        return id

    def beat(self, now: float, dead: set[str]) -> None:
        """All that live are alive."""
        for node, card in self.cards.items():
            if node not in dead:
                self._timed("beat", now, node, card.run)

    def _timed(self, what: str, *args: Any) -> Any:
        call = getattr(self.directory, {"beat": "report"}.get(what, what))
        began = time.perf_counter()
        try:
            return call(*args)
        finally:
            self.spent[what].append(time.perf_counter() - began)


@dataclass
class Refill:
    """back: seconds from the loss of the zone to each client's picture. refused: offers that found no slot."""

    back: list[float]
    refused: int


def refill(world: World, calls: float, draw: random.Random) -> Refill | None:
    """Fill to `LOAD`, lose a zone, and follow everybody of it until he has a picture again.

    calls: that the directory answers in a second, the beats of the nodes among them: who comes together waits. None
    where the beats alone are too many."""
    for _ in range(int(LOAD * world.nodes * world.slots)):
        world.begin(0.0, *world.admit(0.0))
    dead = {node for n, node in enumerate(world.cards) if n % ZONES == 0}
    victims = sum(len(world.held[node]) for node in dead)
    left = calls - (world.nodes - len(dead)) / BEAT_S
    if left <= 0:
        return None
    coming: list[tuple[float, int, tuple[str, ...]]] = [(draw.uniform(*STALL_S), k, ()) for k in range(victims)]
    heapq.heapify(coming)
    free, beaten, refused, back = 0.0, 0.0, 0, []
    busy: dict[str, float] = defaultdict(float)
    while coming:
        due, client, avoid = heapq.heappop(coming)
        now = max(due, free)
        free = now + CALLS / left
        if now - beaten >= BEAT_S:
            beaten = now
            world.beat(now, dead)
            world.directory.expire(now)
        try:
            node, ticket = world.admit(now, avoid)
        except ServerFull as full:
            refused += 1
            heapq.heappush(coming, (now + full.retry_after * draw.uniform(0.8, 1.2), client, ()))
            continue
        if node in dead:  # it is not known yet: the front waits until it is, and tries another
            world.directory.release(ticket)
            heapq.heappush(coming, (max(now, LEASE_S + BEAT_S) + draw.uniform(0, WATCH_S), client, (*avoid, node)))
            continue
        world.begin(now, node, ticket)
        busy[node] = max(busy[node], now) + ANSWER_S
        back.append(busy[node] + PICTURE_S)
    return Refill(back, refused)


def run(options: argparse.Namespace) -> Result:
    """Each size: what a decision costs, and how long a lost zone is felt."""
    sizes = options.nodes or ([10, 100, 1000] if options.quick else [10, 100, 1000, 3000, 10_000])
    result = Result("cluster-simulated", settings={
        "nodes": sizes, "slots": options.slots_each, "zones": ZONES, "load": LOAD, "beat_s": BEAT_S,
        "lease_s": LEASE_S, "session_s": SESSION_S, "node price an hour": options.node_price,
    })  # fmt: skip
    calls = _calls(result)
    churn = 2 * LOAD * options.slots_each / SESSION_S * CALLS
    limit = calls / 2 / (1 / BEAT_S + churn)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for nodes in progress.track(sizes, description="cluster"):
            _size(result, nodes, options, calls, limit)
    result.add("one directory.nodes", limit, "nodes", better="higher",
               about="whose beats and sessions take half of its calls; the rest is for a lost zone")  # fmt: skip
    result.add("session.price", options.node_price / (options.slots_each * LOAD), "an hour",
               about="of a node's price, at that load")  # fmt: skip
    return result


def _calls(result: Result) -> float:
    """Calls a second of one directory on Ray."""
    try:
        measured = asyncio.run(_on_ray()) if find_spec("ray") else None
    except AvatarError as error:
        result.notes.append(f"Ray did not start: {error}")
        measured = None
    if measured is None:
        result.notes.append(f"{ASSUMED:.0f} calls a second are assumed of one directory, not measured")
        return ASSUMED
    waits, rate = measured
    result.add("one call.p50", float(np.percentile(waits, 50)), "ms", samples=waits[:200], better="lower")
    result.add("one call.p99", float(np.percentile(waits, 99)), "ms", better="lower")
    result.add("one directory.calls", rate, "1/s", better="higher", about="64 callers at once, in one process")
    return rate


async def _on_ray(callers: int = 64, seconds: float = 5.0) -> tuple[list[float], float]:
    """Milliseconds of single calls, and calls a second of many at once."""
    from realtime.cluster.joining import HEAD, Machine, joined

    port = free_port()
    with joined(Machine("127.0.0.2", f"127.0.0.2:{port}", KEY, True, {HEAD: 1.0})):
        from realtime.cluster.actors import RayDirectory, start_directory

        start_directory()
        ask = RayDirectory()
        for _ in range(60):
            with contextlib.suppress(DirectoryLost):
                await ask("behind", "nothing")
                break
        card = prove(Card("node", "1", "127.0.0.9", realtime.__version__, "mesh", 256), KEY)
        await ask("join", card)
        waits = []
        for _ in range(500):
            began = time.perf_counter()
            await ask("report", "node", "1")
            waits.append(1000 * (time.perf_counter() - began))
        count, until = 0, time.monotonic() + seconds

        async def call() -> None:
            nonlocal count
            while time.monotonic() < until:
                await ask("report", "node", "1")
                count += 1

        await asyncio.gather(*(call() for _ in range(callers)))
        return waits, count / seconds


def _size(result: Result, nodes: int, options: argparse.Namespace, calls: float, limit: float) -> None:
    """One size, in as many cells with a directory each as it takes."""
    cells = math.ceil(nodes / limit)
    worlds = [World(nodes // cells + (n < nodes % cells), options.slots_each) for n in range(cells)]
    found = [refill(world, calls, random.Random(n)) for n, world in enumerate(worlds)]
    result.add(f"{nodes}.cells", float(cells))
    for what in ("admit", "report", "beat"):
        spent = [1e6 * s for world in worlds for s in world.spent[what]]
        for q in (50, 99):
            result.add(f"{nodes}.{what}.p{q}", float(np.percentile(spent, q)), "us", better="lower")
    back = [s for each in found if each for s in each.back]
    result.add(f"{nodes}.sessions lost", float(len(back)))
    result.add(f"{nodes}.pictures again.half", float(np.median(back)), "s", better="lower")
    result.add(f"{nodes}.pictures again.all", max(back), "s", better="lower")
    result.add(f"{nodes}.refused on the way", float(sum(each.refused for each in found if each)), "offers",
               better="lower")  # fmt: skip

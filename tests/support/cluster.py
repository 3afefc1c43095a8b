"""A cluster in one process, without Ray: what crosses between its parts is packed and unpacked."""

from __future__ import annotations

import asyncio
import pickle
import time

from realtime.cluster.cards import Card, DirectoryLost, NodeLost, prove
from realtime.cluster.desk import Desk
from realtime.cluster.front import Front, FrontSettings
from realtime.cluster.host import Host, roll_of
from realtime.cluster.links import replied
from realtime.server.common.limits import Limits
from realtime.server.places.here import Studio, StudioSettings
from realtime.server.rtc.peer import Peer
from tests.support.fake_place import FakePlace
from tests.support.server import make_studio

KEY = "the key of this cluster"
VERSION = "1"


def crossing(value):
    return pickle.loads(pickle.dumps(value))


def fake_roll(place: FakePlace):
    return lambda: [(entry, False, False) for entry in place.book.entries.values()]


def silence(peer: Peer) -> None:
    """Close its sockets under it: not even a farewell leaves."""
    for transport in peer.pc._RTCPeerConnection__iceTransports:
        for protocol in transport._connection._protocols:
            protocol.transport.abort()


class Cluster:
    """hosts: by name. away: the directory does not answer. dead: nodes that are called in vain; mute: whose calls are
    never answered."""

    def __init__(self, clock=time.monotonic) -> None:
        self.clock = clock
        self.desk = Desk(KEY, VERSION, lambda: clock() + 100.0)
        self.desk.directory._began = float("-inf")  # an old one: it knows what there is
        self.hosts: dict[str, Host] = {}
        self.away = False
        self.dead: set[str] = set()
        self.mute: set[str] = set()

    def card(self, name: str, slots: int, run: str = "1", version: str = VERSION, key: str = KEY) -> Card:
        servers = ({"urls": "stun:127.0.0.1:3478"},)
        return prove(Card(name, f"{name}-{run}", "127.0.0.1", version, "mesh", slots, ice_servers=servers), key)

    def add(self, name: str, slots: int = 2, fake: bool = False, studio: Studio | None = None, **more) -> Host:
        """fake: without engines. studio: another one than that with the dot."""
        limits = Limits(sessions=slots, requests_per_s=1000)
        place = FakePlace(limits) if fake else studio or make_studio(StudioSettings(limits))
        roll = fake_roll(place) if fake else lambda: roll_of(place, time.monotonic())
        self.hosts[name] = Host(place, roll, self.card(name, slots, **more), self.ask, self.clock)
        return self.hosts[name]

    def front(self, **settings) -> Front:
        return Front(self.ask, self.reach, FrontSettings(limits=Limits(requests_per_s=1000), **settings))

    async def ask(self, what, *args):
        if self.away:
            raise DirectoryLost
        return crossing(await self.desk.ask(what, *crossing(args))).get()

    async def reach(self, node, run, what, *args):
        host = self.hosts.get(node)
        if node in self.mute:
            await asyncio.Event().wait()
        if host is None or node in self.dead or host.card.run != run:
            raise NodeLost(node)
        reply = crossing(await replied(getattr(host, what), *crossing(args)))
        if node in self.dead:
            raise NodeLost(node)
        return reply.get()

    async def open(self) -> None:
        for host in self.hosts.values():
            await host.open()
        await self.settled(lambda: all(host.joined for host in self.hosts.values()))

    async def close(self) -> None:
        for host in self.hosts.values():
            await host.close()

    async def restart_directory(self) -> None:
        self.desk = Desk(KEY, VERSION, lambda: self.clock() + 100.0)

    async def kill(self, name: str) -> None:
        """As a machine dies: nobody is told, and nothing answers."""
        host = self.hosts.pop(name)
        host._task.cancel()
        for session in getattr(host.place, "sessions", {}).values():
            for peer in session.peers:
                silence(peer)
        await host.place.close()

    @staticmethod
    async def settled(condition, seconds: float = 10.0) -> None:
        for _ in range(int(seconds / 0.02)):
            if condition():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it did not happen")


def whole(cluster: Cluster) -> Front:
    """A front that brings its cluster along, for tests that open and close one place."""
    front = cluster.front()
    opened, closed = front.open, front.close

    async def open() -> None:
        await cluster.open()
        await opened()

    async def close() -> None:
        await closed()
        await cluster.close()

    front.open, front.close = open, close
    return front

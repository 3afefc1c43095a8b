"""The parts of a cluster as Ray's actors: one directory, and a node for each machine or GPU. Imports Ray."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

import realtime
from realtime.cluster.cards import Card, DirectoryLost, NodeLost, prove
from realtime.cluster.desk import Desk
from realtime.cluster.host import Host, roll_of
from realtime.cluster.joining import HEAD, KEY_VARIABLE, NAMESPACE
from realtime.cluster.links import Reply, replied

if TYPE_CHECKING:
    from realtime.engines import Engine
    from realtime.server.places.here import Studio

DIRECTORY = "directory"
SOME = 0.001
"""How much of a resource an actor takes that only wants to be where it is."""
PATIENCE_S = 3.0
"""The directory answers in milliseconds; one that has not after so long is away."""
ASKED = frozenset({"begin", "call", "drive", "metrics", "next_picture", "shut", "take", "watch"})
"""What fronts may ask a node for."""


class Setup(Protocol):
    """How a node's studio is made. Travels to the actor, so it is plain data and functions of modules."""

    def engine(self) -> Engine:
        """One to try out."""

    def open(self, slots: int) -> AbstractContextManager[Studio]:
        """The studio, warm."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """How a node is, for the command that started it. failure: why it is not let in, for good."""

    joined: bool
    slots: int
    sessions: int
    failure: Exception | None


class DirectoryActor:
    """Holds the directory."""

    def __init__(self, version: str) -> None:
        self._desk = Desk(os.environ[KEY_VARIABLE], version)

    async def ask(self, what: str, *args: Any) -> Reply:
        """See `links.Ask`."""
        return await self._desk.ask(what, *args)


class NodeActor:
    """Hosts a studio, which is warm when the constructor returns. launch: random, in the name of the actor. slots:
    None for what a trial finds."""

    def __init__(
        self, setup: Setup, name: str, launch: str, address: str, slots: int | None, kind: dict[str, Any]
    ) -> None:
        from realtime.flow.memory import settle

        slots = slots or _tried(setup)
        self._context = setup.open(slots)
        self._studio = self._context.__enter__()
        run = f"{launch}.{secrets.token_urlsafe(8)}"
        card = Card(name, run, address, realtime.__version__, slots=slots, **kind)
        self._card = prove(card, os.environ[KEY_VARIABLE])
        self._host: Host | None = None
        settle()

    async def state(self) -> NodeState:
        """How it is; the first call lets it begin to work."""
        if self._host is None:
            studio = self._studio
            self._host = Host(studio, lambda: roll_of(studio, time.monotonic()), self._card, RayDirectory())
            await self._host.open()
        return NodeState(self._host.joined, self._card.slots, len(self._studio.sessions), self._host.failure)

    async def ask(self, run: str, what: str, *args: Any) -> Reply:
        """See `links.Reach`."""
        if what not in ASKED:
            raise ValueError(f"no front may ask a node to {what!r}")
        if run != self._card.run or self._host is None:
            return Reply(error=NodeLost(self._card.name))
        return await replied(getattr(self._host, what), *args)

    async def drain(self, seconds: float) -> None:
        """Take no new sessions."""
        with contextlib.suppress(DirectoryLost):
            (await RayDirectory()("drain", self._card.name, seconds))

    async def close(self) -> None:
        """End all that is left, and leave."""
        if self._host is not None:
            await self._host.close()
        await asyncio.to_thread(self._context.__exit__, None, None, None)


def _tried(setup: Setup) -> int:
    from realtime.cluster import trial
    from realtime.media.portraits import builtin_portrait, builtin_portraits

    before = trial.gpu_memory()
    engine = setup.engine()
    try:
        return trial.suitable(trial.measure(engine, builtin_portrait(builtin_portraits()[0]), before))
    finally:
        engine.close()


def start_directory() -> Any:
    """A new directory. One that a head before this one has left, and Redis has kept, died with it: waiting until Ray
    starts it again would take a minute, and the nodes tell a new one all that it has to know."""
    with contextlib.suppress(ValueError):  # there is none
        ray.kill(ray.get_actor(DIRECTORY, NAMESPACE), no_restart=True)
    kind = ray.remote(num_cpus=0, resources={HEAD: SOME}, max_restarts=-1)(DirectoryActor)
    options = kind.options(name=DIRECTORY, namespace=NAMESPACE, lifetime="detached", max_concurrency=10_000)
    for _ in range(50):
        with contextlib.suppress(ValueError):  # its name is not free yet
            return options.remote(realtime.__version__)
        time.sleep(0.1)
    raise DirectoryLost


def start_node(launch: str, gpu: bool, *args: Any) -> Any:
    """A node on the machine that has the resource `launch`; ends with the program that calls this. args: see
    `NodeActor`, without `launch`."""
    setup, name, *rest = args
    kind = ray.remote(num_cpus=0, num_gpus=int(gpu), resources={launch: SOME}, max_restarts=-1)(NodeActor)
    options = kind.options(name=f"node-{launch}", namespace=NAMESPACE, max_concurrency=10_000)
    return options.remote(setup, name, launch, *rest)


class RayDirectory:
    """`links.Ask` by Ray."""

    def __init__(self) -> None:
        self._actor: Any = None

    async def __call__(self, what: str, *args: Any) -> Any:
        """Raises what the directory raises, DirectoryLost."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._actor is None:
                    self._actor = await asyncio.to_thread(ray.get_actor, DIRECTORY, NAMESPACE)
                reply = await self._actor.ask.remote(what, *args)
        except RayTaskError:
            raise
        except (RayError, ValueError, TimeoutError) as error:
            self._actor = None  # there may be another by now
            raise DirectoryLost from error
        return reply.get()


class RayNodes:
    """`links.Reach` by Ray."""

    def __init__(self) -> None:
        self._actors: dict[str, Any] = {}

    async def __call__(self, node: str, run: str, what: str, *args: Any) -> Any:
        """Raises what the node raises, NodeLost."""
        launch = run.partition(".")[0]
        try:
            actor = self._actors.get(launch)
            if actor is None:
                actor = self._actors[launch] = await asyncio.to_thread(ray.get_actor, f"node-{launch}", NAMESPACE)
            reply = await actor.ask.remote(run, what, *args)
        except RayTaskError:
            raise
        except (RayError, ValueError) as error:
            self._actors.pop(launch, None)
            raise NodeLost(node) from error
        return reply.get()

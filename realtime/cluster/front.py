"""A place whose sessions live on the nodes of a cluster. Media goes straight to them, all else passes here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import realtime
from realtime.cluster import metrics
from realtime.cluster.cards import DEFAULT_TENANT, Asked, NodeLost, Overview
from realtime.cluster.directory import YOUNG_S
from realtime.cluster.links import Ask, Reach
from realtime.errors import AvatarError
from realtime.server.common import messages
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Behind, End, Keys, ServerFull, link_keys
from realtime.server.places import Answered, Health, Offered, Opened, Terms, Trickled, UnknownSession, Wish

log = logging.getLogger(__name__)

TRIES = 3
"""Nodes that are tried for one offer."""
PATIENCE_S = 30.0
"""A call to a node that takes longer is given up. That a node is gone is noticed earlier."""
SLOW = {"add_background": 100.0, "add_portrait": 50.0, "add_view": 50.0, "remove_view": 50.0}
"""The patience for what may wait for its turn there, and then takes long."""
WATCH_S = 0.5
"""How often the directory is asked which nodes there are."""
KNOWN = 65536
"""Keys of which it is remembered where their session is."""


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """What one front serves. tenant: whose sessions; those of others are refused. most: its sessions at once,
    0 without bound. engine, weights: which nodes it uses; empty: any. limits: of its HTTP face."""

    tenant: str = DEFAULT_TENANT
    most: int = 0
    engine: str = ""
    weights: str = ""
    limits: Limits = field(default_factory=Limits)


class Front:
    """A `Place` over a cluster. Keeps nothing that another front, or a new one, would not find out."""

    def __init__(self, directory: Ask, reach: Reach, settings: FrontSettings | None = None) -> None:
        self.settings = settings or FrontSettings()
        self._ask, self._reach = directory, reach
        self._known: dict[str, tuple[str, str]] = {}  # key: node and run
        self._lost: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._overview: Overview | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._asides: set[asyncio.Task[Any]] = set()

    @property
    def terms(self) -> Terms:
        """Known before it is opened; the ICE servers, as soon as a node is there."""
        nodes = self._overview.nodes if self._overview else ()
        servers = next((node.card.ice_servers for node in nodes if node.card.ice_servers), ())
        return Terms(self.settings.limits, ice_servers=servers)

    async def open(self) -> None:
        """Begin to watch the nodes."""
        with contextlib.suppress(AvatarError):
            self._overview = await self._ask("overview")
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """The sessions go on without it. Safe to call twice."""
        for task in [*self._asides, *([self._watcher] if self._watcher else [])]:
            task.cancel()
        self._watcher = None

    async def overview(self) -> Overview:
        """The whole cluster, as it is now. Raises DirectoryLost."""
        self._overview = await self._ask("overview")
        return self._overview

    async def node_of(self, key: str) -> str:
        """The name of the node that has the session. Raises UnknownSession, OtherTenant, DirectoryLost."""
        return (await self._look_up(key))[0]

    async def drain(self, node: str, seconds: float | None) -> None:
        """Let a node take no sessions, and move those that it has after so long; None: let it take sessions again.
        Raises UnknownNode, DirectoryLost."""
        await (self._ask("undrain", node) if seconds is None else self._ask("drain", node, seconds))

    async def health(self) -> Health:
        """Is the cluster well? Not without its directory."""
        stuck: tuple[str, ...]
        try:
            async with asyncio.timeout(1.0):
                await self.overview()
            stuck = ()
        except (AvatarError, TimeoutError):
            stuck = ("directory",)
        found = self._overview
        return Health(
            status="stuck" if stuck else "ok",
            stuck=stuck,
            version=realtime.__version__,
            sessions=found.sessions if found else 0,
            max_sessions=found.slots if found else 0,
        )

    async def metrics(self) -> bytes:
        """Prometheus text of the whole, and of each node with its name as a label."""
        found = await self.overview()
        cards = [node.card for node in found.nodes]

        async def page(name: str, run: str) -> bytes:
            with contextlib.suppress(AvatarError, TimeoutError):
                async with asyncio.timeout(2.0):
                    return await self._at(name, run, "metrics")
            return b""

        pages = await asyncio.gather(*(page(card.name, card.run) for card in cards))
        return metrics.text(found, {card.name: page for card, page in zip(cards, pages, strict=True)})

    # --- sessions

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        """Open a session on the node with the most free slots; where that one is gone, on another.

        Raises what `Place.begin` raises, TenantFull, NodeLost, DirectoryLost."""
        own = self.settings
        view = link_keys(wish.profile)[0] if wish.profile else ""
        asked = Asked(own.tenant, own.most, view, own.engine, own.weights)
        for left in reversed(range(TRIES)):
            granted = await self._ask("admit", asked)
            try:
                opened = await self._at(granted.node, granted.run, "begin", own.tenant, granted.ticket, wish, offer)
            except (NodeLost, ServerFull) as error:
                self._aside(self._ask("release", granted.ticket))
                if isinstance(error, NodeLost):
                    await self._ask("suspect", granted.node, granted.run)
                if not left:
                    raise
                log.warning("%s: %s", granted.node, error)
                asked = replace(asked, avoid=(*asked.avoid, granted.node))
                continue
            except Exception:
                await self._ask("release", granted.ticket)
                raise
            if granted.replaces:
                self._aside(self._call("end", granted.replaces[1], End.CLIENT))
            self._remember(opened.keys, (granted.node, granted.run))
            return opened
        raise AssertionError("unreachable")

    async def end(self, key: str, why: End, linger: bool = False) -> None:
        """End a session."""
        await self._call("end", key, why, linger)

    async def hello(self, key: str) -> messages.Hello:
        """What the session can do, and its state."""
        return await self._call("hello", key)

    async def answer(self, key: str, offer: Offered) -> Answered:
        """One connection more."""
        return await self._call("answer", key, offer)

    async def trickle(self, key: str, peer: str | None, fragment: str, etag: str) -> Trickled:
        """More candidates for a connection."""
        return await self._call("trickle", key, peer, fragment, etag)

    async def hang_up(self, key: str, peer: str) -> bool:
        """Close a watcher's connection."""
        return await self._call("hang_up", key, peer)

    async def control(self, key: str, command: messages.Command) -> messages.State | messages.Pong | None:
        """Follow a command."""
        return await self._call("control", key, command)

    async def add_portrait(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        """Show and keep a picture."""
        return await self._call("add_portrait", key, data, title)

    async def add_background(self, key: str, data: bytes) -> messages.BackgroundInfo:
        """On its node. Raises BadBackdrop, Busy."""
        return await self._call("add_background", key, data)

    async def look(self, key: str, data: bytes) -> messages.Look:
        """Find the faces of a picture."""
        return await self._call("look", key, data)

    async def remove_portrait(self, key: str, portrait: str) -> None:
        """Forget a picture."""
        await self._call("remove_portrait", key, portrait)

    async def add_view(self, key: str, portrait: str, data: bytes) -> messages.PortraitInfo:
        """Another picture of a portrait's person."""
        return await self._call("add_view", key, portrait, data)

    async def remove_view(self, key: str, portrait: str, view: str) -> None:
        """Forget such a picture."""
        await self._call("remove_view", key, portrait, view)

    async def picture(self, key: str, portrait: str) -> bytes:
        """The gallery's small picture, JPEG."""
        return await self._call("picture", key, portrait)

    async def renew(self, key: str, profile: str | None) -> Keys:
        """New links."""
        keys = await self._call("renew", key, profile)
        self._remember(keys, await self._where(key))
        return keys

    async def withdraw(self, key: str) -> None:
        """No links any more."""
        await self._call("withdraw", key)

    async def behind(self, link: str) -> Behind:
        """What stands behind a link now."""
        return await self._ask("behind", link)

    async def pictures(self, key: str) -> AsyncIterator[bytes]:
        """The avatar as JPEG pictures."""
        where, id = await self._found("watch", key)
        return self._pictures(where, id)

    async def _pictures(self, where: tuple[str, str], id: str) -> AsyncIterator[bytes]:
        try:
            while (picture := await self._at(*where, "next_picture", id)) is not None:
                yield picture
        except AvatarError as error:
            log.debug("%s", error)
        finally:
            self._aside(self._at(*where, "shut", id))

    @contextlib.asynccontextmanager
    async def drive(self, key: str) -> AsyncIterator[FarLine]:
        """Motion from one client."""
        where, (id, hello) = await self._found("drive", key)
        line = FarLine(lambda data: self._at(*where, "take", id, data), hello)
        try:
            yield line
        finally:
            line.close()
            self._aside(self._at(*where, "shut", id))

    # --- where they are

    async def _call(self, what: str, key: str, *args: Any) -> Any:
        return (await self._found("call", what, key, *args, key=key))[1]

    async def _found(self, how: str, *args: Any, key: str = "") -> tuple[tuple[str, str], Any]:
        """Ask the node that has the session. One that is not there (any more) is looked for anew, once."""
        key = key or args[0]
        known = self._known.get(key)
        where = await self._where(key)
        try:
            return where, await self._at(*where, how, self.settings.tenant, *args)
        except (UnknownSession, NodeLost) as error:
            self._known.pop(key, None)
            if isinstance(error, NodeLost):
                await self._ask("suspect", *where)
            if known is None:
                raise
            where = await self._look_up(key)
            if where == known:
                raise
            return where, await self._at(*where, how, self.settings.tenant, *args)

    async def _where(self, key: str) -> tuple[str, str]:
        return self._known.get(key) or await self._look_up(key)

    async def _look_up(self, key: str) -> tuple[str, str]:
        where = self._known[key] = await self._ask("find", key, self.settings.tenant)
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return where

    def _remember(self, keys: Keys, where: tuple[str, str]) -> None:
        self._known.update({key: where for key in (keys.id, keys.view, keys.drive) if key})

    async def _at(self, node: str, run: str, what: str, *args: Any) -> Any:
        """Call a node. Raises NodeLost as soon as the directory has given it up, whatever the call itself says."""
        patience = SLOW.get(args[1], PATIENCE_S) if what == "call" else PATIENCE_S
        work = asyncio.ensure_future(self._reach(node, run, what, *args))
        lost = self._lost.setdefault((node, run), asyncio.get_running_loop().create_future())
        try:
            await asyncio.wait({work, lost}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise NodeLost(node)
            return work.result()
        finally:
            work.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            with contextlib.suppress(AvatarError):
                found = await self.overview()
                if found.age < YOUNG_S:
                    continue  # not all nodes have joined it yet
                present = {(node.card.name, node.card.run) for node in found.nodes}
                for where in set(self._lost) - present:
                    self._lost.pop(where).set_result(None)
                self._known = {key: where for key, where in self._known.items() if where in present}

    def _aside(self, work: Any) -> None:
        async def quietly() -> None:
            with contextlib.suppress(AvatarError):
                await work

        task = asyncio.create_task(quietly())
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)


class FarLine:
    """A `Line` to another machine. Packets do not wait for each other: while one is on its way the newest waits, and
    the others are left out, so that the way there adds no growing delay."""

    def __init__(self, send: Any, hello: messages.Hello) -> None:
        self._send, self.hello = send, hello
        self._newest: bytes | None = None
        self._answer: str | None = None
        self._over: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def take(self, data: bytes | str) -> str | None:
        """A motion packet (bytes) or a control message (text); what to answer, if anything. Raises LineOver."""
        if self._over is not None:
            raise self._over
        if isinstance(data, str):
            return await self._send(data)
        self._newest = data
        if self._task is None:
            self._task = asyncio.create_task(self._pump())
        answer, self._answer = self._answer, None
        return answer

    async def _pump(self) -> None:
        try:
            while self._newest is not None:
                data, self._newest = self._newest, None
                self._answer = await self._send(data) or self._answer
        except Exception as error:
            self._over = error
        finally:
            self._task = None

    def close(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()

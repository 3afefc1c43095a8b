"""A place whose sessions live in several processes of this machine: one Python runs one thread at a time, and more
sessions than one core carries want more than one of them.

The front carries HTTP alone, each worker hosts a studio with its share of the sessions; media goes straight to the
worker. It is a cluster in small: the directory lives in the front, and `pipe` carries what Ray carries elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import secrets
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import realtime
from realtime.cluster.cards import Card, NodeLost, NotJoined, prove
from realtime.cluster.desk import Desk
from realtime.cluster.directory import Directory
from realtime.cluster.front import Front, FrontSettings
from realtime.cluster.links import Reply
from realtime.cluster.pipe import FarFailure, Pipe
from realtime.cluster.sums import Sums
from realtime.errors import AvatarError
from realtime.flow.pacing import Backoff
from realtime.server.common.limits import Places
from realtime.server.common.sessions import ServerFull
from realtime.server.places import Busy, Health, Offered, Opened, Terms, Wish

if TYPE_CHECKING:
    from realtime.cluster.worker import Setup

log = logging.getLogger(__name__)

START_S = 60.0
"""How long an offer waits for a worker that is starting."""
HUNG_S = 30.0
"""A worker that says nothing for so long hangs, and is killed. That one has ended is noticed at once."""
CLOSE_S = 15.0
"""A worker that takes longer to end its sessions is killed."""
KILL_S = 5.0
"""How long is waited for one that was killed."""
STEADY_S = 60.0
"""One that has run so long is started again without a wait."""
MOST = 4
"""Workers unless told otherwise: that many take a gigabyte."""


def suitable_workers(cores: int, sessions: int) -> int:
    """How many workers a server has unless told otherwise: one for each core, `MOST` and one for each session at
    most."""
    return max(1, min(cores, sessions, MOST))


def shares(sessions: int, workers: int) -> list[int]:
    """Sessions of each worker, as even as can be."""
    return [sessions // workers + (k < sessions % workers) for k in range(workers)]


class WorkerLost(NodeLost):
    """The process that had the session has ended, or hangs."""

    def __str__(self) -> str:
        return f"The part of the server that had this session has ended. Try again in {self.retry_after} seconds"


class WorkerFailed(AvatarError):
    """A worker ended before it was ready, and said nothing. how: exit code or signal."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __str__(self) -> str:
        return f"A worker process ended before it was ready ({self.how}). With --workers 1 there is none"


@dataclass(slots=True)
class _Worker:
    """One worker, through all its runs. ready: it is in the directory. lost: it has been ready, and ended. broken:
    its last run ended before it was ready. pace: what rate its sessions can have."""

    name: str
    slots: int
    run: str = ""
    pipe: Pipe | None = None
    process: BaseProcess | None = None
    ready: bool = False
    lost: bool = False
    broken: bool = False
    pace: float = float("inf")


class Processes(Front):
    """A `Place` over worker processes, which it starts, and starts again where one ends by itself.

    setup: makes a worker's studio. count: how many workers. terms: of the whole. failure: why no worker could be
    made."""

    def __init__(self, setup: Setup, count: int, terms: Terms) -> None:
        self._key = secrets.token_urlsafe(16)
        directory = Directory(self._key, realtime.__version__, float("-inf"), HUNG_S)
        self._desk = Desk(self._key, realtime.__version__, directory=directory)
        super().__init__(self._consult, self._call_worker, FrontSettings(limits=terms.limits))
        self._setup, self._terms = setup, terms
        self._workers = [_Worker(str(k + 1), n) for k, n in enumerate(shares(terms.limits.sessions, count))]
        self._keepers: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._sums = Sums()
        self._refused = 0
        self._half_open = Places(terms.limits.half_open, terms.limits.half_open_each)
        self._entered: dict[str, Counter[str]] = {}  # half-open peers of each run, by client
        self._closing = False
        self._when_failed: Callable[[], None] = lambda: None
        self.failure: AvatarError | None = None

    @property
    def terms(self) -> Terms:
        """What the place says of itself."""
        return self._terms

    def when_failed(self, stop: Callable[[], None]) -> None:
        """What to do where no worker can be made: `failure` says why."""
        self._when_failed = stop

    async def open(self) -> None:
        """Start the workers: the first, and when it is warm, and has filled the caches of compiled code, the others.
        Offers wait until then."""
        self._closing = False
        await super().open()
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        self._keepers.append(asyncio.create_task(self._mind()))

    async def close(self) -> None:
        """End all sessions, and the workers. Safe to call twice."""
        self._closing = True
        await super().close()
        for worker in self._workers:
            if worker.pipe is not None:
                worker.pipe.close()
            if worker.process is not None and not worker.ready:
                worker.process.kill()  # it has nothing to end
        if self._keepers:
            self._keepers.pop().cancel()
            async with self._changed:
                self._changed.notify_all()
            _, late = await asyncio.wait(self._keepers, timeout=CLOSE_S + KILL_S)
            for keeper in late:
                keeper.cancel()
            self._keepers = []

    def kill(self) -> None:
        """End the workers that `close` has left, whatever they do. Any thread."""
        self._closing = True
        for worker in self._workers:
            if worker.process is not None:
                end(worker.process, 0.0)

    async def health(self) -> Health:
        """How all workers are. One that has ended is named until it is back."""
        found = await asyncio.gather(*map(self._health, self._workers))
        any_ready = any(worker.ready for worker in self._workers)
        stuck: list[str] = []
        for worker, each in zip(self._workers, found, strict=True):
            if each is not None:
                stuck += [f"worker {worker.name}: {part}" for part in each.stuck]
            elif worker.ready or worker.lost or not any_ready:
                stuck.append(f"worker {worker.name}")
        return Health(
            status="stuck" if stuck else "ok",
            stuck=tuple(stuck),
            starting=tuple(f"worker {worker.name}" for worker in self._workers if not worker.ready),
            version=realtime.__version__,
            sessions=sum(each.sessions for each in found if each),
            max_sessions=self._terms.limits.sessions,
        )

    async def _health(self, worker: _Worker) -> Health | None:
        with contextlib.suppress(AvatarError, FarFailure, TimeoutError):
            if worker.ready:
                async with asyncio.timeout(1.0):
                    return await self._call_worker(worker.name, worker.run, "health")
        return None

    async def metrics(self) -> bytes:
        """Prometheus text of all workers together, as one process gives it."""
        pages: dict[str, bytes] = {}

        async def page(name: str, run: str) -> None:
            with contextlib.suppress(AvatarError, FarFailure, TimeoutError):
                async with asyncio.timeout(2.0):
                    pages[run] = await self._call_worker(name, run, "metrics")

        await asyncio.gather(*(page(worker.name, worker.run) for worker in self._workers if worker.ready))
        pages = {run: text for run, text in pages.items() if run in self._ready()}  # what has ended is summed up
        sessions = float(self._terms.limits.sessions)
        fixed = {"avatar_sessions_max": sessions, "avatar_sessions_refused_total": float(self._refused)}
        return self._sums.text(pages, fixed)

    async def begin(self, wish: Wish, offer: Offered | None = None) -> Opened:
        """Open a session in the worker that has fewest. Where all that are ready are full, the offer waits for one
        that is starting, but not for one that could not be made the last time. Raises what `Place.begin` raises,
        WorkerLost."""
        until = time.monotonic() + START_S
        while True:
            before = self._ready()
            try:
                return await super().begin(wish, offer)
            except (ServerFull, Busy) as error:
                left = until - time.monotonic()
                full = isinstance(error, ServerFull) or not before
                if not (full and self._starting() and left > 0) or self._closing:
                    self._refused += isinstance(error, ServerFull)
                    raise
            await self._others_than(before, left)

    async def _others_than(self, before: tuple[str, ...], patience: float) -> None:
        """Wait until other workers are ready than before, or none is to be waited for."""

        def settled() -> bool:
            return self._closing or self._ready() != before or not self._starting()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(settled)

    def _starting(self) -> bool:
        return any(not (worker.ready or worker.broken) for worker in self._workers)

    def _ready(self) -> tuple[str, ...]:
        return tuple(worker.run for worker in self._workers if worker.ready)

    # --- what workers are asked, and what they ask

    async def _consult(self, what: str, *args: Any) -> Any:
        """See `links.Ask`."""
        return (await self._desk.ask(what, *args)).get()

    async def _call_worker(self, node: str, run: str, what: str, *args: Any) -> Any:
        """See `links.Reach`."""
        worker = next((worker for worker in self._workers if worker.run == run), None)
        if worker is None or worker.pipe is None:
            raise WorkerLost(node)
        try:
            return await worker.pipe(what, *args)
        except ConnectionError as error:
            raise WorkerLost(node) from error

    async def _answer(self, worker: _Worker, what: str, *args: Any) -> Reply:
        if what == "directory":
            reply = await self._desk.ask(*args)
            if args[0] == "join" and reply.error is None:
                await self._now(worker, ready=True)
            return reply
        if what == "beside":
            (worker.pace,) = args
            others = [each for each in self._workers if each.ready and each is not worker]
            held = self._desk.directory.nodes
            sessions = sum(len(held[each.name].sessions) for each in others if each.name in held)
            return Reply((sessions, min((each.pace for each in others), default=worker.pace)))
        if what == "enter":
            (client,) = args
            taken = self._half_open.take(client)
            self._entered.setdefault(worker.run, Counter())[client] += taken
            return Reply(taken)
        if what == "leave":
            (client,) = args
            self._entered[worker.run][client] -= 1
            self._half_open.leave(client)
            return Reply()
        if what == "failed":
            (error,) = args
            self._fail(worker, error)
            return Reply()
        raise ValueError(f"a worker may not ask for {what!r}")

    def _fail(self, worker: _Worker, error: AvatarError) -> None:
        """It could not be made. Where none ever was, that is the end; else it is tried again."""
        if any(other.ready or other.lost for other in self._workers):
            log.warning("worker %s could not be made: %s", worker.name, error)
            worker.lost = True
        elif self.failure is None:
            self.failure = error
            self._when_failed()

    # --- keeping them

    async def _now(self, worker: _Worker, ready: bool) -> None:
        worker.lost = not ready and (worker.lost or worker.ready)
        worker.broken = not (ready or worker.ready)
        worker.ready = ready
        async with self._changed:
            self._changed.notify_all()

    async def _keep(self, worker: _Worker) -> None:
        """Let a worker run, again and again."""
        backoff = Backoff(0.5, 30.0)
        if worker is not self._workers[0]:
            async with self._changed:
                await self._changed.wait_for(lambda: self._workers[0].ready or self._closing)
        while not self._closing and self.failure is None:
            began = time.monotonic()
            try:
                how = await self._run(worker)
            except Exception as error:
                log.exception("worker %s could not be run", worker.name)
                how = f"{type(error).__name__}: {error}"
            if self._closing:
                return
            if not worker.lost and not self.failure:  # it never got so far
                self._fail(worker, WorkerFailed(how))
            if time.monotonic() - began > STEADY_S:
                backoff.reset()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next()), self._changed:
                    await self._changed.wait_for(lambda: self._closing)

    async def _run(self, worker: _Worker) -> str:
        """One run of a worker, from its start to its end; how it ended."""
        worker.run, worker.pace, worker.process = secrets.token_urlsafe(8), float("inf"), None
        pipe = worker.pipe = Pipe(partial(self._answer, worker))
        card = Card(worker.name, worker.run, "", realtime.__version__, "", worker.slots)
        sockets = contextlib.ExitStack()
        try:
            ours, theirs = map(sockets.enter_context, socket.socketpair())
            await pipe.open(ours)
            listening = asyncio.create_task(pipe.run())
            worker.process = await asyncio.to_thread(spawn, self._setup, prove(card, self._key), theirs)
            theirs.close()
            if self._closing:
                worker.process.kill()
            await listening
        finally:
            pipe.close()
            sockets.close()
            with contextlib.suppress(NotJoined):
                lost = self._desk.directory.sessions_lost
                self._desk.directory.lose(worker.name, worker.run)
                if not self._closing:
                    lost = self._desk.directory.sessions_lost - lost
                    log.warning("worker %s has ended, with %d sessions; it is started again", worker.name, lost)
            self._leave_all(worker.run)
            self._sums.end(worker.run)
            await self._now(worker, ready=False)
            how = await asyncio.to_thread(end, worker.process, CLOSE_S) if worker.process else "it was not started"
        return how

    def _leave_all(self, run: str) -> None:
        for client in self._entered.pop(run, Counter()).elements():
            self._half_open.leave(client)

    async def _mind(self) -> None:
        """Kill what hangs."""
        while True:
            await asyncio.sleep(1.0)
            here = self._desk.directory.nodes
            for worker in self._workers:
                if worker.ready and worker.name not in here and worker.process is not None:
                    log.warning("worker %s hangs, and is ended", worker.name)
                    worker.process.kill()


def spawn(setup: Setup, card: Card, sock: socket.socket) -> BaseProcess:
    """Start a worker. It shares nothing with this process but the socket: a fork would take the threads' locks along.
    Any thread."""
    masks = hasattr(signal, "pthread_sigmask")
    numbers = {signal.SIGINT, signal.SIGTERM}
    process = multiprocessing.get_context("spawn").Process(
        target=_begin, args=(setup, card, sock), name=f"avatar-worker-{card.name}"
    )
    kept: Iterable[Any] = signal.pthread_sigmask(signal.SIG_BLOCK, numbers) if masks else ()  # until it ignores them
    try:
        process.start()
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)
    return process


def _begin(setup: Setup, card: Card, sock: socket.socket) -> None:
    """In the worker's process. The front does not import what a worker needs."""
    from realtime.cluster.worker import work

    work(setup, card, sock)


def end(process: BaseProcess, patience: float) -> str:
    """Wait until a process has ended, and kill it where that takes too long; how it ended. Blocks; any thread."""
    process.join(patience)
    if process.is_alive():
        process.kill()
        process.join()
    code = process.exitcode or 0
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):  # those for real time have no names
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"

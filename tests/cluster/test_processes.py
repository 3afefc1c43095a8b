"""Several processes that are one server: who gets a session, what one that dies takes with it, what is left."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest

from realtime.cluster import processes as processes_module
from realtime.cluster.front import Front
from realtime.cluster.links import Reply, replied
from realtime.cluster.pipe import FarFailure, Pipe
from realtime.cluster.processes import WorkerFailed, end, shares, suitable_workers
from realtime.cluster.sums import Sums
from realtime.cluster.worker import SharedTurnstile
from realtime.errors import BadValue, UnknownName
from realtime.flow.pacing import Backoff
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Behind, End, ServerFull
from realtime.server.places import Busy, Offered, UnknownSession, Wish
from tests.support.processes import processes
from tests.support.server import make_offer

ROOT = Path(__file__).resolve().parents[2]
START_S = 240

pytestmark = pytest.mark.timeout(600)


async def until(condition, seconds: float = START_S) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def ready(place) -> None:
    await until(lambda: place.failure or all(worker.ready for worker in place._workers))
    assert place.failure is None


@pytest.fixture
async def place():
    """Two workers, four sessions."""
    place = processes(Limits(requests_per_s=1000, half_open=4, half_open_each=3, half_open_s=60))
    await place.open()
    try:
        await ready(place)
        yield place
    finally:
        await place.close()
        place.kill()


def where(place) -> dict[str, set[str]]:
    """Sessions of each worker."""
    return {name: set(node.sessions) for name, node in place._desk.directory.nodes.items()}


async def test_sessions_are_spread_and_one_too_many_is_refused(place):
    opened = [(await place.begin(Wish())).keys for _ in range(4)]
    assert {name: len(ids) for name, ids in where(place).items()} == {"1": 2, "2": 2}
    with pytest.raises(ServerFull, match="All 4 places are taken"):
        await place.begin(Wish())
    health = await place.health()
    assert (health.status, health.starting, health.sessions, health.max_sessions) == ("ok", (), 4, 4)
    page = (await place.metrics()).decode().splitlines()
    assert "avatar_sessions 4.0" in page
    assert "avatar_sessions_max 4.0" in page
    assert "avatar_sessions_refused_total 1.0" in page
    one, other = place._workers
    for worker, rate in ((one, 20.0), (other, 30.0)):
        reply = await place._answer(worker, "beside", rate)
    assert reply.value == (2, 20.0)  # what the other one has, and what it can give
    for keys in opened:
        assert (await place.hello(keys.drive)).session == keys.drive
        assert await place.behind(keys.view) is Behind.LIVE
    await place.end(opened[0].id, End.CLIENT)
    assert await place.behind(opened[0].view) is Behind.DEAD
    with pytest.raises(UnknownSession):
        await place.hello(opened[0].id)
    await place.begin(Wish())
    with pytest.raises(UnknownName):
        await place.picture(opened[1].id, "nobody")
    # half-open peers of one address are counted together, wherever their sessions are
    sdp = await make_offer("recvonly")
    answers = [await place.answer(keys.view, Offered(sdp=sdp, watches=True, client="a")) for keys in opened[1:4]]
    assert len({answer.peer for answer in answers}) == 3
    with pytest.raises(Busy, match="Too many connections"):
        await place.answer(opened[3].view, Offered(sdp=sdp, watches=True, client="a"))
    await place.hang_up(opened[1].view, answers[0].peer)
    await until(lambda: len(place._half_open) == 2)
    await place.answer(opened[3].view, Offered(sdp=sdp, watches=True, client="a"))


@pytest.mark.hostile
async def test_a_worker_that_dies_takes_its_own_sessions_and_is_started_again(place):
    opened = [(await place.begin(Wish())).keys for _ in range(4)]
    await place.answer(opened[0].view, Offered(sdp=await make_offer("recvonly"), watches=True, client="a"))
    name = next(name for name, ids in where(place).items() if opened[0].id in ids)
    worker = place._workers[int(name) - 1]
    mine = where(place)[name]
    rendered = _count(await place.metrics(), "avatar_sessions_ended_total")
    process, run = worker.process, worker.run
    async with place.drive(opened[0].id) as line:
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not worker.ready)
        with pytest.raises(Busy, match="has ended"):
            await line.take('{"type": "ping", "t": 1}')
    health = await place.health()
    assert (health.status, health.stuck, health.starting) == ("stuck", (f"worker {name}",), (f"worker {name}",))
    assert len(place._half_open) == 0
    for keys in opened:
        if keys.id in mine:
            with pytest.raises(UnknownSession):
                await place.hello(keys.id)
            assert await place.behind(keys.view) is Behind.DEAD
        else:
            assert (await place.hello(keys.id)).session == keys.id
    await until(lambda: worker.ready)
    assert worker.run != run
    assert process.exitcode == -signal.SIGKILL
    assert (await place.health()).status == "ok"
    assert _count(await place.metrics(), "avatar_sessions_ended_total") >= rendered
    again = (await place.begin(Wish())).keys
    assert again.id in where(place)[name]


def _count(page: bytes, name: str) -> float:
    return sum(float(line.split()[-1]) for line in page.decode().splitlines() if line.startswith(name))


async def test_offers_wait_for_the_first_worker_and_nothing_is_left_at_the_end():
    place = processes(count=2)
    await place.open()
    try:
        assert (await place.health()).stuck == ("worker 1", "worker 2")  # none is there yet
        opened = await asyncio.gather(*(place.begin(Wish()) for _ in range(4)))
        assert Counter(len(ids) for ids in where(place).values()) == {2: 2}
        pids = [worker.process.pid for worker in place._workers]
        assert {psutil.Process(pid).status() for pid in pids} <= {"sleeping", "running"}
    finally:
        await place.close()
        await place.close()
    assert len({one.keys.id for one in opened}) == 4
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.hostile
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "killed"])
async def test_however_the_server_ends_no_process_is_left(how, tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "tests.support.processes"]
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        await until(lambda: server.poll() is not None or b"Open http" in log.read_bytes())
        url = re.search(r"http://[\d.:]+", log.read_text())[0]
        async with httpx.AsyncClient(base_url=url, timeout=START_S) as http:
            for _ in range(3):  # more than one worker has
                assert (await http.post("/api/sessions", json={"sdp": await make_offer()})).status_code == 201
        below = psutil.Process(server.pid).children(recursive=True)
        assert len(below) >= 2
        if how == "Ctrl-C":
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does: to all of them
        else:
            server.send_signal(signal.SIGTERM if how == "SIGTERM" else signal.SIGKILL)
        await until(lambda: server.poll() is not None, 60)
        await until(lambda: not any(process.is_running() for process in below), 60)
    finally:
        server.kill()
        server.wait()
    # uvicorn raises SIGTERM anew when it is done; what the command line makes of it is not here
    assert server.returncode == {"Ctrl-C": 0, "SIGTERM": -signal.SIGTERM, "killed": -signal.SIGKILL}[how]
    assert "Traceback" not in log.read_text()


@pytest.mark.hostile
async def test_why_no_worker_can_be_made_is_said():
    for how, error in (({"fails": True}, BadValue), ({"dies": True}, WorkerFailed)):
        place = processes(**how)
        stopped = asyncio.Event()
        place.when_failed(stopped.set)
        await place.open()
        async with asyncio.timeout(START_S):
            await stopped.wait()
        assert isinstance(place.failure, error)
        await place.close()
        assert not any(worker.process and worker.process.is_alive() for worker in place._workers)
    assert "killed by SIGKILL" in str(place.failure)


def test_how_many_workers_and_whose_sessions():
    assert [suitable_workers(cores, 8) for cores in (1, 2, 4, 16)] == [1, 2, 4, 4]
    assert suitable_workers(8, 1) == 1
    assert shares(5, 3) == [2, 2, 1]
    assert shares(4, 2) == [2, 2]


def test_sums_never_fall_and_the_worst_counts():
    def page(sessions: int, shown: int, worst: float) -> bytes:
        return (
            f"# HELP avatar_sessions Now\n# TYPE avatar_sessions gauge\navatar_sessions {sessions}\n"
            f"# HELP avatar_frames_rendered_total Shown\n# TYPE avatar_frames_rendered_total counter\n"
            f"avatar_frames_rendered_total {shown}\n"
            f"# HELP avatar_latency_seconds Late\n# TYPE avatar_latency_seconds gauge\n"
            f'avatar_latency_seconds{{stage="total"}} {worst}\n'
        ).encode()

    sums = Sums()
    text = sums.text({"a": page(1, 10, 0.5), "b": page(2, 5, 0.2)}, {}).decode()
    assert "avatar_sessions 3.0" in text
    assert "avatar_frames_rendered_total 15.0" in text
    assert 'avatar_latency_seconds{stage="total"} 0.5' in text
    assert "# HELP avatar_sessions Now" in text
    assert "avatar_frames_rendered_total 16.0" in sums.text({"b": page(0, 6, 0.0)}, {}).decode()  # a is late
    sums.end("a")
    text = sums.text({"b": page(2, 7, 0.2), "c": page(0, 1, 0.0)}, {"avatar_sessions": 9.0}).decode()
    assert "avatar_frames_rendered_total 18.0" in text
    assert "avatar_sessions 9.0" in text


# --- the pipe


class Unpacked(Exception):
    """Cannot be unpacked."""

    def __init__(self, one, two):
        super().__init__(one)


async def far(what: str, *args) -> Reply:
    if what == "wait":
        try:
            args[0].append("begun") if args else None
            await asyncio.Event().wait()
        finally:
            args[0].append("cancelled") if args else None
    if what == "refuse":
        return await replied(_refuse)
    if what == "unpacked":
        return Reply(error=Unpacked(1, 2))
    if what == "fail":
        raise RuntimeError("unforeseen")
    return Reply((what, args))


def _refuse() -> None:
    raise Busy("No", 3)


@pytest.fixture
async def pipe():
    import socket

    one, two = socket.socketpair()
    seen: list[str] = []

    async def answer(what: str, *args) -> Reply:
        return await far(what, seen) if what == "wait" else await far(what, *args)

    here, there = Pipe(far), Pipe(answer)
    await here.open(one)
    await there.open(two)
    tasks = [asyncio.create_task(here.run()), asyncio.create_task(there.run())]
    yield here, there, seen
    here.close()
    await asyncio.gather(*tasks)


async def test_the_pipe_carries_values_refusals_and_failures(pipe):
    here, there, _ = pipe
    assert await here("echo", b"x" * 5_000_000, {"a": 1}) == ("echo", (b"x" * 5_000_000, {"a": 1}))
    assert await there("echo", 2) == ("echo", (2,))
    with pytest.raises(Busy) as refused:
        await here("refuse")
    assert refused.value.retry_after == 3
    for what in ("fail", "unpacked"):
        with pytest.raises(FarFailure, match=f"failed at {what}"):
            await here(what)
    assert await here("echo", 3) == ("echo", (3,))


async def test_what_nobody_waits_for_any_more_is_cancelled_there(pipe):
    here, _, seen = pipe
    waiting = asyncio.create_task(here("wait"))
    await until(lambda: seen == ["begun"])
    waiting.cancel()
    await until(lambda: seen == ["begun", "cancelled"])


async def test_whoever_waits_is_told_when_the_other_end_closes(pipe):
    here, there, seen = pipe
    waiting = asyncio.create_task(here("wait"))
    await until(lambda: seen == ["begun"])
    there.close()
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await here("echo")


class Deaf:
    """A worker's process that neither reads nor ends by itself."""

    exitcode = None

    def __init__(self):
        self.pid, self.killed = 0, False

    def join(self, patience=None):
        pass

    def is_alive(self) -> bool:
        return not self.killed

    def kill(self):
        self.killed, self.exitcode = True, -signal.SIGKILL


@pytest.mark.hostile
async def test_a_worker_that_does_not_read_does_not_keep_the_server_from_ending(monkeypatch):
    kept, process = [], Deaf()

    def start(setup, card, sock):
        kept.append(sock.dup())  # the other end stays open, and nobody reads it
        return process

    monkeypatch.setattr(processes_module, "spawn", start)
    place = processes(count=1)
    await place.open()
    (worker,) = place._workers
    await until(lambda: worker.process is process)
    asking = asyncio.create_task(worker.pipe("take", b"x" * 20_000_000))  # more than a socket holds
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await place.close()
    assert process.killed
    with pytest.raises(ConnectionError):
        await asking
    kept[0].close()


@pytest.mark.hostile
@pytest.mark.parametrize("what", ["spawn", "socketpair"])
async def test_a_worker_that_cannot_be_started_is_tried_again_and_the_wait_ends_with_the_server(monkeypatch, what):
    tries: list[str] = []

    class Steep(Backoff):
        def next(self):
            return 3600.0 if len(tries) > 1 else 0.0

    def start(*_):
        tries.append(what)
        raise OSError("too many open files")

    monkeypatch.setattr(processes_module if what == "spawn" else socket, what, start)
    monkeypatch.setattr(processes_module, "Backoff", lambda *_: Steep())
    place = processes(count=1)
    place._workers[0].lost = True  # it has run before
    await place.open()
    await until(lambda: len(tries) == 2 and place._workers[0].broken)  # no offer waits for it
    async with asyncio.timeout(60):
        await place.close()
    assert place.failure is None


@pytest.mark.hostile
async def test_a_first_worker_that_cannot_be_started_is_said(monkeypatch):
    def start(setup, card, sock):
        raise OSError("too many open files")

    monkeypatch.setattr(processes_module, "spawn", start)
    place = processes(count=1)
    stopped = asyncio.Event()
    place.when_failed(stopped.set)
    await place.open()
    async with asyncio.timeout(60):
        await stopped.wait()
    assert "OSError: too many open files" in str(place.failure)
    await place.close()


@pytest.mark.hostile
async def test_an_offer_does_not_wait_for_a_worker_that_cannot_be_made(monkeypatch):
    place = processes(count=2)
    fine, bad = place._workers
    fine.ready = bad.ready = True
    opened: list[str] = []

    async def begin(self, wish, offer=None):
        if len(place._ready()) < 2:
            raise ServerFull(4, 5)
        return "opened"

    async def offer() -> None:
        opened.append(await place.begin(Wish()))

    monkeypatch.setattr(Front, "begin", begin)
    async with asyncio.timeout(30):
        await place._now(bad, ready=False)  # it has ended, and is started again
        waiting = asyncio.create_task(offer())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await place._now(bad, ready=True)
        await waiting
        assert opened == ["opened"]
        await place._now(bad, ready=False)
        waiting = asyncio.create_task(offer())
        await asyncio.sleep(0.01)
        await place._now(bad, ready=False)  # that run ended before it was ready
        with pytest.raises(ServerFull):
            await waiting
        with pytest.raises(ServerFull):
            await place.begin(Wish())


@pytest.mark.hostile
async def test_a_place_that_is_granted_to_who_has_gone_meanwhile_is_given_back():
    import socket

    taken: list[str] = []
    left: list[str] = []

    async def front(what: str, client: str) -> Reply:
        if what == "leave":
            left.append(client)
            return Reply()
        taken.append(client)
        asking.cancel()  # the offer is given up while the answer is on its way
        return Reply(True)

    one, two = socket.socketpair()
    worker, far_end = Pipe(far), Pipe(front)
    await worker.open(one)
    await far_end.open(two)
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(far_end.run())]
    asking = asyncio.create_task(SharedTurnstile(worker).take("a"))
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: left == ["a"], 30)
    assert taken == ["a"]
    worker.close()
    await asyncio.gather(*tasks)


def test_a_signal_without_a_name_is_told_by_its_number():
    process = Deaf()
    process.killed, process.exitcode = True, -40
    assert end(process, 0.0) == "killed by signal 40"


async def test_figures_of_a_worker_that_ends_while_it_is_asked_are_not_counted_twice(monkeypatch):
    place = processes(count=1)
    (worker,) = place._workers
    worker.run, worker.ready = "first", True

    async def ask(name, run, what):
        worker.run, worker.ready = "second", False  # the page arrives just before its end
        place._sums.end(run)
        return b"# HELP avatar_x_total X\n# TYPE avatar_x_total counter\navatar_x_total 5\n"

    monkeypatch.setattr(place, "_call_worker", ask)
    await place.metrics()
    assert place._sums._counted == {}

    async def fail(name, run, what):
        raise FarFailure("failed at metrics")

    worker.ready = True
    monkeypatch.setattr(place, "_call_worker", fail)
    await place.metrics()
    assert (await place.health()).stuck == ("worker 1",)


async def test_what_is_no_message_closes_the_pipe(pipe):
    here, there, _ = pipe
    there._writer.write(b"\0\0\0\x01?")
    with pytest.raises(ConnectionError):
        await here("wait")

"""What nobody foresaw, and what floods: the right status, the security headers, one line, and sessions unharmed."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from realtime.server.common.limits import Limits, Places, Vitals
from realtime.server.places import Wish
from realtime.server.places.here import Studio, StudioSettings
from tests.media.test_decoding import many_scans
from tests.server.test_api import png
from tests.support import FakeClock
from tests.support.fake_place import FakePlace
from tests.support.server import DotEngine, gallery, make_studio, offer, running

pytestmark = pytest.mark.hostile

FIELDS = "&".join(f"f{n}=1" for n in range(60))


class Broken(FakePlace):
    """A place whose calls fail in ways that no one thought of."""

    async def health(self):
        raise ZeroDivisionError("secret words")

    def drive(self, key):
        raise ZeroDivisionError("secret words")


@pytest.fixture(scope="module")
def broken():
    with running(Broken()) as server:
        yield server


def test_one_answer_to_all_that_nobody_foresaw(broken, caplog):
    caplog.set_level(logging.INFO)
    with httpx.Client(base_url=broken.url) as http:
        answers = [http.get("/api/health?token=abcdef") for _ in range(40)]
    for answer in answers:
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert answer.json()["detail"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    lines = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert 1 <= len(lines) <= 15  # rate-limited
    for line in lines:
        assert line.exc_info is None
        assert "\n" not in line.getMessage()
        assert "ZeroDivisionError" in line.getMessage()
        assert "abcdef" not in line.getMessage()


async def test_a_socket_that_fails_is_closed(broken):
    async with connect(f"{broken.url.replace('http', 'ws')}/api/motion", proxy=None) as socket:
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code == 1011


@pytest.mark.parametrize("path", ["/", "/api/health", "/app/main.js", "/nothing"])
def test_too_many_query_fields_are_a_bad_request(broken, path, caplog):
    answer = httpx.get(f"{broken.url}{path}?{FIELDS}")
    assert answer.status_code == 400
    assert "too many fields" in answer.json()["detail"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_too_many_query_fields_open_no_socket(broken):
    with pytest.raises(InvalidStatus):
        await connect(f"{broken.url.replace('http', 'ws')}/api/motion?{FIELDS}", proxy=None)


def upload(url: str, id: str, data: bytes, http=httpx) -> httpx.Response:
    return http.post(
        f"{url}/api/sessions/{id}/portraits",
        params={"consent": "true"},
        content=data,
        headers={"content-type": "image/png"},
        timeout=40,
    )


def test_a_flood_of_uploads_is_told_to_come_back():
    with running(make_studio(StudioSettings(Limits(sessions=8, requests_per_s=1000)))) as server:
        ids = [httpx.post(f"{server.url}/api/sessions", json={"sdp": offer()}).json()["id"] for _ in range(5)]
        with ThreadPoolExecutor(50) as many, httpx.Client(limits=httpx.Limits(max_connections=50)) as http:
            answers = list(many.map(lambda n: upload(server.url, ids[n % 5], png(), http), range(50)))
        assert {answer.status_code for answer in answers} == {201, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
        assert upload(server.url, ids[0], png()).status_code == 201  # nobody's place was lost


@pytest.mark.parametrize("route", ["portraits?consent=true", "look"])
def test_all_that_brings_a_picture_counts_as_an_upload(route):
    with running(FakePlace(Limits(uploads=0))) as server:
        url = f"{server.url}/api/sessions/any/{route}"
        answer = httpx.post(url, content=png(), headers={"content-type": "image/png"})
        assert answer.status_code == 503
        assert "being received" in answer.json()["detail"]
        elsewhere = f"{server.url}/whep/look"  # no picture is brought there, whatever its name
        large = httpx.post(elsewhere, content=bytes(40 << 10), headers={"content-type": "application/sdp"})
        assert "at most 32768 bytes" in large.json()["detail"]


def test_costly_pictures_leave_the_sessions_threads_alone():
    with running(make_studio(StudioSettings(Limits(requests_per_s=1000)))) as server:
        id = httpx.post(f"{server.url}/api/sessions", json={"sdp": offer()}).json()["id"]
        refused = upload(server.url, id, many_scans(1500))
        assert refused.status_code == 400
        assert "scans" in refused.json()["detail"]
        assert httpx.get(f"{server.url}/api/health").json() == {
            "status": "ok",
            "stuck": [],
            "starting": [],
            "version": httpx.get(f"{server.url}/api/health").json()["version"],
            "sessions": 1,
            "max_sessions": 4,
        }


@pytest.mark.parametrize("which", ["pool", "aside", "executor"])
def test_health_says_when_what_sessions_need_is_stuck(which):
    studio = make_studio(StudioSettings(threads=1))
    studio._vitals.patience.update(pool=0.2, aside=0.2, executor=0.2)
    release = threading.Event()

    class Stuck:
        def step(self):
            release.wait(20)

        def failed(self, error):
            raise error

    def jam() -> None:
        if which == "pool":
            studio.pool.wake(Stuck())
        elif which == "aside":
            studio.pool.aside.submit(release.wait, 20)
        else:
            loop = asyncio.get_running_loop()
            for _ in range(64):
                loop.run_in_executor(None, release.wait, 20)

    with running(studio) as server:
        assert httpx.get(f"{server.url}/api/health").status_code == 200
        server.call(jam)
        until(server, lambda health: health.status_code == 503)
        assert httpx.get(f"{server.url}/api/health").json()["stuck"] == [which]
        release.set()
        until(server, lambda health: health.json()["status"] == "ok")


def until(server, holds) -> None:
    for _ in range(200):
        if holds(httpx.get(f"{server.url}/api/health")):
            return
        server.wait(0.05)
    raise AssertionError("health does not change")


def test_places_are_taken_and_given_back():
    places = Places(most=3, each=2)
    assert [places.take("a"), places.take("a"), places.take("a")] == [True, True, False]
    assert [places.take("b"), places.take("c")] == [True, False]
    places.leave("a")
    assert places.take("c")
    assert len(places) == 3


async def test_what_fails_for_one_session_does_not_stop_the_clock_of_all(monkeypatch, caplog):
    studio = make_studio(StudioSettings(Limits(connect_s=3.0)))
    await studio.open()
    for _ in range(2):
        await studio.begin(Wish())
    broken = next(iter(studio.sessions.values()))
    for session in studio.sessions.values():
        monkeypatch.setattr(session.performer, "tick", lambda now: 1 / 0)
    monkeypatch.setattr(broken, "peers", {None})  # so that it is told how it goes
    monkeypatch.setattr(broken, "stats", lambda now, count: 1 / 0)
    await asyncio.sleep(1.2)
    monkeypatch.setattr(broken, "peers", set())
    for _ in range(100):
        await asyncio.sleep(0.1 if studio.sessions else 0.0)
    assert studio.sessions == {}  # they end all the same
    assert (await studio.health()).status == "ok"
    assert 1 <= len([record for record in caplog.records if "the others go on" in record.message]) <= 4
    await studio.close()


async def test_health_says_when_the_clock_stands_still(monkeypatch):
    clock = FakeClock(100.0)
    studio = Studio(DotEngine, gallery(), clock=clock)
    await studio.open()
    assert (await studio.health()).status == "ok"
    studio._ticker.cancel()
    clock.advance(6.0)
    assert (await studio.health()).stuck == ("clock",)
    await studio.close()


def test_a_pool_is_stuck_when_its_probe_is_late():
    vitals = Vitals({"a": 1.0, "b": 5.0})
    assert vitals.ask("a", 0.0)
    assert vitals.ask("b", 0.0)
    assert not vitals.ask("a", 0.5)
    assert vitals.stuck(1.0) == ()
    assert vitals.stuck(1.1) == ("a",)
    vitals.answered("a")
    assert vitals.stuck(4.0) == ()
    assert vitals.stuck(5.1) == ("b",)

"""Offers that nobody follows up, sockets in heaps, and guessed tokens: they take no places."""

from __future__ import annotations

import asyncio
import gc
import json

import httpx
import pytest
from websockets.asyncio.client import connect

from realtime.clients.motion_client import motion_url
from realtime.server.common.limits import Attempts, Limits
from realtime.server.common.sessions import Book, End
from realtime.server.http.security import Policy
from realtime.server.places import TooManyViewers, Wish, connections
from realtime.server.places.here import StudioSettings
from realtime.server.rtc.peer import Peer
from tests.support.fake_place import FakePlace
from tests.support.peers import Client, Spot, until
from tests.support.server import make_studio, offer, running

pytestmark = pytest.mark.hostile

SDP = {"content-type": "application/sdp"}
SILENT, WATCH = offer(), offer("recvonly")
TOKEN = "a-token-of-some-length"


def limited(**limits):
    return make_studio(StudioSettings(Limits(**{"requests_per_s": 1000, **limits})))


async def test_silent_offers_take_no_viewers_place():
    with running(limited(viewers=2, half_open_each=6)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            begun = (await http.post("/api/sessions", json={"sdp": SILENT})).json()
            for _ in range(5):
                assert (await http.post(f"/whep/{begun['view']}", content=WATCH, headers=SDP)).status_code == 201
            full = await http.post(f"/whep/{begun['view']}", content=WATCH, headers=SDP)
            assert full.status_code == 503  # half-open ones are few for one address
            assert int(full.headers["retry-after"]) >= 1
            elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=server.url, transport=elsewhere) as other:
                viewer = Client(None, "recvonly")
                answer = await other.post(
                    f"/whep/{begun['view']}", content=await viewer.offer(control=False), headers=SDP
                )
                assert answer.status_code == 201
                await viewer.accept(answer.text)
                await until(lambda: viewer.count > 2)
                assert server.studio.sessions[begun["id"]].watchers == 1
                await viewer.close()


async def test_half_open_peers_are_given_up_and_their_places_come_back():
    with running(limited(half_open_each=3, half_open_s=4.0, connect_s=60)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            begun = (await http.post("/api/sessions", json={})).json()
            url, sent = f"/whep/{begun['view']}", {"content": WATCH, "headers": SDP}
            assert [(await http.post(url, **sent)).status_code for _ in range(4)] == [201, 201, 201, 503]
            session = server.studio.sessions[begun["id"]]
            await until(lambda: not session.peers)
            await until(lambda: session.performer.viewers == 0)  # nothing is rendered for them
            assert (await http.post(url, **sent)).status_code == 201


async def test_sessions_that_nobody_connects_to_keep_nobody_out():
    with running(limited(sessions=3, half_open_each=9, half_open_s=60, connect_s=60, unmet_s=0.3)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            silent = [(await http.post("/api/sessions", json={"sdp": SILENT})).json()["id"] for _ in range(3)]
            server.wait(0.35)
            elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=server.url, transport=elsewhere) as other:
                honest = Client(Spot())
                id = await honest.open(other)
                await until(lambda: honest.count > 2)
            assert list(server.studio.sessions) == [*silent[1:], id]
            for _ in range(4):  # the silent one's own next ones take the places of his own
                server.wait(0.35)
                assert (await http.post("/api/sessions", json={"sdp": SILENT})).status_code == 201
            assert id in server.studio.sessions
            assert server.studio.book.ended[End.NEVER_CONNECTED] == 5
            await honest.close()


async def test_a_silent_offers_session_ends_with_it():
    with running(limited(half_open_s=2.0, connect_s=60)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            busy = (await http.post("/api/sessions", json={"sdp": SILENT})).json()["id"]
            assert (await http.get(f"/api/sessions/{busy}")).status_code == 200
            await http.post("/api/sessions", json={"sdp": SILENT})
            await until(lambda: list(server.studio.sessions) == [busy])
            await until(lambda: not server.studio.sessions[busy].peers)
            assert (await http.get(f"/api/sessions/{busy}")).status_code == 200  # who asks for it may yet connect


class Late(Peer):
    """It connects at the very moment at which it is given up."""

    async def close(self) -> None:
        if not self._connected:
            self._connected = True
            self._up(self)
        await super().close()


async def test_who_connects_while_being_given_up_does_not_keep_its_session_for_ever(monkeypatch):
    monkeypatch.setattr(connections, "Peer", Late)
    with running(limited(half_open_s=0.3, connect_s=3.0, idle_s=0.5, grace_s=0.5)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            begun = (await http.post("/api/sessions", json={})).json()
            watching = await http.post(f"/whep/{begun['view']}", content=WATCH, headers=SDP)
            assert watching.status_code == 201
            entry = server.studio.book.entries[begun["id"]]
            await until(lambda: not server.studio.sessions)
            assert entry.peers == 0


def test_the_greediest_makes_room_first():
    book = Book(Limits(sessions=9, unmet_s=3.0))
    ids = [book.admit(float(n), client=client).id for n, client in enumerate("abbb")]
    book.attach(ids[1], 1.0)  # somebody has connected
    assert book.unmet(2.5) is None
    assert book.unmet(6.0) == ids[2]
    book.end(ids[2], End.CLIENT)
    assert book.unmet(6.0) == ids[0]  # one each: the oldest
    book.touch(ids[0], 5.0)
    assert book.unmet(6.0) == ids[3]


async def test_many_at_once_get_no_more_than_the_viewers_places():
    studio = limited(viewers=3)
    await studio.open()
    session = (await studio.begin(Wish())).keys.id
    opened = await asyncio.gather(*(studio.pictures(session) for _ in range(9)), return_exceptions=True)
    streams = [each for each in opened if not isinstance(each, Exception)]
    assert len(streams) == 3
    assert all(isinstance(each, TooManyViewers) for each in opened if each not in streams)
    assert studio.sessions[session].watchers == 3
    opened.clear()
    streams.clear()  # whoever asked has gone before the first picture: nobody reads, nobody closes
    gc.collect()
    await until(lambda: studio.sessions[session].watchers == 0)
    await studio.close()


async def test_who_connects_too_late_for_the_last_place_is_hung_up_on():
    with running(limited(viewers=1)) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            begun = (await http.post("/api/sessions", json={"sdp": SILENT})).json()
            session = server.studio.sessions[begun["id"]]
            viewers = [Client(None, "recvonly"), Client(None, "recvonly")]
            answers = [
                await http.post(f"/whep/{begun['view']}", content=await v.offer(control=False), headers=SDP)
                for v in viewers
            ]
            assert [answer.status_code for answer in answers] == [201, 201]
            for viewer, answer in zip(viewers, answers, strict=True):
                await viewer.accept(answer.text)
            await until(lambda: len(session.half_open) == 1)  # the session's own, which is silent
            await until(lambda: session.watchers == 1)
            assert len(session.guests) == 1
            third = await http.post(f"/whep/{begun['view']}", content=WATCH, headers=SDP)
            assert third.status_code == 503
            for viewer in viewers:
                await viewer.close()


async def test_motion_clients_of_one_session_are_few():
    with running(limited(drivers=2, silent_s=0.5)) as server:
        async with connect(motion_url(server.url), proxy=None) as first:
            id = json.loads(await first.recv())["session"]
            async with connect(motion_url(server.url, session=id), proxy=None) as second:
                await second.recv()
                async with connect(motion_url(server.url, session=id), proxy=None) as third:
                    refused = json.loads(await third.recv())
                    assert "Too many motion clients" in refused["error"]
                await asyncio.wait_for(second.wait_closed(), 10)  # it says nothing
                assert second.close_code == 1001
            async with connect(motion_url(server.url, session=id), proxy=None) as again:
                assert json.loads(await again.recv())["type"] == "hello"


def test_wrong_tokens_slow_their_address_down_and_the_log_says_so(caplog):
    policy = Policy.for_host("0.0.0.0", token=TOKEN)
    with running(FakePlace(), policy) as server, httpx.Client(base_url=server.url) as http:
        statuses = [http.get("/", params={"token": f"wrong-{n}"}).status_code for n in range(14)]
        assert statuses[0] == 401
        assert statuses[-1] == 429
        slowed = http.get("/metrics", headers={"authorization": "Bearer nonsense"})
        assert slowed.status_code == 429
        assert int(slowed.headers["retry-after"]) >= 1
        elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(base_url=server.url, transport=elsewhere) as other:
            assert other.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    lines = [record.message for record in caplog.records if "wrong tokens" in record.message]
    assert len(lines) == 1
    assert "127.0.0.1" in lines[0]


def test_no_token_is_no_wrong_token():
    with running(FakePlace(), Policy.for_host("0.0.0.0", token=TOKEN)) as server:
        assert {httpx.get(f"{server.url}/").status_code for _ in range(20)} == {401}
        assert httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_attempts_are_counted_by_address_and_forgiven():
    attempts = Attempts()
    slowed = [attempts.wrong("a", 0.0) for _ in range(11)]
    assert slowed == [False] * 10 + [True]
    assert attempts.wait("a", 0.0) == pytest.approx(Attempts.SLOW_S)
    assert attempts.wait("b", 0.0) == 0.0
    assert attempts.wait("a", Attempts.SLOW_S) == 0.0
    attempts.right("b")
    for _ in range(20):
        attempts.wrong("b", 1.0)
    assert attempts.wait("b", 1.0) == 0.0  # others behind the same address keep nobody out who was in

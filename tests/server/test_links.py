"""Links that watch, links that drive, and the id that controls: what each opens, and how links end."""

from __future__ import annotations

import asyncio
import json
import secrets

import httpx
import pytest
from websockets.asyncio.client import connect

from realtime.clients.motion_client import MotionClient, motion_url
from realtime.server.common import sessions
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Behind, Book, End, Right, link_keys
from realtime.server.places.here import StudioSettings
from tests.server.test_api import png
from tests.support.peers import Client, until
from tests.support.server import make_studio, offer, running

pytestmark = pytest.mark.hostile

SDP = {"content-type": "application/sdp"}


@pytest.fixture(scope="module")
def server():
    with running(make_studio(StudioSettings(Limits(sessions=8, requests_per_s=1000)))) as server:
        yield server


def begin(http, **more) -> dict:
    answer = http.post("/api/sessions", json={"sdp": offer(), **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def keys(http):
    answer = begin(http)
    yield answer
    http.delete(f"/api/sessions/{answer['id']}")


def test_the_three_keys_are_distinct_and_long(keys):
    three = {keys["id"], keys["view"], keys["drive"]}
    assert len(three) == 3
    assert all(len(key) >= 22 for key in three)


@pytest.mark.parametrize("right", ["view", "drive"])
def test_a_link_controls_nothing(http, keys, right):
    url = f"/api/sessions/{keys[right]}"
    send = {"content": png(), "headers": {"content-type": "image/png"}}
    assert http.post(f"{url}/control", json={"type": "pause"}).status_code == 403
    assert http.post(f"{url}/portraits", params={"consent": "true"}, **send).status_code == 403
    assert http.delete(f"{url}/portraits/first").status_code == 403
    assert http.get(f"{url}/portraits/first.jpg").status_code == 403
    assert http.post(f"{url}/links", json={}).status_code == 403
    assert http.delete(f"{url}/links").status_code == 403
    assert http.delete(url).status_code == 403
    assert http.delete(f"/whip/{keys[right]}").status_code == 403
    assert http.get(f"/api/sessions/{keys['id']}").status_code == 200


def test_a_view_link_watches_and_does_not_drive(http, keys):
    assert http.post(f"/whep/{keys['view']}", content=offer("recvonly"), headers=SDP).status_code == 201
    assert http.get(f"/api/sessions/{keys['view']}").status_code == 403
    assert http.get(f"/view/{keys['view']}").status_code == 200


async def test_a_drive_link_drives_and_does_not_control(server, keys):
    async with connect(motion_url(server.url, session=keys["drive"]), proxy=None) as socket:
        hello = json.loads(await socket.recv())
        assert keys["id"] not in json.dumps(hello)
        assert hello["session"] == keys["drive"]
        await socket.send(json.dumps({"type": "pause"}))
        refused = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert "may not do that" in refused["error"]
        await socket.send(json.dumps({"type": "calibrate"}))  # it may; but no motion has come yet
        refused = json.loads(await asyncio.wait_for(socket.recv(), 5))
        assert "nothing to calibrate on" in refused["error"]
        await socket.send(json.dumps({"type": "ping", "t": 1}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 5))["type"] == "pong"
    await until(lambda: server.studio.sessions[keys["id"]].performer.source == "motion")
    async with connect(motion_url(server.url, session=keys["view"]), proxy=None) as socket:
        assert json.loads(await socket.recv())["type"] == "error"


def test_a_link_is_the_same_after_a_reload_and_waits_meanwhile(http):
    profile = secrets.token_urlsafe(16)
    first = begin(http, profile=profile)
    assert profile not in json.dumps(first)
    assert http.get(f"/api/views/{first['view']}").json() == {"live": True, "dead": False}
    assert http.delete(f"/api/sessions/{first['id']}").status_code == 204
    assert http.get(f"/api/views/{first['view']}").json() == {"live": False, "dead": False}
    assert http.post(f"/whep/{first['view']}", content=offer("recvonly"), headers=SDP).status_code == 404
    second = begin(http, profile=profile)
    assert (second["view"], second["drive"]) == (first["view"], first["drive"])
    assert second["id"] != first["id"]
    assert http.post(f"/whep/{first['view']}", content=offer("recvonly"), headers=SDP).status_code == 201
    http.delete(f"/api/sessions/{second['id']}")


def test_who_has_only_the_link_cannot_take_it_over(http):
    first = begin(http, profile=secrets.token_urlsafe(16))
    thief = begin(http, profile=first["view"])
    assert thief["view"] != first["view"]
    assert http.get(f"/api/views/{first['view']}").json() == {"live": True, "dead": False}
    for keys in (first, thief):
        http.delete(f"/api/sessions/{keys['id']}")


def test_the_link_of_a_session_without_a_profile_is_dead_with_it(http):
    only = begin(http)
    http.delete(f"/api/sessions/{only['id']}")
    assert http.get(f"/api/views/{only['view']}").json() == {"live": False, "dead": True}
    assert http.get(f"/api/views/{'x' * 24}").json() == {"live": False, "dead": False}


def test_a_dead_link_comes_back_with_its_secret_and_few_are_remembered(monkeypatch):
    monkeypatch.setattr(sessions, "DEAD_KEPT", 6)
    book, secret = Book(Limits(sessions=100)), secrets.token_urlsafe(24)
    entry = book.admit(0.0, secret)
    view = entry.keys.view
    book.renew(entry.id, secrets.token_urlsafe(24))
    assert book.behind(view) is Behind.DEAD
    book.renew(entry.id, secret)
    assert book.behind(view) is Behind.LIVE
    for _ in range(20):
        book.renew(entry.id)
    assert len(book.dead) == 6


@pytest.mark.parametrize("profile", ["short", "x" * 65, "é" * 30, "a/b" * 10])
def test_a_profile_that_could_be_guessed_is_refused(http, profile):
    assert http.post("/api/sessions", json={"sdp": offer(), "profile": profile}).status_code == 422


def test_links_are_renewed_and_withdrawn_and_their_viewers_leave(http, server, keys):
    url = f"/api/sessions/{keys['id']}/links"
    session = server.studio.sessions[keys["id"]]
    assert http.post(f"/whep/{keys['view']}", content=offer("recvonly"), headers=SDP).status_code == 201
    assert len(session.guests) == 1
    renewed = http.post(url, json={}).json()
    assert session.guests == set()
    assert len(session.peers) == 1  # who controls stays
    assert renewed["view"] != keys["view"]
    assert http.post(f"/whep/{keys['view']}", content=offer("recvonly"), headers=SDP).status_code == 404
    assert http.post(f"/whep/{renewed['view']}", content=offer("recvonly"), headers=SDP).status_code == 201
    assert http.delete(url).status_code == 204
    assert session.guests == set()
    for old in (keys, renewed):
        assert http.get(f"/api/views/{old['view']}").json() == {"live": False, "dead": True}
    hello = http.get(f"/api/sessions/{keys['id']}").json()
    assert (hello["view"], hello["drive"]) == ("", "")


async def test_a_motion_client_on_a_withdrawn_link_is_hung_up_on(server, keys):
    async with MotionClient(motion_url(server.url, session=keys["drive"])) as client:
        httpx.delete(f"{server.url}/api/sessions/{keys['id']}/links")
        await client.send(None, 1.0)
        await asyncio.wait_for(client._socket.wait_closed(), 5)
        assert client._socket.close_code == 1001


def test_links_of_one_profile_lead_to_the_newest_session():
    book, profile = Book(Limits(sessions=3)), secrets.token_urlsafe(16)
    old, new = book.admit(0.0, profile), book.admit(1.0, profile)
    view, drive = link_keys(profile)
    assert book.find(view) == (new, Right.WATCH)
    assert book.find(drive) == (new, Right.DRIVE)
    assert book.find(new.id) == (new, Right.CONTROL)
    book.end(old.id, End.CLIENT)
    assert book.find(view) == (new, Right.WATCH)  # its end takes nothing from the newer one
    book.end(new.id, End.CLIENT)
    assert book.links == {}


def test_whip_announces_the_view_and_nothing_logs_the_id(caplog):
    caplog.set_level("DEBUG")
    told = []
    with (
        running(make_studio(), announce=lambda view, how: told.append((view, how))) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        answer = http.post("/whip", content=offer("sendonly"), headers=SDP)
        id, view = answer.headers["location"].rpartition("/")[2], told[0][0]
        assert f"</view/{view}>" in answer.headers["link"]
        assert http.delete(answer.headers["location"]).status_code == 200
    assert [how for _, how in told] == ["WHIP"]
    assert id != view
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert not any(id in line for line in ours)


async def test_a_guest_with_a_control_channel_hears_nothing_of_the_session(server, keys):
    guest = Client(direction="recvonly")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
        answer = await http.post(f"/whep/{keys['view']}", content=await guest.offer(control=True), headers=SDP)
        await guest.accept(answer.text)
        await until(lambda: guest.channel.readyState == "open" and guest.count > 3)
        send = {"content": png(), "headers": {"content-type": "image/png"}}
        url = f"/api/sessions/{keys['id']}/portraits"
        assert (await http.post(url, params={"consent": "true"}, **send)).status_code == 201
        assert (await http.delete(f"/api/sessions/{keys['id']}")).status_code == 204
        await until(lambda: guest.last("ended"))
    await guest.close()
    assert [message["type"] for message in guest.heard] == ["ended"]  # the portraits' addresses hold the session's id


def test_who_only_drives_cannot_use_up_the_messages_of_who_controls(http, server, keys):
    for bucket in server.studio.sessions[keys["id"]].messages.values():
        bucket.rate = 0.0  # on a slow machine as on a fast one

    def ping(key: str) -> int:
        return http.post(f"/api/sessions/{key}/control", json={"type": "ping", "t": 1}).status_code

    assert {ping(keys["drive"]) for _ in range(121)} == {200, 429}
    assert ping(keys["id"]) == 200

"""The seam behind which sessions may live on another machine: the HTTP face over a place that is none of ours."""

from __future__ import annotations

import ast
import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

import realtime.server.http
from realtime.cluster.front import Front
from realtime.server.common.limits import Limits
from realtime.server.places import Place
from realtime.server.places.here import StudioSettings
from tests.server.test_api import png
from tests.support.cluster import Cluster, whole
from tests.support.fake_place import FakePlace
from tests.support.processes import processes
from tests.support.server import ViewEngine, make_studio, offer, portrait_picture, running

LIMITS = Limits(requests_per_s=1000)


def cluster() -> Front:
    nodes = Cluster()
    for name in "ab":
        nodes.add(name, studio=make_studio(StudioSettings(replace(LIMITS, sessions=2)), ViewEngine))
    return whole(nodes)


PLACES = {
    "processes": lambda: processes(LIMITS),
    "here": lambda: make_studio(StudioSettings(LIMITS)),
    "elsewhere": lambda: FakePlace(LIMITS),
    "cluster": cluster,
}


@pytest.fixture(scope="module", params=PLACES)
def server(request):
    place: Place = PLACES[request.param]()
    with running(place) as server:
        yield server


@pytest.fixture
def keys(http):
    answer = http.post("/api/sessions", json={"sdp": offer()})
    assert answer.status_code == 201, answer.text
    yield answer.json()
    http.delete(f"/api/sessions/{answer.json()['id']}")


def test_a_session_begins_is_seen_and_ends(http, keys):
    assert keys["sdp"].startswith("v=0")
    assert http.get("/api/health").json()["sessions"] == 1
    assert "avatar_sessions" in http.get("/metrics").text
    assert "avatar_requests_refused" in http.get("/metrics").text
    hello = http.get(f"/api/sessions/{keys['id']}").json()
    assert hello["session"] == keys["id"]
    assert hello["view"] == f"/view/{keys['view']}"
    url = f"/api/sessions/{keys['id']}/control"
    assert http.post(url, json={"type": "ping", "t": 2.5}).json() == {"type": "pong", "t": 2.5}
    assert http.post(url, json={"type": "pause"}).json()["type"] == "state"
    assert http.delete(f"/api/sessions/{keys['id']}").status_code == 204
    assert http.get(f"/api/sessions/{keys['id']}").status_code == 404


def test_portraits_come_and_go(http, keys):
    url = f"/api/sessions/{keys['id']}/portraits"
    sent = {"content": png(portrait_picture()), "headers": {"content-type": "image/png"}}
    assert http.post(url, **sent).status_code == 403
    info = http.post(url, params={"consent": "true", "title": "Me"}, **sent).json()
    assert info["title"] == "Me"
    assert http.get(info["image"]).content[:2] == b"\xff\xd8"
    assert info["id"] in [p["id"] for p in http.get(f"/api/sessions/{keys['id']}").json()["portraits"]]
    brought = http.post(f"{url}/{info['id']}/views", params={"consent": "true"}, **sent)
    if http.get(f"/api/sessions/{keys['id']}").json()["views"]:
        (view,) = brought.json()["views"]
        assert http.delete(f"{url}/{info['id']}/views/{view}").status_code == 204
        assert http.delete(f"{url}/{info['id']}/views/{view}").status_code == 404
    else:
        assert (brought.status_code, "takes one picture" in brought.json()["detail"]) == (400, True)
    assert http.delete(f"{url}/nobody").status_code == 404
    assert http.delete(f"{url}/{info['id']}").status_code == 204
    assert http.get(info["image"]).status_code == 404


def test_publishing_and_watching_by_sdp(http):
    headers = {"content-type": "application/sdp"}
    published = http.post("/whip", content=offer("sendonly"), headers=headers)
    assert published.status_code == 201
    view = published.headers["link"].partition(">")[0].rpartition("/")[2]
    watched = http.post(f"/whep/{view}", content=offer("recvonly"), headers=headers)
    assert watched.status_code == 201
    assert watched.headers["content-type"] == "application/sdp"
    assert http.delete(watched.headers["location"]).status_code == 200
    assert http.delete(watched.headers["location"]).status_code == 404
    assert http.delete(published.headers["location"]).status_code == 200
    assert http.post(f"/whep/{view}", content=offer("recvonly"), headers=headers).status_code == 404


def test_pictures_over_http(http, keys):
    with http.stream("GET", f"/api/sessions/{keys['view']}/preview") as answer:
        assert answer.status_code == 200
        assert b"--picture\r\nContent-Type: image/jpeg" in next(answer.iter_bytes())


async def test_motion_comes_by_socket(server):
    url = server.url.replace("http", "ws") + "/api/motion"
    async with connect(url, proxy=None) as socket:
        hello = json.loads(await socket.recv())
        assert hello["type"] == "hello"
        await socket.send(json.dumps({"type": "ping", "t": 1.0}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 5)) == {"type": "pong", "t": 1.0}
    httpx.delete(f"{server.url}/api/sessions/{hello['session']}")


def test_the_http_face_knows_no_engine_no_player_and_no_connection():
    """It could not be served by a place elsewhere if it reached past the seam."""
    inner = ("here", "intake", "hosted", "panel", "player", "gallery", "pool", "peer", "engines", "session", "flow")
    reached = []
    for path in Path(realtime.server.http.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                reached += [(path.name, name) for name in names if set(name.split(".")) & set(inner)]
    assert reached == []

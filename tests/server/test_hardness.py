"""Strangers: the API against its own description, and a thousand requests that make no sense."""

from __future__ import annotations

import gc
import random
import socket

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from realtime.server.common.limits import Limits
from realtime.server.http.app import create_app
from realtime.server.places.here import StudioSettings
from tests.support import until
from tests.support.server import make_studio, offer, running

pytestmark = pytest.mark.hostile

LIMITS = Limits(sessions=3, requests_per_s=1e6, messages_per_s=1e6, connect_s=5)


@pytest.fixture(scope="module")
def server():
    with running(make_studio(StudioSettings(LIMITS))) as server:
        yield server


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def sdp_bytes(ctx, value) -> bytes:
    """How made-up offers are sent."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


schema = schemathesis.openapi.from_dict(create_app(make_studio()).openapi())


@schema.parametrize()
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_to_its_description(case, server):
    answer = case.call(base_url=server.url, timeout=20)
    assert answer.status_code < 500 or answer.status_code == 503
    case.validate_response(
        answer, checks=[status_code_conformance, content_type_conformance, response_schema_conformance]
    )


def nonsense(chance: random.Random) -> dict:
    """One request that makes no sense."""
    word = chance.choice(["", "%00", "..", "a" * 300, "é", "x", "<script>", "0", "-1", "null"])
    path = chance.choice(
        [
            "/api/sessions",
            f"/api/sessions/{word}",
            f"/api/sessions/{word}/control",
            f"/api/sessions/{word}/portraits?consent=true",
            "/whip",
            f"/whep/{word}",
            f"/whip/{word}",
            f"/view/{word}",
            f"/app/{word}",
            f"/{word}",
            "/metrics",
            f"/api/sessions/{word}/preview",
        ]
    )
    body = chance.choice(
        [
            b"",
            b"{",
            b"null",
            b"[" * 5000,
            b'{"sdp": 5}',
            b'{"sdp": "v=0\\r\\nm=video"}',
            b'{"type": "set_edits", "values": {"glow": 1e999}}',
            chance.randbytes(chance.randrange(2000)),
            offer().encode()[: chance.randrange(3000)],
            ("v=0\r\n" + "a=" + "x" * chance.randrange(500)).encode(),
        ]
    )
    kind = chance.choice(["application/json", "application/sdp", "image/png", "multipart/form-data", "", "\xff"])
    return {
        "method": chance.choice(["GET", "POST", "POST", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD"]),
        "url": path,
        "content": body,
        "headers": {"content-type": kind.encode("latin-1")},
    }


def damaged_offers(chance: random.Random, count: int):
    """Real offers with some lines lost, doubled or scrambled: they pass the first look."""
    for _ in range(count):
        lines = offer().splitlines()
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(1, len(lines))
            match chance.randrange(3):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(at, lines[at])
                case 2:
                    text = list(lines[at])
                    chance.shuffle(text)
                    lines[at] = "".join(text)
        yield "\r\n".join(lines) + "\r\n"


def memory(server) -> float:
    """Megabytes of this process, after a collection."""
    server.call(gc.collect)
    return psutil.Process().memory_info().rss / 1e6


def test_a_thousand_malformed_requests_do_no_harm(server):
    chance = random.Random(5)
    statuses: dict[int, int] = {}

    def batch(http, count: int) -> None:
        for _ in range(count):
            status = http.request(**nonsense(chance)).status_code
            statuses[status] = statuses.get(status, 0) + 1
        for sdp in damaged_offers(chance, count // 40):
            answer = http.post("/api/sessions", json={"sdp": sdp})
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 201:
                assert http.delete(answer.headers["location"]).status_code == 204

    with httpx.Client(base_url=server.url, timeout=20) as http:
        batch(http, 400)
        before = memory(server)
        batch(http, 600)
        grown = memory(server) - before
    assert sum(statuses.values()) >= 1000
    assert not {status for status in statuses if status >= 500 and status != 503}, statuses
    # A scrambled offer that can be read opens a session, which ends when nothing comes by the time set for that.
    until(lambda: server.studio.sessions == {}, 4 * LIMITS.connect_s, "sessions stay")
    assert server.studio.book.entries == {}
    assert grown < 30, f"{grown:.0f} MB more after 600 requests"
    assert httpx.get(f"{server.url}/api/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /api/motion HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_broken_http_is_refused(server, raw):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        first = sock.recv(100)
    assert not first or first.split()[1][:1] == b"4"
    assert httpx.get(f"{server.url}/api/health").status_code == 200

"""The HTTP face: sessions, portraits, control, limits, and who is turned away."""

from __future__ import annotations

import io
import json
import struct
import threading
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from realtime.server.common.limits import Limits
from realtime.server.http.security import HEADERS, Policy
from realtime.server.places.here import StudioSettings
from tests.support.server import DotEngine, make_studio, offer, portrait_picture, running


@pytest.fixture(scope="module")
def server():
    with running(make_studio(StudioSettings(Limits(sessions=8, requests_per_s=1000)))) as server:
        yield server


@pytest.fixture
def session(http):
    answer = http.post("/api/sessions", json={"sdp": offer(), "type": "offer"})
    assert answer.status_code == 201, answer.text
    id = answer.json()["id"]
    yield id
    http.delete(f"/api/sessions/{id}")


def png(image=None, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(portrait_picture() if image is None else image).save(out, "PNG", **options)
    return out.getvalue()


def test_health_and_metrics(http):
    health = http.get("/api/health").json()
    assert health["status"] == "ok"
    assert health["max_sessions"] == 8
    metrics = http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "avatar_sessions 0.0" in metrics.text


def test_an_offer_is_answered_and_the_session_ends_when_told(http, server):
    made, closed = DotEngine.made, DotEngine.closed
    answer = http.post("/api/sessions", json={"sdp": offer(), "type": "offer"})
    assert answer.status_code == 201
    body = answer.json()
    assert body["type"] == "answer"
    assert body["sdp"].startswith("v=0")
    assert "x-google-start-bitrate=1500" in body["sdp"]
    assert "127.0.0.1" in body["sdp"]
    assert answer.headers["location"] == f"/api/sessions/{body['id']}"
    assert http.get(f"/api/sessions/{body['id']}").json()["state"]["source"] == "camera"
    assert http.delete(f"/api/sessions/{body['id']}").status_code == 204
    assert http.delete(f"/api/sessions/{body['id']}").status_code == 404
    assert http.get(f"/api/sessions/{body['id']}").status_code == 404
    assert (DotEngine.made - made, DotEngine.closed - closed) == (1, 1)


def test_an_offer_without_a_camera_gets_the_sample(http):
    answer = http.post("/api/sessions", json={"sdp": offer("recvonly")}).json()
    assert http.get(f"/api/sessions/{answer['id']}").json()["state"]["source"] == "sample"
    http.delete(f"/api/sessions/{answer['id']}")


def test_control_over_http(http, session):
    url = f"/api/sessions/{session}/control"
    state = http.post(url, json={"type": "set_edits", "values": {"glow": 0.5}}).json()
    assert state["edits"] == {"glow": 0.5}
    assert http.post(url, json={"type": "reset_edits"}).json()["edits"] == {}
    assert http.post(url, json={"type": "ping", "t": 4.5}).json() == {"type": "pong", "t": 4.5}
    wrong = http.post(url, json={"type": "set_edits", "values": {"glwo": 0.5}})
    assert wrong.status_code == 404
    assert "Did you mean 'glow'" in wrong.json()["detail"]
    assert http.post(url, json={"type": "set_edits", "values": {"glow": 99}}).status_code == 400
    assert http.post(url, json={"type": "portrait", "id": "nobody"}).status_code == 404
    assert http.post(url, json={"type": "dance"}).status_code == 422


def test_a_portrait_needs_consent_and_is_made_anew(http, session):
    url = f"/api/sessions/{session}/portraits"
    send = {"content": png(), "headers": {"content-type": "image/png"}}
    assert http.post(url, **send).status_code == 403
    answer = http.post(url, params={"consent": "true", "title": "Me"}, **send)
    assert answer.status_code == 201, answer.text
    info = answer.json()
    assert info["uploaded"]
    assert info["title"] == "Me"
    small = http.get(info["image"])
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.content)).size == (192, 192)
    hello = http.get(f"/api/sessions/{session}").json()
    assert hello["state"]["portrait"] == info["id"]
    assert http.delete(f"{url}/{info['id']}").status_code == 204
    assert http.get(info["image"]).status_code == 404
    assert http.delete(f"{url}/first").status_code == 404  # a shared one is not its to remove


def test_an_uploaded_portrait_belongs_to_its_session_alone(http, session):
    url = f"/api/sessions/{session}/portraits"
    info = http.post(url, params={"consent": "true"}, content=png(), headers={"content-type": "image/png"}).json()
    other = http.post("/api/sessions", json={"sdp": offer()}).json()["id"]
    assert info["id"] not in json.dumps(http.get(f"/api/sessions/{other}").json())
    assert http.get(f"/api/sessions/{other}/portraits/{info['id']}.jpg").status_code == 404
    command = {"type": "portrait", "id": info["id"]}
    assert http.post(f"/api/sessions/{other}/control", json=command).status_code == 404
    http.delete(f"/api/sessions/{other}")


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"not a picture", "image/png", "not a PNG, JPEG, WebP, GIF"),
        (png()[:800], "image/png", "damaged"),
        (png(np.zeros((8, 8, 3), np.uint8)), "image/png", "too few"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", "not a PNG, JPEG, WebP, GIF"),
        (png(np.full((100, 100, 3), 128, np.uint8)), "image/png", "no face"),
    ],
)
@pytest.mark.hostile
def test_bad_pictures_are_refused_with_a_sentence(http, session, body, kind, says):
    before = http.get(f"/api/sessions/{session}").json()["state"]["portrait"]
    headers = {"content-type": kind}
    answer = http.post(
        f"/api/sessions/{session}/portraits", params={"consent": "true"}, content=body, headers=headers
    )
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert http.get(f"/api/sessions/{session}").json()["state"]["portrait"] == before


@pytest.mark.hostile
def test_a_decompression_bomb_is_refused_by_its_header(http, session):
    bomb = png(np.zeros((6000, 6000, 3), np.uint8))
    header = struct.pack(">4sII", b"IHDR", 60_000, 60_000) + bomb[24:29]  # the same, said to be much larger
    worse = bomb[:12] + header + struct.pack(">I", zlib.crc32(header)) + bomb[33:]
    for data in (bomb, worse):
        assert len(data) < 200_000
        headers = {"content-type": "image/png"}
        answer = http.post(
            f"/api/sessions/{session}/portraits", params={"consent": "true"}, content=data, headers=headers
        )
        assert answer.status_code == 400
        assert "too many" in answer.json()["detail"]


@pytest.mark.hostile
def test_sizes_and_types_are_checked(http, session):
    url = f"/api/sessions/{session}/portraits"
    assert (
        http.post(url, params={"consent": "true"}, content=b"x", headers={"content-type": "text/html"}).status_code
        == 415
    )
    too_large = http.post(
        url, params={"consent": "true"}, content=bytes(13 << 20), headers={"content-type": "image/png"}
    )
    assert too_large.status_code == 413

    def trickle():
        for _ in range(40):
            yield bytes(1024)

    assert http.post("/api/sessions", content=trickle()).status_code == 413  # no Content-Length to look at
    assert http.post("/api/sessions", json={"sdp": "v=0\r\n" + "a=x\r\n" * 9000}).status_code in {413, 422}


@pytest.mark.parametrize(
    "sdp",
    [
        "hello",
        "v=0\r\n",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n",
        "v=0\r\nm=video 9 X 96\r\na=fingerprint:sha-256 AA\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n",
        "v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 20,
    ],
)
@pytest.mark.hostile
def test_what_is_no_offer_is_refused_and_leaves_no_session(http, server, sdp):
    answer = http.post("/api/sessions", json={"sdp": sdp})
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert server.studio.sessions == {}


def test_vp9_alone_cannot_be_answered(http):
    only = offer().replace("VP8/90000", "VP9/90000").replace("H264/90000", "VP9/90000")
    answer = http.post("/api/sessions", json={"sdp": only})
    assert answer.status_code == 400
    assert "codec" in answer.json()["detail"]


@pytest.mark.hostile
def test_other_hosts_and_origins_are_turned_away(http, server):
    assert http.get("/api/health", headers={"host": "evil.example"}).status_code == 403
    assert http.get("/api/health", headers={"origin": "http://evil.example"}).status_code == 403
    assert http.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    assert http.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    own = http.get("/api/health", headers={"origin": server.url})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    preflight = http.options(
        "/api/sessions", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert preflight.status_code == 403


def test_pages_answer_to_head_as_to_get(http):
    for path in ("/", "/app/main.js", "/view/x", "/favicon.ico"):
        head = http.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert int(head.headers["content-length"]) == len(http.get(path).content)


def test_every_answer_carries_the_security_headers(http):
    for path in ("/", "/app/main.js", "/api/health", "/nothing", "/view/x"):
        headers = http.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/%2e%2e/pyproject.toml", "/etc/passwd", "style.css/../../x"]
)
@pytest.mark.hostile
def test_no_other_file_can_be_read(http, path):
    assert http.get(f"/app/{path}").status_code == 404


@pytest.mark.hostile
def test_a_token_is_demanded_and_moves_from_the_link_into_a_cookie():
    policy = Policy.for_host("0.0.0.0", token="a-token-of-some-length")
    with running(make_studio(), policy) as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/api/health").status_code == 200
        for path in ("/", "/app/main.js", "/metrics", "/openapi.json", "/api/config"):
            refused = http.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        assert http.post("/api/sessions", json={"sdp": offer()}).status_code == 401
        assert http.get("/metrics", headers={"authorization": "Bearer a-token-of-some-length"}).status_code == 200
        opened = http.get("/view/x?token=a-token-of-some-length&background=green")
        assert opened.status_code == 303
        assert opened.headers["location"] == "/view/x?background=green"
        assert "HttpOnly" in opened.headers["set-cookie"]
        assert "SameSite=Strict" in opened.headers["set-cookie"]
        assert http.get("/metrics").status_code == 200  # by the cookie
        for elsewhere in ("/%2Fevil.example", "/%5Cevil.example", "/%2F%5C%2Fevil.example"):
            redirect = http.get(f"{elsewhere}?token=a-token-of-some-length").headers["location"]
            assert redirect == "/evil.example"


def test_who_opens_a_page_without_the_token_reads_what_to_do_and_programs_get_json():
    policy = Policy.for_host("0.0.0.0", token="a-token-of-some-length")
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with running(make_studio(), policy) as server, httpx.Client(base_url=server.url) as http:
        for address, says in (("/", "is private"), ("/view/x?token=wrong", "not the one")):
            page = http.get(address, headers=browser)
            assert page.status_code == 401
            assert page.headers["content-type"].startswith("text/html")
            assert says in page.text
            assert 'name="token"' in page.text
            assert HEADERS.items() <= {name: page.headers.get(name) for name in HEADERS}.items()
            assert http.get(address).json()["detail"]
        assert http.get("/api/config", headers=browser).json()["detail"]
        assert http.post("/api/sessions", headers=browser).json()["detail"]
        elsewhere = http.get("/", headers={**browser, "host": "evil.example"})
        assert elsewhere.status_code == 403
        assert "--allow-host" in elsewhere.text
        assert "token" not in elsewhere.text


def test_a_token_may_hold_any_characters_and_what_stands_beside_it_stays():
    policy = Policy.for_host("0.0.0.0", token='mEL+/Zx; "é&%41=#')
    with running(make_studio(), policy) as server, httpx.Client(base_url=server.url) as http:
        opened = http.get(policy.link("127.0.0.1", server.port) + "&note=a%20%26+b")
        assert opened.status_code == 303
        assert opened.headers["location"] == "/?note=a+%26+b"
        assert http.get("/metrics").status_code == 200  # by the cookie
        assert http.get("/metrics", headers={"cookie": "avatar_token=mEL"}).status_code == 401


@pytest.mark.hostile
def test_a_full_server_answers_503_and_says_when():
    with (
        running(make_studio(StudioSettings(Limits(sessions=1)))) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        first = http.post("/api/sessions", json={"sdp": offer()}).json()["id"]
        full = http.post("/api/sessions", json={"sdp": offer()})
        assert full.status_code == 503
        assert 1 <= int(full.headers["retry-after"]) <= 60
        http.delete(f"/api/sessions/{first}")
        assert http.post("/api/sessions", json={"sdp": offer()}).status_code == 201


@pytest.mark.hostile
def test_requests_are_counted_per_address():
    settings = StudioSettings(Limits(sessions=50, requests_per_s=1))
    with running(make_studio(settings)) as server, httpx.Client(base_url=server.url) as http:
        codes = [http.post("/api/sessions", json={"sdp": "nonsense"}).status_code for _ in range(6)]
        assert codes[:3] == [400, 400, 400]
        assert 429 in codes


@pytest.mark.hostile
def test_sessions_that_never_connect_are_freed():
    with (
        running(make_studio(StudioSettings(Limits(connect_s=0.2)))) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        id = http.post("/api/sessions", json={"sdp": offer()}).json()["id"]
        for _ in range(60):
            if http.get("/api/health").json()["sessions"] == 0:
                break
            server.wait(0.1)
        assert server.studio.sessions == {}
        assert http.get(f"/api/sessions/{id}").status_code == 404
        assert 'avatar_sessions_ended_total{reason="never_connected"} 1.0' in http.get("/metrics").text


def test_an_engine_that_cannot_start_is_told_and_holds_no_place():
    def broken():
        from realtime.errors import EngineError

        raise EngineError("mesh", "no memory left")

    with running(make_studio(engine=broken)) as server, httpx.Client(base_url=server.url) as http:
        answer = http.post("/api/sessions", json={"sdp": offer()})
        assert answer.status_code == 503
        assert "no memory left" in answer.json()["detail"]
        assert http.get("/api/health").json()["sessions"] == 0
        assert server.studio.book.entries == {}


def test_a_portrait_that_is_not_ready_in_time_is_answered_503_with_a_sentence(http, server, session, monkeypatch):
    monkeypatch.setattr("realtime.server.hosting.gallery.PATIENCE", 0.05)
    gate = threading.Event()
    server.studio.pool.aside.submit(gate.wait, 20)
    try:
        answer = http.post(
            f"/api/sessions/{session}/portraits?consent=true", content=png(), headers={"content-type": "image/png"}
        )
    finally:
        gate.set()
    assert answer.status_code == 503
    assert "server is busy" in answer.json()["detail"]
    assert answer.headers["retry-after"]

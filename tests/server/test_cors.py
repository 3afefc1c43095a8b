"""Pages and players of other origins, where they are allowed; OPTIONS and PATCH as WHIP has them (RFC 9725)."""

from __future__ import annotations

import re

import httpx
import pytest

from realtime.errors import BadValue
from realtime.server.common.limits import Limits
from realtime.server.http.security import Policy, exact_origin
from realtime.server.places.here import StudioSettings
from realtime.server.rtc.sdp import BadOffer
from realtime.server.rtc.trickle import parse_fragment
from tests.support.fake_place import FakePlace
from tests.support.peers import Client, Spot, until
from tests.support.server import make_studio, offer, running

PLAYER = "https://player.example"
TOKEN = "a-token-of-some-length"
BEARER = {"authorization": f"Bearer {TOKEN}"}
SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}
ASKS = {"origin": PLAYER, "access-control-request-method": "POST"}


@pytest.fixture(scope="module")
def server():
    settings = StudioSettings(Limits(requests_per_s=1000))
    policy = Policy.for_host("127.0.0.1", TOKEN, origins=frozenset({f"{PLAYER}/"}))
    with running(make_studio(settings), policy) as server:
        yield server


@pytest.mark.parametrize(
    "path", ["/whip", "/whip/x", "/whep/x", "/whep/x/y", "/api/sessions", "/api/sessions/x/control", "/api/health"]
)
def test_a_browser_may_ask_without_the_token(http, path):
    answer = http.options(path, headers=ASKS)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == PLAYER
    assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert {"Authorization", "Content-Type", "If-Match"} <= set(
        answer.headers["access-control-allow-headers"].split(", ")
    )
    assert answer.headers["vary"] == "Origin"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_only_named_origins_are_let_in(http):
    for origin in ("https://evil.example", "http://player.example", f"{PLAYER}.evil.example", "null"):
        answer = http.options("/whip", headers={**ASKS, "origin": origin})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert http.get("/api/health", headers={"origin": origin}).status_code == 403
    own = http.get("/api/health", headers={"origin": str(http.base_url).rstrip("/")})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    rebound = http.options("/whip", headers={**ASKS, "host": "evil.example"})
    assert rebound.status_code == 403


def test_a_preflight_opens_nothing_by_itself(http):
    assert http.options("/whip", headers={"origin": PLAYER}).status_code == 401  # no preflight: an OPTIONS request
    refused = http.post("/whep/x", content="", headers={"origin": PLAYER, **SDP})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PLAYER  # so that the page can read why


def test_a_page_of_a_named_origin_reads_what_whip_answers(http):
    answer = http.post("/whip", content=offer("sendonly"), headers={"origin": PLAYER, **SDP, **BEARER})
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == PLAYER
    assert {"Location", "Link", "ETag"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert re.fullmatch(r'"[\w-]+"', answer.headers["etag"])
    assert http.delete(answer.headers["location"], headers={"origin": PLAYER, **BEARER}).status_code == 200


def test_ice_servers_are_named_in_links():
    place = FakePlace()
    place.ice_servers = ({"urls": "turn:t.example:3478", "username": "me", "credential": "secret"},)
    with running(place) as server:
        answer = httpx.post(f"{server.url}/whip", content=offer("sendonly"), headers=SDP)
    assert '<turn:t.example:3478>; rel="ice-server"; username="me"; credential="secret"' in answer.headers["link"]
    assert answer.headers["etag"] == '"ice"'


def test_options_say_what_may_be_sent(http):
    for path in ("/whip", "/whep/x"):
        answer = http.options(path, headers=BEARER)
        assert answer.status_code == 200
        assert answer.headers["accept-post"] == "application/sdp"
    for path in ("/whip/x", "/whep/x/y"):
        assert http.options(path, headers=BEARER).headers["accept-patch"] == FRAGMENT["content-type"]


def test_later_candidates_are_taken_refused_or_too_many(http):
    text = offer("sendonly")
    ufrag = re.search(r"a=ice-ufrag:(\S+)", text)[1]
    candidate = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
    fragment = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:x\r\nm=video 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}\r\n"
    published = http.post("/whip", content=text, headers={**SDP, **BEARER})
    url, head = published.headers["location"], {**FRAGMENT, **BEARER}
    match = {**head, "if-match": published.headers["etag"]}
    taken = http.patch(url, content=fragment, headers=match)
    assert (taken.status_code, taken.content) == (204, b"")
    assert http.patch(url, content=fragment, headers=head).status_code == 428
    assert http.patch(url, content=fragment, headers={**head, "if-match": '"other"'}).status_code == 412
    assert http.patch(url, content=fragment, headers={**head, "if-match": "*"}).status_code == 422
    assert http.patch(url, content=fragment.replace(ufrag, "another"), headers=match).status_code == 422
    assert http.patch(url, content=fragment, headers={**match, **SDP}).status_code == 415
    assert http.patch(url, content="hello", headers=match).status_code == 400
    assert http.patch(url, content=fragment.replace("udp 2", "udp"), headers=match).status_code == 400
    flood = http.patch(url, content=fragment + f"{candidate}\r\n" * 40, headers=match)
    assert flood.status_code == 400
    assert "at most" in flood.json()["detail"]
    assert http.patch(url + "x", content=fragment, headers=match).status_code == 404
    http.delete(url, headers=BEARER)


async def test_a_viewer_whose_candidates_come_later_sees_the_avatar(server):
    publisher, viewer = Client(Spot(0.3), "sendonly"), Client(None, "recvonly")
    link = ""
    async with httpx.AsyncClient(base_url=server.url, headers=BEARER, timeout=30) as http:
        for client, path in ((publisher, "/whip"), (viewer, "/whep/")):
            whole = await client.offer(control=False)
            later = [line for line in whole.splitlines() if line.startswith(("a=candidate", "a=end-of"))]
            bare = "".join(f"{line}\r\n" for line in whole.splitlines() if line not in later)
            answer = await http.post(f"{path}{link}", content=bare, headers=SDP)
            assert answer.status_code == 201
            link = answer.headers["link"].partition(">")[0].rpartition("/")[2]
            await client.accept(answer.text)
            ufrag = re.search(r"a=ice-ufrag:\S+", whole)[0]
            fragment = "\r\n".join([ufrag, "m=video 9 RTP/AVP 0", "a=mid:0", *later, ""])
            patched = await http.patch(
                answer.headers["location"],
                content=fragment,
                headers={**FRAGMENT, "if-match": answer.headers["etag"]},
            )
            assert patched.status_code == 204
        await until(lambda: viewer.count > 5)
        await viewer.close()
        await publisher.close()


def test_fragments_are_read():
    fragment = parse_fragment("a=ice-ufrag:u\r\nm=audio\r\na=mid:1\r\na=candidate:x y\r\na=end-of-candidates\r\n")
    assert fragment.candidates == (("1", "x y"),)
    assert (fragment.end, fragment.ufrag) == (True, "u")
    for text in ("", "hello", "v=0\r\n"):
        with pytest.raises(BadOffer):
            parse_fragment(text)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Example.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:8080", "http://example.org:8080"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_origins_are_meant_as_browsers_send_them(given, origin):
    assert exact_origin(given) == origin


@pytest.mark.parametrize("wrong", ["example.org", "*", "null", "https://example.org/page", "https://a:b", "ftp://a"])
def test_what_is_no_origin_is_told_at_start(wrong):
    with pytest.raises(BadValue, match="--allow-origin"):
        Policy.for_host("127.0.0.1", origins=frozenset({wrong}))

"""Hundreds of connections that say little or nothing: others get in all the same."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import connect

from realtime.errors import BadValue
from realtime.server.common.limits import Limits, caller_of
from realtime.server.http.connections import ConnectionBook, Sparing
from realtime.server.http.door import client_of
from realtime.server.http.guard import Guard
from realtime.server.http.security import Policy
from realtime.server.places.here import StudioSettings
from realtime.server.serving import allow_many_files, self_signed, server_config
from tests.support import until
from tests.support.fake_place import FakePlace
from tests.support.server import make_studio, running

pytestmark = pytest.mark.hostile

FEW = Limits(connections=100, connections_each=40, head_s=0.5, write_s=0.5, requests_per_s=1000)
UNHURRIED = replace(FEW, head_s=1.5)


@contextlib.contextmanager
def sockets(port: int, count: int, first: bytes = b"", source: str = "127.0.0.1"):
    """So many connections that have sent `first`."""
    allow_many_files()
    held = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
            sock.sendall(first)
            held.append(sock)
        yield held
    finally:
        for sock in held:
            sock.close()


def answer_of(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    sock.settimeout(10)
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(4096):
            data += more
    return data


def well(server) -> bool:
    return httpx.get(f"{server.url}/api/health", timeout=10).status_code == 200


@pytest.mark.parametrize("first", [b"", b"GET /api/health HTTP/1.1\r\nHost: 127", b"G"])
def test_hundreds_of_silent_connections_keep_nobody_out(first):
    limits = Limits(connections=300, head_s=60)
    with running(FakePlace(limits)) as server, contextlib.ExitStack() as stack:
        for n in range(9):  # of nine addresses, 62 each
            stack.enter_context(sockets(server.port, 62, first, f"127.0.0.{n + 2}"))
        assert all(well(server) for _ in range(10))


def test_one_address_holds_its_share_and_no_more():
    with running(FakePlace(Limits(head_s=60))) as server, sockets(server.port, 530) as held:
        assert well(server)
        held[0].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert held[0].recv(1) == b""  # the oldest idle one made room
        held[-1].sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in answer_of(held[-1])


@pytest.mark.parametrize(
    ("first", "says"),
    [(b"", b""), (b"GET /api/health HTTP/1.1\r\nHost: 127", b"408"), (b"GET / HTTP/1.1\r\nHost: a\r\n", b"408")],
)
def test_a_head_that_does_not_come_is_not_waited_for(first, says):
    with running(FakePlace(FEW)) as server, sockets(server.port, 1, first) as (sock,):
        assert says in answer_of(sock)


def test_trickling_does_not_prolong_the_deadline():
    with running(FakePlace(FEW)) as server, sockets(server.port, 1) as (sock,):
        sock.settimeout(0.05)
        data = b""
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 400:
                sock.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    data += sock.recv(4096)
                if data:
                    break
        assert b"408" in data


def test_a_connection_that_is_used_again_has_a_new_deadline():
    with running(FakePlace(UNHURRIED)) as server, httpx.Client(base_url=server.url) as http:
        for _ in range(7):
            assert http.get("/api/health").status_code == 200
            server.wait(0.5)  # twice as long as a head may take, all in all
        with sockets(server.port, 1, b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as (sock,):
            data = answer_of(sock)  # closed when no second request comes
            assert data.startswith(b"HTTP/1.1 200")
            assert b"408" not in data


class Slow(FakePlace):
    """Its health takes until it is told."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.go = asyncio.Event()

    async def health(self):
        await self.go.wait()
        return await super().health()


def test_where_all_are_busy_one_more_is_told_to_come_back(caplog):
    place = Slow(Limits(connections=20, connections_each=20))
    request = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with running(place) as server, sockets(server.port, 20, request) as held:
        book = server._server.config.http_protocol_class.shared.book
        until(lambda: len(book) == 20 and all(entry.idle_since is None for entry in list(book._of.values())))
        for _ in range(5):
            full = httpx.get(f"{server.url}/app/main.js")
            assert full.status_code == 503
            assert full.headers["retry-after"] == "5"
            assert full.headers["x-content-type-options"] == "nosniff"
        server.call(place.go.set)
        assert all(b"200 OK" in answer_of(sock) for sock in held)
        assert len(book) <= 1
    assert 1 <= len([record for record in caplog.records if "turned away" in record.message]) <= 3


def test_who_does_not_read_is_hung_up_on():
    class Endless(FakePlace):
        async def pictures(self, key):
            async def many():
                try:
                    while True:
                        yield bytes(1 << 16)
                        await asyncio.sleep(0)
                finally:
                    ended.append(True)

            return many()

    ended: list[bool] = []
    asked = b"GET /api/sessions/x/preview HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running(Endless(FEW)) as server, sockets(server.port, 1, asked):
        until(lambda: ended)


def test_web_sockets_give_their_places_back():
    with running(make_studio(StudioSettings(FEW))) as server:
        book = server._server.config.http_protocol_class.shared.book
        for _ in range(3):
            with connect(f"ws://127.0.0.1:{server.port}/api/motion", proxy=None) as client:
                client.recv()
                assert len(book) == 1
        until(lambda: len(book) == 0)


def test_garbage_gets_an_answer_with_headers_and_few_lines(caplog):
    with running(FakePlace(FEW)) as server:
        for _ in range(40):
            with sockets(server.port, 1, b"GARBAGE\r\n\r\n") as (sock,):
                said = answer_of(sock)
                assert said.startswith(b"HTTP/1.1 400")
                assert b"nosniff" in said
    lines = [record for record in caplog.records if "Invalid HTTP" in record.message]
    assert len(lines) < 20


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["open", "busy", "idle", "close"]))))
def test_the_book_never_holds_more_than_it_may(events):
    book, open_ = ConnectionBook(most=5, each=3), []
    for now, (address, what) in enumerate(events):
        if what == "open":
            stays, shed = book.admit(now, address, float(now))
            if shed is not None:
                assert shed in [key for key, _ in open_]
                open_ = [pair for pair in open_ if pair[0] != shed]
            if stays:
                open_.append((now, address))
        elif open_:
            key = open_[0][0]
            if what == "close":
                book.leave(key)
                open_ = open_[1:]
            else:
                book.busy(key) if what == "busy" else book.idle(key, float(now))
        assert len(book) == len(open_) <= 5
        assert all([a for _, a in open_].count(each) <= 3 for each in "abc")


def test_the_longest_idle_of_the_greediest_goes_first():
    book = ConnectionBook(most=4, each=9)
    for key, address in enumerate("abaa"):
        assert book.admit(key, address, float(key)) == (True, None)
    book.busy(0)
    assert book.admit(9, "c", 9.0) == (True, 2)  # 0 is busy, 2 the next of "a"
    for key in (1, 3, 9):
        book.busy(key)
    assert book.admit(10, "d", 10.0) == (False, None)


def test_tls_handshakes_that_never_end_keep_nobody_out():
    with (
        self_signed("127.0.0.1") as tls,
        running(FakePlace(Limits(head_s=60)), tls=tls) as server,
        sockets(server.port, 200) as silent,
    ):
        with httpx.Client(base_url=server.url, verify=False) as http:
            assert all(http.get("/api/health").status_code == 200 for _ in range(3))
        silent[0].settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b""  # the oldest one made room
        silent[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)
        assert len(server._socket._book) <= 64


@pytest.mark.parametrize("first", [b"", bytes.fromhex("1603010100")])
def test_a_tls_handshake_has_a_deadline(first):
    with self_signed("127.0.0.1") as tls, running(FakePlace(UNHURRIED), tls=tls) as server:
        with sockets(server.port, 1, first) as (sock,):
            assert answer_of(sock) == b""
        with httpx.Client(base_url=server.url, verify=False) as http:
            for _ in range(4):
                assert http.get("/api/health").status_code == 200
                server.wait(0.5)  # longer than a handshake may take, all in all
        until(lambda: len(server._socket._book) == 0)


@pytest.mark.parametrize(
    ("address", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::5%eth0", "fe80::5%eth0"),  # neighbours on one cable
        ("", ""),
    ],
)
def test_one_network_of_ipv6_is_one_caller(address, caller):
    assert caller_of(address) == caller


def test_who_has_a_network_of_ipv6_holds_the_share_of_one():
    book = ConnectionBook(most=10, each=3)
    answers = [book.admit(n, f"2001:db8::{n:x}", float(n)) for n in range(5)]
    assert answers == [(True, None)] * 3 + [(True, 0), (True, 1)]
    assert book.admit(5, "2001:db8:0:1::1", 5.0) == (True, None)  # a neighbour


async def test_all_limits_of_one_address_see_one_network():
    """Attempts with wrong tokens, offers, uploads: what is counted is what `client_of` and the guard make of it."""
    answered = []

    async def ask(number: int, path: bytes = b"") -> int:
        scope = {
            "type": "http", "method": "GET", "path": "/metrics", "raw_path": b"/metrics", "query_string": path,
            "headers": [(b"host", b"127.0.0.1")], "client": (f"2001:db8::{number:x}", 5), "scheme": "http",
        }  # fmt: skip

        async def send(message):
            if message["type"] == "http.response.start":
                answered.append(message["status"])

        await guard(scope, None, send)
        return answered[-1]

    guard = Guard(None, Policy.for_host("0.0.0.0", token="a-token-of-some-length"), Limits())
    for n in range(20):
        await ask(n, b"token=wrong")
    assert answered[0] == 401
    assert answered[-1] == 429
    assert client_of(SimpleNamespace(client=SimpleNamespace(host="2001:db8::99"))) == "2001:db8::/64"


def test_who_is_refused_costs_one_look_at_each():
    class Counted(dict):
        looks = 0

        def items(self):
            for pair in super().items():
                Counted.looks += 1
                yield pair

    book = ConnectionBook(most=300, each=9)
    book._of = Counted()
    for n in range(300):
        book.admit(n, f"192.0.2.{n % 100}", float(n))
        book.busy(n)
    assert book.admit(300, "192.0.2.200", 300.0) == (False, None)
    assert Counted.looks <= 300


def test_a_proxy_is_exempt_from_the_share_of_an_address():
    book = ConnectionBook(most=10, each=2, exempt=lambda address: address == "proxy")
    assert [book.admit(n, "proxy", 0.0) for n in range(5)] == [(True, None)] * 5


def test_only_a_named_proxy_is_believed():
    forged = {"x-forwarded-for": "203.0.113.7"}
    few = Limits(requests_per_s=1, sessions=50)
    for proxies, codes in (((), {429}), (("127.0.0.1",), {400})):
        with running(FakePlace(few), proxies=proxies) as server, httpx.Client(base_url=server.url) as http:
            for n in range(8):  # each says that it comes from elsewhere
                forged["x-forwarded-for"] = f"203.0.113.{n}"
                last = http.post("/api/sessions", json={"sdp": "nonsense"}, headers=forged)
            assert last.status_code in codes, proxies


@pytest.mark.parametrize(("proxies", "secure"), [((), False), (("127.0.0.1",), True)])
def test_the_cookie_is_for_https_alone_where_a_named_proxy_says_so(proxies, secure):
    policy = Policy.for_host("0.0.0.0", token="a-token-of-some-length")
    with running(FakePlace(), policy, proxies=proxies) as server:
        opened = httpx.get(
            f"{server.url}/", params={"token": policy.token}, headers={"x-forwarded-proto": "https"}
        )  # fmt: skip
        assert opened.status_code == 303
        assert ("; Secure" in opened.headers["set-cookie"]) is secure


def test_a_proxy_is_an_address():
    with pytest.raises(BadValue, match="--behind-proxy"):
        server_config(None, Limits(), proxies=["my proxy"])


def test_few_lines_of_many_pass():
    sparing = Sparing(1.0, 3.0)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "again", None, None)
    record.created = 100.0
    assert [sparing.filter(record) for _ in range(5)] == [True, True, True, False, False]

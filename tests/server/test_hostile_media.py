"""Datagrams that nobody should send: to the media ports of a live session, from strangers and from its own peer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import threading
from types import SimpleNamespace

import httpx
import pytest
from aioice import ice, stun
from aiortc import rtp
from aiortc.rtp import RtcpByePacket, RtcpPsfbPacket, RtcpRtpfbPacket

from realtime.errors import DeviceError
from realtime.server.places import Offered, Wish
from realtime.server.places.here import StudioSettings
from realtime.server.rtc import guard
from realtime.server.rtc.addresses import ASKED, HostAddresses, Listening, can_listen, listening, resolved
from realtime.server.rtc.encoders import KEYS_AT_ONCE, KEYS_PER_S, SteadyVp8
from realtime.server.rtc.guard import STREAMS, GuardedConnection
from realtime.server.rtc.peer import RtcSettings
from tests.server.test_rtc import picture
from tests.support.peers import Client, Spot, until
from tests.support.server import make_offer, make_studio, offer, running

pytestmark = pytest.mark.hostile

MAGIC = struct.pack("!I", 0x2112A442)


def stun_message(kind: int, attributes: bytes = b"") -> bytes:
    return struct.pack("!HH", kind, len(attributes)) + MAGIC + os.urandom(12) + attributes


GARBAGE = {
    "empty": [b""],  # aiortc 1.16, rtcdtlstransport.py, RTCDtlsTransport._recv_next: first_byte = data[0]
    "one byte": [bytes([n]) for n in range(256)],
    "noise": [os.urandom(n % 1400) for n in range(200)],
    "stun": [
        stun_message(1),
        stun_message(1, struct.pack("!HH", 0x0006, 400)),
        stun_message(1, struct.pack("!HHB3x", 0x0024, 1, 7)),  # aioice, stun.py, unpack_unsigned: struct.error
        stun_message(1, struct.pack("!HHI", 0x8029, 4, 7)),
        stun_message(1, struct.pack("!HH4s", 0x0006, 4, b"\xff\xfe\xfd\xfc")),
        stun_message(0x0101),
        stun_message(0x0111, struct.pack("!HHHBB", 0x0009, 4, 0, 4, 1)),
        stun_message(0x3FFF),
    ],
    "dtls": [
        b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", 60) + os.urandom(60),
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00",  # a forged farewell
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",  # a forged fatal alert
        b"\x17\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x20" + os.urandom(32),
        b"\x14\xfe\xfd",
    ],
    "rtp": [b"\x80\x60" + os.urandom(n) for n in range(0, 60, 3)] + [b"\xbf\xff" + bytes(10)],
    "rtcp": [b"\x80" + bytes([kind]) + os.urandom(n) for kind in range(192, 209) for n in (0, 2, 6, 26)],
}


@contextlib.asynccontextmanager
async def session(server):
    """A client whose camera drives an avatar that it watches, and the server's end of its connection."""
    client = Client(Spot())
    try:
        async with httpx.AsyncClient(base_url=server.url) as http:
            id = await client.open(http)
        await until(lambda: client.count > 10)
        (peer,) = server.studio.sessions[id].peers
        yield SimpleNamespace(id=id, client=client, peer=peer, ice=transport(peer.pc).transport._connection)
    finally:
        await client.close()


def transport(pc):
    """The DTLS transport of a connection."""
    return pc.getTransceivers()[0].receiver.transport


async def goes_on(server, held, frames: int = 30) -> None:
    """Pictures go both ways, and it is the same connection."""
    seen, received = held.client.count, held.peer.performer.received
    await until(lambda: held.client.count > seen + frames and held.peer.performer.received > received + frames / 2)
    assert held.id in server.studio.sessions
    assert held.peer.pc.connectionState == "connected"


@pytest.mark.parametrize("kind", GARBAGE)
async def test_what_strangers_send_ends_no_session(kind, caplog):
    with running(make_studio()) as server:
        async with session(server) as held:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for _ in range(3):
                    for datagram in GARBAGE[kind]:
                        for candidate in held.ice.local_candidates:
                            stranger.sendto(datagram, (candidate.host, candidate.port))
                    await asyncio.sleep(0.05)
            await goes_on(server, held)
            assert held.ice._queue.qsize() < 10
    assert "Exception in callback" not in caplog.text


@pytest.mark.parametrize("kind", GARBAGE)
async def test_what_comes_from_the_peers_own_address_ends_no_session(kind, caplog):
    with running(make_studio()) as server:
        async with session(server) as held:
            connection = transport(held.client.pc).transport._connection
            pair = connection._nominated[1]
            port = pair.protocol.transport.get_extra_info("socket")
            for datagram in GARBAGE[kind]:
                port._sock.sendto(datagram, pair.remote_addr)  # asyncio's own sendto leaves out empty ones
            await goes_on(server, held)
    assert "Exception in callback" not in caplog.text


def psfb(fmt: int, ssrc: int, fci: bytes = b"") -> bytes:
    return bytes(RtcpPsfbPacket(fmt=fmt, ssrc=1, media_ssrc=ssrc, fci=fci))


def remb(bits: int, ssrc: int) -> bytes:
    return psfb(rtp.RTCP_PSFB_APP, 0, rtp.pack_remb_fci(bits, [ssrc]))


async def test_what_the_peer_itself_asks_for_has_limits():
    with running(make_studio()) as server:
        async with session(server) as held:
            (sender,) = (sender for sender in held.peer.pc.getSenders() if sender.kind == "video")
            encoder, wire = sender._RTCRtpSender__encoder, transport(held.client.pc)
            bad = psfb(rtp.RTCP_PSFB_APP, 0, b"REMB\xff\x00\x00\x01")  # says 255 streams, and names none
            lost = list(range(0, 0x8000, 17))
            demands = [
                psfb(rtp.RTCP_PSFB_PLI, sender._ssrc),
                psfb(rtp.RTCP_PSFB_FIR, sender._ssrc, struct.pack("!II", sender._ssrc, 0)),
                remb(0, sender._ssrc),
                remb(1 << 60, sender._ssrc),
                bad,
                bytes(RtcpRtpfbPacket(fmt=rtp.RTCP_RTPFB_NACK, ssrc=1, media_ssrc=sender._ssrc, lost=lost[:300])),
            ]
            opened, keys = encoder.opened, []
            made = type(encoder)._bytes

            def counted(frame, force_keyframe):
                data = made(encoder, frame, force_keyframe)
                keys.append(not data[0] & 1)
                return data

            encoder._bytes = counted
            before = held.client.count
            for _ in range(60):
                for demand in demands:
                    await wire._send_rtp(demand)
                await asyncio.sleep(1 / 30)
            await goes_on(server, held)
            assert encoder.opened - opened <= 2
            assert sum(keys) <= len(keys) / 4
            assert held.client.count - before > 40
            assert 20_000 < encoder.target_bitrate < 5_000_000


async def test_invented_streams_and_numbers_leave_a_session_that_can_end():
    with running(make_studio()) as server:
        async with session(server) as held:
            wire = transport(held.client.pc)
            for n in range(400):
                times = (n % 2) * 0xFFFFFFFF
                await wire._send_rtp(struct.pack("!BBHII", 0x80, 97, n, times, 0x1000 + n) + b"\x10\x00")
            await goes_on(server, held)
            assert len(transport(held.peer.pc)._rtp_router.ssrc_table) <= STREAMS
        await until(lambda: held.peer.pc.connectionState == "closed")
        await until(lambda: held.id not in server.studio.sessions, 15)


class Overflowing:
    """A report with a number of more than 32 bits."""

    def __bytes__(self) -> bytes:
        return struct.pack("!L", 1 << 33)


async def test_a_report_whose_numbers_do_not_fit_is_left_out():
    sent = []
    receiver = guard.GuardedReceiver("video", SimpleNamespace(state="new"))
    receiver._set_rtcp_ssrc(1)

    async def send(data):
        sent.append(data)

    receiver.setTransport(SimpleNamespace(_send_rtp=send))
    await receiver._send_rtcp(RtcpByePacket([1]))
    assert len(sent) == 1
    await receiver._send_rtcp(Overflowing())
    assert len(sent) == 1


def test_a_flood_of_requests_gives_few_key_frames_and_the_last_one_is_answered(monkeypatch):
    now = 0.0
    monkeypatch.setattr("realtime.server.rtc.encoders.time", SimpleNamespace(monotonic=lambda: now))
    encoder, keys = SteadyVp8(), []
    for n in range(60):
        now = n / 30
        keys.append(not encoder._bytes(picture(n), force_keyframe=n < 40)[0] & 1)
    assert keys[0]
    assert sum(keys) <= 1 + KEYS_AT_ONCE + 2 * KEYS_PER_S
    last = 39
    assert any(keys[last + 1 :])  # what was asked for too soon was not forgotten


# --- addresses


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Listening(("127.0.0.1",))),
        ("[::1]", Listening(("::1",))),
        ("localhost", Listening(("127.0.0.1",))),
        ("192.0.2.7", Listening(("192.0.2.7",))),
        ("0.0.0.0", Listening()),
        ("::", Listening()),
    ],
)
def test_media_listens_where_the_server_does(host, expected):
    if host == "localhost":
        expected = Listening((socket.getaddrinfo("localhost", 0, type=socket.SOCK_DGRAM)[0][4][0],))
    assert listening(resolved(host), offer() + "a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\n") == expected


async def test_a_name_is_asked_for_once_when_the_server_starts_and_not_for_each_offer(monkeypatch):
    asked, loop = [], asyncio.get_running_loop()
    original = socket.getaddrinfo

    def getaddrinfo(host, *rest, **more):
        if host == "avatar.example":
            asked.append(threading.current_thread())
            return original("127.0.0.1", *rest, **more)
        return original(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    studio = make_studio(StudioSettings(rtc=RtcSettings(host="avatar.example")))
    await studio.open()
    for _ in range(3):
        await studio.begin(Wish(), Offered(sdp=await make_offer(), publishes=True, watches=True))
    assert len(asked) == 1
    assert asked[0] is not threading.current_thread()  # the loop that serves everybody waits for no name server
    assert loop.is_running()
    await studio.close()


async def test_a_name_without_an_address_is_said_when_the_server_starts():
    studio = make_studio(StudioSettings(rtc=RtcSettings(host="no.such.name.invalid")))
    with pytest.raises(DeviceError, match=r"no\.such\.name\.invalid"):
        await studio.open()
    await studio.close()


def test_who_cannot_use_loopback_gets_the_other_addresses_behind_a_fence():
    firefox = re.sub(r"(?m)^a=candidate:.*\n", "", offer()).replace("127.0.0.1", "0.0.0.0")
    assert listening("127.0.0.1", firefox) == Listening(fenced=True)
    assert listening("192.0.2.7", firefox) == Listening(("192.0.2.7",))
    chromium = re.sub(r"(?m)^o=.*$", "o=- 4611731400430051336 2 IN IP4 127.0.0.1\r", firefox)
    assert listening("127.0.0.1", chromium) == Listening(("127.0.0.1",))


def test_only_addresses_of_this_machine_can_be_listened_at():
    assert can_listen("127.0.0.1")
    assert can_listen("0.0.0.0")
    assert not can_listen("198.51.100.7")
    assert not can_listen("no.such.name.invalid")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_the_ports_of_a_session_are_at_the_addresses_asked_for(host):
    with running(make_studio(StudioSettings(rtc=RtcSettings(host=host)))) as server:
        async with session(server) as held:
            hosts = {candidate.host for candidate in held.ice.local_candidates}
    assert isinstance(ice.get_host_addresses, HostAddresses)
    everything = set(ice.get_host_addresses(use_ipv4=True, use_ipv6=True))
    assert hosts == ({"127.0.0.1"} if host == "127.0.0.1" else everything & hosts)
    assert "127.0.0.1" in hosts
    assert host == "127.0.0.1" or len(hosts) == len([a for a in everything if can_listen(a)])


async def test_behind_the_fence_only_this_machine_is_heard():
    ASKED.set(Listening(fenced=True))
    guard.install()
    connection = GuardedConnection(ice_controlling=False)
    await connection.gather_candidates()
    try:
        protocol = connection._protocols[0]
        connection._known.add(("198.51.100.7", 5000))
        connection._known.add(("127.0.0.1", 5000))
        protocol.datagram_received(b"\x80\x60hello", ("198.51.100.7", 5000))
        assert connection._queue.empty()
        protocol.datagram_received(b"\x80\x60hello", ("127.0.0.1", 5000))
        assert connection._queue.qsize() == 1
    finally:
        ASKED.set(Listening())
        await connection.close()


# --- consent


class Silent:
    """A pair whose other end answers no check."""

    remote_addr = ("127.0.0.1", 9)
    component = 1

    def __init__(self) -> None:
        self.protocol = self
        self.asked = 0

    async def request(self, *_, **__):
        self.asked += 1
        raise stun.TransactionTimeout


async def consenting(monkeypatch, alive: bool) -> tuple[bool, int]:
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.005)
    connection, pair = GuardedConnection(ice_controlling=False), Silent()
    connection.remote_username, connection.remote_password = "user", "p" * 22
    connection._nominated[1] = pair
    task = asyncio.create_task(connection.query_consent())
    while pair.asked < 40 and not task.done():
        connection.heard += alive
        await asyncio.sleep(0.001)
    ended = task.done()
    await connection.close() if not ended else await task
    task.cancel()
    return ended, pair.asked


async def test_a_peer_that_answers_no_checks_but_sends_stays(monkeypatch):
    assert await consenting(monkeypatch, alive=True) == (False, 40)


async def test_a_peer_that_is_silent_goes(monkeypatch):
    assert await consenting(monkeypatch, alive=False) == (True, ice.CONSENT_FAILURES)

"""The bad network: what it drops, delays and limits, and a session that lives through it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from benchmarks.live.relay import CUT, Line, Path, Relay, alone, relayed
from tests.support.peers import Client, Spot, until
from tests.support.server import make_studio, offer, running

pytestmark = pytest.mark.hostile


def test_a_good_line_changes_nothing_and_a_cut_one_lets_nothing_pass():
    assert [Line().send(1000, t) for t in (0.0, 1.0)] == [0.0, 1.0]
    line = Line(CUT)
    assert [line.send(1000, float(t)) for t in range(100)] == [None] * 100
    assert (line.passed, line.dropped) == (0, 100)


def test_loss_is_as_often_as_said_and_the_same_each_time():
    lines = [Line(Path(loss=0.2), random.Random(5)) for _ in range(2)]
    first, second = ([line.send(100, t / 100) is None for t in range(5000)] for line in lines)
    assert first == second
    assert sum(first) / 5000 == pytest.approx(0.2, abs=0.02)


def test_delay_and_jitter_reorder_and_a_rate_makes_a_queue_that_overflows():
    line = Line(Path(delay_s=0.05, jitter_s=0.1))
    arrivals = [line.send(100, t / 1000) for t in range(100)]
    assert all(t / 1000 + 0.05 <= at <= t / 1000 + 0.15 for t, at in enumerate(arrivals))
    assert arrivals != sorted(arrivals)
    line = Line(Path(rate=80_000, queue_s=0.1))  # 10 datagrams of 1000 bytes a second
    arrivals = [line.send(1000, 0.0) for _ in range(4)]
    assert arrivals == [pytest.approx(0.1), pytest.approx(0.2), None, None]
    assert line.send(1000, 0.2) == pytest.approx(0.3)


async def test_datagrams_pass_both_ways():
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(data.upper(), addr)

    class Ask(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            heard.put_nowait(data)

    heard: asyncio.Queue = asyncio.Queue()
    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    async with Relay(echo.get_extra_info("sockname")) as relay:
        ask, _ = await loop.create_datagram_endpoint(Ask, remote_addr=relay.address)
        ask.sendto(b"hello")
        assert await asyncio.wait_for(heard.get(), 5) == b"HELLO"
        relay.down.path = CUT
        ask.sendto(b"hello")
        await until(lambda: relay.down.dropped == 1)
        assert heard.empty()
        ask.close()
    echo.close()


@asynccontextmanager
async def session(server) -> AsyncIterator[tuple]:
    """A client, the session's player and the relay between them, once pictures go both ways."""
    client = Client(Spot())
    try:
        async with httpx.AsyncClient(base_url=server.url) as http:
            asked = {"sdp": alone(await client.offer()), "type": "offer"}
            answer = (await http.post("/api/sessions", json=asked)).json()
        async with relayed(answer["sdp"]) as (through, relay):
            await client.accept(through)
            await until(lambda: client.count > 20)
            yield client, server.studio.sessions[answer["id"]].performer, relay
    finally:
        await client.close()


@pytest.mark.parametrize("trouble", [CUT, Path(loss=0.2), Path(delay_s=0.05, jitter_s=0.05, loss=0.02)])
async def test_pictures_go_both_ways_again_after_trouble(trouble):
    with running(make_studio()) as server:
        async with session(server) as (client, performer, relay):
            passed = relay.up.passed, relay.down.passed
            relay.up.path = relay.down.path = trouble
            await asyncio.sleep(1.5)
            if trouble is not CUT:
                await until(lambda: min(relay.up.passed - passed[0], relay.down.passed - passed[1]) > 20)
            relay.up.path = relay.down.path = Path()
            seen, received = client.count, performer.received
            await until(lambda: client.count > seen + 40 and performer.received > received + 40)


def test_a_description_alone_names_no_candidate():
    assert "a=candidate" in offer()
    assert "a=candidate" not in alone(offer())
    assert alone(offer()).count("m=") == offer().count("m=")

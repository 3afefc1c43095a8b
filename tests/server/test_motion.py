"""Motion codes in place of video: the socket, the client, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_info
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from realtime.clients.motion_client import MotionClient, motion_url, send_codes
from realtime.engines.mesh.motion.code import LENGTH
from realtime.errors import BadValue, ConnectionLost
from realtime.motion.track import MotionTrack
from realtime.motion.wire import BadPacket, Packet, pack, unpack
from realtime.server.common.limits import Limits
from realtime.server.http.security import Policy
from realtime.server.places.here import StudioSettings
from realtime.server.places.intake import MotionIntake
from realtime.types import MotionCode
from tests.support.peers import until
from tests.support.server import DotEngine, make_studio, running


@pytest.fixture(scope="module")
def server():
    with running(make_studio(StudioSettings(Limits(sessions=2, idle_s=0.3)))) as server:
        yield server


def code(x: float) -> MotionCode:
    return MotionCode("mesh", np.array([x, 0.0, 0.0], np.float32))


async def gone(server) -> None:
    await until(lambda: not server.studio.sessions)


async def test_codes_move_the_avatar(server):
    async with MotionClient(motion_url(server.url)) as client:
        performer = server.studio.sessions[client.hello["session"]].performer
        box = performer.watch()

        async def codes():
            for n in range(40):
                yield code(0.0 if n < 20 else 0.8), time.monotonic()
                await asyncio.sleep(0.02)

        indices = []

        async def look():
            while True:
                indices.append((await box.aget()).index)

        looking = asyncio.create_task(look())
        sent = await send_codes(client, codes())
        await until(lambda: performer.received == 40 and max(indices, default=0) > 30)
        looking.cancel()
        assert sent.packets == 40
        assert performer.source == "motion"
        box.close()
        assert client.view.startswith("/view/")
        assert client.hello["session"] not in client.view  # the id controls; the view's link does not
        await client.command(type="set_edits", values={"glow": 0.3})
        await until(lambda: performer.live.edits == {"glow": 0.3})
    await gone(server)


async def test_no_face_is_said_too(server):
    async with MotionClient(motion_url(server.url)) as client:
        performer = server.studio.sessions[client.hello["session"]].performer
        performer.watch()
        for n in range(10):
            await client.send(code(0.1) if n < 5 else None, time.monotonic())
            await asyncio.sleep(0.03)
        await until(lambda: performer.no_face >= 1 and performer.face != "tracking")
        assert performer.no_face <= 5
    await gone(server)


async def test_a_client_may_come_back_to_its_session(server):
    async with MotionClient(motion_url(server.url)) as client:
        id = client.hello["session"]
    async with MotionClient(motion_url(server.url, session=id)) as client:
        assert client.hello["session"] == id
    await gone(server)
    with pytest.raises(ConnectionLost, match="no such session"):
        async with MotionClient(motion_url(server.url, session=id)):
            pass


async def test_each_stage_of_a_session_uses_one_core(server):
    def threads() -> set[int]:
        return {cv2.getNumThreads(), *(p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas")}

    cv2.setNumThreads(2)
    for pool in ThreadpoolController().select(user_api="blas").lib_controllers:
        if hasattr(pool, "clear_controlling_thread"):  # Whoever set them before: this thread does now, and stays.
            pool.clear_controlling_thread(force=True)
        pool.set_num_threads(2)
    assert 2 in threads()
    async with MotionClient(motion_url(server.url)):
        seen = threads()
    await gone(server)
    assert seen == {1}


async def test_a_full_server_says_so(server):
    async with MotionClient(motion_url(server.url)), MotionClient(motion_url(server.url)):
        with pytest.raises(ConnectionLost, match="2 places are taken"):
            async with MotionClient(motion_url(server.url)):
                pass
    await gone(server)


@pytest.mark.hostile
async def test_what_is_no_packet_is_told_once_and_ends_the_connection_when_it_goes_on(server):
    async with connect(motion_url(server.url), proxy=None) as socket:
        await socket.recv()

        async def babble():
            for n in range(200):
                await socket.send(bytes([n % 256]) * (n % 250))
                await asyncio.sleep(0.01)

        with pytest.raises(ConnectionClosed):
            await babble()
    await gone(server)
    assert httpx.get(f"{server.url}/api/health").status_code == 200


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"type": "dance"}', '{"type": "set_edits", "values": {"glow": 1e999}}', "x" * 20000],
)
@pytest.mark.hostile
async def test_bad_control_messages_get_a_sentence(server, text):
    async with connect(motion_url(server.url), proxy=None) as socket:
        await socket.recv()
        await socket.send(text)
        answer = json.loads(await asyncio.wait_for(socket.recv(), 30))
        assert answer["type"] == "error"
        assert answer["error"]
    await gone(server)


@pytest.mark.hostile
async def test_pages_of_other_sites_cannot_open_the_socket(server):
    with pytest.raises(InvalidStatus):
        await connect(motion_url(server.url), origin="http://evil.example", proxy=None)
    with pytest.raises(InvalidStatus):
        await connect(motion_url(server.url), additional_headers={"Host": "evil.example"}, proxy=None)
    assert server.studio.sessions == {}


async def test_the_token_opens_the_socket():
    token = "a-token-of-some-length"
    with running(make_studio(), Policy.for_host("0.0.0.0", token=token)) as server:
        with pytest.raises(ConnectionLost, match="token"):
            async with MotionClient(motion_url(server.url)):
                pass
        async with MotionClient(motion_url(f"{server.url}/?token={token}")) as client:
            assert client.hello["engine"] == "mesh"


def test_intake_takes_the_newest_alone():
    intake = MotionIntake("mesh", 3, rate=100.0)

    def packet(n: int, captured: float) -> bytes:
        return pack(Packet("mesh", n, captured, np.array([n, 0, 0])))

    assert intake.take(packet(5, 1.0), now=100.0).arrived == pytest.approx(100.0)
    assert intake.take(packet(4, 0.97), now=100.01) is None
    late = intake.take(packet(6, 1.033), now=100.2)
    assert late.code.values[0] == 6
    assert late.arrived == pytest.approx(100.033, abs=0.001)  # when it was captured, on our clock: not when it came
    assert late.media == pytest.approx(1.033)
    with pytest.raises(BadPacket, match="takes mesh"):
        intake.take(pack(Packet("lia", 7, 1.1, np.zeros(3))), now=100.3)
    with pytest.raises(BadPacket, match="takes 3"):
        intake.take(pack(Packet("mesh", 7, 1.1, np.zeros(4))), now=100.3)
    assert intake.take(pack(Packet("mesh", 8, 1.2, None)), now=100.4).seen is False


def test_packets_of_an_earlier_release_drive_a_body_that_goes_along_with_the_head():
    data = (Path(__file__).parents[1] / "data" / "mesh" / "of-87-entries.packet").read_bytes()
    driven = MotionIntake("mesh", LENGTH, rate=100.0).take(data, now=100.0)
    assert len(unpack(data).values) == 87
    np.testing.assert_array_equal(driven.code.values[:87], unpack(data).values)
    np.testing.assert_array_equal(driven.code.values[87:], np.zeros(LENGTH - 87))


@pytest.mark.hostile
def test_intake_limits_the_rate():
    intake = MotionIntake("mesh", 1, rate=50.0)
    taken = sum(
        intake.take(pack(Packet("mesh", n, n / 1000, np.zeros(1))), now=n / 1000) is not None for n in range(1000)
    )
    assert taken == pytest.approx(150, abs=3)


def test_a_sender_that_is_interrupted_says_what_it_sent(server, tmp_path, capsys, monkeypatch):
    from realtime.cli import run
    from realtime.families import FAMILIES
    from tests.support import FAKE_FAMILY

    monkeypatch.setitem(FAMILIES, "fake", FAKE_FAMILY)
    track = MotionTrack.of_codes([code(n / 30) for n in range(30)], 30.0, DotEngine().directions)
    track.save(tmp_path / "dots.motion")
    received: list[int] = []

    def interrupt() -> None:
        while not received or max(received) < 3:
            received.extend(s.performer.received for s in list(server.studio.sessions.values()))
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    command = ["send", "--to", server.url, "--source", f"motion:{tmp_path / 'dots.motion'}", "--loop"]
    assert run([*command, "--engine", "fake", "--duration", "20"]) == 0
    waiting.join()
    assert re.search(r"\d+ codes sent", capsys.readouterr().err)


def test_addresses():
    assert motion_url("http://h:80/?token=abc") == "ws://h:80/api/motion?token=abc"
    assert motion_url("https://h/", session="s") == "wss://h/api/motion?session=s"
    assert motion_url("127.0.0.1:8000") == "ws://127.0.0.1:8000/api/motion"
    for bad in ("ftp://h", "ftp:/h", "http://h:port", "http://h:99999", "http://[::1", "http://", ""):
        with pytest.raises(BadValue):
            motion_url(bad)

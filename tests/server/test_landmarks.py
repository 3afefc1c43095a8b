"""Landmarks in place of video: over WebRTC, over the motion socket, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime.cli import run
from realtime.clients.motion_client import MotionClient, motion_url
from realtime.engines import ReadsLandmarks
from realtime.errors import ConnectionLost
from realtime.face.face_model import load_face_model
from realtime.media.portraits import builtin_portrait
from realtime.motion import landmark_wire
from realtime.server.common.limits import Limits
from realtime.server.places.here import StudioSettings
from realtime.server.places.intake import LandmarkIntake
from realtime.types import Landmarks, MotionCode
from tests.support.peers import Client, until
from tests.support.server import DotEngine, make_studio, running


class FaceDotEngine(DotEngine):
    """Its portrait turns with where the face's middle is in the frame."""

    def encode_landmarks(self, found: Landmarks) -> MotionCode | None:
        if found.points is None:
            return None
        x, y, _ = found.points.mean(axis=0) / (found.width, found.height, 1)
        return MotionCode(self.kind, np.array([2 * x - 1, 2 * y - 1, 0], np.float32))


@pytest.fixture(scope="module")
def server():
    limits = Limits(sessions=2, idle_s=0.3, grace_s=0.3, requests_per_s=1000)
    with running(make_studio(StudioSettings(limits), FaceDotEngine)) as server:
        yield server


def face(x: float, captured: float | None = None, seen: bool = True) -> Landmarks:
    """A face whose middle is at this share of the frame's width."""
    points = (load_face_model().mean * 200).astype(np.float32)
    points += np.array([640 * x, 240, 0], np.float32) - points.mean(axis=0)
    return Landmarks(points if seen else None, 640, 480, captured=time.monotonic() if captured is None else captured)


async def gone(server) -> None:
    await until(lambda: not server.studio.sessions, 15)


async def test_landmarks_over_webrtc_move_the_avatar_and_no_video_is_needed(server):
    client, writer, answers = Client(None, "recvonly"), landmark_wire.LandmarkWriter(), []
    channel = client.pc.createDataChannel("landmarks", ordered=False, maxRetransmits=0)
    channel.on("message", lambda text: answers.append(json.loads(text)))
    async with httpx.AsyncClient(base_url=server.url) as http:
        id = await client.open(http)
        await until(lambda: client.last("hello") and channel.readyState == "open")
        assert client.last("hello")["landmarks"] is True
        client.channel.send(json.dumps({"type": "source", "source": "landmarks"}))
        performer, differences = server.studio.sessions[id].performer, 0
        await until(lambda: performer.source == "landmarks")
        for n in range(1000):
            data = writer.pack(face(0.4 if n < 30 else 0.6))
            differences += data[3] > 0
            channel.send(data)
            await asyncio.sleep(0.03)
            if answers:
                assert set(answers[-1]) == {"type", "sequence"}
                writer.kept(answers[-1]["sequence"])
            if n >= 60 and differences > 40:
                break
        await until(lambda: performer.received >= 0.9 * n)  # the channel may lose some
        assert performer.face == "tracking"
        assert differences > 40
        assert performer._driving._driver.neutral.values[0] == pytest.approx(-0.2, abs=0.1)
        assert client.last("state")["source"] == "landmarks"
        client.channel.send(json.dumps({"type": "source", "source": "sample"}))
        await until(lambda: performer.source == "sample")
        dropped, received = performer.dropped, performer.received
        channel.send(writer.pack(face(0.6)))
        await until(lambda: performer.received > received)
        assert performer.source == "sample"
        assert performer.dropped == dropped
        await client.close()
    await gone(server)


async def test_python_clients_send_landmarks_over_the_socket(server):
    sizes = []
    async with MotionClient(motion_url(server.url)) as client:
        performer = server.studio.sessions[client.hello["session"]].performer
        box = performer.watch()
        assert client.hello["landmarks"]
        await client.send(MotionCode("mesh", np.zeros(3, np.float32)), time.monotonic())
        await until(lambda: performer.received == 1)
        assert performer.source == "motion"

        async def send(seen: bool) -> None:
            before = client.sent.bytes
            await client.send_landmarks(face(0.3 + len(sizes) % 30 / 100, seen=seen))
            sizes.append(client.sent.bytes - before)
            await asyncio.sleep(0.03)

        while sizes[-1:] == sizes[:1] and len(sizes) < 1000:  # until the server has said what it has
            await send(True)
        for _ in range(20):
            await send(True)
        assert max(sizes[-20:]) < sizes[0]
        for _ in range(10):
            await send(False)
        await until(lambda: performer.received == 1 + len(sizes))
        await until(lambda: performer.no_face >= 1)
        assert performer.source == "landmarks"
        assert sizes[-1] == 20
        await client.send(MotionCode("mesh", np.zeros(3, np.float32)), time.monotonic())
        await until(lambda: performer.source == "motion")
        box.close()
    await gone(server)


async def test_an_engine_that_reads_pictures_is_not_driven_by_landmarks():
    with running(make_studio()) as server:
        assert not issubclass(DotEngine, ReadsLandmarks)
        async with MotionClient(motion_url(server.url)) as client:
            assert client.hello["landmarks"] is False

            async def send():
                for n in range(100):
                    await client.send_landmarks(face(0.5, n / 30))
                    await asyncio.sleep(0.02)

            with pytest.raises(ConnectionLost, match="reads the picture itself"):
                await send()
        async with httpx.AsyncClient(base_url=server.url) as http:
            opened = await http.post("/api/sessions", json={"sdp": None})
            control = f"/api/sessions/{opened.json()['id']}/control"
            refused = await http.post(control, json={"type": "source", "source": "landmarks"})
            assert refused.status_code == 400
            assert "reads the picture itself" in refused.json()["detail"]
            refused = await http.post("/api/sessions", json={"sdp": None, "source": "landmarks"})
            assert refused.status_code == 400


@pytest.mark.hostile
async def test_guests_and_viewers_drive_nothing(server):
    """Who has the link to watch may open a connection, and a channel in it: nobody listens there."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        opened = (await http.post("/api/sessions", json={"sdp": None, "source": "landmarks"})).json()
        performer = server.studio.sessions[opened["id"]].performer
        guest = Client(None, "recvonly")
        channel = guest.pc.createDataChannel("landmarks", ordered=False, maxRetransmits=0)
        answer = await http.post(
            f"/whep/{opened['view']}",
            content=await guest.offer(control=False),
            headers={"content-type": "application/sdp"},
        )
        await guest.accept(answer.text)
        await until(lambda: channel.readyState in {"closing", "closed"})
        assert performer.received == 0
        await guest.close()
    await gone(server)


@pytest.mark.hostile
async def test_babble_closes_the_channel_and_harms_nobody(server):
    client = Client(None, "recvonly")
    answers = []
    async with httpx.AsyncClient(base_url=server.url) as http:
        id = await client.open(http)
        channel = client.pc.createDataChannel("landmarks", ordered=False, maxRetransmits=0)
        channel.on("message", lambda text: answers.append(json.loads(text)))
        await until(lambda: channel.readyState == "open")
        for n in range(200):
            if channel.readyState != "open":
                break
            channel.send(bytes([0x4C, 1, n % 256]) * (1 + n % 90))
            channel.send("text")
            await asyncio.sleep(0.02)
        await until(lambda: channel.readyState == "closed")
        assert "landmark packet" in answers[0]["error"]
        assert len(answers) < 15
        assert id in server.studio.sessions
        client.channel.send(json.dumps({"type": "ping", "t": 1.0}))
        await until(lambda: client.last("pong"))
        again = client.pc.createDataChannel("landmarks")
        await until(lambda: again.readyState == "closed")
        await client.close()
    await gone(server)


@pytest.mark.hostile
async def test_landmarks_that_are_none_end_the_socket_too(server):
    async with connect(motion_url(server.url), proxy=None) as socket:
        await socket.recv()

        async def babble():
            for n in range(200):
                await socket.send(bytes([0x4C, 1]) + bytes([n]) * n)
                await asyncio.sleep(0.02)

        with pytest.raises(ConnectionClosed):
            await babble()
    await gone(server)


@pytest.mark.hostile
def test_intake_takes_the_newest_and_not_too_many():
    intake, writer = LandmarkIntake(rate=50.0), landmark_wire.LandmarkWriter()
    packets = [writer.pack(face(0.5, 7.0 + n / 30)) for n in range(300)]
    first = intake.take(packets[1], now=100.0)
    assert (first.arrived, first.media, first.index) == (pytest.approx(100.0), pytest.approx(7 + 1 / 30), 1)
    assert intake.news() == 1
    assert intake.news() is None
    assert intake.take(packets[0], now=100.01) is None  # it came late
    assert sum(intake.take(data, now=100.02) is not None for data in packets[2:]) < 110


@pytest.fixture
def picture(tmp_path) -> str:
    """A face in the camera's place."""
    Image.fromarray(builtin_portrait("astronaut")).save(tmp_path / "face.png")
    return f"still:{tmp_path / 'face.png'}"


def test_avatar_send_finds_the_face_and_runs_no_engine(server, picture, capsys):
    """The command as it is."""
    seen: set[tuple[str, str]] = set()

    def interrupt() -> None:
        end = time.monotonic() + 100
        while ("landmarks", "tracking") not in seen and time.monotonic() < end:
            seen.update((s.performer.source, s.performer.face) for s in list(server.studio.sessions.values()))
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    assert run(["send", "--to", server.url, "--source", picture, "--landmarks", "--duration", "120"]) == 0
    waiting.join()
    assert ("landmarks", "tracking") in seen
    assert re.search(r"\d+ faces sent", capsys.readouterr().err)


def test_avatar_send_says_where_landmarks_are_of_no_use(picture, capsys):
    with running(make_studio()) as server:
        to = ["send", "--to", server.url, "--landmarks"]
        assert run([*to, "--source", picture]) == 2
        assert "--landmarks cannot be 'on': the engine there (mesh) needs the picture" in capsys.readouterr().err
        assert run([*to, "--source", "motion:builtin"]) == 2
        assert "has no faces to look for" in capsys.readouterr().err

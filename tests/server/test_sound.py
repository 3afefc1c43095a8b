"""The driver's voice goes to those who listen, held back as long as the picture takes."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from realtime.flow.mailbox import Mailbox
from realtime.server.hosting.frames import Shown, to_yuv
from realtime.server.rtc.peer import AvatarTrack
from realtime.server.rtc.sound import LONGEST, Voice, VoiceTrack
from tests.support.server import make_studio, running


async def test_sound_waits_for_its_picture():
    track = VoiceTrack(lambda: 0.15)
    now = time.monotonic()
    track.put("first", now)
    track.put("second", now + 0.02)
    assert await track.recv() == "first"
    assert time.monotonic() - now >= 0.149
    assert await track.recv() == "second"
    assert time.monotonic() - now >= 0.169
    assert track.held == pytest.approx(0.15)


async def test_what_is_too_late_is_left_out_and_the_newest_is_kept():
    now = 0.0
    track = VoiceTrack(lambda: 0.05, clock=lambda: now)
    for n in range(20):
        track.put(n, n * 0.02)
    now = 0.38  # the loop stood still: all came, and nothing was sent
    assert await track.recv() == 14  # due at 0.33
    assert track.left_out == 14
    now = 10.0
    assert await track.recv() == 19  # however late, the last one comes


def test_listeners_that_left_are_forgotten_though_nobody_speaks():
    voice = Voice(lambda: 0.05)
    for _ in range(5):
        voice.listen().stop()
    assert len(voice.listeners) == 1


async def test_the_delay_is_that_of_the_listeners_own_pictures(monkeypatch):
    voice, own = Voice(lambda: 0.05), None
    track = voice.listen(lambda: own)
    assert track._delay() == 0.05
    own = 0.2
    assert track._delay() == 0.2
    now = 10.0
    monkeypatch.setattr("realtime.server.rtc.peer.time", SimpleNamespace(monotonic=lambda: now))
    box: Mailbox[Shown] = Mailbox()
    pictures = AvatarTrack(box)
    assert pictures.delay() is None
    image = np.zeros((8, 8, 3), np.uint8)
    for n in range(5):
        box.put(Shown(image, to_yuv(image), 3000 * n, captured=now - 0.04, made=now - 0.01))
        await pictures.recv()
        now += 0.1 if n == 2 else 0.02  # encoding and sending; once it took longer
    box.put(Shown(image, to_yuv(image), 15000, captured=now, made=now))
    await pictures.recv()
    assert pictures.delay() == pytest.approx(0.06)


async def test_the_delay_follows_without_jumps():
    delay = 0.02
    track = VoiceTrack(lambda: delay, clock=lambda: 1e9)
    held = []
    for n in range(60):
        delay = 0.02 if n < 5 else 0.1
        track.put(n, 0.0)
        await track.recv()
        held.append(track.held)
    assert held[4] == pytest.approx(0.02)
    assert max(b - a for a, b in itertools.pairwise(held)) < 0.005
    assert held[-1] > 0.09


async def test_a_slow_listener_loses_the_oldest_and_a_stopped_one_ends():
    track = VoiceTrack(lambda: 0.0, clock=lambda: 0.0)
    for n in range(3 * LONGEST):
        track.put(n, 0.0)
    assert await track.recv() == 2 * LONGEST
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()


async def test_whip_sound_reaches_a_whep_listener():
    sdp = {"content-type": "application/sdp"}
    with running(make_studio()) as server:
        publisher = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        publisher.addTransceiver("video", direction="sendonly")
        publisher.addTransceiver(AudioStreamTrack(), direction="sendonly")
        listener = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        listener.addTransceiver("video", direction="recvonly")
        listener.addTransceiver("audio", direction="recvonly")
        heard = asyncio.Event()

        async def hear(track) -> None:
            for _ in range(10):
                await track.recv()
            heard.set()

        listener.on("track", lambda track: track.kind == "audio" and asyncio.ensure_future(hear(track)))
        async with httpx.AsyncClient(base_url=server.url) as http:
            await publisher.setLocalDescription(await publisher.createOffer())
            answer = await http.post("/whip", content=publisher.localDescription.sdp, headers=sdp)
            await publisher.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            id = answer.headers["location"].rsplit("/", 1)[1]
            await listener.setLocalDescription(await listener.createOffer())
            answer = await http.post(f"/whep/{id}", content=listener.localDescription.sdp, headers=sdp)
            await listener.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
            await asyncio.wait_for(heard.wait(), 20)
            await http.delete(f"/whip/{id}")
        await publisher.close()
        await listener.close()

"""Media over WebRTC, by aiortc on both sides: the avatar comes back, WHIP and WHEP, sound, rates, stalled peers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import socket
import weakref
from fractions import Fraction

import av
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.server.common import messages
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import End
from realtime.server.hosting.frames import to_rgb, to_video_frame, to_yuv
from realtime.server.places import connections, house
from realtime.server.places.here import StudioSettings
from realtime.server.rtc import guard
from realtime.server.rtc.bitrate import Ladder
from realtime.server.rtc.encoders import SteadyH264, SteadyVp8, open_h264
from realtime.server.rtc.peer import Peer, RtcSettings, ice_servers_for_browser, parse_ice_server
from realtime.server.rtc.sdp import BadOffer, Uplink, check_offer, hint_bitrate, wants
from tests.support.peers import Client, Spot, until
from tests.support.server import DotEngine, make_offer, make_studio, offer, portrait_picture, running


@pytest.fixture
def server():
    with running(make_studio(StudioSettings(Limits(sessions=3, requests_per_s=1000)))) as server:
        yield server


def face_x(image: np.ndarray) -> float:
    """Where the drawn face is, 0 to 1."""
    skin = image[..., 0].astype(int) - image[..., 2] > 30
    return float(np.nonzero(skin)[1].mean() / image.shape[1]) if skin.any() else float("nan")


async def test_the_avatar_follows_the_camera_and_the_control_channel(server):
    camera = Spot(0.5)
    client = Client(camera)
    async with httpx.AsyncClient(base_url=server.url) as http:
        id = await client.open(http)
        await until(lambda: (client.count > 10 and client.last("state")) or client.last("hello"))
        await until(lambda: client.frames and client.count > 20)
        hello = client.last("hello")
        assert hello["session"] == id
        assert [d["name"] for d in hello["directions"]] == ["turn", "nod", "glow"]
        performer = server.studio.sessions[id].performer
        performer.recalibrate()
        before = face_x(client.frames[-1])
        camera.at = 0.9
        await until(lambda: face_x(client.frames[-1]) > before + 0.05)
        # what comes back is the portrait: the camera's black picture with its white spot never does
        assert client.frames[-1].mean() > 60
        client.channel.send(json.dumps({"type": "set_edits", "values": {"glow": 0.8}}))
        bright = client.frames[-1].mean()
        await until(lambda: client.frames[-1].mean() > bright + 15)
        client.channel.send("nonsense")
        await until(lambda: client.last("error"))
        client.channel.send(json.dumps({"type": "ping", "t": 3.0}))
        await until(lambda: client.last("pong") == {"type": "pong", "t": 3.0})
        await until(lambda: (client.last("stats") or {}).get("codec") and client.last("stats")["received"] > 0)
        stats = client.last("stats")
        assert stats["codec"] == "VP8"
        assert stats["server_ms"] > 0
        assert all(b > a for a, b in zip(client.pts, client.pts[1:], strict=False))
        await client.close()
    await until(lambda: not server.studio.sessions, 15)


@pytest.mark.hostile
async def test_the_camera_is_never_shown_when_the_face_is_lost_or_the_engine_fails(server):
    camera = Spot(0.5)
    client = Client(camera)
    async with httpx.AsyncClient(base_url=server.url) as http:
        id = await client.open(http)
        await until(lambda: client.count > 10)
        performer = server.studio.sessions[id].performer
        camera.at = None  # darkness: no face
        await until(lambda: performer.no_face > 10)
        seen = client.count
        await until(lambda: client.count > seen + 10)
        assert client.frames[-1].mean() > 60  # the portrait, not the darkness
        performer.engine.broken = True
        await until(lambda: performer.failures > 20)
        await until(lambda: abs(face_x(client.frames[-1]) - face_x(performer._rendering.still)) < 0.03)
        assert np.abs(client.frames[-1].astype(int) - performer._rendering.still).mean() < 12
        performer.engine.broken = False
        failures = performer.failures
        await asyncio.sleep(0.5)
        assert performer.failures <= failures + 1
        await client.close()


async def test_whip_publishes_and_whep_watches(server):
    publisher, viewer, late = Client(Spot(0.3), "sendonly"), Client(None, "recvonly"), Client(None, "recvonly")
    sdp = {"content-type": "application/sdp"}
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/whip", content=await publisher.offer(control=False), headers=sdp)
        assert answer.status_code == 201
        assert answer.headers["content-type"].startswith("application/sdp")
        resource = answer.headers["location"]
        id = resource.rsplit("/", 1)[1]
        assert id not in answer.headers["link"]  # the link of the view opens the view alone
        await publisher.accept(answer.text)
        watched = await http.post(f"/whep/{id}", content=await viewer.offer(control=False), headers=sdp)
        assert watched.status_code == 201
        await viewer.accept(watched.text)
        await until(lambda: viewer.count > 20 and server.studio.sessions[id].performer.received > 10)
        assert viewer.frames[-1].mean() > 60
        assert (await http.delete(watched.headers["location"])).status_code == 200
        assert (await http.delete(watched.headers["location"])).status_code == 404
        await until(lambda: server.studio.sessions[id].performer.viewers == 0)
        watch, send = await make_offer("recvonly"), await make_offer("recvonly")
        for wrong, status in ((f"/whep/{id}", 415), ("/whip", 415), ("/whep/nobody", 404)):
            headers = sdp if status == 404 else {"content-type": "text/plain"}
            assert (await http.post(wrong, content=watch, headers=headers)).status_code == status
        assert (await http.post("/whip", content=send, headers=sdp)).status_code == 400
        assert (await http.put(resource)).status_code == 405
        assert (await http.delete(resource)).status_code == 200
        assert server.studio.sessions == {}
        gone = await http.post(f"/whep/{id}", content=await late.offer(control=False), headers=sdp)
        assert gone.status_code == 404
    for client in (publisher, viewer, late):
        await client.close()


async def test_watchers_who_come_at_once_get_an_address_each(server):
    publisher, viewers = Client(Spot(0.3), "sendonly"), [Client(None, "recvonly") for _ in range(3)]
    sdp = {"content-type": "application/sdp"}
    async with httpx.AsyncClient(base_url=server.url) as http:
        answer = await http.post("/whip", content=await publisher.offer(control=False), headers=sdp)
        watch = answer.headers["location"].replace("whip", "whep")
        offers = [await viewer.offer(control=False) for viewer in viewers]
        answers = await asyncio.gather(*(http.post(watch, content=text, headers=sdp) for text in offers))
        session = server.studio.sessions[watch.rsplit("/", 1)[1]]
        for answer in answers:
            peer = next(p for p in session.peers if p.id == answer.headers["location"].rsplit("/", 1)[1])
            assert peer.pc.localDescription.sdp.split("a=ice-ufrag:")[1][:4] in answer.text
            assert (await http.delete(answer.headers["location"])).status_code == 200
            assert peer not in session.peers
    for client in (publisher, *viewers):
        await client.close()


async def test_a_session_ends_soon_after_its_last_peer_hung_up():
    sdp = {"content-type": "application/sdp"}
    with running(make_studio(StudioSettings(Limits(grace_s=1.0)))) as server:
        publisher, viewer = Client(Spot(0.3), "sendonly"), Client(None, "recvonly")
        async with httpx.AsyncClient(base_url=server.url) as http:
            answer = await http.post("/whip", content=await publisher.offer(control=False), headers=sdp)
            await publisher.accept(answer.text)
            id = answer.headers["location"].rsplit("/", 1)[1]
            watched = await http.post(f"/whep/{id}", content=await viewer.offer(control=False), headers=sdp)
            await viewer.accept(watched.text)
            await until(lambda: viewer.count > 5)
            await publisher.close()  # without a word to the server
            await until(lambda: len(server.studio.sessions[id].peers) == 1)
            await asyncio.sleep(1.6)
            assert id in server.studio.sessions  # somebody watches
            await viewer.close()
            await until(lambda: not server.studio.sessions)
            assert server.studio.book.ended == {End.DISCONNECTED: 1}


async def test_sessions_share_nothing_and_a_stalled_one_delays_nobody(server):
    first, second = Client(Spot(0.1)), Client(Spot(0.9))
    async with httpx.AsyncClient(base_url=server.url) as http:
        a, b = await first.open(http), await second.open(http)
        await until(lambda: min(first.count, second.count) > 20)
        one, two = server.studio.sessions[a].performer, server.studio.sessions[b].performer
        assert one.engine is not two.engine
        assert one.gallery is not two.gallery
        # the first peer stops reading: nothing is taken from its box any more
        for sender in next(iter(server.studio.sessions[a].peers)).pc.getSenders():
            server.call(sender._RTCRtpSender__rtp_task.cancel)
        await asyncio.sleep(0)
        stalled, count = first.count, second.count
        await until(lambda: second.count > count + 40)
        assert first.count <= stalled + 10  # what was on its way: it does stand still
        await http.delete(f"/api/sessions/{a}")
        assert one._closed
        count = second.count
        await until(lambda: second.count > count + 20)
    await first.close()
    await second.close()


async def test_everything_is_freed(server):
    async with httpx.AsyncClient(base_url=server.url) as http:
        made, closed = DotEngine.made, DotEngine.closed
        for _ in range(5):
            client = Client(Spot())
            id = await client.open(http)
            await until(lambda client=client: client.count > 2)
            await http.delete(f"/api/sessions/{id}")
            await client.close()
        await until(lambda: DotEngine.closed - closed == DotEngine.made - made == 5)
        assert server.studio.sessions == {}
        assert server.studio.book.entries == {}
        tasks = server.call(lambda: len(asyncio.all_tasks()))
        assert tasks < 12
        assert httpx.get(f"{server.url}/metrics").text.count("avatar_peers 0.0") == 1


async def test_the_connections_of_ended_sessions_are_not_left_in_circles(server, monkeypatch):
    monkeypatch.setattr(house, "TIDY_S", 1.0)
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 1)  # as after `settle`
    made: list[weakref.ref] = []

    def make(*arguments, **options) -> Peer:
        peer = Peer(*arguments, **options)
        made.append(weakref.ref(peer.pc))
        return peer

    monkeypatch.setattr(connections, "Peer", make)
    gc.collect()
    gc.disable()
    try:
        async with httpx.AsyncClient(base_url=server.url) as http:
            client = Client(Spot())
            id = await client.open(http)
            await until(lambda: client.count > 2)
            await http.delete(f"/api/sessions/{id}")
            await client.close()
        assert len(made) == 1
        await until(lambda: made[0]() is None)
    finally:
        gc.enable()


# --- codecs


def picture(n: int, size: int = 256) -> av.VideoFrame:
    image = np.roll(portrait_picture(size), 3 * n, axis=1)
    return to_video_frame(to_yuv(image), 3000 * n)


def decode(codec: str, chunks: list[bytes]) -> list[av.VideoFrame]:
    context = av.CodecContext.create(codec, "r")
    return [frame for chunk in chunks for frame in context.decode(av.Packet(chunk))]


def test_colours_survive_the_way_there_and_back():
    image = portrait_picture(256)
    back = to_rgb(to_video_frame(to_yuv(image), 0))
    flat = np.abs(image.astype(int) - back)[8:-8, 8:20]
    assert flat.max() <= 3
    assert np.abs(image.astype(int) - back).mean() < 1.5


def test_the_rate_suits_the_picture_from_the_start_and_noise_opens_no_new_encoder():
    encoder = SteadyVp8()
    encoder.encode(picture(0))
    assert encoder.target_bitrate >= 850_000
    for n in range(1, 30):
        encoder.target_bitrate = round(1_000_000 * (1 + 0.12 * (-1) ** n))
        encoder.encode(picture(n))
    assert encoder.opened == 1
    encoder.target_bitrate = 100_000  # the network collapsed
    encoder.encode(picture(30))
    assert encoder.opened == 2
    assert encoder.target_bitrate <= 300_000


@pytest.mark.parametrize(("make", "codec"), [(SteadyVp8, "libvpx"), (SteadyH264, "h264")])
def test_a_key_frame_is_made_when_asked_for_and_not_otherwise(make, codec):
    encoder = make()
    kinds = []
    for n in range(12):
        data = encoder._bytes(picture(n), force_keyframe=n == 6)
        kinds.append(bool(data[0] & 1 == 0) if codec == "libvpx" else b"\x00\x00\x01\x65" in data)
    assert kinds == [n in {0, 6} for n in range(12)]


def test_x264_changes_its_rate_while_it_runs():
    encoder = SteadyH264()
    if encoder.codec != "libx264":
        pytest.skip("NVENC is used here")
    encoder.encode(picture(0))
    encoder.ladder = Ladder(encoder.target_bitrate)
    rng = np.random.default_rng(0)

    def size(count: int, first: int) -> int:
        total = 0
        for n in range(count):
            noisy = np.clip(portrait_picture(256).astype(int) + rng.integers(-25, 25, (256, 256, 1)), 0, 255)
            total += len(encoder._bytes(to_video_frame(to_yuv(noisy.astype(np.uint8)), 3000 * (first + n)), False))
        return total

    size(30, 1)
    high = size(30, 31)
    encoder.ladder.rung = 1
    size(30, 61)
    assert size(30, 91) < 0.6 * high
    assert encoder.opened == 1


def test_h264_streams_are_decodable():
    context = open_h264("libx264", 256, 256, 1_000_000)
    chunks = [bytes(packet) for n in range(5) for packet in context.encode(picture(n))]
    assert len(decode("h264", [*chunks, b""][:5])) >= 4


# --- session descriptions


def test_rates_are_told_for_each_codec_of_the_video():
    answer = offer(audio=True)
    codecs = answer.count("VP8/90000") + answer.count("H264/90000")
    told = hint_bitrate(answer, Uplink(1_500_000, 300_000, 2_500_000))
    assert codecs >= 2
    assert told.count("x-google-start-bitrate=1500") == codecs
    (sound,) = (part for part in told.split("m=")[1:] if part.startswith("audio"))
    assert "a=rtpmap:" in sound
    assert "x-google" not in sound


def test_directions_are_read():
    assert wants(offer("sendrecv"), "video") == (True, True)
    assert wants(offer("recvonly"), "video") == (False, True)
    assert wants(offer("sendonly"), "video") == (True, False)
    assert wants(offer(), "audio") == (False, False)
    refused = re.sub("m=video [0-9]+ ", "m=video 0 ", offer("recvonly"))
    assert wants(refused, "video") == (False, False)
    assert wants(refused.replace("a=recvonly", "a=bundle-only\r\na=recvonly"), "video") == (False, True)


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda b: b.decode("latin-1")))
@pytest.mark.hostile
def test_any_text_is_an_offer_or_a_sentence(text):
    for candidate in (text, "v=0\r\n" + text):
        with contextlib.suppress(BadOffer):
            check_offer(candidate)
        wants(candidate, "video")
        hint_bitrate(candidate, Uplink())


def test_an_ice_server_that_does_not_answer_keeps_nobody_out(monkeypatch):
    monkeypatch.setattr(guard, "GATHER_S", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        rtc = RtcSettings((f"stun:127.0.0.1:{silent.getsockname()[1]}",))
        with running(make_studio(StudioSettings(rtc=rtc))) as server:
            answer = httpx.post(f"{server.url}/api/sessions", json={"sdp": offer()}, timeout=30)
    assert answer.status_code == 201, answer.text
    assert "a=candidate:" in answer.json()["sdp"]


def test_ice_servers():
    assert parse_ice_server("turn:me:secret@turn.example:3478").credential == "secret"
    assert ice_servers_for_browser(["stun:a:1", "turn:u:p@b:2"]) == [
        {"urls": "stun:a:1"},
        {"urls": "turn:b:2", "username": "u", "credential": "p"},
    ]
    with pytest.raises(ValueError, match="ICE server"):
        parse_ice_server("http://x")


# --- control messages


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
@pytest.mark.hostile
def test_any_json_is_a_command_or_a_sentence(value):
    for candidate in (value, {"type": "set_edits", "values": value}, {"type": "ping", "t": value}):
        with contextlib.suppress(messages.BadMessage):
            assert messages.parse(json.dumps(candidate)).type in {"set_edits", "ping"}


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.floats(-1000, 1000), max_size=5))
def test_edits_are_read_as_they_were_written(values):
    command = messages.parse(json.dumps({"type": "set_edits", "values": values}))
    assert command.values == values


def test_schema_names_every_message():
    schema = json.dumps(messages.schema())
    for name in ("set_edits", "reset_edits", "calibrate", "portrait", "pause", "source", "mirror", "hello", "stats"):
        assert f'"{name}"' in schema


def test_pictures_follow_each_other_on_the_avatars_clock():
    frame = to_video_frame(to_yuv(portrait_picture(64)), 4500)
    assert frame.pts * frame.time_base == Fraction(1, 20)

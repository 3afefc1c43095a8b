"""A session driven by its driver's voice: lips move with it, rest without it, and leave it to others to drive."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.errors import BadValue
from realtime.server.common import messages
from realtime.server.hosting.speaking import GONE_S, Speaking
from realtime.server.rtc.sound import Voice
from realtime.voice.hearing import RATE
from realtime.voice.lips import DELAY
from tests.server.test_hosted import Stage
from tests.voice.test_voice import said

MESH = load_engine("mesh", size=64)
JAW = next(d.index for d in MESH.directions if d.name == "jaw_open")


def test_lips_follow_the_sound_and_rest_when_it_breaks_off():
    speaking = Speaking(MESH)
    sound, _ = said("Papa, papa, papa, papa.")
    now, jaw = 100.0, []
    for begin in range(0, min(len(sound), RATE), 320):
        speaking.hear(sound[begin : begin + 320])
        now += 0.02
        jaw.append(speaking.at(now).values[JAW])
    assert max(jaw) > 2.0
    late = [speaking.at(now + t).values[JAW] for t in (0.1, GONE_S + 0.5, 1.5)]
    assert abs(late[-1] - speaking.reference.values[JAW]) < 0.4


def test_what_waits_is_bounded():
    speaking = Speaking(MESH)
    for _ in range(1000):
        speaking.hear(np.zeros(320, np.float32))
    speaking.at(1.0)
    assert speaking._speaker.heard == pytest.approx(2.0)


def test_an_engine_without_known_lips_refuses_and_goes_on():
    stage = Stage(source="camera")
    stage.engine.kind = "lia"
    with pytest.raises(BadValue, match="sound cannot drive it"):
        stage.performer.command(messages.ChooseSource(type="source", source="voice"))
    assert stage.performer.source == "camera"


class Talker:
    """In the place of `Speaking`, for engines without lips."""

    reference = SimpleNamespace()

    def __init__(self, engine, seed=0) -> None:
        self.engine, self.heard = engine, []
        self.reference = engine.portrait_code

    def hear(self, samples) -> None:
        self.heard.append(samples)

    def at(self, now: float):
        return self.engine.portrait_code


def test_a_voice_drives_until_something_else_is_chosen(monkeypatch):
    monkeypatch.setattr("realtime.server.hosting.hosted.Speaking", Talker)
    stage = Stage(source="camera")
    performer = stage.performer
    assert not performer.hears
    performer.hear(np.zeros(320, np.float32))  # nobody asked for it: nothing keeps it
    performer.command(messages.ChooseSource(type="source", source="voice"))
    stage.step()
    assert performer.hears
    box = performer.watch()
    performer.hear(np.ones(320, np.float32))
    performer.tick(stage.clock.now)
    stage.step()
    assert len(performer._speaking.heard) == 1
    assert performer.face == "tracking"
    assert box.get(0).captured == pytest.approx(stage.clock.now - DELAY)  # its sound is held back by as much
    performer.command(messages.ChooseSource(type="source", source="camera"))
    stage.step()
    assert performer._speaking is None


async def test_each_packet_is_heard_and_still_goes_to_those_who_listen():
    voice, heard = Voice(lambda: 0.0), []
    track = voice.listen()
    packets = iter(["first", "second"])

    async def recv():
        from aiortc.mediastreams import MediaStreamError

        packet = next(packets, None)
        if packet is None:
            raise MediaStreamError
        return packet

    await voice.relay(SimpleNamespace(recv=recv), heard.append)
    assert heard == ["first", "second"]
    assert await track.recv() == "first"

"""Several viewers of the same pictures: each is coded once, and what one of them does disturbs no other."""

from __future__ import annotations

import gc

import av
import numpy as np
import pytest

from realtime.server.hosting.frames import Part, Stream, to_video_frame
from realtime.server.rtc import encoders
from realtime.server.rtc.decoders import is_key
from realtime.server.rtc.together import _STREAMS, Together

SIZE = 128


class Film:
    """Pictures of one stream. coded: what was coded for all."""

    def __init__(self):
        self.stream, self.number, self.coded = Stream(), 0, []

    def next(self) -> av.VideoFrame:
        self.number += 1
        return self.frame(self.number)

    def frame(self, number: int) -> av.VideoFrame:
        rows = np.arange(SIZE * 3 // 2)[:, None] * 2 + np.arange(SIZE)[None] + 5 * number
        frame = to_video_frame((rows % 200 + 20).astype(np.uint8), 3000 * number)
        frame.opaque = Part(self.stream)
        return frame


class Viewer:
    """An encoder as aiortc has it for each viewer, and a decoder at the other end."""

    def __init__(self, film: Film):
        self.film, self.encoder = film, encoders.SteadyVp8()
        self._decoder = av.CodecContext.create("vp8", "r")
        self.shown: list[np.ndarray] = []

    def take(self, frame: av.VideoFrame, force: bool = False) -> None:
        data = self.encoder._bytes(frame, force)
        self.shown += [each.to_ndarray() for each in self._decoder.decode(av.Packet(data))]

    def error(self) -> float:
        """How far what is seen last is from what it should be."""
        wanted = self.film.frame(self.film.number).to_ndarray()
        return float(np.abs(self.shown[-1].astype(int) - wanted).mean())


@pytest.fixture
def film(monkeypatch):
    film, encode = Film(), encoders.SteadyVp8._by_itself

    def counted(self, frame, force):
        film.coded.append((id(self), frame.pts))
        return encode(self, frame, force)

    monkeypatch.setattr(encoders.SteadyVp8, "_by_itself", counted)
    return film


def play(film: Film, viewers: list[Viewer], count: int) -> None:
    for _ in range(count):
        film.next()
        for viewer in viewers:
            viewer.take(film.frame(film.number))


def test_each_picture_is_coded_once_for_all_who_see_it(film):
    viewers = [Viewer(film) for _ in range(4)]
    play(film, viewers, 30)
    assert len(film.coded) == 30
    for viewer in viewers:
        assert len(viewer.shown) == 30
        assert viewer.error() < 6


def test_a_newcomer_sees_the_very_first_picture_and_joins_the_others(film):
    first = Viewer(film)
    play(film, [first], 20)
    second = Viewer(film)
    second.take(film.frame(film.number))  # the newest, which was coded before it came
    assert len(second.shown) == 1
    assert second.error() < 6
    play(film, [first, second], 20)
    assert len(second.shown) == 21
    assert second.error() < 6
    before = len(film.coded)
    play(film, [first, second], 10)
    assert len(film.coded) == before + 10


@pytest.mark.hostile
def test_who_leaves_out_pictures_disturbs_nobody_and_sees_no_damage(film):
    fast, slow = Viewer(film), Viewer(film)
    play(film, [fast, slow], 10)
    for n in range(30):
        play(film, [fast, slow] if n % 3 == 0 else [fast], 1)
        for viewer in (fast, slow) if n % 3 == 0 else (fast,):
            assert viewer.error() < 6
    assert len(fast.shown) == 40


@pytest.mark.hostile
def test_who_asks_for_key_frames_without_end_gets_them_by_himself(film):
    honest, other = Viewer(film), Viewer(film)
    play(film, [honest, other], 5)
    keys = 0
    for _ in range(200):
        other.take(film.next(), True)
        keys += is_key(honest.encoder._bytes(film.frame(film.number), False))
    assert keys <= 4
    assert len(other.shown) == 205


def test_a_narrow_network_leaves_the_others_their_rate(film):
    wide, narrow = Viewer(film), Viewer(film)
    play(film, [wide, narrow], 5)
    for _ in range(4):
        narrow.encoder.target_bitrate = 50_000
    assert narrow.encoder.target_bitrate < wide.encoder.target_bitrate
    play(film, [wide, narrow], 20)
    assert (wide.encoder.ladder.rung, len(wide.shown), len(narrow.shown)) == (4, 25, 25)
    assert wide.error() < 6


def test_nothing_is_kept_of_a_stream_that_is_over(film):
    viewers = [Viewer(film), Viewer(film)]
    play(film, viewers, 3)
    assert film.stream in _STREAMS
    count = len(_STREAMS)
    film.stream = None
    gc.collect()
    assert len(_STREAMS) < count


def test_late_comers_for_a_picture_get_it_as_it_was_coded():
    coded = Together(lambda frame, key: bytes([0 if key else 1, frame.pts]), clock=lambda: 0.0)

    class Frame:
        def __init__(self, pts):
            self.pts = pts

    a, b = Film(), Film()
    assert coded.take(a, Frame(1), False) == bytes([0, 1])
    assert coded.take(b, Frame(1), False) == bytes([0, 1])
    for pts in range(2, 6):
        assert coded.take(a, Frame(pts), False) == bytes([1, pts])
    for pts in range(2, 6):
        assert coded.take(b, Frame(pts), False) == bytes([1, pts])
    assert coded.take(b, Frame(6), True) == bytes([0, 6])
    assert coded.take(a, Frame(6), False) == bytes([0, 6])
    assert coded.take(a, Frame(3), False) is None  # long ago: it stands by itself


def test_on_a_full_machine_pictures_get_half_the_rate_and_it_comes_back(film):
    one, two = Viewer(film), Viewer(film)
    rates = []
    for number in range(30):
        film.stream.sparing = 10 <= number < 20
        film.number += 1
        frames = [film.frame(film.number), film.frame(film.number)]  # each viewer's track makes one
        for viewer in (one, two):
            viewer.take(frames.pop())
        rates.append(one.encoder.ladder.rate)
    full = encoders.suitable_rate(SIZE, SIZE)
    assert rates == [full] * 10 + [full // 2] * 10 + [full] * 10
    assert len(film.coded) == 30  # still once for both
    assert len(one.shown) == len(two.shown) == 30
    assert max(one.error(), two.error()) < 6

"""The number that travels through pictures, and what is made of the moments at which it is seen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks.live import browser, glass, stamp, wrappers
from benchmarks.live.peers import encode_clip, luma
from realtime.measures.baselines import BASELINES, StillEngine
from realtime.session.core import Encoding
from realtime.types import Frame


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize("number", [0, 1, 299, 1234, stamp.PERIOD - 1, stamp.PERIOD + 7])
@pytest.mark.parametrize("size", [(480, 640), (512, 512), (360, 640), (256, 256)])
def test_a_number_drawn_is_read_again(number, size):
    image = noise(*size)
    stamp.draw(image, number)
    assert stamp.read(image) == number % stamp.PERIOD


def test_it_survives_scaling_and_strong_compression():
    for number in range(0, 4096, 317):
        image = cv2.GaussianBlur(noise(480, 640), (0, 0), 4)
        stamp.draw(image, number)
        small = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
        assert stamp.read(cv2.imdecode(data, cv2.IMREAD_COLOR)) == number


def test_a_picture_without_a_number_gives_none():
    assert stamp.read(np.full((480, 640, 3), 128, np.uint8)) is None
    stamped = np.zeros((480, 640, 3), np.uint8)
    stamp.draw(stamped, 77)
    for bit in range(2, stamp.CELLS):  # one flipped cell is always noticed
        broken = stamped.copy()
        edges = np.linspace(stamp.LEFT * 640, (1 - stamp.LEFT) * 640, stamp.CELLS + 1).round().astype(int)
        broken[:24, edges[bit] : edges[bit + 1]] = 255 - broken[:24, edges[bit] : edges[bit + 1]]
        assert stamp.read(broken) is None


def test_the_rest_of_the_picture_is_untouched():
    image = noise(480, 640)
    before = image.copy()
    stamp.draw(image, 99)
    assert np.array_equal(image[24:], before[24:])


class TestStampedEngine:
    @pytest.fixture
    def engine(self, monkeypatch):
        monkeypatch.setitem(wrappers.FAMILIES, "still", BASELINES["still"])
        engine = wrappers.StampedEngine(inner="still", size=256)
        engine.set_portrait(noise(256, 256))
        return engine

    def test_the_number_of_a_frame_is_on_its_picture(self, engine):
        codes = []
        for number in (5, 6):
            image = np.zeros((480, 640, 3), np.uint8)
            stamp.draw(image, number)
            frame = Frame(image, captured=100.0 + number, index=number, pts=float(number))
            code = Encoding(engine, media_time=True).see(frame, False, now=0.0)  # as the server does
            codes.append(replace(code, captured=frame.captured, pts=frame.pts, index=frame.index))
        assert [stamp.read(engine.render(code)) for code in reversed(codes)] == [6, 5]

    def test_it_also_travels_without_a_capture_time(self, engine):
        image = np.zeros((480, 640, 3), np.uint8)
        stamp.draw(image, 321)
        assert stamp.read(engine.render(engine.encode(image))) == 321

    def test_a_frame_without_a_number_leaves_the_picture_alone(self, engine):
        code = engine.encode(Frame(np.zeros((480, 640, 3), np.uint8), captured=1.0))
        assert np.array_equal(engine.render(code), engine.inner.render(code))

    def test_it_is_the_inner_engine_in_all_else(self, engine):
        assert isinstance(engine.inner, StillEngine)
        engine.reference = engine.portrait_code
        assert engine.inner.reference is engine.reference
        assert (engine.name, engine.size) == ("still", 256)


def test_delays_by_hand():
    captured = [[7, 100.0], [8, 133.0], [9, 166.0], [7, 10_100.0]]  # 7 comes again after ten seconds
    shown = [[7, 180.0], [9, 250.0], [11, 300.0], [7, 10_150.0], [8, 9000.0]]
    assert glass.delays(captured, shown) == [(180.0, 80.0), (250.0, 84.0), (10_150.0, 50.0)]


def test_a_stamped_clip_as_vp8_keeps_its_numbers():
    import av

    clip = encode_clip([cv2.GaussianBlur(noise(120, 160), (0, 0), 5)] * 35, fps=30, bit_rate=300_000)
    assert [k for k, (_, key) in enumerate(clip.frames) if key] == [0, 30]
    decoder = av.CodecContext.create("vp8", "r")
    frames = [frame for data, _ in clip.frames for frame in decoder.decode(av.Packet(data))]
    assert [stamp.read(luma(frame)) for frame in frames] == list(range(35))


@pytest.mark.browser
def test_the_page_measures_an_echo_through_a_real_browser(tmp_path):
    reason = browser.why_not()
    if reason is not None:
        pytest.skip(f"{reason}")
    image = cv2.GaussianBlur(noise(240, 320), (0, 0), 5)
    browser.write_camera(tmp_path / "camera.y4m", [image] * 90, fps=30)
    plan = {"geometry": browser.GEOMETRY, "seconds": 2, "warm": 1.5, "width": 320, "height": 240, "fps": 30}
    with glass.echo(0) as (exchange, server), browser.chromium(tmp_path / "camera.y4m") as chromium:
        measured = glass.one_round(chromium, exchange, plan, server)
    assert measured["picture"] == {"width": 320, "height": 240}
    assert measured["after"]["inbound"]["framesDecoded"] > measured["before"]["inbound"]["framesDecoded"]
    numbers = [int(number) for number, *_ in measured["shown"]]
    assert set(numbers) <= set(range(90))
    assert all(0 < delay < 3000 for _, delay in measured["delays"])
    display, arrival = (np.median([delay for _, delay in measured[key]]) for key in ("delays", "arrivals"))
    assert 0 < arrival < display

"""The control panel of a running pipeline: what the page asks, the pipeline does."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest

from realtime.media.watermark import THRESHOLD, score
from realtime.server.gallery import GalleryPortrait
from realtime.server.panel import PanelSink, open_panel
from realtime.session.local import Pipeline
from realtime.sinks import SinkOptions, open_sink
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame, Picture
from tests.support.server import DotEngine, offer, portrait_picture


class Spots(SourceBase):
    """A camera with a bright spot."""

    name = "spots"
    fps = 30.0

    def open(self) -> None:
        self.n = 0

    def read(self) -> Frame | None:
        time.sleep(0.03)
        image = np.zeros((120, 160, 3), np.uint8)
        image[50:70, 70:90] = 255
        self.n += 1
        return Frame(image, time.monotonic(), self.n, self.n / 30)

    def close(self) -> None:
        pass


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def panel():
    engine = DotEngine()
    engine.set_portrait(portrait_picture())
    links: list[str] = []
    portraits = [GalleryPortrait("a", "A", portrait_picture()), GalleryPortrait("b", "B", portrait_picture(hue=100))]
    with open_panel(engine, portraits, 30.0, 0, links.append) as player:
        pipeline = Pipeline(Spots(SourceOptions()), engine, [open_sink("null"), player.sink])
        player.control = pipeline.control
        thread = threading.Thread(target=lambda: asyncio.run(pipeline.run()))
        thread.start()
        with httpx.Client(base_url=links[0].rstrip("/"), timeout=20) as http:
            until(lambda: _up(http))
            yield http, player, pipeline
        pipeline.control.stop()
        thread.join(20)
        assert not thread.is_alive()


def _up(http) -> bool:
    try:
        return http.get("/api/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_preview_carries_the_invisible_mark_unless_told_otherwise():
    for mark in (True, False):
        sink = PanelSink(SinkOptions(mark=mark))
        box = sink.watch()
        sink.write(Picture(portrait_picture(), 0.0))
        shown = box.get(0.0)
        luma = shown.yuv[: shown.image.shape[0]]
        assert (score(luma) > THRESHOLD) is mark
        assert np.array_equal(shown.image, portrait_picture())


def test_the_panel_steers_the_pipeline_and_leaves_it_running(panel):
    http, player, pipeline = panel
    id = http.post("/api/sessions", json={"sdp": offer("recvonly")}).json()["id"]
    hello = http.get(f"/api/sessions/{id}").json()
    assert hello["panel"] is True
    assert [portrait["id"] for portrait in hello["portraits"]] == ["a", "b"]
    url = f"/api/sessions/{id}/control"
    assert http.post(url, json={"type": "set_edits", "values": {"glow": 0.5}}).json()["edits"] == {"glow": 0.5}
    assert dict(pipeline.control.live.edits) == {"glow": 0.5}
    http.post(url, json={"type": "reset_edits"})
    assert dict(pipeline.control.live.edits) == {}
    http.post(url, json={"type": "pause", "paused": True})
    assert pipeline.control.live.paused
    http.post(url, json={"type": "pause", "paused": False})
    http.post(url, json={"type": "mirror", "on": True})
    assert pipeline.control.live.mirror
    refused = http.post(url, json={"type": "source", "source": "sample"})
    assert refused.status_code == 400
    assert "camera of its own" in refused.json()["detail"]
    box = player.watch()
    first = box.get(5.0)
    assert first is not None
    http.post(url, json={"type": "portrait", "id": "b"})
    until(lambda: np.abs(box.get(5.0).image.astype(int) - first.image).mean() > 10)
    box.close()
    assert http.delete(f"/api/sessions/{id}").status_code == 204
    delivered = pipeline.stats.counts.delivered
    until(lambda: pipeline.stats.counts.delivered > delivered + 5)


def test_the_panel_shows_pictures(panel):
    http, _, _ = panel
    id = http.post("/api/sessions", json={"sdp": offer("recvonly")}).json()["id"]
    with http.stream("GET", f"/api/sessions/{id}/preview") as stream:
        data = b""
        for chunk in stream.iter_bytes():
            data += chunk
            if data.count(b"\xff\xd8\xff") >= 3:
                break
    assert data.startswith(b"--picture\r\nContent-Type: image/jpeg")

"""The control panel of a running pipeline: what the page asks, the pipeline does."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest

from realtime.errors import BadPortrait
from realtime.media.watermark import THRESHOLD, score
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.panel import PanelPlayer, PanelSink, open_panel
from realtime.session.local import Pipeline
from realtime.sinks import SinkOptions, open_sink
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame, Picture
from tests.support import until
from tests.support.server import DotEngine, ViewEngine, offer, portrait_picture


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
        box = sink.viewers.watch()
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


class Preparing(ViewEngine):
    """Gets portraits ready, as the mesh engine does, and counts them."""

    prepared = 0

    def prepare(self, image: np.ndarray) -> np.ndarray:
        self.prepared += 1
        if image.max() - image.min() < 30:
            raise BadPortrait("no face was found")
        return image


async def test_a_portrait_is_prepared_once_and_a_bad_one_leaves_the_old():
    engine = Preparing()
    engine.set_portrait(portrait_picture())
    sink = PanelSink(SinkOptions())
    player = PanelPlayer(engine, sink, [GalleryPortrait("a", "A", portrait_picture())], 30.0)
    pipeline = Pipeline(Spots(SourceOptions()), engine, [sink])
    player.control = pipeline.control
    running = asyncio.create_task(pipeline.run())
    mine = await player.try_portrait(portrait_picture(hue=100), "Mine")
    async with asyncio.timeout(20):
        while pipeline.control.snapshot()["portrait"] != "Mine":
            await asyncio.sleep(0.02)
    assert engine.prepared == 1
    assert "Mine" in pipeline.control.snapshot()["portraits"]  # p in the preview window finds it too
    await player.try_view(mine.id, portrait_picture(hue=40))
    async with asyncio.timeout(20):
        while len(engine.shown) != 1:
            await asyncio.sleep(0.02)
    assert engine.prepared == 1, "the portrait was prepared again for its view"
    with pytest.raises(BadPortrait):
        await player.try_portrait(np.full((64, 64, 3), 90, np.uint8), "Plain")
    assert player.state().portrait == mine.id
    assert [info.id for info in player.gallery.infos("s")] == ["a", mine.id]
    pipeline.control.stop()
    await running


def test_what_the_camera_did_is_counted_once_however_many_panels_are_open(panel):
    http, player, _ = panel
    until(lambda: player.rendered > 10)

    def rendered() -> float:
        lines = http.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("avatar_frames_rendered_total "))

    ids = [http.post("/api/sessions", json={}).json()["id"] for _ in range(2)]
    assert 10 < rendered() <= player.rendered
    for id in ids:
        assert http.delete(f"/api/sessions/{id}").status_code == 204
    assert 10 < rendered() <= player.rendered

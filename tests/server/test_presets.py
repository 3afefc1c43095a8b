"""Presets over HTTP: looked over by any server, kept by the panel of this machine's camera alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx
import numpy as np
import pytest

from realtime.media.backgrounds import Behind
from realtime.media.uploads import decode_portrait
from realtime.presets.folder import PresetFolder
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.panel import open_panel
from realtime.session.local import Pipeline
from realtime.sinks import open_sink
from realtime.sources import SourceOptions
from tests.server.test_panel import Spots, _up, until
from tests.support.server import DotEngine, make_studio, offer, portrait_picture, running

LOOK = {"format": "avatar-preset", "version": 1, "name": "work", "edits": {"glow": 0.5}, "mirror": True}


@pytest.fixture
def panel(tmp_path):
    """HTTP to a panel that keeps its presets in `tmp_path`, its session, and the running pipeline."""
    engine = DotEngine()
    engine.set_portrait(portrait_picture())
    links: list[str] = []
    portraits = [GalleryPortrait("given-0", "Mine", portrait_picture(hue=70))]
    folder = PresetFolder(tmp_path / "presets")
    with open_panel(engine, portraits, 30.0, 0, links.append, behind=Behind("green"), presets=folder) as player:
        pipeline = Pipeline(Spots(SourceOptions()), engine, [open_sink("null")])
        player.control = pipeline.control
        thread = threading.Thread(target=lambda: asyncio.run(pipeline.run()))
        thread.start()
        with httpx.Client(base_url=links[0].rstrip("/"), timeout=20) as http:
            until(lambda: _up(http))
            yield http, http.post("/api/sessions", json={}).json()["id"], pipeline, folder
        pipeline.control.stop()
        thread.join(20)


def test_a_panel_keeps_presets_with_the_pictures_they_need(panel):
    http, id, _, folder = panel
    url = f"/api/sessions/{id}/presets"
    assert http.get(url).json() == {"names": []}
    assert http.get(f"/api/sessions/{id}").json()["state"]["background"] == "green"
    kept = http.post(url, json={**LOOK, "portrait": {"id": "given-0"}})
    assert (kept.status_code, kept.json()) == (201, {"names": ["work"]})
    shown = http.get(f"{url}/work").json()
    assert shown["edits"] == {"glow": 0.5}
    assert shown["portrait"]["title"] == "Mine"
    picture = decode_portrait(folder.load("work").portrait.picture, 10**6)
    assert np.abs(picture.astype(int) - portrait_picture(hue=70)).mean() < 3
    assert http.delete(f"{url}/work").status_code == 204
    assert http.get(f"{url}/work").status_code == 404
    assert http.post(url, json={**LOOK, "portrait": {"id": "nowhere"}}).status_code == 404


def test_only_who_controls_the_panel_gets_at_presets(panel):
    http, id, _, _ = panel
    hello = http.get(f"/api/sessions/{id}").json()
    for key, status in ((hello["drive"], 403), (hello["view"].split("/")[-1], 403), ("x" * 22, 404)):
        assert http.get(f"/api/sessions/{key}/presets").status_code == status
        assert http.post(f"/api/sessions/{key}/presets", json=LOOK).status_code == status
        assert http.get(f"/api/sessions/{key}/presets/work").status_code == status
        assert http.delete(f"/api/sessions/{key}/presets/work").status_code == status


@pytest.mark.parametrize("name", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e%2fsecret", ".hidden", "a%00b", "%2Fetc"])
def test_no_name_leads_out_of_the_folder(panel, tmp_path, name):
    http, id, _, _ = panel
    (tmp_path / "secret.json").write_text(json.dumps(LOOK))
    for call in (http.get, http.delete):
        answer = call(f"/api/sessions/{id}/presets/{name}")
        assert answer.status_code in {400, 404, 405}
    assert (tmp_path / "secret.json").exists()


def test_a_neutral_face_is_told_and_brought_back(panel):
    http, id, pipeline, _ = panel
    control = f"/api/sessions/{id}/control"
    until(lambda: pipeline.stats.counts.rendered > 5)
    assert http.get(f"/api/sessions/{id}").json()["state"]["neutral"] is None
    assert http.post(control, json={"type": "calibrate", "neutral": [0.1, 0.2, 0.0]}).status_code == 200
    until(lambda: pipeline.control.neutral is not None)
    assert http.get(f"/api/sessions/{id}").json()["state"]["neutral"] == pytest.approx([0.1, 0.2, 0.0])
    assert http.post(control, json={"type": "calibrate", "neutral": [0.1]}).status_code == 400
    time.sleep(0.2)
    assert pipeline.control.calibration == 1.0


def test_amplitude_and_gaze_are_set_and_told(panel):
    http, id, pipeline, _ = panel
    control = f"/api/sessions/{id}/control"
    http.post(control, json={"type": "amplitude", "values": {"head": 0.5, "eyes": 1.0}})
    state = http.post(control, json={"type": "hold_gaze", "on": True}).json()
    assert state["amplitude"] == {"head": 0.5}
    assert state["hold_gaze"] is True
    assert dict(pipeline.control.live.amplitude) == {"head": 0.5}
    refused = http.post(control, json={"type": "amplitude", "values": {"ears": 0.5}})
    assert refused.status_code == 404
    assert "ears" in refused.json()["detail"]
    assert http.post(control, json={"type": "amplitude", "values": {"head": 9}}).status_code == 400


def test_any_server_looks_a_file_over_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path))
    with running(make_studio()) as server, httpx.Client(base_url=server.url, timeout=20) as http:
        looked = http.post("/api/presets", json=LOOK)
        assert looked.json() == {
            **LOOK,
            "amplitude": {},
            "hold_gaze": False,
            "smoothing": 0.0,
            "background": "original",
            "blur": 1.0,
            "shape": "",
        }
        bad = http.post("/api/presets", json={**LOOK, "mirror": "yes"})
        assert (bad.status_code, bad.json()["detail"]) == (400, "the preset: mirror is true or false")
        assert http.post("/api/presets", content=b"{").status_code == 400
        large = http.post("/api/presets", content=b" " * (12 * 1024 * 1024 + 1))
        assert large.status_code == 413
        id = http.post("/api/sessions", json={"sdp": offer()}).json()["id"]
        assert http.post(f"/api/sessions/{id}/presets", json=LOOK).status_code == 404
        elsewhere = http.post("/api/presets", json=LOOK, headers={"Origin": "https://elsewhere.example"})
        assert elsewhere.status_code == 403
    assert not list(tmp_path.iterdir())

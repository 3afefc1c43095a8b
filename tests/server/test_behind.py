"""What lies behind a portrait, and the shape of the picture: as the HTTP face takes it."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.media.portraits import builtin_portrait
from realtime.media.uploads import encode_jpeg
from realtime.server.common.limits import Limits
from realtime.server.hosting.gallery import READY, GalleryPortrait
from realtime.server.places.here import StudioSettings
from tests.media.test_backdrop import clip
from tests.support import until
from tests.support.page import studio
from tests.support.server import make_studio, running

RED, BLUE = (200, 30, 30), (30, 30, 200)
PICTURE = encode_jpeg(np.full((90, 160, 3), RED, np.uint8), None, 92)


@pytest.fixture(scope="module")
def server():
    with running(make_studio(StudioSettings(Limits(requests_per_s=1000, idle_s=300.0)))) as server:
        yield server


@pytest.fixture
def at(http):
    id = http.post("/api/sessions", json={}).json()["id"]
    yield f"/api/sessions/{id}"
    http.delete(f"/api/sessions/{id}")


def bring(http, at, data, kind):
    return http.post(f"{at}/background", content=data, headers={"Content-Type": kind})


def test_a_picture_and_a_clip_are_brought_and_come_back_to(http, at, server):
    state = lambda: http.get(at).json()["state"]  # noqa: E731
    say = lambda **message: http.post(f"{at}/control", json={"type": "background", **message})  # noqa: E731
    refused = say(background="own")
    assert (refused.status_code, refused.json()["detail"].startswith("Bring a picture or a clip first")) == (
        400,
        True,
    )
    made = bring(http, at, PICTURE, "image/jpeg")
    assert (made.status_code, made.json()) == (201, {"moving": False, "seconds": 0.0, "cut": False})
    assert state()["background"] == "own"
    performer = next(iter(server.studio.sessions.values())).performer
    assert performer.choice.shown.behind.own.source == PICTURE
    assert say(background="blur", strength=2.5).json()["blur"] == 2.5
    until(lambda: performer.choice.shown.behind.name == "blur")
    made = bring(http, at, clip([RED, BLUE], 1.0), "video/mp4")
    assert made.json()["moving"]
    assert say(background="own", strength=1).json()["background"] == "own"
    box = performer.watch()
    seen = {int(box.get(5.0).image[4, 4].argmax()) for _ in range(60)}
    box.close()
    assert seen == {0, 2}, "red and blue, in turn"


@pytest.mark.parametrize(
    ("data", "kind", "status", "said"),
    [
        (b"hello", "image/png", 400, "That cannot be a background: this is not a PNG"),
        (clip([RED], 1.0)[:120], "video/mp4", 400, "That cannot be a background: the clip cannot be decoded"),
        (PICTURE, "text/plain", 415, "Send the file itself"),
    ],
)
def test_what_is_none_is_refused_and_changes_nothing(http, at, data, kind, status, said):
    refused = bring(http, at, data, kind)
    assert (refused.status_code, refused.json()["detail"].startswith(said)) == (status, True)
    assert http.get(at).json()["state"]["background"] == "original"


def test_a_background_may_be_as_large_as_a_portrait(http, at):
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    data = encode_jpeg(noise, None, 92)
    assert len(data) > 2 * Limits().sdp_bytes
    assert bring(http, at, data, "image/jpeg").status_code == 201


def test_only_who_controls_brings_one(http, at):
    hello = http.get(at).json()
    for key in (hello["view"].rpartition("/")[2], hello["drive"], "nobody"):
        assert bring(http, f"/api/sessions/{key}", PICTURE, "image/jpeg").status_code in (403, 404)


def test_an_engine_of_one_shape_says_so(http, at):
    assert http.get(at).json()["shapes"] == []
    refused = http.post(f"{at}/control", json={"type": "shape", "shape": "16:9"})
    assert (refused.status_code, "of one shape" in refused.json()["detail"]) == (400, True)
    assert http.post(f"{at}/control", json={"type": "shape", "shape": "3:1"}).status_code == 422


def test_shapes_are_chosen_while_it_runs():
    with (
        running(studio(lambda: load_engine("mesh", size=128, live=True), idle_s=300.0)) as server,
        httpx.Client(base_url=server.url, timeout=60) as http,
    ):
        id = http.post("/api/sessions", json={}).json()["id"]
        hello = http.get(f"/api/sessions/{id}").json()
        assert hello["shapes"] == ["1:1", "16:9", "9:16", "4:3", "3:4"]
        performer = server.studio.sessions[id].performer
        box = performer.watch()
        for shape, size in (("16:9", (128, 228)), ("9:16", (228, 128)), ("", (128, 128))):
            said = http.post(f"/api/sessions/{id}/control", json={"type": "shape", "shape": shape}).json()
            assert said["shape"] == shape
            until(lambda size=size: box.get(5.0).image.shape[:2] == size, 60, f"no picture of {shape}")
        box.close()


def test_of_a_portrait_few_forms_are_kept():
    from realtime.media.backgrounds import Behind

    engine, portrait = load_engine("mesh", size=64), GalleryPortrait("a", "A", builtin_portrait())
    first = portrait.ready_for(engine, Behind())
    assert portrait.ready_for(engine, Behind()) is first
    engine.set_portrait(portrait.ready_for(engine, Behind(), "9:16"))
    assert (engine.width, engine.height) != (64, 64)
    assert portrait.ready_for(engine, Behind()) is first, "what an engine shows is no part of what was prepared"
    portrait.ready_for(engine, Behind("blur", 2.0))
    assert len(portrait._ready) == 2, "what is one user's own is kept by nobody else"
    for background in ("original", "green"):
        for shape in ("1:1", "16:9", "4:3", "3:4"):
            portrait.ready_for(engine, Behind(background), shape)
    assert len(portrait._ready) == READY
    engine.close()

"""Several pictures of one person, brought over HTTP: how many, by whom, when they are prepared, and when they go."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.engines import ENGINES, TakesViews
from realtime.errors import UnknownName
from realtime.families import FAMILIES, target
from realtime.media.backgrounds import Behind
from realtime.server.common.limits import Limits
from realtime.server.hosting.gallery import Gallery, GalleryPortrait, View
from realtime.server.hosting.looks import Looks
from realtime.server.places import Busy
from realtime.server.places.here import StudioSettings
from tests.server.test_api import png
from tests.support import until
from tests.support.server import ViewEngine, gallery, make_studio, portrait_picture, running

YES = {"consent": "true"}
PNG = {"content-type": "image/png"}
FLAT = png(np.full((100, 100, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def server():
    settings = StudioSettings(Limits(sessions=8, requests_per_s=1000, idle_s=300.0))
    with running(make_studio(settings, ViewEngine)) as server:
        yield server


@pytest.fixture
def at(http):
    id = http.post("/api/sessions", json={}).json()["id"]
    yield f"/api/sessions/{id}"
    http.delete(f"/api/sessions/{id}")


@pytest.fixture
def own(http, at) -> str:
    """The address of a portrait that was brought, and is shown."""
    info = http.post(f"{at}/portraits", params=YES, content=png(), headers=PNG).json()
    return f"{at}/portraits/{info['id']}"


def bring(http, own, data=None, **how):
    given = png(portrait_picture(hue=40)) if data is None else data
    return http.post(f"{own}/views", content=given, **{"params": YES, "headers": PNG, **how})


def performer(server):
    (session,) = server.studio.sessions.values()
    return session.performer


def test_views_are_taken_shown_and_forgotten(http, server, at, own):
    assert http.get(at).json()["views"] == Limits().views
    assert bring(http, own, params={}).status_code == 403, "nobody said that the face may be used"
    engine = performer(server).engine
    for number in range(1, Limits().views + 1):
        answer = bring(http, own)
        assert (answer.status_code, len(answer.json()["views"])) == (201, number)
        until(lambda number=number: len(engine.shown) == number)
    assert engine.looked == Limits().views, "a view that was there before was prepared again"
    refused = bring(http, own)
    assert (refused.status_code, "takes 4 other views" in refused.json()["detail"]) == (400, True)
    views = answer.json()["views"]
    for view in views[:2]:
        assert http.delete(f"{own}/views/{view}").status_code == 204
    until(lambda: len(engine.shown) == 2)
    assert http.delete(f"{own}/views/{views[0]}").status_code == 404
    (listed,) = [each["views"] for each in http.get(at).json()["portraits"] if each["uploaded"]]
    assert listed == views[2:]
    assert http.delete(own).status_code == 204
    until(lambda: not engine.shown, what="the views outlive their portrait")
    assert bring(http, own).status_code == 404


def test_a_view_of_a_portrait_that_is_not_shown_shows_nothing_else(http, server, at, own):
    http.post(f"{at}/control", json={"type": "portrait", "id": "second"})
    until(lambda: performer(server).portrait.id == "second")
    assert bring(http, own).status_code == 201
    assert bring(http, own, FLAT).status_code == 400
    assert http.get(at).json()["state"]["portrait"] == "second"
    http.post(f"{at}/control", json={"type": "portrait", "id": own.rpartition("/")[2]})
    until(lambda: len(performer(server).engine.shown) == 1)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"not a picture", "image/png", 400, "not a PNG, JPEG"),
        (FLAT, "image/png", 400, "this view: no face"),
        (png()[:800], "image/png", 400, "damaged"),
        (png(), "text/html", 415, "Send the file itself"),
        (bytes(13 << 20), "image/png", 413, "too large"),
    ],
)
def test_bad_views_are_refused_and_leave_the_portrait(http, at, own, body, kind, status, says):
    answer = bring(http, own, body, headers={"content-type": kind})
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text
    state = http.get(at).json()
    assert (state["state"]["portrait"], state["state"]["preparing"]) == (own.rpartition("/")[2], False)
    assert not any(each["views"] for each in state["portraits"])
    assert bring(http, own).status_code == 201


def test_views_are_for_who_controls_and_for_portraits_of_his_own(http, at, own):
    hello = http.get(at).json()
    for key in (hello["view"].rpartition("/")[2], hello["drive"], "nobody"):
        assert bring(http, own.replace(at, f"/api/sessions/{key}")).status_code in (403, 404)
    assert bring(http, f"{at}/portraits/first").status_code == 404
    other = http.post("/api/sessions", json={}).json()["id"]
    assert bring(http, own.replace(at, f"/api/sessions/{other}")).status_code == 404
    http.delete(f"/api/sessions/{other}")


def test_a_session_keeps_so_many_pictures_views_among_them():
    shelf = Gallery(gallery(), most=5)
    made = [Gallery.new(portrait_picture(), str(n)) for n in range(3)]
    for portrait in made:
        shelf.keep(portrait)
    shelf.keep(made[0].with_views([View(portrait_picture()) for _ in range(2)]))
    assert [info.title for info in shelf.infos("s")[2:]] == ["1", "2", "0"]
    shelf.keep(shelf.own(made[0].id).with_views([View(portrait_picture()) for _ in range(4)]))
    assert [info.title for info in shelf.infos("s")[2:]] == ["0"], "the one that was worked on leaves last"
    with pytest.raises(UnknownName):
        shelf.own("first")


def test_a_portrait_with_another_view_is_made_ready_anew_for_views_with_their_own_background():
    """The engine is asked for a green background of the portrait, and of it with one more view."""

    class Aside:
        @staticmethod
        def submit(work, *arguments):
            work(*arguments)

    engine, asked = ViewEngine(), []
    engine.prepare = lambda image: asked.append(1) or image
    looks = Looks(engine, type("Pool", (), {"aside": Aside}))
    portrait = GalleryPortrait("own", "Own", portrait_picture())
    looks._get(portrait, "green", "")
    shown = portrait.with_views([View(portrait_picture(hue=40))])
    assert looks._get(shown, "green", "") is None, "it is that without the view"
    assert len(looks._get(shown, "green", "").views) == 1
    assert len(asked) == 1, "the portrait itself was prepared before"
    assert shown.ready_for(engine, Behind("green")).views


@pytest.mark.parametrize("name", ENGINES)
def test_which_engines_take_views(name):
    try:
        engine = target(ENGINES[name])
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    assert issubclass(engine, TakesViews) is FAMILIES[name].views


@pytest.mark.parametrize("shared", [True, False])
def test_one_picture_is_in_work_in_each_gallery(shared):
    """All sessions of a panel have one gallery between them."""
    studio = make_studio()
    one, other = (SimpleNamespace(id=id, shared=shared) for id in "ab")
    with studio._portraits._upload(one):
        with pytest.raises(Busy), studio._portraits._upload(one):
            pass
        with pytest.raises(Busy) if shared else contextlib.nullcontext(), studio._portraits._upload(other):
            pass
    with studio._portraits._upload(other):
        pass

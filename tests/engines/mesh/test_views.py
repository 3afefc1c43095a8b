"""Several pictures of one person: which one is shown, and that it is shown well."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.choose import PortraitFile, make_engine
from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.views import FADE, HYSTERESIS, ViewChoice
from realtime.errors import BadPortrait, BadValue, EngineError
from realtime.media.backgrounds import Behind
from realtime.media.portraits import builtin_portrait
from realtime.server.hosting.gallery import GalleryPortrait, View
from realtime.settings import EngineSettings
from realtime.types import MotionCode

STEP = 1.0 / 30.0
SIZE = 192


def shares_over(distances: list[tuple[float, ...]], step: float = STEP) -> np.ndarray:
    choice = ViewChoice(len(distances[0]))
    return np.array([choice.shares(np.array(d), i * step) for i, d in enumerate(distances)])


def test_the_nearest_view_is_shown_at_first():
    np.testing.assert_array_equal(shares_over([(9.0, 4.0, 30.0)]), [[0, 1, 0]])


def test_a_view_that_is_hardly_nearer_does_not_take_over():
    near = [(10.0, 10.0 - 0.9 * HYSTERESIS * sign) for sign in (-1, 1) * 10]
    np.testing.assert_array_equal(shares_over(near), [[1, 0]] * 20)


def test_another_view_fades_in_within_its_time_and_no_two_stay_mixed():
    shares = shares_over([(0.0, 20.0)] * 3 + [(20.0, 0.0)] * 12)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (np.diff(shares[:, 1]) >= 0).all()
    assert 0.0 < shares[3, 1] < 0.5
    mixed = ((shares > 0.0) & (shares < 1.0)).any(axis=1)
    assert 2 <= mixed.sum() <= FADE / STEP
    assert shares[-1, 1] == 1.0


def test_one_that_changes_its_mind_fades_back():
    shares = shares_over([(0.0, 20.0, 9.0)] * 2 + [(20.0, 0.0, 9.0)] * 2 + [(0.0, 20.0, 9.0)] * 6)
    assert shares[:, 1].max() < 1.0
    np.testing.assert_allclose(shares[-1], [1, 0, 0])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_after_a_pause_and_in_a_sheet_the_nearest_is_shown_at_once():
    for step in (1.0, 0.0, -1.0):
        np.testing.assert_array_equal(shares_over([(0.0, 20.0), (20.0, 0.0)], step)[1], [0, 1])


def moved(engine: MeshEngine, **edits: float) -> np.ndarray:
    engine.reference = engine.portrait_code
    return engine.render(edited(engine, engine.portrait_code.values, **edits))


def edited(engine: MeshEngine, values: np.ndarray, **edits: float) -> MotionCode:
    index = {d.name: d.index for d in engine.directions}
    values = values.copy()
    for name, amount in edits.items():
        values[index[name]] += amount
    return engine.portrait_code.with_values(values)


@pytest.fixture(scope="module")
def engine():
    made = MeshEngine(SIZE)
    made.set_portrait(builtin_portrait())
    yield made
    made.close()


@pytest.fixture(scope="module")
def turned(engine):
    """A picture of the same person turned, which no bending of the portrait could give: a mark on the near cheek."""
    picture = moved(engine, yaw=25.0)
    cheek = picture[SIZE * 46 // 100 : SIZE * 49 // 100, SIZE * 47 // 100 : SIZE * 50 // 100]
    cheek[:] = (40, 90, 200)
    return picture


def blue(picture: np.ndarray) -> int:
    """How many pixels the mark has."""
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    return int(((b - r > 40) & (g < 150)).sum())


def test_a_turned_head_comes_from_the_turned_picture_and_the_rest_from_the_portrait(engine, turned):
    alone = {yaw: moved(engine, yaw=yaw) for yaw in (0.0, 25.0)}
    engine.set_views([engine.prepare_view(turned)])
    try:
        at_rest, there = moved(engine), moved(engine, yaw=25.0)
        np.testing.assert_array_equal(at_rest, alone[0.0])
        assert blue(there) > blue(alone[25.0]) + 8
        body = slice(int(0.85 * SIZE), None)
        np.testing.assert_array_equal(there[body], alone[25.0][body])
        assert np.abs(there.astype(int) - turned).mean() < 6
    finally:
        engine.set_views([])
    np.testing.assert_array_equal(moved(engine, yaw=25.0), alone[25.0])


def test_views_go_with_their_portrait(engine, turned):
    own = engine.prepare(builtin_portrait())
    engine.set_portrait(own)
    engine.set_views([engine.prepare_view(turned)])
    with_views = moved(engine, yaw=25.0)
    engine.set_portrait(builtin_portrait("painting"))
    assert blue(moved(engine, yaw=25.0)) < blue(with_views)
    engine.set_portrait(own)
    np.testing.assert_array_equal(moved(engine, yaw=25.0), with_views)
    engine.set_views([])


def test_a_portrait_can_bring_its_views_along(engine, turned):
    engine.set_portrait(builtin_portrait())
    engine.set_views([engine.prepare_view(turned)])
    wanted = moved(engine, yaw=25.0)
    engine.set_views([])
    alone = GalleryPortrait("a", "A", builtin_portrait())
    gallery = alone.with_views([View(turned)])
    ready = gallery.ready_for(engine, Behind())
    engine.set_portrait(ready)
    np.testing.assert_array_equal(moved(engine, yaw=25.0), wanted)
    green = gallery.ready_for(engine, Behind("green"))
    assert green.views[0] is ready.views[0], "a view is prepared once, whatever lies behind"
    engine.set_portrait(alone.ready_for(engine, Behind()))
    assert alone.ready_for(engine, Behind()) is ready.main, "the portrait itself was prepared again"
    assert blue(moved(engine, yaw=25.0)) < blue(wanted)
    bad = View(np.full((200, 200, 3), 90, np.uint8), "left.jpg")
    with pytest.raises(BadPortrait, match=r"left\.jpg: no human face"):
        gallery.with_views([*gallery.views, bad]).ready_for(engine, Behind())


def test_a_view_from_the_front_lets_a_turned_portrait_turn_on(engine, turned):
    front = moved(engine)
    made = MeshEngine(SIZE)
    made.set_portrait(turned)
    assert made.portrait.cheek is not None  # which it hides, and the portrait from the front does not
    assert engine.portrait.cheek is None
    rest = engine.portrait_code
    made.reference = rest  # a driver who looks into the camera, and turns to the other side

    def towards_front() -> float:
        """How much changes from 40 to 50 degrees."""
        near, far = (made.render(edited(made, rest.values, yaw=yaw)).astype(int) for yaw in (-40.0, -50.0))
        return float(np.abs(far - near).mean())

    alone = towards_front()
    made.set_views([made.prepare_view(front)])
    with_view = towards_front()
    made.close()
    assert alone < 0.5
    assert with_view > 2.0


def test_a_larger_brighter_view_is_brought_to_the_portraits_place_and_light(engine, turned):
    import cv2

    large = cv2.resize(turned, None, fx=1.3, fy=1.3, interpolation=cv2.INTER_LINEAR)
    bright = np.clip(large * 1.15, 0, 255).astype(np.uint8)
    elsewhere = cv2.copyMakeBorder(bright, 30, 0, 50, 10, cv2.BORDER_REPLICATE)
    view = engine.prepare_view(elsewhere)
    main = engine.portrait
    assert view.pose.scale == pytest.approx(main.pose.scale, rel=0.05)
    np.testing.assert_allclose(view.pose.translation[:2], main.pose.translation[:2], atol=0.04 * main.pose.scale)
    same = engine.prepare_view(turned)
    rows, columns = slice(SIZE // 3, SIZE // 2), slice(SIZE * 45 // 100, SIZE * 55 // 100)
    assert np.abs(view.picture.astype(int) - same.picture)[rows, columns].mean() < 12


def test_a_view_without_a_face_is_refused_by_its_name():
    settings = EngineSettings("mesh", 96, "cpu")
    front = PortraitFile(builtin_portrait(), "front.jpg")
    with pytest.raises(BadPortrait, match=r"left\.jpg.*no human face"):
        make_engine(settings, front, views=[PortraitFile(np.zeros((200, 200, 3), np.uint8), "left.jpg")])


def test_engines_with_one_picture_refuse_views_before_they_load():
    with pytest.raises(BadValue, match="takes one picture; engines with views: mesh"):
        make_engine(EngineSettings("lia", 256, "cpu"), views=[PortraitFile(builtin_portrait(), "left.jpg")])


def test_views_need_a_portrait():
    engine = MeshEngine(96)
    with pytest.raises(EngineError, match="no portrait"):
        engine.prepare_view(builtin_portrait())
    engine.close()

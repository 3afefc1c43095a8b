"""The body's layer: what each direction does to it, its cut edges, and the neck."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.engines.mesh.body import HIDDEN, BodyLayer, Edges, build_body
from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.body import BodyMotion, body_motion
from realtime.engines.mesh.renderer import move_mesh
from realtime.face.face_model import LANDMARKS
from realtime.media.portraits import builtin_portrait
from tests.support.triangles import areas

STILL = body_motion(np.zeros(mc.LENGTH), np.zeros(mc.LENGTH), False)


@pytest.fixture(scope="module")
def engine():
    made = load_engine("mesh", size=256)
    made.set_portrait(builtin_portrait())
    yield made
    made.close()


@pytest.fixture(scope="module")
def layer(engine) -> BodyLayer:
    return engine.portrait.body


def way(layer: BodyLayer, engine, motion: BodyMotion) -> np.ndarray:
    """How far the body's points go beside a head that stays, face heights."""
    points = engine.portrait.outer.points
    return (layer.move(points, motion) - points)[layer.which] / layer.unit


def near(layer: BodyLayer, shoulder: str) -> int:
    """The point that lies nearest to that shoulder, of those well inside the picture."""
    inside = (layer.free > 0.99).all(axis=0) & (layer.weight > 0.9)
    return int(np.argmax(np.where(inside, getattr(layer, shoulder), -1.0)))


def test_a_body_that_does_nothing_is_left_as_it_was(layer, engine):
    points = engine.portrait.outer.points
    assert layer.move(points, STILL) is points


@pytest.mark.parametrize(("raised", "other"), [("right", "left"), ("left", "right")])
def test_a_shoulder_is_raised_alone(layer, engine, raised, other):
    went = way(layer, engine, replace(STILL, **{f"raise_{raised}": 0.1}))
    assert went[near(layer, raised), 1] < -0.06
    assert abs(went[near(layer, other), 1]) < 0.02


def test_the_chest_turns_towards_the_right_of_the_picture(layer, engine):
    went = way(layer, engine, replace(STILL, turn=20.0))
    front = (np.abs(layer.rest[:, 0] - layer.middle[0]) < 0.2 * layer.unit) & (layer.weight > 0.9)
    assert (went[front & (layer.free > 0.99).all(axis=0), 0] > 0.05).all()


def test_who_leans_lowers_one_shoulder_and_lifts_the_other(layer, engine):
    went = way(layer, engine, replace(STILL, lean=8.0))  # clockwise: the picture's left, the person's right, rises
    assert went[near(layer, "right"), 1] < -0.03
    assert went[near(layer, "left"), 1] > 0.03


def test_a_chest_that_turns_draws_the_shoulders_together_and_moves_them_nowhere():
    unit, size = 100.0, (600, 600)
    joints = np.array([[230.0, 400.0], [370.0, 400.0]])
    points = np.concatenate([joints, [[300.0, 400.0]]])
    ones = np.ones(len(points))
    made = build_body(points, ones, joints, (np.array([300.0, 200.0]), unit), Edges(size, 100))
    right, left, breastbone = made.move(points, replace(STILL, turn=20.0))
    np.testing.assert_allclose((right + left) / 2, [300, 400], atol=1e-9)
    assert left[0] - right[0] == pytest.approx(140 * np.cos(np.radians(20)))
    assert breastbone[0] > 305


def test_a_breath_raises_the_chest_a_little(layer, engine):
    went = way(layer, engine, replace(STILL, breath=1.0))
    assert -0.03 < went[:, 1].min() < -0.008


def test_a_body_that_is_seen_does_not_follow_the_head(engine):
    """Whatever the head does, the shoulders stay where the driver's are; without them they go along a little."""
    portrait = engine.portrait
    pose = replace(portrait.pose, translation=portrait.pose.translation + np.array([0.3 * portrait.pose.scale, 0, 0]))
    body = portrait.body.which[portrait.body.weight > 0.99] + LANDMARKS
    seen, _ = move_mesh(portrait, portrait.shape, pose, body=replace(STILL, share=1.0))
    unseen, _ = move_mesh(portrait, portrait.shape, pose, body=STILL)
    rest, _ = move_mesh(portrait, portrait.shape, portrait.pose)
    assert np.abs(seen - rest)[body].max() < 0.05
    assert np.abs(unseen - rest)[body].max() > 5


@pytest.mark.parametrize("shift", [(0.0, -0.6), (0.6, 0.0), (-0.6, -0.3)])
def test_no_cut_edge_comes_into_the_picture(layer, engine, shift):
    motion = replace(STILL, share=1.0, shift=np.array(shift), grow=0.75)
    went = way(layer, engine, motion) * layer.unit
    edges = layer.free == 0.0
    inwards = np.stack([went[:, 0], -went[:, 0], -went[:, 1]])
    assert edges.any()
    assert (inwards - layer.room[:, None])[edges].max() <= 1e-9
    assert layer.room[:2] == pytest.approx(HIDDEN * 26)
    assert layer.room[2] > 0.3 * layer.unit


def test_the_neck_neither_tears_nor_folds(engine):
    """Head and body go apart as far as limits allow: triangles of the neck keep their side."""
    portrait = engine.portrait
    rest, _ = move_mesh(portrait, portrait.shape, portrait.pose)
    throat = np.abs(rest[:, 0] - portrait.landmarks[152, 0]) < 0.4 * portrait.pose.scale
    below = (rest[:, 1] > portrait.landmarks[152, 1]) & (rest[:, 1] < 255)
    chosen = portrait.triangles[(throat & below)[portrait.triangles].all(axis=1)]
    before = areas(rest, chosen)
    assert len(chosen) > 10
    for x, y, lean in ((0.3, 0.0, 10.0), (-0.3, 0.0, -10.0), (0.0, -0.15, 0.0), (0.0, 0.05, 5.0)):
        body = replace(STILL, share=1.0, shift=-np.array([x, y]) / 2, lean=lean)
        shift = np.array([x, y, 0.0]) / 2 * portrait.pose.scale
        pose = replace(portrait.pose, translation=portrait.pose.translation + shift)
        moved, _ = move_mesh(portrait, portrait.shape, pose, body=body)
        assert (np.sign(areas(moved, chosen)) == np.sign(before)).mean() > 0.95


@pytest.mark.parametrize("direction", [d for d in mc.DIRECTIONS if d.group == "body"], ids=lambda d: d.name)
def test_every_slider_of_the_body_shows(engine, direction):
    own = engine.portrait_code
    engine.reference = own
    values = own.values.copy()
    values[direction.index] += direction.hi
    rest, moved = engine.render(own), engine.render(own.with_values(values))
    assert np.abs(rest.astype(int) - moved)[200:].max() > 40  # on the chest
    assert np.abs(rest.astype(int) - moved)[:100].mean() < 0.5  # the head stays


def test_a_body_that_ends_in_the_picture_need_not_give_way():
    points = np.array([[-90.0, 500.0], [690.0, 500.0]])
    edges = Edges((600, 600), 100, ends=(True, False))
    made = build_body(points, np.ones(2), None, (np.array([300.0, 200.0]), 100.0), edges)
    left, right = made.move(points, replace(STILL, share=1.0, grow=0.7))
    assert left[0] - points[0, 0] > 100
    assert points[1, 0] - right[0] < 100

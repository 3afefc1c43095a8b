"""The neck behind the jaw: what a turned head uncovers below its ear is neck, not background."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from realtime.engines.mesh.framing import frame_portrait
from realtime.engines.mesh.nape import Nape
from realtime.engines.mesh.outer import build_outer_mesh, face_coordinates
from realtime.engines.mesh.portrait import prepare_portrait
from realtime.engines.mesh.renderer import MeshRenderer, move_mesh
from realtime.engines.mesh.topology import face_triangles
from realtime.face.face_model import OVAL, load_face_model
from realtime.face.pose import HeadPose, angles, rotation_matrix
from realtime.media.portraits import builtin_portrait

SHAPE = load_face_model().mean
OWN = HeadPose(160.0, np.eye(3), np.array([200.0, 160.0, 0.0]))
FACE = OWN.to_picture(SHAPE)
MIDDLE = FACE[list(OVAL), :2].mean(axis=0)
SKIN, SKY = np.array((200, 150, 120)), (20, 60, 220)
NECK, LOW = 0.28, 0.62
"""Half its width, and where the shoulders begin, face heights."""
STILL = np.zeros((len(OVAL), 3))


def person(neck: float = NECK, ears: float = 0.5) -> np.ndarray:
    """A matte (400, 400): head, neck and shoulders."""
    y, x = np.mgrid[0:400, 0:400].astype(float)
    u, v = face_coordinates(np.column_stack([x.ravel(), y.ravel()]), FACE[list(OVAL), :2], OWN)
    hull = np.zeros((400, 400), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(FACE[:, :2].astype(np.float32)).round().astype(np.int32), (1,))
    head = (np.abs(u) < ears) & (np.abs(v) < 0.14)
    below = ((np.abs(u) < neck) & (v > 0.0)) | (v > LOW)
    return np.maximum(hull, (head | below).reshape(400, 400)).astype(np.float32)


def prepared(matte: np.ndarray):
    picture = np.where(matte[..., None] > 0.5, SKIN, SKY).astype(np.uint8)
    outer = build_outer_mesh(FACE, OWN, (400, 400), 40)
    at = np.concatenate([FACE[:, :2], outer.points])
    triangles = np.concatenate([face_triangles(), outer.triangles])
    return Nape.both(picture, matte, FACE, OWN, at, triangles), outer


def drawn(matte: np.ndarray, yaw: float) -> np.ndarray:
    """What is painted on a black picture with the head turned."""
    napes, outer = prepared(matte)
    pose = HeadPose(160.0, rotation_matrix(yaw, 0.0, 0.0), OWN.translation)
    face, (ends, far) = pose.to_picture(SHAPE), outer.move(STILL, OWN, pose)
    points = np.concatenate([face[:, :2], ends]).astype(np.float32)
    depth = np.concatenate([face[:, 2], far]).astype(np.float32)
    out = np.zeros((400, 400, 3), np.uint8)
    for nape in napes:
        nape.draw(out, points, depth, pose)
    return out


@pytest.mark.parametrize("side", [1, -1])
def test_below_the_ear_a_turned_head_has_a_neck(side):
    out = drawn(person(), 38.0 * side)
    near = out[:, : int(MIDDLE[0])] if side > 0 else out[:, int(MIDDLE[0]) :]
    painted = near.max(axis=2) > 60
    assert 150 < painted.sum() < 6000
    rows = np.flatnonzero(painted.any(axis=1))
    v = (rows - MIDDLE[1]) / 160.0
    assert 0.05 < v.min() < 0.3
    assert v.max() < LOW + 0.05
    colour = np.median(near[painted], axis=0)
    assert (colour < SKIN + 5).all()  # in the shade of the head
    assert (colour > 0.55 * SKIN).all()
    far = out[:, int(MIDDLE[0]) :] if side > 0 else out[:, : int(MIDDLE[0])]
    assert not far.any()


def test_it_lies_behind_the_person_and_ends_at_the_ear():
    matte = person()
    out = drawn(matte, 38.0)
    assert not out[int(MIDDLE[1] - 20) : int(MIDDLE[1]), :].any()
    without_ears = drawn(person(ears=0.3), 38.0)
    below_ear = slice(int(MIDDLE[1] + 0.08 * 160), int(MIDDLE[1] + 0.25 * 160))
    painted = [int((picture[below_ear].max(axis=2) > 60).sum()) for picture in (out, without_ears)]
    assert painted[1] < 0.7 * painted[0]


def test_at_rest_nothing_is_painted():
    assert not drawn(person(), 0.0).any()
    assert not drawn(person(), 5.0).any()


@pytest.mark.parametrize("neck", [0.6, 0.1])
def test_where_hair_hides_the_neck_nothing_is_known_of_it(neck):
    assert prepared(person(neck))[0] == ()


def test_a_collar_lends_the_neck_no_colour():
    matte = person()
    picture = np.where(matte[..., None] > 0.5, SKIN, SKY).astype(np.uint8)
    picture[int(MIDDLE[1] + 0.5 * 160) :] = (10, 30, 15)
    outer = build_outer_mesh(FACE, OWN, (400, 400), 40)
    at = np.concatenate([FACE[:, :2], outer.points])
    for nape in Nape.both(picture, matte, FACE, OWN, at, face_triangles()):
        assert nape.paint[:, 0].max() > 120


def test_a_portrait_shows_both(turned_astronaut):
    """The skin before the ear that gives way, and the neck below it, in a picture as users get it."""
    portrait, pose, picture = turned_astronaut
    points, _ = move_mesh(portrait, portrait.shape, pose)
    assert np.linalg.norm(points[227] - points[234]) < 0.05 * pose.scale
    assert len(portrait.napes) == 2
    without = MeshRenderer().render(replace(portrait, napes=()), portrait.shape, pose)
    x, y = (points[132, :2] + np.array([-0.1, 0.1]) * pose.scale).astype(int)  # below the corner of the jaw
    changed = np.abs(picture.astype(int) - without).max(axis=2)
    assert (changed > 25).sum() > 20
    assert np.abs(np.argwhere(changed > 25) - (y, x)).max() < 0.3 * pose.scale


@pytest.fixture
def turned_astronaut():
    portrait = prepare_portrait(frame_portrait(builtin_portrait(), 256), quick=True)
    yaw, pitch, roll = angles(portrait.pose.rotation)
    pose = HeadPose(portrait.pose.scale, rotation_matrix(yaw + 38.0, pitch, roll), portrait.pose.translation)
    return portrait, pose, MeshRenderer().render(portrait, portrait.shape, pose)

"""The far cheek of a head in three-quarter view: painted like the skin beside it when the head turns to the front."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.engines.mesh.cheek import FarCheek
from realtime.engines.mesh.outer import build_outer_mesh
from realtime.engines.mesh.shade import face_normals
from realtime.face.face_model import LANDMARKS, LEFT_EYE, NOSE_TIP, OVAL, RIGHT_EYE, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix

SHAPE = load_face_model().mean
SKIN = np.array((200, 150, 120))
STILL = np.zeros((len(OVAL), 3))


def posed(yaw: float) -> HeadPose:
    return HeadPose(160.0, rotation_matrix(yaw, 0.0, 0.0), np.array([200.0, 160.0, 0.0]))


def prepared(own: float, skin: np.ndarray = SKIN):
    """A face of one colour before black, which its outline runs into."""
    points = posed(own).to_picture(SHAPE)
    picture = np.zeros((400, 400, 3), np.uint8)
    hull = cv2.convexHull(points[:, :2].astype(np.float32)).round().astype(np.int32)
    cv2.fillConvexPoly(picture, hull, tuple(int(c) for c in skin))
    picture = cv2.erode(picture, np.ones((9, 9), np.uint8))
    outer = build_outer_mesh(points, posed(own), (400, 400), 40)
    return FarCheek.of(picture, points, posed(own), face_normals(SHAPE), outer), outer


def drawn(cheek: FarCheek, outer, own: float, yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """What it makes of a picture that is blue all over, and where the face's points lie in that."""
    face, (ends, depth) = posed(yaw).to_picture(SHAPE), outer.move(STILL, posed(own), posed(yaw))
    points = np.concatenate([face[:, :2], ends]).astype(np.float32)
    out = np.full((400, 400, 3), (0, 0, 250), np.uint8)
    cheek.draw(out, points, np.concatenate([face[:, 2], depth]).astype(np.float32), posed(yaw))
    return out, points[:LANDMARKS]


def at(out: np.ndarray, points: np.ndarray, which: int) -> np.ndarray:
    x, y = points[which].round().astype(int)
    return out[y, x].astype(int)


@pytest.mark.parametrize("own", [-7.0, 0.0, 7.0])
def test_a_portrait_that_shows_both_cheeks_needs_none(own):
    assert prepared(own)[0] is None


@pytest.mark.parametrize(("own", "eye", "near"), [(-30.0, RIGHT_EYE, 372), (30.0, LEFT_EYE, 143)])  # the other temple
def test_the_hidden_cheek_takes_the_colour_of_the_skin_beside_it(own, eye, near):
    cheek, outer = prepared(own)
    out, points = drawn(cheek, outer, own, own / 2)
    hidden = [k for k in OVAL if cheek.paint[k, 3] > 0.99 and abs(SHAPE[k, 1]) < 0.2]
    assert len(hidden) > 3
    assert cheek.paint[hidden, :3] == pytest.approx(np.tile(SKIN, (len(hidden), 1)), abs=40)
    just_inside = points[hidden] + 0.05 * (points[NOSE_TIP] - points[hidden])
    shown = np.array([at(out, just_inside, k) for k in range(len(hidden))])
    assert np.median(shown, axis=0)[0] > 130  # there was none of its red
    upper_lid = eye[4]
    for kept in (NOSE_TIP, near, upper_lid):
        assert at(out, points, kept) == pytest.approx((0, 0, 250), abs=25)


@pytest.mark.parametrize("yaw", [-30.0, -45.0])
def test_at_rest_and_turned_farther_away_nothing_is_painted(yaw):
    cheek, outer = prepared(-30.0)
    out, _ = drawn(cheek, outer, -30.0, yaw)
    assert (out == (0, 0, 250)).all()


def test_it_comes_smoothly_and_stays():
    cheek, _ = prepared(-30.0)
    shares = [cheek.share(posed(-30.0 + k / 4)) for k in range(100)]
    steps = np.diff(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert (steps >= 0.0).all()
    assert steps.max() < 0.1


def test_a_head_outside_the_picture_is_no_fault():
    cheek, outer = prepared(-30.0)
    face, (ends, depth) = posed(-10.0).to_picture(SHAPE), outer.move(STILL, posed(-30.0), posed(-10.0))
    points = (np.concatenate([face[:, :2], ends]) + np.array([900.0, 0.0])).astype(np.float32)
    out = np.zeros((400, 400, 3), np.uint8)
    cheek.draw(out, points, np.concatenate([face[:, 2], depth]).astype(np.float32), posed(-10.0))
    assert not out.any()

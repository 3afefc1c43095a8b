"""Light on a turned head: the far cheek gets darker, the front keeps its brightness."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.shade import BRIGHTEST, DARKEST, Shade, face_normals
from realtime.face.face_model import NOSE_TIP, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix

SHAPE = load_face_model().mean
REST = HeadPose(120.0, np.eye(3), np.array([100.0, 100.0, 0.0]))
RIGHT_CHEEK, LEFT_CHEEK = 50, 280


def posed(yaw: float) -> HeadPose:
    return HeadPose(REST.scale, rotation_matrix(yaw, 0.0, 0.0), REST.translation)


def lit(yaw: float) -> np.ndarray:
    """An evenly grey picture after the light of that turn was drawn."""
    out = np.full((200, 220, 3), 120, np.uint8)
    pose = posed(yaw)
    face = pose.to_picture(SHAPE)
    Shade.of(SHAPE, REST).draw(out, face[:, :2], face[:, 2], pose)
    return out


def test_normals_point_out_of_the_face():
    normals = face_normals(SHAPE)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert normals[NOSE_TIP, 2] < -0.8
    assert normals[RIGHT_CHEEK, 0] < -0.3 < 0.3 < normals[LEFT_CHEEK, 0]


@pytest.mark.parametrize(("yaw", "far", "near"), [(35.0, LEFT_CHEEK, RIGHT_CHEEK), (-35.0, RIGHT_CHEEK, LEFT_CHEEK)])
def test_the_far_cheek_is_darker_than_the_near_one(yaw, far, near):
    gains = Shade.of(SHAPE, REST).gains(posed(yaw))
    assert gains is not None
    assert gains[far] < 0.97
    assert gains[near] > 1.0
    assert gains[NOSE_TIP] == pytest.approx(1.0, abs=0.03)
    assert DARKEST <= gains.min() < gains.max() <= BRIGHTEST


def test_the_light_of_the_portraits_own_pose_is_not_drawn_twice():
    shade = Shade.of(SHAPE, posed(30.0))
    assert shade.gains(posed(30.0)) is None
    assert shade.gains(posed(34.0)) is None
    back = shade.gains(REST)
    assert back is not None
    assert back[LEFT_CHEEK] > 1.0


def test_light_comes_without_a_step():
    shade = Shade.of(SHAPE, REST)
    series = [
        gains if (gains := shade.gains(posed(yaw))) is not None else np.ones(478) for yaw in np.arange(0, 41, 1.0)
    ]
    assert np.abs(np.diff(series, axis=0)).max() < 0.02


def test_only_the_face_is_lit_and_one_partly_outside_is_no_error():
    out = lit(35.0)
    assert (out[5:20] == 120).all()
    assert out.min() < 118
    pose = HeadPose(120.0, rotation_matrix(35.0, 0.0, 0.0), np.array([-10.0, 210.0, 0.0]))
    face = pose.to_picture(SHAPE)
    Shade.of(SHAPE, REST).draw(out, face[:, :2], face[:, 2], pose)
    away = HeadPose(120.0, rotation_matrix(35.0, 0.0, 0.0), np.array([-900.0, 210.0, 0.0]))
    before = out.copy()
    face = away.to_picture(SHAPE)
    Shade.of(SHAPE, REST).draw(out, face[:, :2], face[:, 2], away)
    np.testing.assert_array_equal(out, before)

"""The near cheek of a turned head: the skin before the ear gives way, so that no column of pixels becomes streaks."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.near import MOST, NearCheek
from realtime.engines.mesh.topology import face_triangles
from realtime.face.face_model import LEFT_EYE, LIPS_OUTER, NOSE_TIP, OVAL, RIGHT_EYE, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix

SHAPE = load_face_model().mean
MIRROR = load_face_model().mirror
EAR, BEFORE_EAR = 234, 227
"""On the picture's left of a face that is seen from the front, one behind the other."""


def posed(yaw: float, roll: float = 0.0) -> HeadPose:
    return HeadPose(160.0, rotation_matrix(yaw, 0.0, roll), np.array([200.0, 160.0, 0.0]))


def moved(own: HeadPose, pose: HeadPose) -> tuple[np.ndarray, np.ndarray]:
    """The face's points in `pose` (478, 2), before and after, of a portrait in the pose `own`."""
    points = pose.to_picture(SHAPE)[:, :2]
    after = points.copy()
    for cheek in NearCheek.both(own.to_picture(SHAPE), own):
        cheek.give_way(after, pose)
    return points, after


def apart(points: np.ndarray, a: int, b: int) -> float:
    return float(np.linalg.norm(points[a] - points[b]))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("roll", [0.0, 25.0])
def test_what_the_portrait_has_a_column_of_is_not_drawn_out(side, roll):
    ear, before_ear = (EAR, BEFORE_EAR) if side > 0 else (int(MIRROR[EAR]), int(MIRROR[BEFORE_EAR]))
    own = posed(0.0, roll)
    points, after = moved(own, posed(40.0 * side, roll))
    in_portrait = apart(own.to_picture(SHAPE)[:, :2], ear, before_ear)
    assert in_portrait < 0.02 * 160.0
    assert apart(points, ear, before_ear) > 0.08 * 160.0
    assert apart(after, ear, before_ear) < 0.04 * 160.0
    assert np.linalg.norm(after - points, axis=1).max() < 0.12 * 160.0
    still = [*OVAL, *LEFT_EYE, *RIGHT_EYE, *LIPS_OUTER, NOSE_TIP]
    np.testing.assert_array_equal(after[still], points[still])


def test_it_goes_no_farther_than_it_must():
    own = posed(0.0)
    for cheek in NearCheek.both(own.to_picture(SHAPE), own):
        points = posed(-40.0 * cheek.side).to_picture(SHAPE)[:, :2]
        after = points.copy()
        cheek.give_way(after, posed(-40.0 * cheek.side))
        x = cheek.side * after[:, 0]
        ear = x[cheek.upper] + cheek.between * (x[cheek.lower] - x[cheek.upper])
        drawn_out = (ear - x[cheek.which]) / 160.0
        went = np.abs(after - points)[cheek.which, 0] > 1e-6
        assert 10 < went.sum() < len(went)
        np.testing.assert_allclose(drawn_out[went], MOST * cheek.apart[went], atol=1e-9)
        assert (drawn_out[~went] <= MOST * cheek.apart[~went] + 1e-9).all()


def test_nothing_turns_over():
    points, after = moved(posed(0.0), posed(40.0))
    a, b, c = (points[face_triangles()[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    a, b, c = (after[face_triangles()[:, k]] for k in range(3))
    area_after = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    clear = np.abs(area) > 0.0005 * 160.0**2
    assert (area_after[clear] * np.sign(area[clear]) > -1.0).all()


@pytest.mark.parametrize("yaw", [0.0, 3.0, -3.0])
def test_at_rest_hardly_anything_moves(yaw):
    points, after = moved(posed(0.0), posed(yaw))
    assert np.linalg.norm(after - points, axis=1).max() < (0.02 * 160.0 if yaw else 1e-6)


def test_a_cheek_that_the_portrait_hides_is_left_alone():
    points, after = moved(posed(-30.0), posed(-5.0))
    np.testing.assert_array_equal(after, points)

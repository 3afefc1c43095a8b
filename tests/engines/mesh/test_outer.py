"""What surrounds the face: where the body begins, and what stays when the head moves."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.outer import OuterMesh, Shoulders, build_outer_mesh, face_coordinates
from realtime.face.face_model import OVAL, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix

SIZE = (300, 320)
POSE = HeadPose(120.0, np.eye(3), np.array([150.0, 130.0, 0.0]))
LANDMARKS = POSE.to_picture(load_face_model().mean)
OVAL_POINTS = LANDMARKS[list(OVAL), :2]


def matte(shoulder_row: int, hair: bool = False) -> np.ndarray:
    """A head 160 px wide on a neck, above shoulders as wide as the picture that begin at `shoulder_row`."""
    person = np.zeros((SIZE[1], SIZE[0]), np.float32)
    person[30:240, 110:190] = 1.0
    person[30:200, 90:210] = 1.0
    person[shoulder_row:] = 1.0
    if hair:
        person[30:, 40:260] = 1.0
    return person


def v_of(row: float) -> float:
    return float(face_coordinates(np.array([[150.0, row]]), OVAL_POINTS, POSE)[1][0])


def mesh(shoulders: Shoulders | None = None) -> OuterMesh:
    return build_outer_mesh(LANDMARKS, POSE, SIZE, 30, shoulders)


def shift_of(outer: OuterMesh, chosen: np.ndarray) -> float:
    """How far the chosen points go, of a shift of the head by 12 px to the right."""
    there = HeadPose(POSE.scale, POSE.rotation, POSE.translation + np.array([12.0, 0.0, 0.0]))
    moved, _ = outer.move(np.zeros((len(OVAL), 3)), POSE, there)
    return float((moved - outer.points)[chosen, 0].mean() / 12.0)


@pytest.mark.parametrize("row", [205, 240, 280])
def test_shoulders_are_found_where_they_are(row):
    found = Shoulders.find(matte(row), OVAL_POINTS, POSE)
    assert found is not None
    assert found.us.min() < -0.8
    assert found.us.max() > 0.8
    np.testing.assert_allclose(found.vs, v_of(row), atol=0.03)


def test_where_hair_or_the_picture_hides_them_there_are_none():
    nothing = np.zeros((SIZE[1], SIZE[0]), np.float32)
    assert Shoulders.find(nothing, OVAL_POINTS, POSE) is None
    assert Shoulders.find(np.ones_like(nothing), OVAL_POINTS, POSE) is None
    wide = matte(240, hair=True)
    found = Shoulders.find(wide, OVAL_POINTS, POSE)
    assert found is not None
    assert np.abs(found.us).min() > 0.8  # beside the hair only


def test_high_shoulders_follow_as_little_as_others():
    high = Shoulders.find(matte(185), OVAL_POINTS, POSE)
    assert high is not None
    plain, known = mesh(), mesh(high)
    x, y = plain.points.T
    on_shoulders = (y > 190) & (y < 225) & (np.abs(x - 150) > 60) & (np.abs(x - 150) < 105)
    assert on_shoulders.any()
    assert shift_of(known, on_shoulders) < shift_of(plain, on_shoulders) - 0.1
    head = y < 130
    assert shift_of(known, head) == pytest.approx(shift_of(plain, head))


def test_a_body_cut_off_by_the_picture_stays_at_its_edge():
    outer = mesh(Shoulders.find(matte(240), OVAL_POINTS, POSE))
    turned = HeadPose(POSE.scale * 1.05, rotation_matrix(15, 8, 10), POSE.translation + np.array([10.0, 6.0, 0.0]))
    moved, _ = outer.move(np.zeros((len(OVAL), 3)), POSE, turned)
    apart = np.linalg.norm(moved - outer.points, axis=1)
    x, y = outer.points.T
    assert apart[y >= SIZE[1] - 1].max() < 0.5
    assert apart[(y > 280) & ((x <= 0) | (x >= SIZE[0] - 1))].max() < 0.5
    assert np.median(apart[(y > 60) & (y < 200) & (np.abs(x - 150) < 90)]) > 3

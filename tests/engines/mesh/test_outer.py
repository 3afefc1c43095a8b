"""What surrounds the face: where the body begins, and what stays when the head moves."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.outer import OuterMesh, Outline, Shoulders, build_outer_mesh, face_coordinates
from realtime.engines.mesh.topology import signed_distance
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


def hairy(reach: float) -> np.ndarray:
    """A matte whose head ends `reach` (pixels) outside the face's oval, all round."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    outside = signed_distance(np.column_stack([x.ravel(), y.ravel()]).astype(float), OVAL_POINTS)
    return (outside < reach).reshape(x.shape).astype(np.float32)


def outlined(reach: float = 24.0) -> tuple[OuterMesh, np.ndarray]:
    """A mesh that knows where its head ends, and where its points lie between the oval (0) and there (1)."""
    outline = Outline.find(hairy(reach), OVAL_POINTS, POSE, 0)
    return build_outer_mesh(LANDMARKS, POSE, SIZE, 30, None, outline), outline.share(mesh().points, OVAL_POINTS, POSE)


def turned_to(outer: OuterMesh, yaw: float = 0.0, pitch: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (n, 2) and depth (n,) of the mesh, and the face's landmarks (478, 3), with the head turned."""
    pose = HeadPose(POSE.scale, rotation_matrix(yaw, pitch, 0.0), POSE.translation)
    return *outer.move(np.zeros((len(OVAL), 3)), POSE, pose), pose.to_picture(load_face_model().mean)


@pytest.mark.parametrize("reach", [12.0, 24.0, 36.0])
def test_the_outline_of_the_hair_is_found(reach):
    outline = Outline.find(hairy(reach), OVAL_POINTS, POSE, 0)
    up, side = outline.reach[3 * len(outline.reach) // 4], outline.reach[0]
    np.testing.assert_allclose([up, side], reach / POSE.scale, atol=0.02)


def test_a_picture_that_ends_before_the_hair_ends_it():
    everything = np.ones((SIZE[1], SIZE[0]), np.float32)
    outline = Outline.find(everything, OVAL_POINTS, POSE, 0)
    top = OVAL_POINTS[:, 1].min() / POSE.scale
    assert outline.reach[3 * len(outline.reach) // 4] == pytest.approx(min(top, 0.7), abs=0.03)


@pytest.mark.parametrize("side", [1, -1])
def test_the_far_hair_stays_beside_the_forehead(side):
    outer, share = outlined(36.0)
    v = face_coordinates(outer.points, OVAL_POINTS, POSE)[1]
    hair = (side * (outer.points[:, 0] - 150) > 30) & (v > -0.45) & (v < -0.3) & (share > 0.5) & (share < 0.9)
    assert hair.any()
    moved, _, face = turned_to(outer, yaw=40.0 * side)
    for x, y in moved[hair]:
        beside = np.abs(face[:, 1] - y) < 0.05 * POSE.scale
        assert side * x > (side * face[beside, 0]).max()


def test_a_lifted_forehead_does_not_cover_the_hair_above():
    outer, share = outlined()
    hair = (outer.points[:, 1] < OVAL_POINTS[:, 1].min()) & (np.abs(outer.points[:, 0] - 150) < 20) & (share < 1.0)
    moved, _, face = turned_to(outer, pitch=25.0)
    highest = face[[10, 109, 338], 1].min()
    assert moved[hair & (share > 0.3), 1].max() < highest


def test_the_near_outline_goes_round_the_back_of_the_skull():
    outer, share = outlined()
    v = face_coordinates(outer.points, OVAL_POINTS, POSE)[1]
    rim = (np.abs(share - 1.0) < 0.15) & (v > -0.45) & (v < -0.3)
    right = rim & (outer.points[:, 0] > 150)
    left = rim & (outer.points[:, 0] < 150)
    width = outer.points[right, 0].max() - outer.points[left, 0].min()
    for yaw in (20.0, 40.0):
        moved, _, _ = turned_to(outer, yaw=yaw)
        near = 150.0 - moved[left, 0].min()
        assert near > 0.45 * width
    still, _, _ = turned_to(outer)
    np.testing.assert_allclose(still, outer.points, atol=1e-6)


def test_no_triangle_of_the_hair_turns_over_on_the_near_side():
    outer, share = outlined()
    moved, _, face = turned_to(outer, yaw=40.0)
    everything = np.concatenate([face[:, :2], moved])
    before = np.concatenate([LANDMARKS[:, :2], outer.points])
    near = (before[outer.triangles].mean(axis=1)[:, 0] < 140) & (before[outer.triangles].mean(axis=1)[:, 1] < 140)
    near &= np.concatenate([np.zeros(len(LANDMARKS)), share])[outer.triangles].max(axis=1) < 1.3

    def areas(points: np.ndarray) -> np.ndarray:
        a, b, c = points[outer.triangles[near]].transpose(1, 0, 2)
        return (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]

    assert near.sum() > 20
    assert (areas(everything) * np.sign(areas(before)) > 0).all()

"""Head pose against synthetic ground truth."""

import numpy as np
import pytest

from realtime.face.face_model import load_face_model
from realtime.face.pose import HeadPose, angles, fit_pose, rotation_matrix, rotation_vector_matrix

MEAN = load_face_model().mean


def turn_between(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("yaw", [-60, -20, 0, 35])
@pytest.mark.parametrize("pitch", [-30, 0, 25])
@pytest.mark.parametrize("roll", [-170, -40, 0, 15])
def test_angles_undo_the_rotation_matrix(yaw, pitch, roll):
    rotation = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(angles(rotation), (yaw, pitch, roll), atol=1e-9)


def test_what_the_angles_mean():
    nose = np.array([0.0, 0.0, -1.0])
    crown = np.array([0.0, -1.0, 0.0])
    assert (rotation_matrix(20, 0, 0) @ nose)[0] > 0.3  # to the right of the picture
    assert (rotation_matrix(0, 20, 0) @ nose)[1] < -0.3  # up
    assert (rotation_matrix(0, 0, 20) @ crown)[0] > 0.3  # clockwise


def test_rotation_vector():
    half = rotation_vector_matrix(0, 0, np.pi / 2)
    np.testing.assert_allclose(half, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(rotation_vector_matrix(0, 0, 0), np.eye(3))


def test_to_face_undoes_to_picture():
    pose = HeadPose(230.0, rotation_matrix(12, -5, 30), np.array([250.0, 310.0, -7.0]))
    np.testing.assert_allclose(pose.to_face(pose.to_picture(MEAN)), MEAN, atol=1e-12)


@pytest.mark.parametrize("truth", [(0, 0, 0), (30, 10, -20), (-55, -20, 35), (5, 25, 90)])
@pytest.mark.parametrize("warm", [False, True])
def test_recovers_a_known_pose(truth, warm):
    pose = HeadPose(180.0, rotation_matrix(*truth), np.array([400.0, 200.0, 30.0]))
    init = HeadPose(170.0, rotation_matrix(*(np.array(truth) + 8)), pose.translation) if warm else None
    found = fit_pose(MEAN, pose.to_picture(MEAN), init)
    assert turn_between(found.rotation, pose.rotation) < 1e-3
    assert found.scale == pytest.approx(180, rel=1e-5)
    np.testing.assert_allclose(found.translation, pose.translation, atol=1e-2)


def test_wrong_depth_hardly_matters():
    pose = HeadPose(200.0, rotation_matrix(20, 5, 0), np.array([256.0, 256.0, 0.0]))
    landmarks = pose.to_picture(MEAN)
    landmarks[:, 2] *= 1.15  # a network's guess of depth
    assert turn_between(fit_pose(MEAN, landmarks).rotation, pose.rotation) < 1.5


def test_noise_is_averaged():
    rng = np.random.default_rng(3)
    pose = HeadPose(110.0, rotation_matrix(-15, 4, 6), np.array([128.0, 128.0, 0.0]))
    turns = [
        turn_between(fit_pose(MEAN, pose.to_picture(MEAN) + rng.normal(0, 0.5, MEAN.shape)).rotation, pose.rotation)
        for _ in range(30)
    ]
    assert np.mean(turns) < 0.4


def test_a_falling_jaw_is_no_change_of_scale():
    opened = MEAN.copy()
    opened[MEAN[:, 1] > 0.2, 1] += 0.12
    pose = HeadPose(200.0, np.eye(3), np.zeros(3))
    assert fit_pose(MEAN, pose.to_picture(opened)).scale == pytest.approx(200, rel=1e-4)
    whole = fit_pose(MEAN, pose.to_picture(opened), weights=np.full(478, 1 / 478))
    assert whole.scale > 204  # the test would notice

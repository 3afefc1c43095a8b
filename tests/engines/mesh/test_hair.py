"""Hanging hair: it follows a nod less than a shake, comes late, and settles."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.hair import NOD_SHARE, TILT_SHARE, HangingHair
from realtime.engines.mesh.outer import build_outer_mesh, face_coordinates
from realtime.face.face_model import OVAL, load_face_model
from realtime.face.pose import HeadPose, angles, rotation_matrix

REST = HeadPose(120.0, np.eye(3), np.array([150.0, 130.0, 0.0]))
FRAME = 1.0 / 30.0


def posed(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, x: float = 0.0, growth: float = 1.0) -> HeadPose:
    return HeadPose(120.0 * growth, rotation_matrix(yaw, pitch, roll), np.array([150.0 + x, 130.0, 0.0]))


def series(pose: HeadPose, frames: int, step: float = FRAME) -> list[HeadPose]:
    """The hair's poses after rest, once the head is in `pose`."""
    hair = HangingHair()
    for i in range(3):
        hair.follow(REST, REST, i * step)
    return [hair.follow(pose, REST, (3 + i) * step) for i in range(frames)]


def test_it_follows_a_shake_wholly_a_nod_and_a_tilt_in_part():
    for pose, expected in (
        (posed(yaw=20), (20, 0, 0)),
        (posed(pitch=20), (0, 20 * NOD_SHARE, 0)),
        (posed(roll=20), (0, 0, 20 * TILT_SHARE)),
    ):
        np.testing.assert_allclose(angles(HangingHair().follow(pose, REST, 0.0).rotation), expected, atol=1e-9)
    moved = HangingHair().follow(posed(x=9.0, growth=1.1), REST, 0.0)
    assert moved.scale == pytest.approx(132.0)
    np.testing.assert_allclose(moved.translation[:2], [159.0, 130.0])


def test_it_comes_late_swings_a_little_and_settles():
    yaws = np.array([angles(p.rotation)[0] for p in series(posed(yaw=20), 60)])
    assert yaws[0] < 5.0
    assert yaws[2] < 12.0
    assert 20.0 < yaws.max() < 22.0
    np.testing.assert_allclose(yaws[-15:], 20.0, atol=0.02)


@pytest.mark.parametrize("step", [1 / 60, 1 / 24, 1 / 10])
def test_it_hangs_by_time_not_by_frames(step):
    frames = round(0.5 / step)
    by_thirty = angles(series(posed(yaw=20), 15)[-1].rotation)[0]
    assert angles(series(posed(yaw=20), frames, step)[-1].rotation)[0] == pytest.approx(by_thirty, abs=1.0)


def test_after_a_pause_back_in_time_and_at_one_time_it_hangs_still():
    for now in (1.0, -1.0, 0.0):
        hair = HangingHair()
        hair.follow(REST, REST, 0.0)
        assert angles(hair.follow(posed(yaw=20), REST, now).rotation)[0] == pytest.approx(20.0)


def test_the_same_picture_asked_for_twice_is_the_same():
    hair = HangingHair()
    hair.follow(REST, REST, 0.0)
    first, second = (hair.follow(posed(yaw=20), REST, FRAME) for _ in range(2))
    np.testing.assert_array_equal(first.rotation, second.rotation)
    hair.reset()
    assert angles(hair.follow(posed(yaw=10), REST, FRAME).rotation)[0] == pytest.approx(10.0)


def test_hair_beside_the_cheeks_nods_less_than_the_head_above():
    landmarks = REST.to_picture(load_face_model().mean)
    outer = build_outer_mesh(landmarks, REST, (300, 320), 30)
    nod = posed(pitch=20)
    still = np.zeros((len(OVAL), 3))
    alone = outer.move(still, REST, nod)[0]
    hanging = outer.move(still, REST, nod, HangingHair().follow(nod, REST, 0.0))[0]
    u, v = face_coordinates(outer.points, landmarks[list(OVAL), :2], REST)
    beside = (np.abs(u) > 0.5) & (np.abs(u) < 0.8) & (v > 0.3) & (v < 0.7)
    assert beside.any()
    far, near = (np.linalg.norm((m - outer.points)[beside], axis=1) for m in (alone, hanging))
    assert near.mean() < 0.8 * far.mean()
    elsewhere = (v < 0.0) | (np.abs(u) < 0.3)
    np.testing.assert_array_equal(hanging[elsewhere], alone[elsewhere])

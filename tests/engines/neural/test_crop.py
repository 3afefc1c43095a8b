"""The square that follows a face."""

from __future__ import annotations

import math

import numpy as np
import pytest

from realtime.engines.neural.crop import (
    LOST_AFTER,
    CropFollower,
    Square,
    box_of,
    centre_square,
    feather,
    paste,
    square_around,
)

FACE = (300.0, 200.0, 400.0, 320.0)


def moved(dx: float = 0.0, dy: float = 0.0, scale: float = 1.0):
    left, top, right, bottom = FACE
    x, y = (left + right) / 2 + dx, (top + bottom) / 2 + dy
    w, h = (right - left) / 2 * scale, (bottom - top) / 2 * scale
    return (x - w, y - h, x + w, y + h)


def follow(follower: CropFollower, face, seconds: float, start: float = 0.0):
    square = None
    for k in range(int(seconds * 30) + 1):
        square = follower.update(face, start + k / 30)
    return square


def test_the_square_leaves_room_and_more_of_it_above() -> None:
    square = square_around(FACE)
    assert square.side == 180
    assert square.top < 200 - 20
    assert 200 - square.top > square.top + square.side - 320


def test_trembling_does_not_move_the_square() -> None:
    follower = CropFollower()
    first = follower.update(FACE, 0.0)
    rng = np.random.default_rng(0)
    for k in range(1, 60):
        face = moved(*rng.uniform(-5, 5, 2), scale=1 + rng.uniform(-0.03, 0.03))
        assert follower.update(face, k / 30) == first


def test_a_driver_who_walks_off_is_followed_smoothly() -> None:
    follower = CropFollower()
    first = follower.update(FACE, 0.0)
    assert first is not None
    steps = [first.x]
    for k in range(1, 61):
        square = follower.update(moved(dx=200), k / 30)
        assert square is not None
        steps.append(square.x)
    jumps = np.diff(steps)
    assert jumps.max() < 0.15 * 200
    assert (jumps >= 0).all()
    assert abs(steps[-1] - square_around(moved(dx=200)).x) < 0.06 * first.side


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_the_glide_does_not_depend_on_the_frame_rate(fps: int) -> None:
    follower = CropFollower()
    follower.update(FACE, 0.0)
    square = None
    for k in range(1, fps // 2 + 1):
        square = follower.update(moved(dx=200), k / fps)
    share = 1 - math.exp(-0.5 / 0.35)
    assert square is not None
    assert square.x == pytest.approx(350 + share * (200 - 0.05 * 180), abs=2.0)


def test_leaning_back_shrinks_the_square() -> None:
    follower = CropFollower()
    follower.update(FACE, 0.0)
    square = follow(follower, moved(scale=0.5), 3.0)
    assert square is not None
    assert square.side == pytest.approx(90, rel=0.1)


def test_position_and_scale_can_be_kept_as_motion() -> None:
    follower = CropFollower(keep_position=True, keep_scale=True)
    first = follower.update(FACE, 0.0)
    assert follow(follower, moved(dx=20, scale=1.2), 1.0) == first
    assert follow(follower, moved(scale=0.6), 1.0, 1.0) == first
    far = follow(follower, moved(dx=300), 3.0, 2.0)
    assert far is not None
    left, _, right, _ = moved(dx=300)
    assert far.left <= left
    assert right <= far.left + far.side


def test_without_a_face_the_square_waits_and_then_starts_anew() -> None:
    follower = CropFollower()
    assert follower.update(None, 0.0) is None
    first = follower.update(FACE, 0.1)
    assert follower.update(None, 0.2) == first
    back = follower.update(moved(dx=300), 0.3 + LOST_AFTER)
    assert back == square_around(moved(dx=300))
    follower.reset()
    assert follower.update(None, 9.0) is None


def test_a_square_is_moved_into_the_picture_before_it_is_made_smaller() -> None:
    assert Square(10, 10, 100).inside(640, 480) == Square(50, 50, 100)
    assert Square(630, 470, 100).inside(640, 480) == Square(590, 430, 100)
    assert Square(0, 0, 1000).inside(640, 480) == Square(240, 240, 480)
    assert centre_square(640, 480) == Square(320, 240, 480)


def test_the_box_of_landmarks_leaves_the_irises_out() -> None:
    points = np.zeros((478, 3), np.float32)
    points[:468] += (5, 7, 0)
    points[1] = (9, 11, 0)
    points[470] = (1000, 1000, 0)
    assert box_of(points) == (5, 7, 9, 11)


def test_pasting_back_shows_no_edge_and_leaves_the_rest() -> None:
    whole, picture = np.full((100, 120, 3), 40, np.uint8), np.full((50, 50, 3), 200, np.uint8)
    out = paste(whole, picture, 30, 20, feather(50))
    assert (whole == 40).all()
    inside = out[20:70, 30:80]
    assert (inside[20:30, 20:30] == 200).all()
    assert np.abs(np.diff(out[45].astype(int), axis=0)).max() < 60
    out[20:70, 30:80] = 40
    assert (out == 40).all()

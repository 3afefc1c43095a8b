"""How far turned portraits follow a driver."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.motion.limits import TOWARDS_FRONT, within_reach
from realtime.face.pose import HeadPose, angles, rotation_matrix


def turned(yaw: float, pitch: float = 3.0, roll: float = -4.0) -> HeadPose:
    return HeadPose(100.0, rotation_matrix(yaw, pitch, roll), np.array([10.0, 20.0, 30.0]))


def reached(yaw: float, own: float) -> float:
    return angles(within_reach(turned(yaw), turned(own)).rotation)[0]


@pytest.mark.parametrize("yaw", [-35, -10, 0, 25])
@pytest.mark.parametrize("own", [-5, 0, 7])
def test_a_frontal_portrait_turns_freely(yaw, own):
    assert reached(yaw, own) == pytest.approx(yaw)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_turned_portrait_turns_away_freely_and_little_towards_the_front(side):
    own = 30 * side
    assert reached(own + 8 * side, own) == pytest.approx(own + 8 * side)
    little = TOWARDS_FRONT[0] * side
    assert reached(own - little, own) == pytest.approx(own - little)
    far = abs(reached(own - 50 * side, own) - own)
    assert TOWARDS_FRONT[0] < far <= TOWARDS_FRONT[1] + 1e-9


def test_the_limit_is_smooth_and_keeps_the_rest_of_the_pose():
    yaws = np.linspace(-40, 40, 161)
    got = np.array([reached(yaw, -25.0) for yaw in yaws])
    steps = np.diff(got)
    assert (steps >= -1e-9).all()
    assert steps.max() < 0.51
    pose = within_reach(turned(30), turned(-25))
    assert angles(pose.rotation)[1:] == pytest.approx((3.0, -4.0))
    assert pose.scale == 100.0
    assert (pose.translation == [10, 20, 30]).all()


@pytest.mark.parametrize(("own", "most"), [(-37, 12.0), (-17, 22.0), (16.5, 22.8)])
def test_a_cheek_that_was_not_seen_comes_out_no_farther_than_it_can_be_painted(own, most):
    for driver in (10, 20, 40, 60):
        assert abs(reached(own - np.sign(own) * driver, own) - own) <= most + 1e-9


def test_a_drawing_whose_cheek_is_not_painted_comes_less_far():
    drawn = within_reach(turned(40), turned(-37), painted=False)
    assert angles(drawn.rotation)[0] + 37 == pytest.approx(3.0, abs=0.01)


def test_the_less_a_portrait_is_turned_the_farther_it_comes_to_the_front():
    ways = [abs(reached(80.0, own) - own) for own in (-30.0, -24.0, -20.0, -16.0, -12.0)]
    assert ways[0] == pytest.approx(ways[1], abs=0.1)
    assert (np.diff(ways[1:]) > 0.5).all()
    assert ways[3] == pytest.approx(24.0, abs=0.5)


def test_views_show_what_the_portrait_hides():
    def among(*owns: float) -> float:
        return angles(within_reach(turned(20), *(turned(own) for own in owns)).rotation)[0]

    assert among(-30.0) < -10
    assert among(-30.0, 2.0) == among(-30.0, -2.0) == pytest.approx(20)  # one from the front
    assert among(-30.0, 30.0) == pytest.approx(20)  # one from the other side
    assert among(-30.0, -40.0) == among(-30.0)

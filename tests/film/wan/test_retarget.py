"""A driver's skeleton on a portrait's body."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.film.wan.retarget import centred, fit
from tests.film.wan.people import someone

SURE = slice(None), slice(0, 2)


def test_a_driver_who_is_the_portrait_stays_as_he_is():
    clip = [someone(x=200 + 3 * n, hand=True) for n in range(10)]
    fitting = fit(someone(), clip)
    for person in clip:
        body, left, right = fitting.carry(person, 400, 1000)
        assert np.allclose(body, person.body)
        assert left is None
        assert np.allclose(right, person.right)


def test_a_driver_twice_as_large_elsewhere_takes_the_portraits_size_and_place():
    clip = [someone(x=500 + 10 * n, y=420, scale=2.0, height=900, width=1400) for n in range(5)]
    portrait = someone()
    fitting = fit(portrait, clip)
    assert fitting.scale == pytest.approx(0.5)
    body, _, _ = fitting.carry(clip[0], 400, 1000)
    assert np.allclose(body[SURE], portrait.body[SURE])
    later, _, _ = fitting.carry(clip[4], 400, 1000)
    assert np.allclose(later[SURE] - body[SURE], [20, 0])  # 40 pixels at half the size


def test_bones_take_the_portraits_lengths_and_keep_the_drivers_directions():
    portrait, driver = someone(), someone()
    long_legs = portrait.body.copy()
    for hip, knee, ankle, toe in ((8, 9, 10, 19), (11, 12, 13, 18)):
        for end, start in ((knee, hip), (ankle, hip), (toe, hip)):
            long_legs[end, 1] += 0.3 * (portrait.body[end, 1] - portrait.body[start, 1])
    fitting = fit(type(portrait)(long_legs, None, None, portrait.face, portrait.outline, True), [driver])
    body, _, _ = fitting.carry(driver, 900, 1000)
    leg = lambda points: np.linalg.norm(points[9, :2] - points[8, :2])  # noqa: E731
    arm = lambda points: np.linalg.norm(points[3, :2] - points[2, :2])  # noqa: E731
    assert leg(body) == pytest.approx(1.3 * leg(driver.body))
    assert arm(body) == pytest.approx(arm(driver.body))
    assert fitting.held == (10, 13)
    assert np.allclose(body[[10, 13], :2].mean(axis=0), long_legs[[10, 13], :2].mean(axis=0))


def test_a_bone_that_points_at_the_camera_for_a_while_is_not_taken_for_short():
    clip = [someone() for _ in range(10)]
    for person in clip[:5]:
        person.body[3, :2] = person.body[2, :2] + [0, 3]  # the elbow in front of the shoulder
    body, _, _ = fit(someone(), clip).carry(clip[0], 400, 1000)
    assert np.allclose(body[3, :2] - body[2, :2], [0, 3], atol=0.1)


def test_a_portrait_that_ends_at_the_chest_is_held_at_the_neck_and_a_head_at_the_nose():
    clip = [someone()]
    chest = someone(y=390)
    assert fit(chest, clip).held == (1,)
    head = someone(y=460)
    fitting = fit(head, clip)
    assert fitting.held == (0,)
    body, _, _ = fitting.carry(clip[0], 400, 1000)
    assert np.allclose(body[0, :2], head.body[0, :2])
    assert (body[[2, 5, 10], 2] == 0).all()


def test_what_leaves_the_picture_is_not_sure():
    clip = [someone(), someone(x=230)]
    body, _, _ = fit(someone(x=950), clip).carry(clip[1], 400, 1000)
    outside = (body[:, 0] < 0) | (body[:, 0] >= 1000)
    assert outside.any()
    assert (body[outside, 2] == 0).all()
    assert (body[~outside, 2] == 1).all()


def test_without_a_body_in_the_portrait_the_clip_is_scaled_into_the_film():
    body, _, _ = centred((400, 1000), (200, 200)).carry(someone(), 200, 200)
    assert np.allclose(body[SURE], someone().body[SURE] * 0.2 + [0, 60])

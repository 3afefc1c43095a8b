"""Faces and the place of a person."""

from __future__ import annotations

import numpy as np

from realtime.film.wan.crops import bridged, face_box, face_crop, mask_of, person_box


def test_the_face_box_has_1_3_of_the_area_and_three_quarters_of_the_new_height_above():
    left, top, right, bottom = box = face_box(np.array([200.0, 300.0, 300.0, 440.0]), 1000, 1000)
    area = (right - left) * (bottom - top)
    assert abs(area / (100 * 140) - 1.3) < 0.02
    added = (bottom - top) - 140
    assert abs((300 - top) / added - 0.75) < 0.08
    assert abs((200 - left) - (right - 300)) <= 1
    assert box == tuple(map(int, box))


def test_a_face_at_the_border_is_cut_and_one_outside_is_none():
    assert face_box(np.array([-50.0, -40.0, 60.0, 80.0]), 100, 90) == (0, 0, 67, 84)
    assert face_box(np.array([200.0, 0.0, 260.0, 80.0]), 100, 90) is None
    assert not face_crop(np.full((100, 90, 3), 200, np.uint8), np.array([200.0, 0, 260, 80])).any()
    assert face_crop(np.full((100, 90, 3), 200, np.uint8), np.array([20.0, 20, 60, 80])).shape == (512, 512, 3)


def test_the_place_of_a_person_holds_outline_and_points_with_a_margin():
    outline = np.zeros((200, 300), bool)
    outline[50:100, 80:120] = True
    assert person_box(outline, np.array([[90.0, 150.0]])) == (75, 45, 125, 155)
    assert person_box(np.zeros((200, 300), bool), np.zeros((0, 2))) is None
    mask = mask_of((75, 45, 125, 155), 200, 300)
    assert mask[outline].all()
    assert int((mask > 0).sum()) == 50 * 110


def test_short_gaps_are_bridged_so_that_nobody_flashes_up():
    a, b = (0, 0, 10, 10), (5, 5, 20, 20)
    assert bridged([None, a, None, None, b, None, None, None], longest=2) == [
        a, a, (0, 0, 20, 20), (0, 0, 20, 20), b, None, None, None,
    ]  # fmt: skip
    assert bridged([None, None], longest=5) == [None, None]

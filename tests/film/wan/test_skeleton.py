"""The skeleton against pictures drawn by the authors' code, and what holds for any."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.film.wan.skeleton import BODY, HAND, LIMBS, draw_skeleton
from tests.support.golden import reference

DRAWN = np.load(reference("wan_pose", "vectors_seed1.npz"))


@pytest.mark.parametrize("k", range(12))
def test_every_pixel_is_that_of_the_authors_drawing(k):
    stored = cv2.imdecode(np.frombuffer(DRAWN[f"png{k}"].tobytes(), np.uint8), cv2.IMREAD_COLOR)
    want = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB)
    height, width = map(int, DRAWN[f"size{k}"])
    got = draw_skeleton(DRAWN[f"body{k}"], DRAWN[f"lhand{k}"], DRAWN[f"rhand{k}"], height, width)
    assert got.shape == want.shape == (height, width, 3)
    assert int((got != want).any(-1).sum()) == 0
    assert got.any(-1).sum() > 1000


def standing(confidence: float = 1.0) -> np.ndarray:
    """A body whose points are all in a picture of 512 pixels, none at another's place."""
    angle = np.linspace(0, 2 * np.pi, len(BODY), endpoint=False)
    x, y = 256 + 200 * np.cos(angle), 256 + 200 * np.sin(angle)
    return np.stack([x, y, np.full(len(BODY), confidence)], axis=1)


def test_a_hand_may_be_none_and_zeros_are_none():
    zeros = np.zeros((HAND, 3))
    assert np.array_equal(
        draw_skeleton(standing(), None, None, 512, 512), draw_skeleton(standing(), zeros, zeros, 512, 512)
    )


def test_what_is_not_sure_is_not_drawn_and_neither_are_its_limbs():
    assert not draw_skeleton(standing(0.49), None, None, 512, 512).any()
    body = standing()
    body[4, 2] = 0.49  # the right wrist
    with_arm, without = (draw_skeleton(b, None, None, 512, 512) for b in (standing(), body))
    gone = (with_arm != without).any(-1)
    rows, columns = np.nonzero(gone)
    wrist, elbow = standing()[4, :2], standing()[3, :2]
    low, high = np.minimum(wrist, elbow) - 4, np.maximum(wrist, elbow) + 4
    assert gone.any()
    assert ((columns >= low[0]) & (columns <= high[0]) & (rows >= low[1]) & (rows <= high[1])).all()


def test_points_outside_the_picture_do_no_harm():
    body = standing()
    body[:, :2] = body[:, :2] * 40 - 5000
    hand = np.concatenate([standing(), standing()[:1]])
    hand[:, :2] -= 400
    picture = draw_skeleton(body, hand, hand, 64, 48)
    assert picture.shape == (64, 48, 3)


def test_every_point_belongs_to_a_limb():
    assert {end for limb in LIMBS for end in limb} == set(range(len(BODY)))

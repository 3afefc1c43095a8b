"""Round pictures."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.round import PLAIN, cut_out, on_colour


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)


def _far(side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] - (side - 1) / 2
    return np.hypot(x, y)


def test_inside_is_the_picture_and_outside_one_colour(image):
    before = image.copy()
    out = on_colour(image, (1, 2, 3))
    far = _far(90)
    assert (out[far < 44] == image[far < 44]).all()
    assert (out[far > 45] == (1, 2, 3)).all()
    assert (image == before).all()
    assert (on_colour(image)[0, 0] == PLAIN).all()


def test_the_edge_is_soft():
    out = on_colour(np.full((90, 90, 3), 255, np.uint8), (0, 0, 0))
    between = (out > 0) & (out < 255)
    assert 100 < between.sum() / 3 < 500


def test_a_cut_out_is_transparent_outside_and_whole_inside(image):
    out = cut_out(image)
    assert out.shape == (90, 90, 4)
    far = _far(90)
    assert (out[..., 3][far < 44] == 255).all()
    assert (out[..., 3][far > 45] == 0).all()
    assert (out[..., :3] == image).all()


def test_a_wide_picture_has_the_circle_in_its_middle():
    out = on_colour(np.full((40, 100, 3), 255, np.uint8), (0, 0, 0))
    assert (out[20, 48:52] == 255).all()
    assert not out[20, :28].any()
    assert not out[20, -28:].any()

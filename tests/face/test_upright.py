"""Which way up a picture is, and whether its border cuts the face."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.face.upright import box, is_cut, look
from realtime.media.portraits import builtin_portrait


@pytest.mark.parametrize("turns", range(4))
def test_a_picture_is_set_upright(turns):
    portrait = builtin_portrait()[::2, ::2]
    seen = look(np.ascontiguousarray(np.rot90(portrait, turns)))
    assert seen.turns == -turns % 4
    assert np.array_equal(seen.image, portrait)
    assert len(seen.faces) == 1


def test_what_has_no_face_stays_as_it_is():
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    seen = look(noise)
    assert np.array_equal(seen.image, noise)
    assert seen.faces == ()


def test_a_cut_face_is_known():
    portrait = builtin_portrait()
    whole = look(portrait)
    assert not is_cut(whole.faces[0], portrait)
    left, _top, width, _height = box(whole.faces[0])
    half = np.ascontiguousarray(portrait[:, round(left + 0.25 * width) :])
    assert all(is_cut(face, half) for face in look(half).faces)

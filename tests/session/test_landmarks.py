"""A session driven by landmarks does what one driven by pictures does: they take the tracker's place alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.engines.mesh.motion.code import BODY
from realtime.face.landmarks import FaceTracker
from realtime.motion.vocabulary import mirrored
from realtime.session.core import Encoding
from realtime.types import Frame, Landmarks, MotionCode
from tests.support import made_up_frames


@pytest.fixture(scope="module")
def seen() -> list[tuple[Frame, Landmarks]]:
    """Frames, and what a tracker finds in them; the sixth shows nobody."""
    out = []
    with FaceTracker() as tracker:
        for n, image in enumerate(made_up_frames()):
            if n == 12:
                break
            image = np.zeros_like(image) if n == 5 else image
            height, width = image.shape[:2]
            points = tracker.track(image)
            out.append((Frame(image, n / 30, n, n / 30), Landmarks(points, width, height, False, n / 30, n, n / 30)))
    return out


def codes(items, mirror: bool = False) -> list[MotionCode | None]:
    engine = load_engine("mesh", size=64)
    encoding = Encoding(engine)
    found = [encoding.see(item, mirror, 0.0) for item in items]
    engine.close()
    return found


def test_landmarks_give_the_codes_that_their_pictures_give(seen):
    pictures, landmarks = codes(frame for frame, _ in seen), codes(found for _, found in seen)
    assert [code is None for code in landmarks] == [n == 5 for n in range(12)]
    for ours, theirs in zip(pictures, landmarks, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_array_equal(ours.values[: BODY.start], theirs.values[: BODY.start])
            assert not theirs.values[BODY].any()  # shoulders are no landmarks of a face
            assert (ours.captured, ours.pts, ours.index) == (theirs.captured, theirs.pts, theirs.index)


def test_landmarks_are_mirrored_where_either_side_asks_for_it_and_not_where_both_do(seen):
    plain = codes(found for _, found in seen[:3])
    flipped = [replace(found, mirrored=True) for _, found in seen[:3]]
    for turned in (codes((found for _, found in seen[:3]), mirror=True), codes(flipped)):
        for a, b in zip(plain, turned, strict=True):
            np.testing.assert_array_equal(mirrored(a).values, b.values)
            assert not np.array_equal(a.values, b.values)
    for a, b in zip(plain, codes(flipped, mirror=True), strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_a_face_that_is_invented_outside_the_picture_is_none(seen):
    found = seen[0][1]
    gone = replace(found, points=found.points + np.float32([2 * found.width, 0, 0]))
    assert codes([gone]) == [None]

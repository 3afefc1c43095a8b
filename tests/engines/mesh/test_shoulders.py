"""The shoulders below a face: read in pieces, followed by flow, and not led astray by a hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
import pytest

from realtime.engines import Spares
from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.motion import shoulders
from realtime.engines.mesh.motion.code import BODY_SEEN
from realtime.engines.mesh.motion.shoulders import (
    PIECES,
    SHOULDERS,
    SIDE,
    BodyTracker,
    _Network,
    parts,
    shared_pieces,
)
from realtime.face.landmarks import find_faces
from realtime.face.litert import Runner, available, model_of, part_of
from realtime.types import Frame
from tests.support.driving import astronaut

pytestmark = pytest.mark.skipif(not available(), reason="LiteRT has no wheel for this machine")

RATE = 30.0


@pytest.fixture(scope="module")
def person() -> tuple[np.ndarray, np.ndarray, float]:
    """A picture of somebody's head and shoulders, the face's landmarks in it, and the face's height."""
    picture = astronaut()
    face = find_faces(picture)[0]
    return picture, face, float(np.linalg.norm(face[10, :2] - face[152, :2]))


def shifted(picture: np.ndarray, face: np.ndarray, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    size = (picture.shape[1], picture.shape[0])
    moved = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, face + np.array([x, y, 0.0], np.float32)


def test_the_network_in_pieces_is_the_network():
    model = model_of("pose_landmark/pose_landmark_full.tflite")
    graph = model.subgraphs[0]
    outputs = [int(graph.outputs[k]) for k in (0, 1, 4)]
    seen = np.random.default_rng(1).random((1, SIDE, SIDE, 3), np.float32)
    whole = Runner(part_of(model, [int(t) for t in graph.inputs], outputs))(seen)
    values = [seen]
    for piece in parts():
        values = Runner(piece)(*values)
    assert len(parts()) == PIECES
    for ours, theirs in zip(values, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_all_trackers_of_a_process_share_one_network_which_goes_with_the_last(monkeypatch):
    import gc
    import weakref

    monkeypatch.setattr(shoulders, "_shared", None)  # engines of other tests may have one

    first, second = BodyTracker(), BodyTracker()
    pieces = weakref.ref(shared_pieces())
    assert first._network._pieces is second._network._pieces is pieces()
    first.close()
    first.close()
    assert second._network._pieces is pieces()
    second.close()
    gc.collect()
    assert pieces() is None


def test_two_at_once_read_what_each_reads_alone(person):
    picture, face, _ = person
    other, other_face = shifted(picture, face, 30.0, -12.0)
    seen = [(picture, face), (other, other_face)]
    alone = [BodyTracker().follow(*each, 0.0).points for each in seen]
    trackers = [BodyTracker() for _ in seen]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda k: trackers[k].follow(*seen[k], 0.0).points, (0, 1)))
    np.testing.assert_array_equal(together, alone)


def test_shoulders_are_where_they_are_and_go_where_the_picture_goes(person):
    picture, face, tall = person
    tracker = BodyTracker()
    for k in range(40):
        x, y = 0.25 * tall * np.sin(k / 12), 0.1 * tall * (np.cos(k / 9) - 1)
        seen = tracker.follow(*shifted(picture, face, x, y), k / RATE)
        moved = (seen.points - seen.start) / tall
        np.testing.assert_allclose(moved, np.array([[x, y], [x, y]]) / tall, atol=0.04)
    assert seen.sure == 1.0
    right, left = seen.start
    assert right[0] < face[:, 0].mean() < left[0]
    assert 1.0 < (left[0] - right[0]) / tall < 2.2
    assert 0.2 < ((right + left)[1] / 2 - face[152, 1]) / tall < 1.0


def test_frames_of_another_size_move_nobody(person):
    picture, face, tall = person
    tracker = BodyTracker()
    for k in range(20):
        tracker.follow(picture, face, k / RATE)
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for k in range(20, 60):
        seen = tracker.follow(half, face / 2, k / RATE)
        assert np.abs(seen.points - seen.start).max() < 0.04 * tall / 2
        assert seen.scale == pytest.approx(tall / 2, rel=0.02)


def test_a_network_that_sees_nobody_is_not_asked_all_the_time(person, monkeypatch):
    picture, face, _ = person
    asked: list[int] = []
    go_on = _Network.go_on
    monkeypatch.setattr(_Network, "go_on", lambda self, pieces: asked.append(pieces) or go_on(self, pieces))
    tracker = BodyTracker()
    for k in range(20):
        assert tracker.follow(np.zeros_like(picture), face, k / RATE) is None
    assert sum(asked) < 3.5 * PIECES


def test_where_nothing_is_seen_below_the_chin_nothing_is_asked(person, monkeypatch):
    picture, face, tall = person
    monkeypatch.setattr(_Network, "begin", lambda *_: pytest.fail("it was asked"))
    cut = picture[: int(face[152, 1] + 0.1 * tall)]
    assert BodyTracker().follow(np.ascontiguousarray(cut), face, 0.0) is None


def test_after_a_lost_face_shoulders_are_looked_for_anew(person):
    picture, face, tall = person
    tracker = BodyTracker()
    for k in range(20):
        tracker.follow(picture, face, k / RATE)
    tracker.pause()
    moved = shifted(picture, face, 0.3 * tall, 0.0)
    assert tracker.follow(*moved, 21 / RATE).sure == 0.0
    for k in range(22, 60):
        seen = tracker.follow(*moved, k / RATE)
    assert seen.sure == 1.0
    np.testing.assert_allclose((seen.points - seen.start)[:, 0] / tall, 0.3, atol=0.05)


def test_who_stands_still_stands_still(person):
    picture, face, tall = person
    noise, tracker = np.random.default_rng(0), BodyTracker()
    for k in range(30):
        grainy = np.clip(picture + noise.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        seen = tracker.follow(grainy, face, k / RATE)
    assert np.abs(seen.points - seen.start).max() < 0.03 * tall


def test_a_hand_before_the_chest_does_not_carry_the_shoulders_away(person):
    picture, face, tall = person
    rng, tracker = np.random.default_rng(0), BodyTracker()
    side = int(0.7 * tall)
    hand = cv2.GaussianBlur(rng.integers(60, 255, (side, side, 3)).astype(np.uint8), (0, 0), 3.0)
    for k in range(45):
        frame = picture.copy()
        top = int(picture.shape[0] - 1 - (k - 10) * 0.06 * tall)
        if k > 10:
            x0 = int(face[152, 0] + 0.1 * tall)
            y0 = max(top, int(face[152, 1] - 0.3 * tall))
            frame[y0 : y0 + side, x0 : x0 + side] = hand[: max(0, frame.shape[0] - y0), : frame.shape[1] - x0]
        seen = tracker.follow(frame, face, k / RATE)
        assert np.abs(seen.points - seen.start).max() < 0.15 * tall


def test_shoulders_out_of_the_picture_are_not_believed(person):
    picture, face, _ = person
    bottom = int(face[152, 1]) + 6
    seen = BodyTracker().follow(np.ascontiguousarray(picture[:bottom]), face, 0.0)
    assert seen is None or seen.sure < 0.2


def test_the_same_frames_give_the_same_shoulders(person):
    picture, face, _ = person
    tracker, first = BodyTracker(), []
    for again in range(2):
        tracker.reset()
        for k in range(12):
            seen = tracker.follow(*shifted(picture, face, 2.0 * k, 0.5 * k), k / RATE)
            if again:
                np.testing.assert_array_equal(seen.points, first[k])
            else:
                first.append(seen.points)


def test_a_lost_face_ends_what_was_followed(person):
    picture, face, tall = person
    tracker = BodyTracker()
    tracker.follow(picture, face, 0.0)
    tracker.pause()
    seen = tracker.follow(*shifted(picture, face, 0.3 * tall, 0.0), 2.0)  # nothing was seen of the way there
    np.testing.assert_allclose(seen.points, seen.start, atol=1e-6)


def test_shoulders_are_looked_for_once_and_only_in_a_portrait_whose_body_moves(person, monkeypatch):
    from realtime.engines.mesh import portrait

    picture, _, _ = person
    asked: list[np.ndarray] = []
    found = portrait.find_shoulders
    monkeypatch.setattr(portrait, "find_shoulders", lambda *seen: asked.append(seen[0]) or found(*seen))
    engine = MeshEngine(128, live=True)
    try:
        main = engine.prepare(picture)
        ready = engine.with_views(main, [engine.prepare_view(picture, main)])
        assert ready.main.wait(60)
        assert len(asked) == 1
        middle = ready.now.landmarks[152, :2]
        assert np.linalg.norm(ready.now.body.middle - middle) < ready.now.pose.scale
    finally:
        engine.close()
    still = MeshEngine(128, body=False)
    still.prepare(picture)
    still.close()
    assert len(asked) == 1


def test_landmarks_of_the_shoulders():
    assert SHOULDERS == (12, 11)  # the person's right one first


def test_an_engine_that_spares_does_not_look_at_the_body_until_there_is_room(person, monkeypatch):
    picture, asked = person[0], []
    follow = BodyTracker.follow
    monkeypatch.setattr(BodyTracker, "follow", lambda self, *what: asked.append(what[2]) or follow(self, *what))
    engine = MeshEngine(128)
    assert isinstance(engine, Spares)
    frames = [Frame(picture, captured=k / RATE, pts=k / RATE, index=k) for k in range(40)]
    seen = []
    for k, frame in enumerate(frames):
        engine.spare(6 <= k < 30)
        seen.append(engine.encode(frame).values[BODY_SEEN])
    engine.close()
    assert asked == [k / RATE for k in range(40) if not 6 <= k < 30]
    assert seen[5] > 0.5
    assert all(after < before for before, after in pairwise(seen[5:30]))
    assert seen[29] > 0.0

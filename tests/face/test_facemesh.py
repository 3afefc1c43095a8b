"""FaceMesh's network without MediaPipe's graph gives the graph's landmarks."""

import numpy as np
import pytest

from realtime.face import landmarks
from realtime.face.face_model import CHIN, FOREHEAD
from realtime.face.facemesh import GRID, PIECE, FaceMesh, around_face, cut_piece
from realtime.face.landmarks import FaceTracker, silenced
from realtime.face.litert import available
from tests.support import frames_of, made_up_frames, test_data

pytestmark = pytest.mark.skipif(not available(), reason="LiteRT has no wheel for this machine")

EQUAL = 0.0005
"""Shares of the face's height."""
SAME_FACE = 0.005
"""MediaPipe's own tracking goes apart by 0.002 where one pixel of the first frame is one level lighter: it looks
where it saw the face last, so that what hardly differs comes to differ."""


@pytest.fixture(scope="module")
def talk() -> list[np.ndarray]:
    return list(made_up_frames(1.0, 320))


def pixels(shares: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    return shares * np.array([width, height, width], np.float32)


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a coordinate, depth too, over the face's height."""
    return float(np.abs(ours - theirs).max() / np.linalg.norm(theirs[FOREHEAD, :2] - theirs[CHIN, :2]))


def steps(frames):
    """The graph's landmarks of each frame, and ours of the square around those of the frame before."""
    with silenced():
        graph, mesh = landmarks._Graph(), FaceMesh()
        before = None
        for frame in map(np.ascontiguousarray, frames):
            shares = graph.process(frame)
            theirs = None if shares is None else pixels(shares, frame)
            if before is not None and theirs is not None:
                yield mesh.read(frame, around_face(before)), theirs
            before = theirs
        graph.close()


def test_from_the_same_square_the_landmarks_are_the_graphs(talk):
    assert max(apart(*both) for both in steps(talk)) < EQUAL


@pytest.mark.parametrize("clip", ["a07_head_turns.mp4", "a09_wide_1280x720.mp4", "h04_two_faces_1280x720.mp4"])
def test_so_they_are_of_real_faces(clip):
    assert max(apart(*both) for both in steps(frames_of(test_data("clips", clip), 12))) < EQUAL


def test_it_finds_the_face_where_the_graph_does_and_follows_it_alike(talk):
    with silenced():
        graph, mesh = landmarks._Graph(), FaceMesh()
        found = [apart(pixels(mesh.process(f), f), pixels(graph.process(f), f)) for f in talk]
        mesh.close()
        graph.close()
    assert found[0] < EQUAL
    assert max(found) < SAME_FACE


def test_a_face_that_is_gone_is_looked_for_anew(talk):
    away = np.full_like(talk[0], 90)
    elsewhere = np.roll(talk[0], -120, axis=1)
    with silenced():
        mesh = FaceMesh()
        assert mesh.process(talk[0]) is not None
        assert mesh.process(away) is None
        assert mesh.process(away) is None
        here, there = mesh.process(talk[0]), None
        mesh.reset()
        there = mesh.process(elsewhere)
        mesh.close()
    assert np.abs(here[:468, 0] - there[:468, 0] - 120 / 320).max() < 0.02


def test_it_follows_into_pictures_of_another_size(talk):
    with silenced():
        mesh = FaceMesh()
        whole = mesh.process(talk[0])
        half = mesh.process(np.ascontiguousarray(talk[0][::2, ::2]))
        mesh.close()
    assert np.abs(whole - half)[:468, :2].max() < 0.02


def test_pieces_are_cut_by_bilinear_interpolation_and_are_0_outside():
    rng = np.random.default_rng(0)
    grid = rng.random((GRID, GRID, 2)).astype(np.float32)
    turned = np.array([[1.1, -0.4, 12.0], [0.4, 1.1, 9.0]])
    beyond = np.array([[1.0, 0.0, 40.0], [0.0, 1.0, -4.0]])
    for to_grid in (turned, beyond):
        piece = cut_piece(grid, to_grid)[0]
        for row, column in rng.integers(0, PIECE, (40, 2)):
            x, y = to_grid @ (column + 0.5, row + 0.5, 1.0) - 0.5
            wanted = np.zeros(2)
            if 0 <= x <= GRID - 1 and 0 <= y <= GRID - 1:
                for i, j in ((i, j) for i in (0, 1) for j in (0, 1)):
                    share = (x % 1 if i else 1 - x % 1) * (y % 1 if j else 1 - y % 1)
                    wanted += share * grid[min(int(y) + j, GRID - 1), min(int(x) + i, GRID - 1)]
            np.testing.assert_allclose(piece[row, column], wanted, atol=1e-5)


def test_without_litert_the_graph_is_used(talk, monkeypatch):
    with FaceTracker() as ours, FaceTracker() as theirs:
        first = [ours.track(f) for f in talk[:5]]
        monkeypatch.setattr(landmarks, "available", lambda: False)
        second = [theirs.track(f) for f in talk[:5]]
        assert isinstance(theirs._mesh, landmarks._Graph)
    assert max(map(apart, first, second)) < SAME_FACE

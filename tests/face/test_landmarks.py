"""Tracking of real faces, and of what is none."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import realtime.data
from realtime.face.face_model import CHIN, FOREHEAD
from realtime.face.landmarks import PATIENCE, FaceTracker, find_faces
from realtime.media.pictures import read_picture
from tests.support import frames_of, made_up_frames, moved_aside, test_data


@pytest.fixture(scope="module")
def tracker():
    with FaceTracker() as tracker:
        yield tracker


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    """The face of a public-domain photograph, 512 x 512."""
    photo = read_picture(Path(realtime.data.__path__[0]) / "astronaut.png")
    return cv2.resize(photo[85:315, 109:339], (512, 512), interpolation=cv2.INTER_CUBIC)


def middle(landmarks: np.ndarray) -> np.ndarray:
    return landmarks[:468, :2].mean(axis=0)


def height(landmarks: np.ndarray) -> float:
    return float(np.linalg.norm(landmarks[FOREHEAD] - landmarks[CHIN]))


def test_tracks_in_pixels_with_depth(tracker, astronaut):
    tracker.reset()
    landmarks = tracker.track(astronaut)
    assert landmarks.shape == (478, 3)
    assert landmarks.dtype == np.float32
    assert 200 < height(landmarks) < 300
    assert landmarks[33, 0] < landmarks[263, 0]  # the right eye is on the left of the picture
    assert landmarks[4, 2] < landmarks[234, 2]  # the nose is nearer than the ear


def test_the_first_reading_is_already_settled(tracker, astronaut):
    tracker.reset()
    first = tracker.track(astronaut)
    for _ in range(5):
        later = tracker.track(astronaut)
    assert np.abs(first - later)[:, :2].mean() < 0.35


def test_it_says_nothing_on_stderr(astronaut, capfd):
    with FaceTracker() as fresh:
        assert fresh.track(astronaut) is not None
        fresh.reset()
        assert fresh.track(astronaut) is not None
    assert len(find_faces(astronaut)) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [(256, 256), (480, 640), (720, 1280), (1080, 1920), (2160, 3840)])
def test_survives_another_resolution_in_mid_stream(tracker, astronaut, size):
    tracker.track(astronaut)
    frame = np.zeros((*size, 3), np.uint8)
    side = min(size)
    left = (size[1] - side) // 2
    frame[:, left : left + side] = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    small = find_faces(astronaut)[0][:, :2] * side / 512 + (left, 0)
    for _ in range(3):
        landmarks = tracker.track(frame)
    assert np.linalg.norm(landmarks[:, :2] - small, axis=1).mean() < 0.01 * side
    tracker.reset()


@pytest.mark.parametrize("picture", ["black", "grey", "noise", "tiny"])
def test_no_face(tracker, picture):
    tracker.reset()
    rng = np.random.default_rng(0)
    frame = {
        "black": np.zeros((480, 640, 3), np.uint8),
        "grey": np.full((480, 640, 3), 120, np.uint8),
        "noise": rng.integers(0, 255, (480, 640, 3), np.uint8),
        "tiny": np.full((8, 8, 3), 200, np.uint8),
    }[picture]
    assert tracker.track(frame) is None
    assert find_faces(frame) == []


def test_frames_in_strides_and_read_only(tracker, astronaut):
    tracker.reset()
    mirrored = astronaut[:, ::-1]
    mirrored.setflags(write=False)
    landmarks = tracker.track(mirrored)
    assert abs(middle(landmarks)[0] - (511 - middle(find_faces(astronaut)[0])[0])) < 4


def two_faces(face: np.ndarray, left: bool = True, right: bool = True) -> np.ndarray:
    """A wide frame with the same face on the left, smaller, and on the right."""
    frame = np.full((512, 1100, 3), 90, np.uint8)
    if left:
        frame[60:460, 40:440] = cv2.resize(face, (400, 400), interpolation=cv2.INTER_AREA)
    if right:
        frame[:, 588:] = face
    return frame


def test_keeps_to_the_face_tracked_before(tracker, astronaut):
    tracker.reset()
    for _ in range(3):
        landmarks = tracker.track(two_faces(astronaut, right=False))
    assert middle(landmarks)[0] < 440
    for _ in range(5):
        landmarks = tracker.track(two_faces(astronaut))
        assert middle(landmarks)[0] < 440  # the larger face has come in; it is not followed
    assert tracker.track(two_faces(astronaut, left=False)) is None  # gone: not at once the other one
    landmarks = tracker.track(two_faces(astronaut))
    assert middle(landmarks)[0] < 440  # and back
    for _ in range(PATIENCE + 3):
        landmarks = tracker.track(two_faces(astronaut, left=False))
    assert middle(landmarks)[0] > 588  # gone for good


def test_finds_all_faces_the_largest_first(astronaut):
    faces = find_faces(two_faces(astronaut))
    assert len(faces) == 2
    assert height(faces[0]) > height(faces[1])
    assert middle(faces[0])[0] > 588 > middle(faces[1])[0]


def test_finds_a_small_face_in_a_large_picture(astronaut):
    large = np.full((2000, 3000, 3), 128, np.uint8)
    large[300:460, 2500:2660] = cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA)
    faces = find_faces(large)
    assert len(faces) == 1
    np.testing.assert_allclose(middle(faces[0]), middle(find_faces(astronaut)[0]) * 160 / 512 + (2500, 300), atol=4)


def test_closing_twice_and_tracking_after(astronaut):
    tracker = FaceTracker()
    tracker.close()
    tracker.close()
    with pytest.raises(ValueError, match="closed"):
        tracker.track(astronaut)


@pytest.mark.parametrize(
    "name", ["p05_painting_smile.png", "p08_cartoon_3d.png", "p09_statue.png", "p07_painting_small_face_full.jpg"]
)
def test_paintings_cartoons_and_statues_are_faces(name):
    picture = cv2.cvtColor(cv2.imread(str(test_data("portraits", name))), cv2.COLOR_BGR2RGB)
    assert len(find_faces(picture)) == 1


def test_a_dog_is_none():
    dog = cv2.cvtColor(cv2.imread(str(test_data("portraits", "p10_dog.png"))), cv2.COLOR_BGR2RGB)
    assert find_faces(dog) == []


def test_a_face_that_slides_out_of_the_picture_and_back():
    frames = list(made_up_frames(2.0))
    away = [min(1.0, max(0.0, (20 - abs(n - 30)) / 10)) for n in range(60)]  # gone from frame 20 to 40
    with FaceTracker() as tracker:
        seen = [tracker.track(moved_aside(f, share)) is not None for f, share in zip(frames, away, strict=True)]
    assert all(seen[:10])
    assert not any(seen[20:40])
    assert all(seen[53:])


def test_a_black_picture_amid_a_talk_is_no_face():
    talk = list(made_up_frames(1.0))
    with FaceTracker() as tracker:
        seen = [tracker.track(f) is not None for f in [*talk[:10], *[np.zeros_like(talk[0])] * 30, *[talk[10]] * 15]]
    assert all(seen[:10])
    assert not any(seen[10:40])
    assert all(seen[45:])


def test_a_real_face_that_leaves_and_returns():
    """Frames 64 to 87 leave, 88 to 151 hold no face, from 175 on it is back."""
    clip = test_data("clips", "h01_face_leaves_returns.mp4")
    with FaceTracker() as tracker:
        seen = {n: tracker.track(f) is not None for n, f in enumerate(frames_of(clip, 190)) if n >= 55 and n % 2}
    assert all(found for n, found in seen.items() if n < 64)
    assert not any(found for n, found in seen.items() if 88 <= n < 152)
    assert all(found for n, found in seen.items() if n >= 180)


def test_a_covered_lens_is_no_face():
    with FaceTracker() as tracker:
        clip = test_data("clips", "h08_shutter_then_freeze.mp4")
        seen = [tracker.track(f) is not None for n, f in enumerate(frames_of(clip, 165)) if n >= 80]
    assert all(seen[:10])
    assert not any(seen[10:70])
    assert all(seen[75:])

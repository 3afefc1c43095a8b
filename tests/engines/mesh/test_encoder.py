"""From real frames to codes."""

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.encoder import MeshEncoder, OwnShape
from realtime.face.face_model import load_face_model
from realtime.face.pose import HeadPose, rotation_matrix
from realtime.types import Frame
from tests.support import frames_of, made_up_frames, test_data

MEAN = load_face_model().mean


def test_layout_covers_the_code_without_gaps_or_overlaps():
    taken = np.zeros(mc.LENGTH, int)
    for entry in (*range(mc.GAZE_SKEW + 1), mc.EYE_OPEN, mc.LIP_GAP, mc.EXPRESSION, mc.COMPOSITE, mc.BODY):
        taken[entry] += 1
    assert (taken == 1).all()


def test_directions_are_distinct_and_told_in_words():
    assert len({d.name for d in mc.DIRECTIONS}) == len({d.index for d in mc.DIRECTIONS}) == len(mc.DIRECTIONS)
    for direction in mc.DIRECTIONS:
        assert direction.lo <= 0 <= direction.hi
        assert direction.lo < direction.hi
        assert direction.about
        assert direction.about[-1] != "."
        assert 0 <= direction.index < mc.LENGTH
    names = [d.name for d in mc.DIRECTIONS[:24]]
    assert {"smile", "blink", "brows", "mouth_open", "yaw", "pitch", "roll", "gaze_x", "gaze_y", "zoom"} <= set(names)


def test_code_of_the_mean_face():
    pose = HeadPose(240.0, np.eye(3), np.array([320.0, 252.0, 0.0]))
    values = mc.code_values(MEAN, pose, 640, 480)
    np.testing.assert_allclose(values[: mc.GAZE_X], [0, 0, 0, 0, 0.05, 0], atol=1e-6)
    np.testing.assert_allclose(values[mc.EXPRESSION], 0, atol=1e-6)
    np.testing.assert_allclose(values[mc.COMPOSITE], 0)
    assert values[mc.GAZE_X] == pytest.approx(0, abs=1e-6)
    assert values[mc.EYE_OPEN] == pytest.approx(0.22, abs=0.03)


def test_code_follows_the_pose():
    pose = HeadPose(120.0, rotation_matrix(20, -10, 30), np.array([320.0, 240.0, 0.0]))
    values = mc.code_values(MEAN, pose, 640, 480)
    np.testing.assert_allclose(values[: mc.ZOOM + 1], [20, -10, 30, 0, 0, np.log(0.5)], atol=1e-5)


def test_own_shape_settles_and_counts_frontal_frames_more():
    own, noise = OwnShape(), np.random.default_rng(0)
    ahead, aside = HeadPose(1.0, np.eye(3), np.zeros(3)), HeadPose(1.0, rotation_matrix(40, 0, 0), np.zeros(3))
    for _ in range(200):
        own.learn(MEAN + noise.normal(0, 0.02, MEAN.shape), ahead)
        own.learn(MEAN + 0.1, aside)
    assert np.abs(own.shape - MEAN).mean() < 0.01
    settled = own.shape.copy()
    own.learn(MEAN + 5, ahead)
    np.testing.assert_array_equal(own.shape, settled)


@pytest.fixture(scope="module", params=["made up", "real"])
def talk(request) -> list[np.ndarray]:
    if request.param == "made up":
        return list(made_up_frames(2.5, 512))
    return list(frames_of(test_data("clips", "a02_expressive_talk.mp4"), 75))


def codes_of(frames: list[np.ndarray], times: list[float]) -> np.ndarray:
    encoder = MeshEncoder()
    frames_in_time = [Frame(f, 500 + t, n, t) for n, (f, t) in enumerate(zip(frames, times, strict=True))]
    codes = [encoder.encode(frame) for frame in frames_in_time]
    encoder.close()
    assert all(c is not None and c.kind == "mesh" and c.values.dtype == np.float32 for c in codes)
    assert [c.index for c in codes] == list(range(len(frames)))
    assert codes[-1].captured == 500 + times[-1]
    assert codes[-1].pts == times[-1]
    return np.array([c.values for c in codes])


def test_encodes_a_clip_at_any_rate(talk):
    every = codes_of(talk, [n / 30 for n in range(75)])
    third = codes_of(talk[::3], [n / 10 for n in range(25)])
    repeated = codes_of([f for f in talk[:36] for _ in (0, 1)], [n / 60 for n in range(72)])
    for k, tolerance in ((mc.YAW, 1.0), (mc.PITCH, 1.0), (mc.ROLL, 0.7), (mc.EXPRESSION.start, 0.6)):
        assert np.abs(every[::3, k] - third[:, k]).mean() < tolerance
        assert np.abs(every[:36, k] - repeated[1::2, k]).mean() < tolerance
    gap = every[:, mc.LIP_GAP.start + 1]
    assert np.corrcoef(gap[::3], third[:, mc.LIP_GAP.start + 1])[0, 1] > 0.97


def test_mirroring_the_frame_mirrors_the_code(talk):
    straight = codes_of(talk[:20], [n / 30 for n in range(20)])[-1]
    mirrored = codes_of([f[:, ::-1] for f in talk[:20]], [n / 30 for n in range(20)])[-1]
    for name, sign in (("yaw", -1), ("pitch", 1), ("roll", -1), ("gaze_x", -1), ("jaw_open", 1)):
        index = next(d.index for d in mc.DIRECTIONS if d.name == name)
        scale = {"yaw": 1.5, "pitch": 1.5, "roll": 1.0, "gaze_x": 0.04, "jaw_open": 1.0}[name]
        assert straight[index] == pytest.approx(sign * mirrored[index], abs=scale), name


def test_trembling_at_rest_is_filtered(talk):
    """A person who does not move, before a noisy camera: the filter takes most of the trembling."""
    noise = np.random.default_rng(1)
    still = [np.clip(talk[0] + noise.normal(0, 4, talk[0].shape), 0, 255).astype(np.uint8) for _ in range(30)]
    trembling = []
    for smooth in (False, True):
        encoder = MeshEncoder(smooth=smooth)
        points = []
        for n, frame in enumerate(still):
            encoder.encode(Frame(frame, n / 30))
            points.append(encoder.landmarks[:468, :2])
        encoder.close()
        points = np.array(points[10:]) * 110 / 280  # as of a face 110 px high
        trembling.append(np.linalg.norm(points[2:] - 2 * points[1:-1] + points[:-2], axis=-1).mean())
    assert trembling[1] < 0.08
    assert trembling[1] < 0.5 * trembling[0]


def test_bare_arrays_changing_sizes_and_lost_faces(talk):
    encoder = MeshEncoder()
    first = encoder.encode(talk[0])
    assert encoder.encode(np.zeros((480, 640, 3), np.uint8)) is None
    assert encoder.landmarks is None
    half = encoder.encode(np.ascontiguousarray(talk[0][::2, ::2]))
    assert (first.pts, half.pts) == (0.0, 2 / 30)
    np.testing.assert_allclose(half.values[: mc.ZOOM + 1], first.values[: mc.ZOOM + 1], atol=1.5)
    encoder.reset()
    again = encoder.encode(talk[0])
    np.testing.assert_allclose(again.values, first.values, atol=0.5)
    assert again.pts == 0.0
    encoder.close()
    encoder.close()

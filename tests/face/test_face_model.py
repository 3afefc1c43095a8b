"""The fitted mean face: what the rest of the mesh engine takes for granted about it."""

import numpy as np

from realtime.face import face_model as fm

MODEL = fm.load_face_model()


def test_unit_and_origin_of_the_face_frame():
    height = np.linalg.norm(MODEL.mean[fm.FOREHEAD] - MODEL.mean[fm.CHIN])
    assert abs(height - 1) < 1e-5
    np.testing.assert_allclose(MODEL.mean[list(fm.EARS)].mean(axis=0), 0, atol=1e-6)
    right, left = MODEL.mean[list(fm.EARS)]
    assert right[0] < 0 < left[0]  # the person's right is on the left of the picture
    assert MODEL.mean[fm.NOSE_TIP, 2] == MODEL.mean[:, 2].min()  # nothing is nearer to the camera
    assert MODEL.mean[fm.FOREHEAD, 1] < MODEL.mean[fm.CHIN, 1]  # y points down


def test_mean_face_is_its_own_mirror_image():
    assert (MODEL.mirror[MODEL.mirror] == np.arange(fm.LANDMARKS)).all()
    np.testing.assert_allclose(MODEL.mirrored(MODEL.mean), MODEL.mean, atol=1e-6)


def test_mirror_pairs_follow_the_named_indices():
    for right, left in (
        (fm.RIGHT_EYE, fm.LEFT_EYE),
        (fm.RIGHT_BROW, fm.LEFT_BROW),
        (fm.MOUTH_CORNERS[:1], fm.MOUTH_CORNERS[1:]),
        (fm.RIGHT_IRIS[:1], fm.LEFT_IRIS[:1]),
        (fm.UPPER_INNER_LIP, fm.UPPER_INNER_LIP[::-1]),
        (fm.LOWER_OUTER_LIP, fm.LOWER_OUTER_LIP[::-1]),
    ):
        assert MODEL.mirror[list(right)].tolist() == list(left)


def test_triangles_cover_the_skin_once_and_leave_eyes_and_mouth_open():
    assert MODEL.triangles.shape == (852, 3)
    edges = np.sort(MODEL.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    found, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() == 2
    rim = {tuple(e) for e in found[uses == 1].tolist()}
    rings = [fm.OVAL, fm.RIGHT_EYE, fm.LEFT_EYE, fm.LIPS_INNER]
    assert rim == {tuple(sorted(e)) for ring in rings for e in zip(ring, (*ring[1:], ring[0]), strict=True)}


def test_neutral_mouth_is_closed_and_eyes_are_open():
    assert MODEL.mean[14, 1] - MODEL.mean[13, 1] < 0.015
    for upper, lower in zip(fm.UPPER_LIDS, fm.LOWER_LIDS, strict=True):
        assert (MODEL.mean[list(lower), 1] > MODEL.mean[list(upper), 1]).all()


def test_pose_is_judged_by_the_upper_face():
    trusted = np.flatnonzero(MODEL.pose_weights)
    assert abs(MODEL.pose_weights.sum() - 1) < 1e-5
    assert MODEL.mean[trusted, 1].max() < MODEL.mean[fm.NOSE_TIP, 1]
    moving = {*fm.LIPS_INNER, *fm.LIPS_OUTER, *fm.RIGHT_BROW, *fm.LEFT_BROW, *fm.RIGHT_IRIS, *fm.LEFT_IRIS}
    assert not moving & set(trusted.tolist())


def test_model_is_read_only():
    assert not MODEL.mean.flags.writeable

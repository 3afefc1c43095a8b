"""Transfer rules against cases worked out by hand."""

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.dictionary import INDEX, load_dictionary
from realtime.engines.mesh.motion.retarget import PortraitGeometry, Retargeter, lid_share
from realtime.face import face_model as fm
from realtime.face.pose import HeadPose, angles, rotation_matrix
from tests.support import frames_of, made_up_frames, test_data

MEAN = fm.load_face_model().mean
NAMED = {d.name: d.index for d in mc.DIRECTIONS}


def portrait(face: np.ndarray = MEAN, turn=(0, 0, 0), scale=200.0, at=(256, 256)) -> PortraitGeometry:
    """A portrait of 512 x 512 px."""
    pose = HeadPose(scale, rotation_matrix(*turn), np.array([*at, 0.0]))
    return PortraitGeometry(face, pose, mc.code_values(face, pose, 512, 512))


def driver(face: np.ndarray = MEAN, turn=(0, 0, 0), scale=150.0, at=(320, 240)) -> np.ndarray:
    """Code of a driver in a frame of 640 x 480 px."""
    return mc.code_values(face, HeadPose(scale, rotation_matrix(*turn), np.array([*at, 0.0])), 640, 480).astype(float)


def person(seed: int) -> np.ndarray:
    """Somebody else's neutral face: the mean face, stretched and uneven."""
    rng = np.random.default_rng(seed)
    face = MEAN * (1 + rng.normal(0, 0.06, 3))
    return face + MEAN**2 * rng.normal(0, 0.05, 3)


def with_lip_gap(gap: float, face: np.ndarray = MEAN) -> np.ndarray:
    """`face` with lips `gap` face heights apart in the middle, by the dictionary."""
    now = face[14, 1] - face[13, 1]
    dictionary = load_dictionary()
    opening = dictionary.complete({"jaw_open": 0.8, "lower_lip_down": 1.0}, ["mouth"])
    step = dictionary.displacement(opening)
    return face + step * (gap - now) / (step[14, 1] - step[13, 1])


def lip_gap(face: np.ndarray) -> float:
    return float(face[14, 1] - face[13, 1])


def edited(values: np.ndarray, **edits: float) -> np.ndarray:
    """With amounts added as an edit adds them."""
    out = values.copy()
    for name, amount in edits.items():
        out[NAMED[name]] += amount
    return out


def test_absolute_motion_of_the_own_code_is_the_portrait_itself():
    own = portrait(person(1), (12, -5, 8), 180.0, (240, 270))
    for reference in (None, own.values):
        target = Retargeter(own).target(own.values, reference)
        np.testing.assert_allclose(target.face, own.face, atol=1e-4)
        np.testing.assert_allclose(target.vertices(), own.pose.to_picture(own.face), atol=0.05)


def test_absolute_motion_is_exact_for_every_pose_and_expression():
    own = portrait(person(2))
    rng = np.random.default_rng(0)
    dictionary = load_dictionary()
    values = 0.3 * rng.multivariate_normal(np.zeros(len(INDEX)), dictionary.covariance)
    face = own.face + dictionary.displacement(values)
    pose = HeadPose(260.0, rotation_matrix(-20, 10, 15), np.array([200.0, 300.0, 0.0]))
    target = Retargeter(own).target(mc.code_values(face, pose, 512, 512))
    np.testing.assert_allclose(target.pose.rotation, pose.rotation, atol=1e-4)
    assert target.pose.scale == pytest.approx(260, rel=1e-5)
    np.testing.assert_allclose(target.pose.translation[:2], (200, 300), atol=0.02)
    skin = np.setdiff1d(np.arange(fm.SKIN), [*fm.UPPER_LIDS[0], *fm.UPPER_LIDS[1], *fm.LIPS_INNER])
    np.testing.assert_allclose(target.face[skin], face[skin], atol=2e-3)


def test_relative_motion_at_the_reference_leaves_the_portrait_alone():
    own = portrait(person(3), (10, 0, 0))
    reference = driver(person(4), (-20, 8, 3), 90.0, (500, 100))
    target = Retargeter(own).target(reference, reference)
    np.testing.assert_allclose(target.face[: fm.SKIN], own.face[: fm.SKIN], atol=2e-3)
    np.testing.assert_allclose(target.pose.rotation, own.pose.rotation, atol=1e-9)
    np.testing.assert_allclose(target.pose.translation, own.pose.translation, atol=1e-9)


def test_head_turns_by_what_the_driver_turned():
    own = portrait(turn=(5, 0, 0))
    turned = Retargeter(own).target(driver(turn=(22, 0, 0)), driver(turn=(10, 0, 0)))
    np.testing.assert_allclose(angles(turned.pose.rotation), (17, 0, 0), atol=1e-4)
    leaned = Retargeter(portrait(turn=(0, 6, 0))).target(driver(turn=(0, 0, 30)), driver())
    expected = rotation_matrix(0, 0, 30) @ rotation_matrix(0, 6, 0)
    np.testing.assert_allclose(leaned.pose.rotation, expected, atol=1e-6)


def test_scale_and_place_go_by_ratio():
    own, reference = portrait(scale=200.0), driver(scale=150.0)
    nearer = Retargeter(own).target(driver(scale=165.0), reference)
    assert nearer.pose.scale == pytest.approx(220, rel=1e-5)
    # 15 and 6 pixels of a face of 150 are 20 and 8 of a face of 200.
    aside = Retargeter(own).target(driver(at=(335, 234)), reference)
    np.testing.assert_allclose(aside.pose.translation[:2], (276, 248), atol=1e-3)


def test_coming_nearer_off_centre_moves_outwards():
    """A head 30 px right of the middle that grows by a tenth is where a lens would show it: unmoved in pixels."""
    own = portrait()
    target = Retargeter(own).target(driver(scale=165.0, at=(350, 240)), driver(scale=150.0, at=(350, 240)))
    np.testing.assert_allclose(target.pose.translation[:2], (256, 256), atol=1e-3)


@pytest.mark.parametrize(("asked", "least", "most"), [(20, 20, 20), (45, 36, 42), (80, 41, 42)])
def test_turns_beyond_what_the_mesh_can_show_are_bent(asked, least, most):
    own = portrait()
    for sign in (1, -1):
        yaw = sign * angles(Retargeter(own).target(driver(turn=(sign * asked, 0, 0)), driver()).pose.rotation)[0]
        assert least - 1e-3 <= yaw <= most + 1e-3


def test_a_driver_who_walks_away_stays_in_the_picture():
    target = Retargeter(portrait()).target(driver(at=(620, 240), scale=40.0), driver())
    assert target.pose.translation[0] - 256 < 0.41 * 200
    assert target.pose.scale > 200 * np.exp(-0.46)


@pytest.mark.parametrize(("share", "expected"), [(1, 1), (0.7, 0.7), (0.45, 0.45), (0.11, 0), (0.0, 0), (1.1, 1.1)])
def test_lid_share(share, expected):
    assert lid_share(np.array([share]))[0] == pytest.approx(expected)


def test_lid_share_is_monotone_and_bounded():
    shares = lid_share(np.linspace(0, 5, 500))
    assert (np.diff(shares) >= 0).all()
    assert shares.max() <= 1.5


def test_large_eyes_do_not_widen_as_far_as_small_ones():
    """Those of a drawing look frightened when they are made a third larger; a person's large eyes look surprised."""
    wide = driver()
    wide[mc.EYE_OPEN] *= 1.35
    opened = []
    for factor in (1.0, 1.35, 1.7):
        face = MEAN.copy()
        for upper, lower in zip(fm.UPPER_LIDS, fm.LOWER_LIDS, strict=True):
            face[list(upper), 1] -= (factor - 1.0) * (face[list(lower), 1] - face[list(upper), 1])
        own = portrait(face)
        moved = Retargeter(own).target(wide, driver()).face
        opened.append((mc.lid_gaps(moved).mean(axis=1) / mc.eye_widths(moved) / own.values[mc.EYE_OPEN]).mean())
    assert opened[0] > 1.3
    assert 1.22 < opened[1] < 1.3
    assert 1.05 < opened[2] < 1.12


def test_lids_close_in_proportion():
    narrow = person(5)
    narrow[list(fm.UPPER_LIDS[0]), 1] += 0.4 * mc.lid_gaps(narrow)[0]
    own, reference = portrait(narrow), driver()
    half = reference.copy()
    half[mc.EYE_OPEN] *= 0.6
    gaps = mc.lid_gaps(Retargeter(own).target(half, reference).face).mean(axis=1)
    np.testing.assert_allclose(gaps / mc.lid_gaps(own.face).mean(axis=1), 0.6, atol=1e-3)


def test_a_driver_with_closed_eyes_closes_the_portraits():
    own, reference = portrait(person(6)), driver()
    shut = reference.copy()
    shut[mc.EYE_OPEN] = 0.02
    target = Retargeter(own).target(shut, reference)
    np.testing.assert_allclose(mc.lid_gaps(target.face), 0, atol=1e-6)
    assert (target.face[list(fm.LOWER_LIDS[0]), 1] >= target.face[list(fm.UPPER_LIDS[0]), 1] - 1e-9).all()


def test_a_reference_in_mid_blink_does_not_tear_the_eyes_open():
    reference = driver()
    reference[mc.EYE_OPEN] = 0.03
    wide = mc.lid_gaps(Retargeter(portrait()).target(driver(), reference).face).mean()
    assert wide <= 1.51 * mc.lid_gaps(MEAN).mean()


def test_gaze_is_absolute():
    aside = MEAN.copy()
    aside[list(fm.RIGHT_IRIS + fm.LEFT_IRIS), 0] += 0.03
    own = portrait(aside)  # a portrait that looks away
    straight = Retargeter(own).target(driver(), driver()).face
    assert abs(mc.gaze_of(straight)[:, 0].mean()) < 0.031
    right = Retargeter(own).target(edited(driver(), gaze_x=0.2), driver()).face
    np.testing.assert_allclose(mc.gaze_of(right)[:, 0] - mc.gaze_of(straight)[:, 0], 1.35 * 0.2, atol=1e-6)


def test_nobody_becomes_cross_eyed():
    crossed = driver()
    crossed[mc.GAZE_CROSS] = 0.15
    right, left = mc.gaze_of(Retargeter(portrait()).target(crossed, driver()).face)
    own_right, own_left = mc.gaze_of(MEAN)
    assert left[0] - right[0] == pytest.approx(own_left[0] - own_right[0], abs=1e-6)


def test_irises_move_as_discs():
    face = Retargeter(portrait()).target(edited(driver(), gaze_x=0.1, gaze_y=-0.05), driver()).face
    for iris in fm.IRISES:
        disc = list(iris)
        np.testing.assert_allclose(face[disc] - face[disc[0]], MEAN[disc] - MEAN[disc[0]], atol=1e-12)


@pytest.mark.parametrize("own_gap", [0.0, 0.05, 0.09])
def test_a_closed_driver_closes_the_portraits_mouth(own_gap):
    own = portrait(with_lip_gap(own_gap))
    closed = driver(with_lip_gap(0.0, person(7)))
    assert abs(lip_gap(Retargeter(own).target(closed, closed).face)) < 0.012


@pytest.mark.parametrize("own_gap", [0.0, 0.06])
@pytest.mark.parametrize("reference_gap", [0.0, 0.05])
def test_lips_part_as_the_drivers_do_whatever_the_reference(own_gap, reference_gap):
    retargeter = Retargeter(portrait(with_lip_gap(own_gap)))
    reference = driver(with_lip_gap(reference_gap))
    for gap in (0.0, 0.05, 0.12):
        got = lip_gap(retargeter.target(driver(with_lip_gap(gap)), reference).face)
        assert got == pytest.approx(gap, abs=0.012)


def test_lips_touch_but_never_cross():
    pressed = edited(driver(), lower_lip_down=-6, upper_lip_up=-6)
    face = Retargeter(portrait()).target(pressed, driver()).face
    gaps = face[list(fm.LOWER_INNER_LIP), 1] - face[list(fm.UPPER_INNER_LIP), 1]
    assert gaps.min() >= -1e-12
    assert gaps.min() == pytest.approx(0, abs=1e-12)


def test_lips_go_by_the_ratio_of_the_mouths_widths():
    wide = MEAN.copy()
    lips = list(fm.LIPS_INNER + fm.LIPS_OUTER)
    wide[lips, 0] *= 1.2
    moves = edited(driver(), corner_out_left=2, corner_out_right=2)
    corners = list(fm.MOUTH_CORNERS)
    small = Retargeter(portrait()).target(moves, driver()).face[corners] - MEAN[corners]
    large = Retargeter(portrait(wide)).target(moves, driver()).face[corners] - wide[corners]
    np.testing.assert_allclose(large[:, 0], 1.2 * small[:, 0], rtol=0.03)


@pytest.mark.parametrize("wider", [0.8, 1.25])
def test_a_jaw_falls_as_far_whatever_the_mouths_width(wider):
    own = MEAN.copy()
    lips = list(fm.LIPS_INNER + fm.LIPS_OUTER)
    own[lips, 0] *= wider
    opens = driver(with_lip_gap(0.15))
    gap = lip_gap(Retargeter(portrait(own)).target(opens, driver()).face)
    assert gap == pytest.approx(lip_gap(Retargeter(portrait()).target(opens, driver()).face), rel=0.1)


def smiling(amount: float = 1.0) -> np.ndarray:
    """The mean face with a broad smile."""
    corners = {f"corner_{way}_{side}": 7 * amount for way in ("out", "up") for side in ("left", "right")}
    return MEAN + load_dictionary().displacement(load_dictionary().complete(corners, ["mouth", "cheeks"]))


def corners_of(face: np.ndarray) -> np.ndarray:
    """How far the right and the left corner of the mouth lie out and up of the mean face's: (2, 2), hundredths."""
    moved = 100 * (face - MEAN)[list(fm.MOUTH_CORNERS), :2]
    return moved * [[-1, -1], [1, -1]]


def test_a_narrow_mouth_smiles_as_broadly_and_purses_by_its_own_width():
    own = MEAN.copy()
    own[list(fm.LIPS_INNER + fm.LIPS_OUTER), 0] *= 0.8
    corners = list(fm.MOUTH_CORNERS)
    for smile, least, most in ((1.0, 0.9, 1.0), (-1.0, 0.75, 0.9)):
        moving = driver(smiling(0.5 * smile))
        ways = [Retargeter(portrait(face)).target(moving, driver()).face - face for face in (own, MEAN)]
        narrow, usual = (abs(way[corners, 0]).mean() for way in ways)
        assert least * usual < narrow < most * usual


def test_a_smile_is_not_smiled_twice():
    smile = edited(driver(), smile=1)
    sober, cheerful = (Retargeter(portrait(face)).target(smile, driver()).face for face in (MEAN, smiling()))
    more, less = corners_of(sober), corners_of(cheerful) - corners_of(smiling())
    assert more.min() > 2.5
    assert (less >= 0).all()
    assert (less < 0.6 * more).all()


def test_the_drivers_frown_ends_the_portraits_smile():
    frown = edited(driver(), smile=-1, corner_up_left=-2, corner_up_right=-2)
    got = corners_of(Retargeter(portrait(smiling())).target(frown, driver()).face)
    assert got[:, 1].max() < 1.5


@pytest.mark.parametrize("own", [MEAN, smiling()], ids=["sober", "smiling"])
def test_a_lopsided_mouth_stays_lopsided(own):
    lopsided = edited(driver(), corner_up_left=3, corner_up_right=-4, corner_out_left=2, corner_out_right=-3)
    got = corners_of(Retargeter(portrait(own)).target(lopsided, driver()).face) - corners_of(own)
    assert (got[0] < -2).all(), "the right corner drops and comes in"
    assert (got[1] > -0.5).all()
    assert (got[1] - got[0] > 3).all()


def test_an_o_has_round_corners():
    o = edited(driver(), o_mouth=1, lower_lip_down_corner_left=-2, lower_lip_down_corner_right=-2)
    face = Retargeter(portrait()).target(o, driver()).face
    gaps = face[list(fm.LOWER_INNER_LIP), 1] - face[list(fm.UPPER_INNER_LIP), 1]
    across = face[list(fm.UPPER_INNER_LIP), 0] / ((face[308, 0] - face[78, 0]) / 2)
    assert gaps[4] > 0.3 * (face[308, 0] - face[78, 0]), "it is an O"
    assert (gaps > 0.8 * gaps[4] * np.sqrt(1 - across**2)).all()


def test_a_blink_does_not_frighten_the_brows():
    worry = {"brow_inner_up_left": 3, "brow_inner_up_right": 3}
    seen, blink = edited(driver(), **worry), edited(driver(), **worry)
    blink[mc.EYE_OPEN] = 0.03

    def rise(values: np.ndarray) -> float:
        return float(MEAN[55, 1] - Retargeter(portrait()).target(values, driver()).face[55, 1])

    assert rise(blink) < 0.45 * rise(seen)
    assert rise(seen) > 0.015


def test_eyes_that_differ_a_little_open_alike_and_a_wink_is_a_wink():
    even, wink = driver(), driver()
    even[mc.EYE_OPEN] *= 0.75, 0.85
    wink[mc.EYE_OPEN] *= 0.15, 1.0
    right, left = mc.lid_gaps(Retargeter(portrait()).target(even, driver()).face).mean(axis=1)
    assert right == pytest.approx(left, rel=0.02)
    right, left = mc.lid_gaps(Retargeter(portrait()).target(wink, driver()).face).mean(axis=1)
    assert right < 0.15 * left


def test_eyes_go_farther_than_a_tracker_reads():
    aside = driver()
    aside[mc.GAZE_X] += 0.1
    aside[mc.GAZE_Y] -= 0.08
    rest, face = (Retargeter(portrait()).target(values, driver()).face for values in (driver(), aside))
    moved = (mc.gaze_of(face) - mc.gaze_of(rest)).mean(axis=0)
    assert 0.125 < moved[0] < 0.145
    assert -0.105 < moved[1] < -0.085


def test_no_lip_rises_into_the_nose():
    bared = edited(driver(), upper_lip_up=8, upper_lip_edge_up=-6, jaw_open=12)
    face = Retargeter(portrait()).target(bared, driver()).face
    assert face[0, 1] - face[164, 1] > 0.4 * (MEAN[0, 1] - MEAN[164, 1])
    assert (face[list(fm.UPPER_INNER_LIP), 1] > face[list(fm.UPPER_OUTER_LIP), 1]).all()


def test_expressions_are_limited():
    wild = edited(driver(), jaw_open=500, corner_out_left=-400, brow_inner_up_left=300)
    face = Retargeter(portrait()).target(wild, driver()).face
    assert np.abs(face - MEAN).max() < 0.7
    assert np.isfinite(face).all()


OF_THE_FACE = [d for d in mc.DIRECTIONS if d.group != "body"]


@pytest.mark.parametrize("direction", OF_THE_FACE, ids=lambda d: d.name)
def test_every_direction_does_something_when_added_to(direction):
    own = portrait(person(8))
    retargeter = Retargeter(own)
    amount = direction.hi if abs(direction.hi) >= abs(direction.lo) else direction.lo
    moved = retargeter.target(edited(own.values, **{direction.name: amount})).vertices()
    still = retargeter.target(own.values).vertices()
    assert np.abs(moved - still)[:, :2].max() > 1.5
    reference = driver(person(9))
    relative = retargeter.target(edited(reference, **{direction.name: amount}), reference).vertices()
    assert np.abs(relative - still)[:, :2].max() > 1.5


def test_half_floats_on_the_wire_do_no_harm():
    """Rounded codes move no landmark by a fifth of a pixel at a face height of 110."""
    own = portrait(person(1), scale=110.0)
    values = driver(person(2), (25, -12, 33), 163.0, (401, 333))
    reference = driver(person(2))
    exact = Retargeter(own).target(values, reference).vertices()
    wire = Retargeter(own).target(values.astype(np.float16), reference.astype(np.float16)).vertices()
    assert np.abs(exact - wire)[:, :2].max() < 0.2


def test_a_new_reference_is_taken_at_once():
    retargeter = Retargeter(portrait())
    retargeter.target(driver(), driver())
    again = retargeter.target(driver(turn=(10, 0, 0)), driver(turn=(10, 0, 0)))
    np.testing.assert_allclose(again.pose.rotation, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("film", ["made up", "real"])
def test_a_clip_reenacts_itself(film):
    """Absolute motion puts the landmarks where they were, to a third of a pixel at a face height of 110."""
    from realtime.engines.mesh.motion.encoder import MeshEncoder

    encoder = MeshEncoder(smooth=False)
    retargeter, errors = None, []
    real = film == "real"
    for image in frames_of(test_data("clips", "a02_expressive_talk.mp4"), 90) if real else made_up_frames(3.0, 512):
        code = encoder.encode(image)
        if retargeter is None:
            own = PortraitGeometry.from_landmarks(encoder.landmarks, image.shape[1], image.shape[0])
            retargeter = Retargeter(own)
        apart = np.linalg.norm((retargeter.target(code.values).vertices() - encoder.landmarks)[:, :2], axis=1)
        errors.append(apart.mean() / own.pose.scale * 110)
    encoder.close()
    assert np.mean(errors) < 0.33

"""Eyes are painted where the lids are, and nowhere else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.engines.mesh.eyes import LID_SHADE, LID_SHADE_REACH, prepare_eyes
from realtime.face.face_model import EYE_CORNERS, LOWER_LIDS, RIGHT_EYE, RIGHT_IRIS, UPPER_LIDS
from realtime.media.portraits import builtin_portrait


@pytest.fixture(scope="module")
def portrait():
    engine = load_engine("mesh", size=512)
    engine.set_portrait(builtin_portrait())
    return engine.portrait


def painted(portrait, pose, shape=None) -> np.ndarray:
    """Which pixels the right eye's painting changes on a plain picture."""
    out = np.full((portrait.height, portrait.width, 3), 255, np.uint8)
    portrait.eyes[0].draw(out, portrait.shape if shape is None else shape, portrait.pose, pose)
    return (out != 255).any(axis=2)


def test_the_opening_is_painted_and_little_beside_it(portrait):
    ring = portrait.pose.to_picture(portrait.shape[list(RIGHT_EYE)])[:, :2]
    rows, columns = np.nonzero(painted(portrait, portrait.pose))
    wide = np.ptp(ring[:, 0])
    assert len(rows) > 0.2 * wide * np.ptp(ring[:, 1])
    assert ring[:, 0].min() - 0.4 * wide < columns.min() <= columns.max() < ring[:, 0].max() + 0.4 * wide
    assert ring[:, 1].min() - 0.4 * wide < rows.min() <= rows.max() < ring[:, 1].max() + 0.4 * wide


def test_it_goes_along_with_the_head(portrait):
    aside = replace(portrait.pose, translation=portrait.pose.translation + np.array((24.0, 8.0, 0.0)))
    before, after = (np.argwhere(painted(portrait, pose)).mean(axis=0) for pose in (portrait.pose, aside))
    np.testing.assert_allclose(after - before, (8.0, 24.0), atol=0.2)


@pytest.mark.parametrize("away", [(1e3, 0.0, 0.0), (-1e9, 1e9, 0.0), (np.nan, 0.0, 0.0), (np.inf, -np.inf, 0.0)])
def test_an_eye_outside_paints_nothing(portrait, away):
    assert not painted(portrait, replace(portrait.pose, translation=portrait.pose.translation + np.array(away))).any()


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
def test_a_head_without_size_paints_nothing(portrait, scale):
    assert not painted(portrait, replace(portrait.pose, scale=scale)).any()


def opening_of(portrait) -> np.ndarray:
    """bool: between the lids of the right eye."""
    mask = np.zeros((portrait.height, portrait.width), np.uint8)
    cv2.fillPoly(mask, [np.round(portrait.landmarks[list(RIGHT_EYE), :2]).astype(np.int32)], (1,))
    return mask > 0


@pytest.mark.parametrize("size", [1.0, 1.25])
@pytest.mark.parametrize("aside", [-0.22, 0.22])
def test_an_iris_that_goes_aside_leaves_nothing_of_itself(portrait, size, aside):
    iris, between = list(RIGHT_IRIS), opening_of(portrait)
    radius = size * float(np.linalg.norm(portrait.landmarks[iris[1], :2] - portrait.landmarks[iris[0], :2]))
    eye = np.full_like(portrait.picture, (225, 222, 218))
    at = np.round(portrait.landmarks[iris[0], :2]).astype(int).tolist()
    cv2.circle(eye, at, round(radius), (40, 90, 200), -1)
    picture = np.where(between[..., None], eye, portrait.picture)
    shape, corners = portrait.shape.copy(), portrait.shape[list(EYE_CORNERS[0])]
    shape[iris, 0] += aside * np.linalg.norm(corners[0] - corners[1])
    out = np.full_like(picture, 128)
    prepare_eyes(picture, portrait.landmarks, portrait.pose)[0].draw(out, shape, portrait.pose, portrait.pose)
    ys, xs = np.nonzero(between & (out[..., 2].astype(int) - out[..., 0] > 60))
    now = portrait.pose.to_picture(shape[iris[0]])[:2]
    assert len(xs) > 5  # the iris itself
    assert np.hypot(xs - now[0], ys - now[1]).max() < 1.25 * radius + 1.0


def opened(portrait, wider: float) -> np.ndarray:
    """The portrait's face (478, 3) with the right eye so many times as open."""
    shape, upper, lower = portrait.shape.copy(), list(UPPER_LIDS[0]), list(LOWER_LIDS[0])
    shape[upper, 1] -= (wider - 1.0) * (shape[lower, 1] - shape[upper, 1])
    return shape


def seen_height(portrait, shape: np.ndarray) -> float:
    """How much of the way from lid to lid the eyeball is seen, in the middle of the right eye."""
    grounds = [np.full((portrait.height, portrait.width, 3), light, np.uint8) for light in (0, 255)]
    for ground in grounds:
        portrait.eyes[0].draw(ground, shape, portrait.pose, portrait.pose)
    lids = portrait.pose.to_picture(shape[[LOWER_LIDS[0][3], UPPER_LIDS[0][3]]])[:, :2]
    through = (grounds[1] - grounds[0].astype(float))[:, round(float(lids[:, 0].mean())), 0] / 255.0
    return float((1.0 - through).sum() / np.ptp(lids[:, 1]))


def test_an_eye_opened_wide_is_seen_up_to_its_lids(portrait):
    """Lashes hang into an eye at rest, and point away from one that is opened wide."""
    rest, wide = (seen_height(portrait, opened(portrait, wider)) for wider in (1.0, 1.3))
    assert rest < 0.92
    assert wide > 0.96


def test_the_white_comes_out_of_the_lids_shadow_when_the_lid_rises(portrait):
    between, ring = opening_of(portrait), portrait.landmarks[list(RIGHT_EYE), :2]
    width = float(np.ptp(ring[:, 0]))
    below = np.arange(portrait.height)[:, None] - np.argmax(between, axis=0)[None]
    light = 210.0 * (1.0 - LID_SHADE * np.exp(-below / (LID_SHADE_REACH * width)))
    eye = light.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    at = np.round(portrait.landmarks[RIGHT_IRIS[0], :2]).astype(int)
    radius = float(np.linalg.norm(portrait.landmarks[RIGHT_IRIS[1], :2] - portrait.landmarks[RIGHT_IRIS[0], :2]))
    cv2.circle(eye, at.tolist(), round(radius), (40, 40, 40), -1)
    picture = np.where(between[..., None], eye, portrait.picture)
    out = np.full_like(picture, 128)
    shape = opened(portrait, 1.3)
    prepare_eyes(picture, portrait.landmarks, portrait.pose)[0].draw(out, shape, portrait.pose, portrait.pose)
    x = at[0] + np.array([-1, 1]) * round(1.3 * radius)
    y = np.argmax(between[:, x], axis=0) + 2
    assert out[y, x].mean() > picture[y, x].mean() + 5.0

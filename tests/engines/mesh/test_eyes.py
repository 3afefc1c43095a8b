"""Eyes are painted where the lids are, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from realtime.engines import load_engine
from realtime.face.face_model import RIGHT_EYE
from realtime.media.portraits import builtin_portrait


@pytest.fixture(scope="module")
def portrait():
    engine = load_engine("mesh", size=256)
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

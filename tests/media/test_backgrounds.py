"""Another background behind a portrait: no rim of the old one is left."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.media.backdrop import cover
from realtime.media.backgrounds import GREEN, decontaminated, with_background
from realtime.media.portraits import builtin_portrait

SIDE = 256


@pytest.mark.parametrize("old", [(255, 255, 255), (0, 0, 0), (40, 60, 200)])
@pytest.mark.parametrize("own", [(30, 22, 18), (224, 184, 160)])
def test_the_outline_has_the_persons_colour(old, own):
    """A disc with a soft edge, mixed with its background, comes out as if it had stood before green."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = np.clip((80 - np.hypot(x - SIDE / 2, y - SIDE / 2)) / 6 + 0.5, 0, 1)[..., None]
    image = (np.array(own) * mask + np.array(old) * (1 - mask)).astype(np.uint8)
    shown = decontaminated(image, mask) * mask + np.array(GREEN) * (1 - mask)
    truth = np.array(own) * mask + np.array(GREEN) * (1 - mask)
    edge = ((mask > 0.05) & (mask < 0.95))[..., 0]
    before = np.abs(image * mask + np.array(GREEN) * (1 - mask) - truth)[edge].mean()
    after = np.abs(shown - truth)[edge].mean()
    assert after < 4
    assert after < 0.25 * before or before < 4


def test_the_persons_inside_is_left_as_it_is():
    portrait = builtin_portrait()
    green = with_background(portrait, "green")
    middle = (slice(200, 420), slice(300, 460))
    assert np.abs(green[middle].astype(int) - portrait[middle].astype(int)).max() <= 2
    assert np.abs(cv2.mean(green[:20, :20])[:3] - np.array(GREEN)).max() < 4


def test_a_picture_fills_what_is_behind_and_leaves_the_person():
    portrait = builtin_portrait()
    beach = np.zeros((300, 900, 3), np.uint8)
    beach[:, :450] = (20, 60, 200)
    beach[:, 450:] = (230, 190, 90)
    shown = with_background(portrait, beach)
    assert shown.shape == portrait.shape
    assert np.abs(cv2.mean(shown[:20, :20])[:3] - np.array((20, 60, 200))).max() < 4
    assert np.abs(cv2.mean(shown[:20, -20:])[:3] - np.array((230, 190, 90))).max() < 4
    middle = (slice(200, 420), slice(300, 460))
    assert np.abs(shown[middle].astype(int) - portrait[middle].astype(int)).max() <= 2
    assert cover(beach, 64, 64).shape == (64, 64, 3)
    assert cover(beach, 1200, 100).shape == (100, 1200, 3)


def test_a_stronger_blur_is_smoother():
    portrait = builtin_portrait("admiral")
    corner = (slice(0, 200), slice(0, 120))
    rough = [with_background(portrait, "blur", strength)[corner].std(axis=(0, 1)).mean() for strength in (0.3, 1, 3)]
    assert portrait[corner].std(axis=(0, 1)).mean() > rough[0] > rough[1] > rough[2]

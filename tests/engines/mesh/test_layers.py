"""A portrait taken apart: what is the person, and what stands still behind."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.engines.mesh.beyond import continue_beyond
from realtime.engines.mesh.framing import FramedPortrait
from realtime.engines.mesh.layers import Layers, split_layers
from realtime.face.pose import HeadPose

FACE_HEIGHT = 100.0
WALL = (120, 130, 140)


def scene(lock: bool) -> tuple[np.ndarray, np.ndarray]:
    """A brown head before a wall, with a lock of hair that stands off it and that the mask does not know of."""
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.uint8)
    cv2.circle(mask, (150, 190), 80, (1,), -1)
    picture[mask > 0] = (90, 60, 40)
    if lock:
        cv2.line(picture, (150, 92), (150, 108), (30, 20, 15), 4)
    noise = np.random.default_rng(1).normal(0, 1.5, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), mask.astype(np.float32)


def taken_apart(picture: np.ndarray, mask: np.ndarray) -> Layers:
    return split_layers(picture, mask, np.zeros_like(mask), FACE_HEIGHT)


def test_the_layers_together_are_the_picture():
    picture, mask = scene(lock=True)
    layers = taken_apart(picture, mask)
    together = layers.person + (1 - layers.matte[..., None]) * layers.background
    assert np.abs(together - picture).max() < 1.5
    assert layers.matte[190, 150] > 0.99
    assert layers.matte[10, 10] == 0


def test_a_lock_that_stands_off_goes_with_the_head():
    """What is left of it in the background would stand in the air when the head moves away."""
    layers = taken_apart(*scene(lock=True))
    assert layers.matte[94:106, 150].min() > 0.5
    assert np.abs(layers.background[20:250] - WALL).max() < 25
    plain = taken_apart(*scene(lock=False))
    assert plain.matte[94:106, 150].max() < 0.2


def before_leaves(strip: int, leaves: float) -> tuple[np.ndarray, np.ndarray]:
    """A dark head before rough leaves, whose light is `strip` beside the head and 150 elsewhere."""
    rng = np.random.default_rng(1)
    light = np.full((480, 480), 150.0)
    light[:, 240:267] = strip
    light += leaves * np.kron(rng.uniform(-1, 1, (120, 120)), np.ones((4, 4)))
    mask = np.zeros((480, 480), np.float32)
    mask[90:, 120:240] = 1
    light[mask > 0] = 60
    return np.clip(np.repeat(light[..., None], 3, axis=2), 0, 255).astype(np.uint8), mask


def test_leaves_beside_the_head_stay_where_they_are():
    """What of them went with the head would trace its outline beside it."""
    picture, mask = before_leaves(strip=120, leaves=26)
    layers = split_layers(picture, mask, np.zeros_like(mask), 600.0)
    beside = (slice(150, 450), slice(256, 267))
    assert layers.matte[beside].mean() < 0.1
    assert np.abs(layers.background[beside] - picture[beside]).mean() < 12


def test_a_structured_background_goes_on_from_what_is_seen_beside_the_head():
    """Begun farther out, it would end in a line where the head was."""
    picture, mask = before_leaves(strip=135, leaves=18)
    layers = split_layers(picture, mask, np.zeros_like(mask), 600.0)
    behind = layers.background[150:450, 244:254].mean()
    assert abs(behind - 135) < abs(behind - 150)


def framed(picture: np.ndarray, margin: int) -> FramedPortrait:
    """A picture taken whole, with a margin of its mirror image, as framing leaves it."""
    canvas = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    height, width = picture.shape[:2]
    pose = HeadPose(FACE_HEIGHT, np.eye(3), np.zeros(3))
    real = (margin, margin, margin + width, margin + height)
    return FramedPortrait(picture, canvas, margin, real, np.zeros((478, 3), np.float32), pose, np.zeros(1), ())


def test_nothing_appears_twice_at_the_picture_s_edge():
    """A red brooch on a shoulder that the left side cuts: its mirror image came into view when the body moved."""
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[180:, :220] = 1
    picture[mask > 0] = (60, 60, 70)
    picture[220:240, 8:28] = (230, 30, 30)
    beyond = continue_beyond(framed(picture, 40), mask)
    whole, canvas = beyond.mask, beyond.canvas
    assert (canvas[40:340, 40:340] == picture).all()
    outside = canvas.astype(int)[:, :40]
    assert (outside[..., 0] - outside[..., 2]).max() < 120, "a second brooch, of 200"
    assert whole[300, 5] > 0.9, "the shoulder goes on"
    assert whole[300, 335] < 0.1
    assert np.abs(outside[300, 5] - (60, 60, 70)).max() < 40
    assert np.abs(canvas[60:150, 345:].astype(int) - WALL).max() < 8, "and so does the wall"


def test_a_body_goes_on_farther_below_than_the_canvas():
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[180:, 100:200] = 1
    picture[mask > 0] = (60, 60, 70)
    beyond = continue_beyond(framed(picture, 10), mask)
    assert beyond.under.shape == (30, 320, 4)  # two fifths of a face height below the picture
    assert np.abs(beyond.under[-1, 150] - (60, 60, 70, 255)).max() < 1
    assert beyond.ends == (True, True)
    cut = continue_beyond(framed(picture[:, :195], 5), mask[:, :195])
    assert cut.ends == (True, False), "an arm that a narrow margin does not hold"


@pytest.mark.parametrize(
    ("share", "columns"),
    [(0.8, (100, 200)), (0.6, (100, 200)), (1.0, (150, 151)), (1.0, (150, 153)), (0.8, (150, 152))],
)
def test_a_soft_or_thin_body_keeps_its_colour_below(share, columns):
    """Where the matte was sure of nothing, or of less than its rim, the clothes were black."""
    picture = np.full((300, 300, 3), 128, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[180:, slice(*columns)] = share
    beyond = continue_beyond(framed(picture, 20), mask)
    assert np.abs(beyond.canvas.astype(int) - 128).max() < 8
    shown = beyond.under[..., 3] > 20
    assert np.abs(beyond.under[shown][:, :3] / beyond.under[shown][:, 3:] * 255 - 128).max() < 8


@pytest.mark.parametrize("tone", [(1.0, 1.0, 1.0), (1.0, 0.87, 0.7)])
def test_where_all_is_grey_or_brown_no_cloth_is_taken_for_skin(tone):
    """The light front of a black jacket closed in a curve, as a neckline does, in a black-and-white picture."""
    light = np.full((300, 300), 150.0)
    light[180:, 60:240] = 4
    light[180:, 130:170] = 128
    mask = np.zeros((300, 300), np.float32)
    mask[180:, 60:240] = 1
    beyond = continue_beyond(framed((light[..., None] * tone).astype(np.uint8), 36), mask)
    assert beyond.canvas[-1, 186, 0] > 90


def test_an_arm_that_falls_beside_the_picture_keeps_its_colour_there():
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[250:, 110:190] = mask[240:290, 200:] = 1
    picture[250:, 110:190] = (40, 40, 200)
    picture[240:290, 200:] = (200, 40, 40)
    beyond = continue_beyond(framed(picture, 30), mask)
    assert beyond.mask[333, 357] > 0.9
    assert beyond.canvas[333, 357, 0] > 150


def test_somebody_else_s_clothes_stay_theirs():
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[180:, 100:180] = mask[180:, 250:290] = 1
    picture[180:, 100:180] = (200, 40, 40)
    picture[180:, 250:290] = (40, 40, 200)
    canvas = continue_beyond(framed(picture, 30), mask).canvas.astype(int)
    assert np.abs(canvas[330:, 130:210] - (200, 40, 40)).max() < 12
    assert np.abs(canvas[330:, 285:315] - (40, 40, 200)).max() < 12


def test_a_head_cut_by_the_top_ends_round():
    picture = np.full((300, 300, 3), WALL, np.uint8)
    mask = np.zeros((300, 300), np.float32)
    mask[:200, 100:200] = 1
    picture[mask > 0] = (90, 60, 40)
    beyond = continue_beyond(framed(picture, 40), mask)
    whole, canvas = beyond.mask, beyond.canvas
    assert whole[32, 190] > 0.9
    assert whole[:10].max() < 0.1
    assert whole[:40, :130].max() < 0.1
    assert np.abs(canvas[34, 190].astype(int) - (90, 60, 40)).max() < 20

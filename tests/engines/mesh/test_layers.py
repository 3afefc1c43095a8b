"""A portrait taken apart: what is the person, and what stands still behind."""

from __future__ import annotations

import cv2
import numpy as np

from realtime.engines.mesh.layers import Layers, split_layers

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

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

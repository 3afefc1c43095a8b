"""A round picture: the circle that fits into it, with a soft edge."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PLAIN = (32, 33, 36)
"""RGB of what lies outside the circle, where nothing can be transparent: dark, as the tiles of most calls are."""


@lru_cache(maxsize=4)
def _circle(height: int, width: int) -> np.ndarray:
    """uint8 (H, W): 255 inside the circle, 0 outside, between on its edge."""
    radius = min(height, width) / 2.0
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    far = np.hypot(x - (width - 1) / 2.0, y - (height - 1) / 2.0)
    alpha = np.round(255.0 * np.clip(radius - far, 0.0, 1.0)).astype(np.uint8)
    alpha.setflags(write=False)
    return alpha


@lru_cache(maxsize=4)
def _edge(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is not inside, and of the pixels on the edge where they are in a flat picture, and how much is inside:
    bool (H, W), int64 (n,), float32 (n, 1)."""
    alpha = _circle(height, width)
    on_edge = np.flatnonzero((alpha > 0) & (alpha < 255))
    return alpha < 255, on_edge, (alpha.reshape(-1)[on_edge] / np.float32(255.0))[:, None]


def on_colour(image: np.ndarray, colour: tuple[int, int, int] = PLAIN) -> np.ndarray:
    """The circle of `image`, uint8 (H, W, 3), on one colour: a new array."""
    beyond, on_edge, share = _edge(*image.shape[:2])
    behind = np.array(colour, np.uint8)
    out = image.copy()
    out[beyond] = behind
    seen = image.reshape(-1, 3)[on_edge]
    out.reshape(-1, 3)[on_edge] = seen * share + behind * (1.0 - share) + 0.5
    return out


def cut_out(image: np.ndarray) -> np.ndarray:
    """The circle of `image`, uint8 (H, W, 3), transparent outside: uint8 (H, W, 4)."""
    return np.dstack([image, _circle(*image.shape[:2])])

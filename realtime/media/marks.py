"""The visible mark of what is shown to others: a small "AI avatar" in a corner."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np

TEXT = "AI avatar"


@lru_cache(maxsize=8)
def _badge(height: int) -> tuple[np.ndarray, np.ndarray]:
    """The badge for a picture of this height: colour times alpha float32 (h, w, 3), and 1 - alpha (h, w, 1)."""
    over = 4  # drawn larger and scaled down: clean edges
    scale = max(256, height) / 512 * over
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.3 * scale))
    (width, tall), _ = cv2.getTextSize(TEXT, font, 0.42 * scale, thick)
    pad = round(8 * scale)
    h, w = tall + 2 * pad, width + 2 * round(1.4 * pad)
    r = h // 2
    alpha: Any = np.zeros((h, w), np.float32)
    cv2.rectangle(alpha, (r, 0), (w - r, h), (0.45,), -1)
    for x in (r, w - r - 1):
        cv2.circle(alpha, (x, r), r, (0.45,), -1)
    text: Any = np.zeros((h, w), np.float32)
    cv2.putText(text, TEXT, (round(1.4 * pad), pad + tall), font, 0.42 * scale, (1.0,), thick, cv2.LINE_AA)
    colour: Any = np.repeat((255.0 * text)[..., None], 3, axis=2)
    alpha = np.maximum(alpha, 0.95 * text)
    size = (max(2, w // over), max(2, h // over))
    alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)[..., None]
    colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
    return colour * alpha, 1.0 - alpha


def draw_mark(image: np.ndarray) -> np.ndarray:
    """Draw the mark into the lower left corner of uint8 (H, W, 3) RGB, in place; returns `image`."""
    premultiplied, rest = _badge(image.shape[0])
    margin = max(4, image.shape[0] // 48)
    h, w = premultiplied.shape[:2]
    if h + margin > image.shape[0] or w + margin > image.shape[1]:
        return image
    corner = image[-margin - h : -margin, margin : margin + w]
    corner[:] = (corner * rest + premultiplied + 0.5).astype(np.uint8)
    return image

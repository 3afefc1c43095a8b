"""Another background behind a portrait. Changed once in the portrait, so that each picture after costs nothing."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np

Background = Literal["original", "green", "blur"]
"""What lies behind the portrait."""
GREEN = (0, 177, 64)
"""RGB of chroma key green. The view page keys on it."""
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _segmenter() -> Any:
    """MediaPipe's selfie segmentation; its model is inside the wheel."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    return SelfieSegmentation(model_selection=0)


def person_mask(image: np.ndarray) -> np.ndarray:
    """How much of each pixel is the person: float32 (H, W), 0 to 1. image: uint8 (H, W, 3) RGB."""
    with _lock:
        rough = _segmenter().process(np.ascontiguousarray(image)).segmentation_mask
    guide = image.astype(np.float32) / 255.0
    radius = max(4, min(image.shape[:2]) // 60)
    mask = cv2.ximgproc.guidedFilter(guide, rough.astype(np.float32), radius, 1e-4)
    return np.clip((mask - 0.15) / 0.7, 0.0, 1.0)


def with_background(image: np.ndarray, background: Background) -> np.ndarray:
    """The portrait, uint8 (H, W, 3) RGB, with that background; "original": the same array."""
    if background == "original":
        return image
    mask = person_mask(image)[..., None]
    if background == "green":
        behind = np.empty_like(image)
        behind[:] = GREEN
    else:
        # The person is left out of the blur, or a halo would show around the head.
        weight = (1.0 - mask) + 1e-3
        sigma = min(image.shape[:2]) / 24
        blurred = cv2.GaussianBlur(image.astype(np.float32) * weight, (0, 0), sigma)
        behind = blurred / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return np.clip(image * mask + behind * (1.0 - mask) + 0.5, 0, 255).astype(np.uint8)

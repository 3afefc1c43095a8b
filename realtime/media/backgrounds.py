"""Another background behind a portrait. Changed once in the portrait, so that each picture after costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from realtime.media.backdrop import KEYS, Backdrop, Keyed, best_channel, cover
from realtime.media.matte import quick_matte

Background = Literal["original", "green", "blur"]
"""What lies behind the portrait."""
Chosen = Literal["original", "green", "blur", "own"]
"""The same, or what its user brought."""
GREEN = KEYS[1]
"""RGB of chroma key green. The view page keys on it."""
STRONGEST = 4.0
"""Of a blur."""
SURE = 0.85
"""From this much person on a pixel's colour is not looked upon as mixed; it is his alone at 1."""


@dataclass(frozen=True)
class Behind:
    """What shall lie behind a portrait. strength: of a blur, 1 as it is by itself. own: what was brought, where that
    is chosen."""

    name: Chosen = "original"
    strength: float = 1.0
    own: Backdrop | None = None

    @property
    def common(self) -> bool:
        """Others are likely to want the same."""
        return self.own is None and self.strength == 1.0

    def of(self, portrait: np.ndarray) -> np.ndarray | Keyed:
        """The portrait, uint8 (H, W, 3) RGB, before it; where that moves, before a plain colour in its place."""
        if self.own is None:
            assert self.name != "own"
            return with_background(portrait, self.name, self.strength)
        if not self.own.moving:
            return with_background(portrait, self.own.picture())
        mask = person_mask(portrait)
        channel = best_channel(portrait, mask)
        plain = np.broadcast_to(np.array(KEYS[channel], np.uint8), portrait.shape)
        return Keyed(with_background(portrait, plain, mask=mask), self.own, channel)


def unkeyed(portrait: Any) -> Any:
    """What an engine is given of a portrait, whatever is to be shown behind it."""
    return portrait.data if isinstance(portrait, Keyed) else portrait


def person_mask(image: np.ndarray) -> np.ndarray:
    """How much of each pixel is the person: float32 (H, W), 0 to 1. image: uint8 (H, W, 3) RGB."""
    guide = image.astype(np.float32) / 255.0
    radius = max(4, min(image.shape[:2]) // 60)
    mask = cv2.ximgproc.guidedFilter(guide, quick_matte(image), radius, 1e-4)
    return np.clip((mask - 0.15) / 0.7, 0.0, 1.0)


def decontaminated(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The person's own colours as far as his outline reaches and beyond: float32 (H, W, 3).

    A pixel on the outline shows a mixture with the old background, which before another one would stay as a pale or
    dark rim. It gets the colour of the person next to it. mask: (H, W, 1), 0 to 1."""
    inside = np.clip((mask - SURE) / (1.0 - SURE), 0.0, 1.0).astype(np.float32)
    own = image.astype(np.float32)
    colours, weight = own * inside, inside
    filled = np.zeros_like(own)
    missing = np.ones_like(inside)
    for sigma in np.array([1 / 250, 1 / 80, 1 / 25]) * min(image.shape[:2]):  # from near by where there is anything
        near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
        share = missing * np.clip(near / 0.05, 0.0, 1.0)
        filled += share * cv2.GaussianBlur(colours, (0, 0), sigma) / np.maximum(near, 1e-4)
        missing -= share
    filled += missing * own
    return own * inside + filled * (1.0 - inside)


def with_background(
    image: np.ndarray, background: Background | np.ndarray, strength: float = 1.0, mask: np.ndarray | None = None
) -> np.ndarray:
    """The portrait, uint8 (H, W, 3) RGB, with that background, or before a picture of the same kind, which fills it;
    "original": the same array. strength: of the blur, 1 as it is by itself. mask: its `person_mask`, where that is
    known."""
    if isinstance(background, str) and background == "original":
        return image
    mask = (person_mask(image) if mask is None else mask)[..., None]
    if not isinstance(background, str):
        behind = cover(background, image.shape[1], image.shape[0]).astype(np.float32)
        image = decontaminated(image, mask)
    elif background == "green":
        behind = np.broadcast_to(np.array(GREEN, np.float32), image.shape)
        image = decontaminated(image, mask)
    else:
        # The person is left out of the blur, or a halo would show around the head.
        weight = (1.0 - mask) + 1e-3
        sigma = strength * min(image.shape[:2]) / 24
        blurred = cv2.GaussianBlur(image.astype(np.float32) * weight, (0, 0), sigma)
        behind = blurred / cv2.GaussianBlur(weight, (0, 0), sigma)[..., None]
    return np.clip(image * mask + behind * (1.0 - mask) + 0.5, 0, 255).astype(np.uint8)

"""Filling holes in pictures."""

from __future__ import annotations

import cv2
import numpy as np

FINE, CALM, DETAIL = 0.10, 0.06, 0.5
"""Shares of a fill's reach: what is detail, how smooth the outline is made that it is mirrored at, and how far in it
shows (e-fold)."""


def fill_smooth(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours spread from where `weight` is 1 to where it is 0, without a seam (push-pull over a pyramid).

    image: float32 (H, W, C) or (H, W). weight: float32 (H, W) in 0..1. Where nothing is known the result is 0.
    """
    colour = image[..., None] if image.ndim == 2 else image
    pushed = [(colour * weight[..., None], weight)]
    while min(pushed[-1][1].shape) >= 4:
        values, known = pushed[-1]
        values = cv2.pyrDown(values).reshape(*((n + 1) // 2 for n in known.shape), -1)
        pushed.append((values, cv2.pyrDown(known)))
    values, known = pushed[-1]
    filled = values / np.maximum(known, 1e-6)[..., None]
    for values, known in reversed(pushed[:-1]):
        size = (known.shape[1], known.shape[0])
        coarse = cv2.pyrUp(filled, dstsize=size).reshape(values.shape)
        trust = np.minimum(1.0, 4.0 * known)[..., None]
        filled = values / np.maximum(known, 1e-6)[..., None] * trust + coarse * (1.0 - trust)
    return filled.reshape(image.shape)


def fill_textured(image: np.ndarray, known: np.ndarray, reach: float) -> np.ndarray:
    """Fill where `known` is False: smoothly, and with the detail of what lies around the hole.

    The detail is that of the mirror image at the hole's outline, so that foliage stays foliage, and shelves and door
    frames go on for a bit behind a head. It fades within `reach` pixels: deeper it can only be wrong. Mirrored at an
    outline that was made smooth, neighbours come from neighbours: rows or columns continued each for itself make
    streaks. image: float32 (H, W, 3). known: bool (H, W).
    """
    if known.all() or not known.any():
        return image.copy()
    smooth = np.where(known[..., None], image, fill_smooth(image, known.astype(np.float32)))
    grain = smooth - cv2.GaussianBlur(smooth, (0, 0), FINE * reach)
    map_x, map_y, distance = _mirrored(known, CALM * reach)
    there = cv2.remap(known.astype(np.float32), map_x, map_y, cv2.INTER_LINEAR)
    share = np.exp(-np.square(distance / (DETAIL * reach))) * there
    filled = smooth + share[..., None] * cv2.remap(grain, map_x, map_y, cv2.INTER_LINEAR)
    return np.where(known[..., None], image, np.clip(filled, 0, 255)).astype(np.float32)


def _mirrored(known: np.ndarray, calm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each pixel's mirror image lies, seen at the outline of what is `known`, made smooth over `calm` pixels:
    two maps for `cv2.remap`, and the distance to that outline, float32 (H, W)."""
    height, width = known.shape
    calmed = known & (cv2.GaussianBlur(known.astype(np.float32), (0, 0), calm) > 0.5)
    if not calmed.any():
        calmed = known
    distance, labels = cv2.distanceTransformWithLabels(
        (~calmed).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ys, xs = np.nonzero(calmed)
    nearest = np.zeros(int(labels.max()) + 1, np.int64)
    nearest[labels[ys, xs]] = np.arange(len(ys))
    nearest = nearest[labels]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    across = cv2.GaussianBlur(xs[nearest].astype(np.float32) - x, (0, 0), calm)
    down = cv2.GaussianBlur(ys[nearest].astype(np.float32) - y, (0, 0), calm)
    return _folded(x + 2.0 * across, width), _folded(y + 2.0 * down, height), distance


def _folded(place: np.ndarray, length: int) -> np.ndarray:
    """Coordinates beyond a picture of `length` pixels mirrored into it."""
    last = max(1.0, length - 1.0)
    there = np.abs(place) % (2.0 * last)
    return np.where(there > last, 2.0 * last - there, there).astype(np.float32)

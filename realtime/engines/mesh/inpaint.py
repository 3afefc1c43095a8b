"""Filling holes in pictures."""

from __future__ import annotations

import cv2
import numpy as np


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


def fill_textured(image: np.ndarray, known: np.ndarray, blur: float) -> np.ndarray:
    """Fill where `known` is False, with the grain of what lies beside the hole.

    The broad colours are spread smoothly; the detail (what a blur of sigma `blur` takes away) is mirrored across
    the nearest edge of the hole, so that foliage stays foliage. image: float32 (H, W, 3). known: bool (H, W).
    """
    weight = known.astype(np.float32)
    if known.all() or not known.any():
        return image.copy()
    smooth = fill_smooth(image, weight)
    spread = cv2.GaussianBlur(weight, (0, 0), blur)
    local = cv2.GaussianBlur(image * weight[..., None], (0, 0), blur) / np.maximum(spread, 1e-4)[..., None]
    detail = (image - local) * weight[..., None]

    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    ys, xs = np.nonzero(known)
    nearest = np.zeros((labels.max() + 1, 2), np.float32)
    nearest[labels[ys, xs]] = np.column_stack([xs, ys])
    at = nearest[labels]  # (H, W, 2) nearest known pixel
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in known.shape[::-1])), axis=-1)
    mirrored = 2.0 * at - grid
    x, y = mirrored[..., 0], mirrored[..., 1]
    sample = cv2.remap(detail, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    fading = np.exp(-np.square(distance / (8.0 * blur)))[..., None]
    return np.where(known[..., None], image, np.clip(smooth + sample * fading, 0, 255))

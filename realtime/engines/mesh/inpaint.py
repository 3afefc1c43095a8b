"""Filling holes in pictures."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_RUN = 6
"""A picture is not continued from fewer pixels than this."""


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
    """Fill where `known` is False by continuing what lies to the left, to the right and above.

    From each side the picture is mirrored at the hole's edge, so that foliage stays foliage, and shelves and door
    frames go on straight behind a head. The nearest side counts most; deeper than `reach` pixels, where detail can
    only be wrong, the fill is smooth. Nothing is continued from below: there the body is. image: float32 (H, W, 3).
    known: bool (H, W).
    """
    if known.all() or not known.any():
        return image.copy()
    total = np.zeros((*known.shape, 1), np.float32)
    mixed = np.zeros_like(image)
    nearest = np.full(known.shape, np.inf, np.float32)
    for turn, back in (
        (lambda a: a, lambda a: a),
        (lambda a: a[:, ::-1], lambda a: a[:, ::-1]),
        (lambda a: a.swapaxes(0, 1), lambda a: a.swapaxes(0, 1)),
    ):
        colour, distance = _continued(turn(image), turn(known), int(max(LEAST_RUN, 0.5 * reach)))
        distance = back(distance)
        weight = (1.0 / np.maximum(distance, 1.0) ** 4)[..., None]
        mixed += back(colour) * weight
        total += weight
        nearest = np.minimum(nearest, distance)
    smooth = fill_smooth(image, known.astype(np.float32))
    share = np.exp(-np.square(nearest / reach))[..., None] * (total > 0)
    filled = mixed / np.maximum(total, 1e-30) * share + smooth * (1.0 - share)
    return np.where(known[..., None], image, np.clip(filled, 0, 255)).astype(np.float32)


def _continued(image: np.ndarray, known: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Each unknown pixel's colour mirrored from the known run on its left, and how far that is (else infinite).

    The run's last `most` pixels are mirrored to and fro; one of fewer than `LEAST_RUN` pixels does not count.
    """
    x = np.broadcast_to(np.arange(known.shape[1], dtype=np.int32), known.shape)
    edge = np.maximum.accumulate(np.where(known, x, np.int32(-1)), axis=1)  # the last known pixel so far
    before = np.maximum.accumulate(np.where(known, np.int32(-1), x), axis=1)  # the last unknown pixel so far
    rows = np.arange(known.shape[0])[:, None]
    run = np.where(edge >= 0, edge - before[rows, np.maximum(edge, 0)], 0)
    usable = ~known & (run >= LEAST_RUN)
    run = np.minimum(run, most)
    step = np.where(usable, (x - edge) % np.maximum(2 * run, 1), 0)
    source = np.where(usable, edge - np.where(step < run, step, 2 * run - 1 - step), 0)
    distance = np.where(usable, (x - edge).astype(np.float32), np.float32(np.inf))
    return image[rows, source], distance

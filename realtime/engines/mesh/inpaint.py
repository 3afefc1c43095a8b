"""Filling holes in pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from realtime.engines.mesh.jit import compiled

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
    for turn, back in _WAYS:
        turned, seen = np.ascontiguousarray(turn(image)), np.ascontiguousarray(turn(known))
        colour, distance = np.empty_like(turned), np.empty(seen.shape, np.float32)
        _continue(turned, seen, int(max(LEAST_RUN, 0.5 * reach)), colour, distance)
        distance = back(distance)
        weight = (1.0 / np.maximum(distance, 1.0) ** 4)[..., None]
        mixed += back(colour) * weight
        total += weight
        nearest = np.minimum(nearest, distance)
    smooth = fill_smooth(image, known.astype(np.float32))
    share = np.exp(-np.square(nearest / reach))[..., None] * (total > 0)
    filled = mixed / np.maximum(total, 1e-30) * share + smooth * (1.0 - share)
    return np.where(known[..., None], image, np.clip(filled, 0, 255)).astype(np.float32)


_Turn = Callable[[np.ndarray], np.ndarray]
_WAYS: tuple[tuple[_Turn, _Turn], ...] = (
    (lambda a: a, lambda a: a),
    (lambda a: a[:, ::-1], lambda a: a[:, ::-1]),
    (lambda a: a.swapaxes(0, 1), lambda a: a.swapaxes(0, 1)),
)
"""Turning a picture so that its left side, its right side or its top lies on the left; and back."""


@compiled("void(float32[:,:,::1], boolean[:,::1], int64, float32[:,:,::1], float32[:,::1])")
def _continue(image: np.ndarray, known: np.ndarray, most: int, colour: np.ndarray, distance: np.ndarray) -> None:
    """Each unknown pixel's `colour` mirrored from the known run on its left, and its `distance` (else infinite).

    The run's last `most` pixels are mirrored to and fro; one of fewer than `LEAST_RUN` pixels does not count.
    """
    for y in range(known.shape[0]):
        run = 0  # length of the last known run
        edge = -1  # its last pixel
        for x in range(known.shape[1]):
            if known[y, x]:
                run = run + 1 if edge == x - 1 else 1
                edge = x
            if known[y, x] or run < LEAST_RUN:
                distance[y, x] = np.inf
                colour[y, x] = 0.0
                continue
            span = min(run, most)
            step = (x - edge) % (2 * span)
            source = edge - (step if step < span else 2 * span - 1 - step)
            distance[y, x] = x - edge
            for c in range(3):
                colour[y, x, c] = image[y, source, c]

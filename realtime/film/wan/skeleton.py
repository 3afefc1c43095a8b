"""The skeleton that Wan-Animate reads a pose from, drawn as in the pictures it was trained on.

Cheng et al.: "Wan-Animate: Unified Character Animation and Replacement with Holistic Replication" (2025). The network
sees this drawing and nothing else of the driver's body, so every pixel counts: order, colours, thickness and rounding
are the authors' (Wan2.2), and the tests hold each pixel against pictures drawn by their code.
"""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np

BODY = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
    "right ear", "left ear", "left toe", "right toe",
)  # fmt: skip
"""What each of the 20 points of a body is."""
HAND = 21
"""Points of a hand: the wrist, then four for each finger from the thumb on."""
SURE = 0.5
"""Least confidence of a point that is drawn."""

LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (10, 19),
)  # fmt: skip
"""In the order in which they are drawn."""
_COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85), (200, 200, 0), (100, 100, 0),
)  # fmt: skip
"""RGB of the points, and in the same order of the limbs, which are drawn darker."""
_LIMB_SHADE = 0.6
_FINGERS = tuple((0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5)
                 for joint in range(4))  # fmt: skip
_LEAST = 0.01
"""A hand's point at or left of this, or above it, in whole pixels, is outside and not drawn."""


def draw_skeleton(
    body: np.ndarray, left_hand: np.ndarray | None, right_hand: np.ndarray | None, height: int, width: int
) -> np.ndarray:
    """The skeleton on black: uint8 (height, width, 3) RGB.

    body: (20, 3), x and y in pixels and a confidence from 0 to 1, see `BODY`. Hands: (21, 3) alike, None (or zeros)
    for one that is not seen. A point below `SURE` is not drawn, nor a limb that ends in one.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    stick = max(int(min(height, width) / 200) - 1, 1)
    for (start, end), colour in zip(LIMBS, _COLOURS, strict=False):
        if min(body[start, 2], body[end, 2]) >= SURE:
            _limb(canvas, body[start, :2], body[end, :2], stick, [int(c * _LIMB_SHADE) for c in colour])
    for (x, y, confidence), colour in zip(body, _COLOURS, strict=True):
        if confidence >= SURE:
            cv2.circle(canvas, (int(x), int(y)), stick, colour, -1)
    for hand in (left_hand, right_hand):
        if hand is not None:
            _draw_hand(canvas, hand, max(stick // 2, 1))
    return canvas


def _limb(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, stick: int, colour: list[int]) -> None:
    """A filled ellipse from `start` to `end`."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x0 - x1, y0 - y1)
    angle = math.degrees(math.atan2(y0 - y1, x0 - x1))
    middle = int((x0 + x1) / 2), int((y0 + y1) / 2)
    outline = cv2.ellipse2Poly(middle, (int(length / 2), stick), int(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, colour)


def _draw_hand(canvas: np.ndarray, hand: np.ndarray, radius: int) -> None:
    points = [(int(x), int(y)) for x, y in hand[:, :2]]
    seen = [x > _LEAST and y > _LEAST and sure >= SURE for (x, y), sure in zip(points, hand[:, 2], strict=True)]
    for n, (start, end) in enumerate(_FINGERS):
        if seen[start] and seen[end]:
            colour = [255 * part for part in colorsys.hsv_to_rgb(n / len(_FINGERS), 1.0, 1.0)]
            cv2.line(canvas, points[start], points[end], colour, thickness=radius)
    for point, drawn in zip(points, seen, strict=True):
        if drawn:
            cv2.circle(canvas, point, radius, (0, 0, 255), -1)

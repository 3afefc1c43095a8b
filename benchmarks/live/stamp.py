"""A number drawn into a picture as large black and white cells, so that it survives scaling and video codecs.

The strip lies along the top edge: one white and one black cell to measure the contrast by, twelve bits of the number,
four bits of check. All sizes are shares of the picture's, so that a reader needs to know no resolution;
`glass.js` reads the same strip from a canvas.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

BITS, CHECK = 12, 4
CELLS = 2 + BITS + CHECK
LEFT = 0.05
"""Where the strip begins, as a share of the width; it ends as far from the right edge."""
HEIGHT = 0.05
"""Its height, as a share of the picture's."""
LEAST_CONTRAST = 60
PERIOD = 1 << BITS
"""Numbers are counted modulo this."""


def check_of(number: int) -> int:
    """Four bits that change when any single bit of the number does."""
    return (number ^ (number >> 4) ^ (number >> 8) ^ 0b1010) & 0b1111


def pattern(number: int) -> list[int]:
    """The cells from left to right: 1 is white."""
    number %= PERIOD
    word = (number << CHECK) | check_of(number)
    return [1, 0, *((word >> k) & 1 for k in reversed(range(BITS + CHECK)))]


def _edges(width: int) -> np.ndarray:
    return np.linspace(LEFT * width, (1 - LEFT) * width, CELLS + 1)


def draw(image: np.ndarray, number: int) -> None:
    """Draw `number` (modulo PERIOD) into uint8 (H, W, 3), in place."""
    height, edges = max(2, round(HEIGHT * image.shape[0])), _edges(image.shape[1]).round().astype(int)
    for bit, (left, right) in zip(pattern(number), pairwise(edges), strict=True):
        image[:height, left:right] = 255 * bit


def read(image: np.ndarray) -> int | None:
    """The number drawn into uint8 (H, W, 3), None where there is none that can be trusted."""
    top, bottom = (round(share * HEIGHT * image.shape[0]) for share in (0.25, 0.75))
    edges = _edges(image.shape[1])
    quarter = (edges[1] - edges[0]) / 4
    strip = image[top : max(bottom, top + 1)]
    inner = [(round(a + quarter), round(b - quarter) + 1) for a, b in pairwise(edges)]
    cells = [strip[:, a:b].mean() for a, b in inner]
    white, black = cells[:2]
    if white - black < LEAST_CONTRAST:
        return None
    word = 0
    for cell in cells[2:]:
        word = (word << 1) | int(cell > (white + black) / 2)
    number = word >> CHECK
    return number if word & 0b1111 == check_of(number) else None

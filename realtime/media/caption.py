"""A line of capital letters on a picture, with no font library: for notes that must not be lost."""

from __future__ import annotations

import functools

import numpy as np

# Five columns by seven rows, one number per row, the leftmost column in the highest bit.
_GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "D": (30, 17, 17, 17, 17, 17, 30),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "G": (14, 17, 16, 23, 17, 17, 14),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "W": (17, 17, 17, 21, 21, 27, 17),
    " ": (0, 0, 0, 0, 0, 0, 0),
}


@functools.cache
def _mask(text: str, scale: int) -> np.ndarray:
    """bool (9 scale, (6 n + 1) scale): the text in capitals with a margin of one dot."""
    rows = np.zeros((9, 6 * len(text) + 1), bool)
    for n, letter in enumerate(text.upper()):
        bits = np.array(_GLYPHS[letter], np.uint8)[:, None] >> np.arange(4, -1, -1)
        rows[1:8, 6 * n + 1 : 6 * n + 6] = bits & 1
    return rows.repeat(scale, 0).repeat(scale, 1)


def stamp(picture: np.ndarray, text: str) -> np.ndarray:
    """`picture`, uint8 (H, W, 3), with `text` in white on a black bar along the bottom; the array is changed.

    Letters as wide as the picture allows, up to four pixels a dot; cut off on the right where it is too narrow.
    """
    height, width = picture.shape[:2]
    scale = int(np.clip(width // (6 * len(text) + 1), 1, 4))
    mask = _mask(text, scale)[:height, :width]
    bar = picture[height - mask.shape[0] :]
    bar[:] = 0
    bar[:, : mask.shape[1]][mask] = 255
    return picture

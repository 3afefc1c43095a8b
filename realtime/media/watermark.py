"""An invisible mark in every picture that is shown to others, and finding it again in a file.

The luma of each picture gets a fixed pattern of 64 x 64 cells, each a little lighter or darker, in pairs that cancel
out (spread spectrum, after Cox et al., "Secure Spread Spectrum Watermarking for Multimedia", 1997, in space instead
of frequency). The eye does not see it (48 dB), and it survives video coding and scaling because its cells are as
large as the codec's blocks. It says "this is an avatar", no more: it carries no identity, and whoever wants to remove
it can (crop, tilt, blur). It is for honest media, not against forgers.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

CELLS = 64
"""Cells along each side."""
STRENGTH = 1
"""Luma levels by which a cell is lighter or darker."""
THRESHOLD = 4.5
"""Score above which a clip counts as marked: the median over its frames. Without a mark a frame's score is about
normal with deviation 1."""
_SIDE = 512
_SEED = 0x0A7A7A


@lru_cache(maxsize=1)
def _signs() -> np.ndarray:
    """The pattern: float32 (64, 64), +1 and -1, each horizontal pair one of both."""
    first = np.random.default_rng(_SEED).integers(0, 2, (CELLS, CELLS // 2)) * 2 - 1
    return np.stack([first, -first], axis=2).reshape(CELLS, CELLS).astype(np.float32)


@lru_cache(maxsize=8)
def _planes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What is added and what is taken away: two uint8 (height, width)."""
    pattern = cv2.resize(_signs(), (width, height), interpolation=cv2.INTER_NEAREST)
    return (STRENGTH * (pattern > 0)).astype(np.uint8), (STRENGTH * (pattern < 0)).astype(np.uint8)


@lru_cache(maxsize=4)
def _colour_planes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for colour pictures: two uint8 (height, width, 3)."""
    plus, minus = (cv2.merge([plane] * 3) for plane in _planes(height, width))
    return plus, minus


def embed(luma: np.ndarray) -> None:
    """Mark a luma plane, uint8 (H, W), in place."""
    plus, minus = _planes(*luma.shape)
    cv2.add(luma, plus, dst=luma)
    cv2.subtract(luma, minus, dst=luma)


def marked(image: np.ndarray) -> np.ndarray:
    """A copy of a picture, uint8 (H, W, 3) RGB, with the mark in it."""
    plus, minus = _colour_planes(*image.shape[:2])
    out = cv2.add(image, plus)
    return cv2.subtract(out, minus, dst=out)


def score(picture: np.ndarray) -> float:
    """How surely one picture carries the mark, in deviations. picture: uint8 (H, W, 3) RGB, or luma (H, W)."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    plane = cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    cells = cv2.resize(plane, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    # Neighbours carry opposite signs: what they have in common is the picture, what differs is the mark and detail.
    detail = cells - cv2.blur(cells, (3, 3))
    detail = np.clip(detail, -4.0 * STRENGTH, 4.0 * STRENGTH)
    detail -= detail.mean()
    spread = float(np.sqrt((detail**2).sum()))
    return float((detail * _signs()).sum() / spread) if spread > 0 else 0.0


def verdict(scores: list[float]) -> tuple[bool, float]:
    """(is the clip marked, its score) from the scores of its frames."""
    middle = float(np.median(scores)) if scores else 0.0
    return middle >= THRESHOLD, middle
